//! What a download finds around it: Hugging Face's environment variables, the disk's room, and time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The endpoint when the environment names none.
const ENDPOINT: &str = "https://huggingface.co";

/// Says how many bytes may still be written below a folder that exists.
pub type FreeSpace = Arc<dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync>;

/// How long the network may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the name's address and the connection, each.
    pub connect: Duration,
    /// For the next byte, at any point.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(15), silence: Duration::from_secs(30) }
    }
}

/// Everything outside that a download depends on, so that a test can bring its own.
#[derive(Clone)]
pub struct Surroundings {
    /// Where Hugging Face's repositories are, without a slash at the end.
    pub endpoint: String,
    /// What to say to the endpoint, and to nobody else.
    pub token: Option<String>,
    /// The cache of Hugging Face's own programs, which may have the file already.
    pub cache: Option<PathBuf>,
    /// True when only the cache may be used.
    pub is_offline: bool,
    /// True when the proxy that the environment names is used.
    pub uses_proxy: bool,
    /// How long the network may take.
    pub patience: Patience,
    /// How many bytes may still be written below a folder that exists.
    pub free_space: FreeSpace,
    /// Waits.
    pub pause: Arc<dyn Fn(Duration) + Send + Sync>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn usual() -> Self {
        Self::of(&|name| std::env::var(name).ok())
    }

    /// Those of an environment.
    #[must_use]
    pub fn of(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let is_set = |name: &str| {
            given(name).is_some_and(|text| ["1", "on", "yes", "true"].contains(&text.to_ascii_lowercase().as_str()))
        };
        let home = hub_home(&given);
        let cache = given("HF_HUB_CACHE").or_else(|| given("HUGGINGFACE_HUB_CACHE")).map(PathBuf::from);
        let token = if is_set("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { token(&given, home.as_deref()) };
        let endpoint = given("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token,
            cache: cache.or_else(|| home.map(|home| home.join("hub"))),
            is_offline: is_set("HF_HUB_OFFLINE"),
            uses_proxy: true,
            patience: Patience::default(),
            free_space: Arc::new(|folder| fs4::available_space(folder)),
            pause: Arc::new(std::thread::sleep),
        }
    }
}

/// `HF_HOME`, else `huggingface` in this user's folder for caches.
fn hub_home(given: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let caches = || {
        let home = || given("HOME").or_else(|| given("USERPROFILE")).map(|home| PathBuf::from(home).join(".cache"));
        given("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
    };
    given("HF_HOME").map(PathBuf::from).or_else(|| caches().map(|caches| caches.join("huggingface")))
}

/// The token that the environment names, else the one that `hf auth login` has written.
fn token(given: &dyn Fn(&str) -> Option<String>, home: Option<&Path>) -> Option<String> {
    let stored = || {
        let file = given("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| home.map(|home| home.join("token")))?;
        Some(std::fs::read_to_string(file).ok()?.trim().to_owned())
    };
    let token = given("HF_TOKEN").or_else(|| given("HUGGING_FACE_HUB_TOKEN")).or_else(stored)?;
    let is_usable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_usable && !token.is_empty() {
        tracing::warn!("the Hugging Face token has characters that no token has; it is not used");
    }
    is_usable.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Surroundings {
        let found = |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.to_owned());
        Surroundings::of(&found)
    }

    #[test]
    fn the_environment_is_read_as_hugging_face_reads_it() {
        let usual = of(&[("HOME", "/home/me")]);
        assert_eq!(usual.endpoint, "https://huggingface.co");
        assert_eq!(usual.cache.unwrap(), Path::new("/home/me/.cache/huggingface/hub"));
        assert_eq!((usual.token, usual.is_offline), (None, false));
        let named = of(&[("HF_HOME", "/hf"), ("HF_ENDPOINT", "https://mirror.example/"), ("HF_HUB_OFFLINE", "True")]);
        assert_eq!((named.endpoint.as_str(), named.is_offline), ("https://mirror.example", true));
        assert_eq!(named.cache.unwrap(), Path::new("/hf/hub"));
        assert_eq!(of(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/hf")]).cache.unwrap(), Path::new("/c"));
        assert_eq!(of(&[("XDG_CACHE_HOME", "/x")]).cache.unwrap(), Path::new("/x/huggingface/hub"));
    }

    #[test]
    fn the_token_comes_from_the_environment_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "hf_stored\n").unwrap();
        let home = folder.path().to_str().unwrap();
        assert_eq!(of(&[("HF_HOME", home)]).token.as_deref(), Some("hf_stored"));
        assert_eq!(of(&[("HF_HOME", home), ("HF_TOKEN", " hf_mine ")]).token.as_deref(), Some("hf_mine"));
        assert_eq!(of(&[("HF_HOME", home), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).token, None);
        assert_eq!(of(&[("HF_TOKEN", "two\nlines")]).token, None);
    }
}
