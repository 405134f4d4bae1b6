//! A file that is not whole yet: `NAME.part`, and beside it what it is part of, so that any later run can go on.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::DownloadError;
use super::disk;
use super::names::beside;

/// What a web page shows in its first bytes.
const HEAD_BYTES: usize = 64;

/// What a part is part of; stored beside it as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// Where it comes from.
    pub url: String,
    /// The server's name for these very bytes: an etag or a date.
    pub etag: Option<String>,
    /// Size of the whole, in bytes.
    pub size: Option<u64>,
    /// Checksum of the whole, in hexadecimal digits.
    pub checksum: Option<String>,
}

/// An open part, kept away from every other download.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    about: About,
}

impl Part {
    /// Opens the part of `target`, empty when there is none or when it is part of something else than `about`.
    pub fn open(target: &Path, about: About) -> Result<Self, DownloadError> {
        let path = beside(target, ".part");
        let file = disk::open_alone(&path)?;
        let length = file.metadata().map_err(DownloadError::io(&path))?.len();
        let mut part = Self { path, file, length, about };
        match part.stored() {
            Some(stored) if part.is_of(&stored) => {
                part.about.etag = stored.etag;
                part.about.size = part.about.size.or(stored.size);
                part.file.seek(SeekFrom::End(0)).map_err(DownloadError::io(&part.path))?;
            }
            _ => part.restart()?,
        }
        if part.about.size.is_some_and(|size| part.length > size) {
            part.restart()?;
        }
        Ok(part)
    }

    /// How many bytes are there.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What it is part of.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes what the server says about the file, for the next run.
    pub fn note(&mut self, etag: Option<&str>, size: Option<u64>) -> Result<(), DownloadError> {
        let about = About { etag: etag.map(str::to_owned), size: size.or(self.about.size), ..self.about.clone() };
        let path = self.note_path();
        let text = serde_json::to_vec(&about).map_err(std::io::Error::from).map_err(DownloadError::io(&path))?;
        fs::write(&path, text).map_err(DownloadError::io(&path))?;
        self.about = about;
        Ok(())
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.file.write_all(bytes).map_err(DownloadError::io(&self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what is there.
    pub fn restart(&mut self) -> Result<(), DownloadError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(DownloadError::io(&self.path))?;
        self.length = 0;
        self.about.etag = None;
        Ok(())
    }

    /// What it is instead of a model, where its first bytes tell.
    pub fn imposture(&mut self) -> Result<Option<&'static str>, DownloadError> {
        let mut head = Vec::new();
        let read = self.file.rewind().and_then(|()| (&self.file).take(HEAD_BYTES as u64).read_to_end(&mut head));
        read.and_then(|_| self.file.seek(SeekFrom::End(0))).map_err(DownloadError::io(&self.path))?;
        Ok(imposture(&head))
    }

    /// True once enough bytes are there to see what it is.
    pub fn has_head(&self) -> bool {
        self.length >= HEAD_BYTES as u64
    }

    /// Takes the part and the note away.
    pub fn discard(self) -> Result<(), DownloadError> {
        disk::remove(&self.path)?;
        disk::remove(&self.note_path())
    }

    /// Leaves nothing behind that nobody can go on with.
    pub fn discard_if_empty(self) -> Result<(), DownloadError> {
        if self.length == 0 { self.discard() } else { Ok(()) }
    }

    /// The whole is there: puts it on the disk under its name.
    pub fn finish(self, target: &Path) -> Result<(), DownloadError> {
        self.file.sync_all().map_err(DownloadError::io(&self.path))?;
        disk::rename(&self.path, target)?;
        disk::remove(&self.note_path())
    }

    fn note_path(&self) -> PathBuf {
        beside(&self.path, ".json")
    }

    fn stored(&self) -> Option<About> {
        serde_json::from_slice(&fs::read(self.note_path()).ok()?).ok()
    }

    /// True when a stored part has the bytes that are wanted: by checksum, else by address; never with another size.
    fn is_of(&self, stored: &About) -> bool {
        let agree = |a: Option<u64>, b: Option<u64>| a.is_none() || b.is_none() || a == b;
        let is_same = match (&self.about.checksum, &stored.checksum) {
            (Some(wanted), Some(stored)) => wanted == stored,
            _ => self.about.url == stored.url,
        };
        is_same && agree(self.about.size, stored.size)
    }
}

/// A saved page or a pointer into Git LFS; both come with a status of 200 under the name of a model.
fn imposture(head: &[u8]) -> Option<&'static str> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    // A safetensors file can begin with `<` too, the lowest byte of a length; zeros follow.
    if text.starts_with(b"<") && !text.contains(&0) {
        Some("a web page")
    } else if text.starts_with(b"version https://git-lfs") {
        Some("a pointer of Git LFS")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_pointers_are_told_from_models() {
        assert_eq!(imposture(b"\xef\xbb\xbf \n<!DOCTYPE html>"), Some("a web page"));
        assert_eq!(imposture(b"version https://git-lfs.github.com/spec/v1\n"), Some("a pointer of Git LFS"));
        assert_eq!(imposture(b"<\x20\0\0\0\0\0\0{\"a\""), None);
        assert_eq!(imposture(b"{\"a\": 1}"), None);
        assert_eq!(imposture(b""), None);
    }

    #[test]
    fn a_part_is_gone_on_with_only_when_it_is_of_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("m.ckpt");
        let about = |url: &str, size, checksum: Option<&str>| About {
            url: url.to_owned(),
            etag: None,
            size,
            checksum: checksum.map(str::to_owned),
        };
        let length_for = |wanted: About| {
            let mut part = Part::open(&target, about("a", Some(9), Some("c"))).unwrap();
            part.restart().unwrap();
            part.append(b"12345").unwrap();
            part.note(Some("e"), None).unwrap();
            drop(part);
            Part::open(&target, wanted).unwrap().length()
        };
        assert_eq!(length_for(about("a", Some(9), Some("c"))), 5);
        assert_eq!(length_for(about("b", Some(9), Some("c"))), 5);
        assert_eq!(length_for(about("a", None, None)), 5);
        assert_eq!(length_for(about("b", None, None)), 0);
        assert_eq!(length_for(about("a", Some(8), None)), 0);
        assert_eq!(length_for(about("a", Some(9), Some("d"))), 0);
    }

    #[test]
    fn a_part_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("m.ckpt");
        let first = Part::open(&target, About::default()).unwrap();
        assert!(matches!(Part::open(&target, About::default()), Err(DownloadError::InUse { .. })));
        drop(first);
        Part::open(&target, About::default()).unwrap();
    }
}
