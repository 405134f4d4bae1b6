//! The files of one model, wherever they lie: in a folder, in one file, or inside the binary.

use std::borrow::Cow;
use std::fs::{File, Metadata};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::CheckpointError;
use super::starter::STARTER_FILES;

/// The largest JSON or text file that is read whole: the vocabularies of text encoders are far below.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Access to a model's files by their path inside the model, with `/` between folders.
#[derive(Debug, Clone)]
pub enum ModelFiles {
    /// On disk.
    Folder(PathBuf),
    /// On disk, all parts in one file: the inner path is empty.
    Single(PathBuf),
    /// In the binary.
    Starter,
}

/// An open file of weights.
pub(super) enum Source {
    Disk(File),
    Embedded(&'static [u8]),
}

impl ModelFiles {
    /// The model at `path`, a folder or a single file.
    ///
    /// # Errors
    /// When the path leads nowhere.
    pub fn at(path: &Path) -> Result<Self, CheckpointError> {
        let path = path.to_owned();
        if path.is_dir() {
            Ok(Self::Folder(path))
        } else if path.exists() {
            Ok(Self::Single(path))
        } else {
            Err(CheckpointError::NotFound { path })
        }
    }

    /// For messages: the full path of a file of the model.
    pub(super) fn path(&self, inner: &str) -> PathBuf {
        match self {
            Self::Folder(root) => root.join(inner),
            Self::Single(path) => path.clone(),
            Self::Starter => Path::new("built-in model").join(inner),
        }
    }

    /// True when the model has this file.
    pub(super) fn has(&self, inner: &str) -> bool {
        match self {
            Self::Folder(root) => root.join(inner).is_file(),
            Self::Single(_) => false,
            Self::Starter => starter_file(inner).is_some(),
        }
    }

    /// The names of the files in a folder of the model, sorted; none when there is no such folder.
    pub(super) fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Self::Folder(root) => std::fs::read_dir(root.join(folder))
                .map(|entries| entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
                .unwrap_or_default(),
            Self::Single(_) => Vec::new(),
            Self::Starter => STARTER_FILES
                .iter()
                .filter_map(|(path, _)| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned))
                .collect(),
        };
        names.sort();
        names
    }

    /// The whole of a small file.
    pub(super) fn read(&self, inner: &str) -> Result<Cow<'static, [u8]>, CheckpointError> {
        let io = |source| CheckpointError::Io { source, path: self.path(inner) };
        match self {
            Self::Folder(root) => {
                let file = open_regular(&root.join(inner)).map_err(io)?;
                let mut bytes = Vec::new();
                file.take(MAX_TEXT_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
                if bytes.len() as u64 > MAX_TEXT_BYTES {
                    let problem = format!("larger than {} MiB", MAX_TEXT_BYTES >> 20);
                    return Err(CheckpointError::Json { problem, path: self.path(inner) });
                }
                Ok(Cow::Owned(bytes))
            }
            Self::Single(_) => Err(io(std::io::ErrorKind::NotFound.into())),
            Self::Starter => match starter_file(inner) {
                Some(bytes) => Ok(Cow::Borrowed(bytes)),
                None => Err(io(std::io::ErrorKind::NotFound.into())),
            },
        }
    }

    /// A JSON file's contents.
    pub(super) fn json<T: DeserializeOwned>(&self, inner: &str) -> Result<T, CheckpointError> {
        serde_json::from_slice(&self.read(inner)?)
            .map_err(|e| CheckpointError::Json { problem: e.to_string(), path: self.path(inner) })
    }

    /// A JSON file's contents, if there is one.
    pub(super) fn json_if_present<T: DeserializeOwned>(&self, inner: &str) -> Result<Option<T>, CheckpointError> {
        if self.has(inner) { self.json(inner).map(Some) } else { Ok(None) }
    }

    /// A text file's contents.
    pub(super) fn text(&self, inner: &str) -> Result<String, CheckpointError> {
        String::from_utf8(self.read(inner)?.into_owned())
            .map_err(|e| CheckpointError::Json { problem: e.to_string(), path: self.path(inner) })
    }

    /// Opens a file of weights.
    pub(super) fn open(&self, inner: &str) -> Result<Source, CheckpointError> {
        let io = |source| CheckpointError::Io { source, path: self.path(inner) };
        match self {
            Self::Folder(root) => Ok(Source::Disk(open_regular(&root.join(inner)).map_err(io)?)),
            Self::Single(path) => Ok(Source::Disk(open_regular(path).map_err(io)?)),
            Self::Starter => {
                starter_file(inner).map(Source::Embedded).ok_or_else(|| io(std::io::ErrorKind::NotFound.into()))
            }
        }
    }
}

/// True when neither size nor time tell that a file was written to.
pub(super) fn is_unchanged(before: Option<&Metadata>, now: Option<&Metadata>) -> bool {
    let stamp = |found: &Metadata| (found.len(), found.modified().ok());
    before.map(stamp) == now.map(stamp)
}

/// Opens a file that has an end: reading a pipe or a device could wait for ever.
pub(super) fn open_regular(path: &Path) -> std::io::Result<File> {
    if std::fs::metadata(path)?.is_file() {
        return File::open(path);
    }
    Err(std::io::Error::other("it is not a regular file"))
}

fn starter_file(inner: &str) -> Option<&'static [u8]> {
    STARTER_FILES.iter().find(|(path, _)| *path == inner).map(|(_, bytes)| *bytes)
}

impl Source {
    /// Size in bytes.
    pub fn len(&self) -> std::io::Result<u64> {
        match self {
            Self::Disk(file) => Ok(file.metadata()?.len()),
            Self::Embedded(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// What the file system says about the open file; none for what is not in one.
    pub fn metadata(&self) -> Option<Metadata> {
        match self {
            Self::Disk(file) => file.metadata().ok(),
            Self::Embedded(_) => None,
        }
    }

    /// Fills `buffer` from `offset` on.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        match self {
            Self::Disk(file) => read_exact_at(file, buffer, offset),
            Self::Embedded(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let part = start.checked_add(buffer.len()).and_then(|end| bytes.get(start..end));
                buffer.copy_from_slice(part.ok_or(std::io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// Fills `buffer` from `offset` on; several threads may do so at once.
#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

/// Fills `buffer` from `offset` on; several threads may do so at once.
#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
            Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => {
                buffer = &mut buffer[len..];
                offset += len as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A source to be read like a stream, with a position of its own.
pub(super) struct SourceReader<'a> {
    source: &'a Source,
    at: u64,
}

impl<'a> SourceReader<'a> {
    pub fn new(source: &'a Source) -> Self {
        Self { source, at: 0 }
    }
}

impl Read for SourceReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.source.len()?.saturating_sub(self.at);
        let len = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.source.read_at(self.at, &mut buffer[..len])?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Seek for SourceReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.source.len()?.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = to.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
