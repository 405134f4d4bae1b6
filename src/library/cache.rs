//! What was read before, so that a start lists thousands of files without opening one. Losing it costs time, nothing else.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::library::folder_list::write_whole;
use crate::library::message::{Card, Hashes, SideNotes};
use crate::library::scan::Stamp;

/// Raised when cards say something else than before.
const VERSION: u32 = 4;
/// A larger file is not ours.
const MOST_BYTES: u64 = 512 << 20;
/// Files of folders that are not there at the moment are kept up to this many.
const MOST_FILES: usize = 50_000;

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CachedFile {
    pub stamp: Stamp,
    pub card: Result<Card, String>,
    pub hashes: Option<Hashes>,
    pub notes: Option<(Stamp, SideNotes)>,
}

/// All that is known, by path.
#[derive(Debug, Default)]
pub struct Cache {
    pub files: HashMap<PathBuf, CachedFile>,
    is_changed: bool,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    /// Paths that are text only: others are read anew each time.
    files: HashMap<String, CachedFile>,
}

impl Cache {
    /// Reads the file; what cannot be understood is as if it were not there.
    pub fn read(path: &Path) -> Self {
        let is_ours = fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.len() <= MOST_BYTES);
        let bytes = if is_ours { fs::read(path).unwrap_or_default() } else { Vec::new() };
        let stored = serde_json::from_slice::<Stored>(&bytes).ok().filter(|stored| stored.version == VERSION);
        let files = stored.map(|stored| stored.files).unwrap_or_default();
        Self { files: files.into_iter().map(|(path, file)| (path.into(), file)).collect(), is_changed: false }
    }

    /// What is known of a file that has not changed since.
    pub fn get(&self, path: &Path, stamp: Stamp) -> Option<&CachedFile> {
        self.files.get(path).filter(|known| known.stamp == stamp)
    }

    pub fn put(&mut self, path: PathBuf, file: CachedFile) {
        self.is_changed = true;
        self.files.insert(path, file);
    }

    /// Notes the hashes of a file that is known.
    pub fn put_hashes(&mut self, path: &Path, hashes: Hashes) {
        if let Some(file) = self.files.get_mut(path) {
            file.hashes = Some(hashes);
            self.is_changed = true;
        }
    }

    /// Forgets files that are not there, when there are too many.
    pub fn forget_lost(&mut self, is_there: impl Fn(&Path) -> bool) {
        if self.files.len() > MOST_FILES {
            self.files.retain(|path, _| is_there(path));
            self.is_changed = true;
        }
    }

    /// Writes what changed since the last time.
    pub fn write(&mut self, path: &Path) {
        if !self.is_changed {
            return;
        }
        self.is_changed = false;
        let text = |(path, file): (&PathBuf, &CachedFile)| Some((path.to_str()?.to_owned(), file.clone()));
        let stored = Stored { version: VERSION, files: self.files.iter().filter_map(text).collect() };
        let bytes = serde_json::to_vec(&stored).map_err(std::io::Error::other);
        if let Err(error) = bytes.and_then(|bytes| write_whole(path, &bytes)) {
            tracing::warn!(%error, "what is known of the models is not kept for the next start");
        }
    }
}
