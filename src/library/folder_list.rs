//! Which folders the library lists: Calotype's own, and those that the user added, kept in a small file.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::library::error::LibraryError;

/// More is no list of folders.
const MOST_BYTES: u64 = 1 << 20;

/// Where the library keeps its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Calotype's own models.
    pub own: PathBuf,
    /// The list of the folders that the user added.
    pub list_file: PathBuf,
    /// What was read before: may be deleted at any time.
    pub cache_file: PathBuf,
}

impl Places {
    /// The usual names in a data folder and a cache folder.
    #[must_use]
    pub fn new(own: PathBuf, data: &Path, cache: &Path) -> Self {
        Self { own, list_file: data.join("model-folders.json"), cache_file: cache.join("models.json") }
    }
}

/// The folders that the user added, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FolderList {
    /// As they were named, made absolute.
    pub folders: Vec<PathBuf>,
}

impl FolderList {
    /// Reads the list; empty where there is none. A damaged list is said in the log and is empty, but not written over
    /// until the user changes it.
    #[must_use]
    pub fn read(places: &Places) -> Self {
        let file = &places.list_file;
        let text = match fs::metadata(file) {
            Ok(facts) if facts.is_file() && facts.len() <= MOST_BYTES => fs::read_to_string(file),
            Ok(_) => Err(std::io::Error::other("too large, or no plain file")),
            Err(error) => Err(error),
        };
        match text {
            Err(error) if error.kind() == ErrorKind::NotFound => Self::default(),
            Err(error) => {
                tracing::warn!(%error, "{} could not be read", file.display());
                Self::default()
            }
            Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| {
                tracing::warn!(%error, "{} is damaged: add the model folders again", file.display());
                Self::default()
            }),
        }
    }

    /// Puts a folder on the list. Reads the list first: another program may have changed it.
    ///
    /// # Errors
    /// When it is no folder, is there already, or the list cannot be written.
    pub fn add(places: &Places, folder: &Path) -> Result<Self, LibraryError> {
        if !folder.is_dir() {
            return Err(LibraryError::NotAFolder { path: folder.to_owned() });
        }
        let folder = absolute(folder);
        let _alone = alone(places)?;
        let mut list = Self::read(places);
        if list.folders.contains(&folder) || same(&folder, &places.own) {
            return Err(LibraryError::AlreadyThere { path: folder });
        }
        list.folders.push(folder);
        list.write(places)?;
        Ok(list)
    }

    /// Takes a folder off the list; it may be gone from the disk.
    ///
    /// # Errors
    /// When it is not on the list, is Calotype's own, or the list cannot be written.
    pub fn remove(places: &Places, folder: &Path) -> Result<Self, LibraryError> {
        let folder = absolute(folder);
        if same(&folder, &places.own) {
            return Err(LibraryError::Own { path: folder });
        }
        let _alone = alone(places)?;
        let mut list = Self::read(places);
        let before = list.folders.len();
        list.folders.retain(|known| !same(known, &folder));
        if list.folders.len() == before {
            return Err(LibraryError::NotThere { path: folder });
        }
        list.write(places)?;
        Ok(list)
    }

    fn write(&self, places: &Places) -> Result<(), LibraryError> {
        let file = &places.list_file;
        let is_damaged = |text: String| serde_json::from_str::<Self>(&text).is_err();
        if file.is_file() && fs::read_to_string(file).map_or(true, is_damaged) {
            let aside = file.with_extension("json.damaged");
            tracing::warn!("the damaged list of folders is kept as {}", aside.display());
            fs::rename(file, &aside).map_err(|source| LibraryError::Writing { source, path: aside.clone() })?;
        }
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::other);
        let written = text.and_then(|text| write_whole(&places.list_file, &text));
        written.map_err(|source| LibraryError::Writing { source, path: places.list_file.clone() })
    }
}

/// Keeps other programs from changing the list between reading and writing, as long as the file is open.
fn alone(places: &Places) -> Result<File, LibraryError> {
    let path = places.list_file.with_extension("lock");
    let open = || {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        File::options().create(true).truncate(false).write(true).open(&path)
    };
    let file = open().map_err(|source| LibraryError::Writing { source, path: path.clone() })?;
    if let Err(error) = file.lock() {
        // Some network file systems know no locks: better an unguarded list than none.
        tracing::warn!(%error, "no lock could be had: {}", path.display());
    }
    Ok(file)
}

/// Writes a file so that a reader, also after a crash, finds the old contents or the new ones, never a part.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn absolute(folder: &Path) -> PathBuf {
    let named = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    // A slash at the end makes no other folder.
    named.components().collect()
}

/// The same folder, also by way of links.
fn same(a: &Path, b: &Path) -> bool {
    a == b || fs::canonicalize(a).ok().is_some_and(|a| fs::canonicalize(b).ok() == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_added_at_the_same_time_are_all_kept() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path().join("own"), &root.path().join("data"), root.path());
        let folders: Vec<PathBuf> = (0..16).map(|index| root.path().join(format!("models-{index}"))).collect();
        std::thread::scope(|scope| {
            for folder in &folders {
                fs::create_dir(folder).unwrap();
                scope.spawn(|| FolderList::add(&places, folder).unwrap());
            }
        });
        let mut kept = FolderList::read(&places).folders;
        kept.sort();
        let mut expected = folders.clone();
        expected.sort();
        assert_eq!(kept, expected);
        std::thread::scope(|scope| {
            for folder in &folders[1..] {
                scope.spawn(|| FolderList::remove(&places, folder).unwrap());
            }
        });
        assert_eq!(FolderList::read(&places).folders, folders[..1]);
    }
}
