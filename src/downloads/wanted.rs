//! What the user asks for: a Hugging Face repository or a file in it, however it is written, or any address.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::DownloadError;
use super::client::shown;

/// The revision that is meant when none is named.
const USUAL_REVISION: &str = "main";

/// Hosts whose pages are repositories.
const HUB_HOSTS: [&str; 4] = ["huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"];

/// A repository of Hugging Face: `org/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoId {
    org: String,
    name: String,
}

/// What to fetch, checked: an id, a page's address or the address of a file. Made by parsing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// In a repository of Hugging Face.
    Hub {
        /// Which repository.
        repo: RepoId,
        /// A branch, a tag or a commit.
        revision: String,
        /// The file inside, with `/` between folders; without it the whole model.
        file: Option<String>,
    },
    /// One file anywhere.
    Address(Url),
}

impl RepoId {
    /// The hub forbids `--` in both, which keeps [`RepoId::folder_name`] apart from every other.
    fn new(org: &str, name: &str) -> Option<Self> {
        let is_good = |part: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            (1..=96).contains(&part.len())
                && part.chars().all(known)
                && !part.starts_with('.')
                && !part.contains("..")
                && !part.contains("--")
        };
        (is_good(org) && is_good(name)).then(|| Self { org: org.to_owned(), name: name.to_owned() })
    }

    /// `org--name`, as one name of a folder.
    #[must_use]
    pub fn folder_name(&self) -> String {
        format!("{}--{}", self.org, self.name)
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.name)
    }
}

impl fmt::Display for Wanted {
    /// As it can be typed, without the secrets in an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub { repo, revision, file } => {
                write!(f, "{repo}")?;
                if revision != USUAL_REVISION {
                    write!(f, "@{revision}")?;
                }
                file.iter().try_for_each(|file| write!(f, "/{file}"))
            }
            Self::Address(url) => f.write_str(&shown(url)),
        }
    }
}

impl FromStr for Wanted {
    type Err = DownloadError;

    fn from_str(text: &str) -> Result<Self, DownloadError> {
        let text = text.trim();
        let wrong = |problem| DownloadError::NotAnAddress { text: text.to_owned(), problem };
        let bare_host = text.split('/').next().filter(|host| HUB_HOSTS.contains(&host.to_ascii_lowercase().as_str()));
        let with_scheme = bare_host.map(|_| format!("https://{text}"));
        if !text.contains("://") && with_scheme.is_none() {
            return of_id(text).map_err(wrong);
        }
        let url = Url::parse(with_scheme.as_deref().unwrap_or(text)).map_err(|_| wrong("this is no address"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("only http and https addresses can be fetched"));
        }
        match url.host_str() {
            Some(host) if HUB_HOSTS.contains(&host) => of_page(&url).map_err(wrong),
            Some(_) => Ok(Self::Address(url)),
            None => Err(wrong("this is no address")),
        }
    }
}

impl Wanted {
    /// The same, an address at `endpoint` read as the page of a repository where it is one.
    pub(super) fn seen_from(self, endpoint: &Url) -> Self {
        match &self {
            Self::Address(url) if url.origin() == endpoint.origin() => of_page(url).unwrap_or(self),
            _ => self,
        }
    }
}

/// `org/name`, `org/name@revision`, `org/name/file`, `org/name@revision/file`.
fn of_id(text: &str) -> Result<Wanted, &'static str> {
    let mut parts: Vec<&str> = text.split('/').collect();
    if parts.len() < 2 {
        return Err("this is neither an id nor an address");
    }
    let org = parts.remove(0);
    let named = parts.remove(0);
    let (name, mut revision) = match named.split_once('@') {
        Some((name, revision)) => (name, revision.to_owned()),
        None => (named, USUAL_REVISION.to_owned()),
    };
    // Pull requests and converted copies have slashes in their names: refs/pr/1.
    if revision == "refs" && parts.len() >= 2 {
        revision = format!("refs/{}/{}", parts[0], parts[1]);
        parts.drain(..2);
    }
    hub(org, name, &revision, &parts)
}

/// A page of huggingface.co: `/org/name`, `/org/name/tree/main`, `/org/name/blob/main/file`.
fn of_page(url: &Url) -> Result<Wanted, &'static str> {
    let decoded: Vec<String> = url
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["datasets" | "spaces" | "api" | "collections", ..] => Err("only models can be fetched"),
        [org, name] => hub(org, name, USUAL_REVISION, &[]),
        [org, name, "tree", revision] => hub(org, name, revision, &[]),
        [_, _, "tree", ..] => Err("a folder inside a repository cannot be fetched alone"),
        [org, name, "blob" | "resolve" | "raw", revision, file @ ..] if !file.is_empty() => {
            hub(org, name, revision, file)
        }
        _ => Err("this page is neither a model's nor a file's"),
    }
}

fn hub(org: &str, name: &str, revision: &str, file: &[&str]) -> Result<Wanted, &'static str> {
    let repo = RepoId::new(org, name).ok_or("a repository's id is org/name, of letters, digits, dots and dashes")?;
    let is_good =
        |part: &&str| !part.is_empty() && *part != "." && *part != ".." && !part.chars().any(char::is_control);
    if !revision.split('/').all(|part| is_good(&part)) {
        return Err("the revision behind the @ cannot be");
    }
    if !file.iter().all(is_good) {
        return Err("the path of the file cannot be");
    }
    let file = (!file.is_empty()).then(|| file.join("/"));
    Ok(Wanted::Hub { repo, revision: revision.to_owned(), file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match text.parse() {
            Ok(Wanted::Hub { repo, revision, file }) => format!("{repo} {revision} {}", file.unwrap_or_default()),
            Ok(Wanted::Address(url)) => url.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_id_may_have_a_revision_and_a_file() {
        assert_eq!(told(" org/name "), "org/name main ");
        assert_eq!(told("org/na.me-1@fp16"), "org/na.me-1 fp16 ");
        assert_eq!(told("org/name/v1.safetensors"), "org/name main v1.safetensors");
        assert_eq!(told("org/name@refs/pr/3/unet/x.bin"), "org/name refs/pr/3 unet/x.bin");
    }

    #[test]
    fn what_is_shown_can_be_typed() {
        for text in ["org/name", "org/name@fp16", "org/name@refs/pr/3/unet/x.bin", "https://example.org/m.safetensors"]
        {
            assert_eq!(text.parse::<Wanted>().unwrap().to_string(), text);
        }
        let secret: Wanted = "https://example.org/m.safetensors?token=secret".parse().unwrap();
        assert_eq!(secret.to_string(), "https://example.org/m.safetensors");
    }

    #[test]
    fn pages_are_read_as_what_they_show() {
        assert_eq!(told("https://huggingface.co/org/name?library=diffusers"), "org/name main ");
        assert_eq!(told("huggingface.co/org/name/tree/v2"), "org/name v2 ");
        assert_eq!(told("https://hf.co/org/name/blob/main/a/b%20c.ckpt"), "org/name main a/b c.ckpt");
        assert_eq!(
            told("https://huggingface.co/o/n/resolve/refs%2Fpr%2F1/x.gguf?download=true"),
            "o/n refs/pr/1 x.gguf"
        );
        assert_eq!(told("https://example.org/m.safetensors"), "https://example.org/m.safetensors");
        let endpoint = Url::parse("http://127.0.0.1:9/").unwrap();
        let page: Wanted = "http://127.0.0.1:9/org/name/blob/main/x.ckpt".parse().unwrap();
        assert!(matches!(page.seen_from(&endpoint), Wanted::Hub { file: Some(file), .. } if file == "x.ckpt"));
        let file: Wanted = "http://127.0.0.1:9/x.ckpt".parse().unwrap();
        assert!(matches!(file.seen_from(&endpoint), Wanted::Address(_)));
    }

    #[test]
    fn what_cannot_be_fetched_is_told() {
        for (text, hint) in [
            ("name", "neither an id nor an address"),
            ("org/../x", "org/name"),
            ("org/na--me", "org/name"),
            ("org/name/../../x", "path of the file"),
            ("org/name@../x", "revision"),
            ("ftp://example.org/x", "only http"),
            ("https://huggingface.co/datasets/org/name", "only models"),
            ("https://huggingface.co/org/name/tree/main/unet", "folder inside"),
        ] {
            assert!(told(text).contains(hint), "{text}: {}", told(text));
        }
    }
}
