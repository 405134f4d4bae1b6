//! Checksums of files: the SHA-256 of large ones, and what git calls its small ones.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::DownloadError;

/// How much of a file is in memory while it is read.
const CHUNK_BYTES: usize = 1 << 20;

/// A SHA-256 in 64 small hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sha256Hex(String);

impl FromStr for Sha256Hex {
    type Err = DownloadError;

    fn from_str(text: &str) -> Result<Self, DownloadError> {
        let digits = text.trim().to_ascii_lowercase();
        if is_hex(&digits, 64) { Ok(Self(digits)) } else { Err(DownloadError::NotAChecksum(text.to_owned())) }
    }
}

/// What the bytes of a file have to come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Digest {
    /// Of the file; Hugging Face's LFS files have it as their name.
    Sha256(String),
    /// Of git's header and the file: the name of a file that is not in LFS.
    GitSha1(String),
}

impl From<Sha256Hex> for Digest {
    fn from(hex: Sha256Hex) -> Self {
        Self::Sha256(hex.0)
    }
}

impl Digest {
    /// By how many digits it has.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        if is_hex(&name, 64) {
            Some(Self::Sha256(name))
        } else if is_hex(&name, 40) {
            Some(Self::GitSha1(name))
        } else {
            None
        }
    }

    /// In hexadecimal digits.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitSha1(hex) => hex,
        }
    }

    /// The same kind of checksum of a file on disk; `check` is asked between chunks and may end it.
    pub fn of_file(
        &self,
        path: &Path,
        check: impl FnMut() -> Result<(), DownloadError>,
    ) -> Result<String, DownloadError> {
        let file = File::open(path).map_err(DownloadError::io(path))?;
        match self {
            Self::Sha256(_) => digested(Sha256::new(), file, path, check),
            Self::GitSha1(_) => {
                let bytes = file.metadata().map_err(DownloadError::io(path))?.len();
                digested(Sha1::new_with_prefix(format!("blob {bytes}\0")), file, path, check)
            }
        }
    }
}

fn digested<D: sha2::Digest>(
    mut digest: D,
    mut file: File,
    path: &Path,
    mut check: impl FnMut() -> Result<(), DownloadError>,
) -> Result<String, DownloadError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        check()?;
        match file.read(&mut chunk).map_err(DownloadError::io(path))? {
            0 => break,
            count => digest.update(&chunk[..count]),
        }
    }
    let mut hex = String::new();
    for byte in digest.finalize() {
        // Writing into a string does not fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_the_checksums_that_sha256sum_and_git_give_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        for name in [sha256, git] {
            let digest = Digest::of_name(&name.to_uppercase()).unwrap();
            assert_eq!(digest.hex(), name);
            assert_eq!(digest.of_file(&path, || Ok(())).unwrap(), name);
        }
        assert_eq!(Digest::of_name("W/\"abc\""), None);
        assert!("xyz".parse::<Sha256Hex>().is_err());
    }
}
