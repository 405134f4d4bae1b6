//! Names that come from the network, made harmless before they become names of files.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use url::Url;

use super::DownloadError;

/// The longest name of a file in bytes: file systems take 255, and endings are added.
const MOST_BYTES: usize = 200;
/// A file whose address and server say no name.
const NAMELESS: &str = "download";

/// One harmless name of a file: what leads elsewhere or cannot be written on some system is replaced.
pub(super) fn file_name(text: &str) -> String {
    let last = text.rsplit(['/', '\\']).next().unwrap_or(text);
    let tame = |c: char| if c.is_control() || "<>:\"|?*".contains(c) { '_' } else { c };
    let tamed: String = last.chars().map(tame).collect();
    let mut name = tamed.trim_start_matches(['.', ' ']).trim_end_matches(['.', ' ']).to_owned();
    if name.is_empty() {
        NAMELESS.clone_into(&mut name);
    }
    if is_reserved(&name) {
        name.insert(0, '_');
    }
    shortened(&name)
}

/// The name that an address ends with, if it does.
pub(super) fn of_address(url: &Url) -> Option<String> {
    let last = url.path_segments()?.next_back().filter(|last| !last.is_empty())?;
    Some(file_name(&percent_decode_str(last).decode_utf8_lossy()))
}

/// The place of a repository's file below `root`.
///
/// # Errors
/// When the path would lead out of it or cannot be written on every system.
pub(super) fn below(root: &Path, path: &str) -> Result<PathBuf, DownloadError> {
    let mut place = root.to_owned();
    for part in path.split('/') {
        if part != file_name(part) {
            return Err(DownloadError::UnsafeName(path.to_owned()));
        }
        place.push(part);
    }
    Ok(place)
}

/// The same file with `ending` added to its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Names that mean devices on Windows, with any ending.
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let numbered = |word: &str| {
        stem.strip_prefix(word).is_some_and(|rest| rest.len() == 1 && rest != "0" && rest.parse::<u8>().is_ok())
    };
    ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT")
}

/// Cut in the middle, so that the ending stays.
fn shortened(name: &str) -> String {
    if name.len() <= MOST_BYTES {
        return name.to_owned();
    }
    let (stem, ending) = name.rsplit_once('.').filter(|(_, ending)| ending.len() <= 16).unwrap_or((name, ""));
    let mut end = MOST_BYTES - ending.len() - 1;
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let stem = stem[..end].trim_end_matches(['.', ' ']);
    if ending.is_empty() { stem.to_owned() } else { format!("{stem}.{ending}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_made_harmless() {
        for (text, name) in [
            ("v1.safetensors", "v1.safetensors"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\x.ckpt", "x.ckpt"),
            ("/abs/x", "x"),
            ("..", "download"),
            (".hidden", "hidden"),
            ("a:b?.bin. ", "a_b_.bin"),
            ("nul.ckpt", "_nul.ckpt"),
            ("com1", "_com1"),
            ("comb", "comb"),
            ("ü 1.ckpt", "ü 1.ckpt"),
        ] {
            assert_eq!(file_name(text), name, "{text}");
        }
        let long = file_name(&format!("{}.safetensors", "ü".repeat(300)));
        assert!(long.len() <= 200 && long.ends_with("ü.safetensors"), "{long}");
        let url = |text: &str| of_address(&Url::parse(text).unwrap());
        assert_eq!(url("http://h/a/..%2F..%2Fx.ckpt?y=1").as_deref(), Some("x.ckpt"));
        assert_eq!(url("http://h/"), None);
    }

    #[test]
    fn a_repository_cannot_name_a_place_outside() {
        let root = Path::new("/models/x");
        assert_eq!(below(root, "unet/config.json").unwrap(), root.join("unet/config.json"));
        for path in
            ["../x", "/etc/x", "unet//x", "unet/../../x", "unet\\x", "a/nul.txt", "", "unet/", ".git/config", "c:x"]
        {
            assert!(below(root, path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_name_that_stays_one(text in "\\PC{0,300}") {
            let name = file_name(&text);
            prop_assert_eq!(&file_name(&name), &name);
            prop_assert!(Path::new(&name).components().count() == 1);
        }
    }
}
