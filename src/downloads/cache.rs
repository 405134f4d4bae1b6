//! The cache of Hugging Face's own programs, read only: what lies there need not be fetched.

use std::fs;
use std::path::{Path, PathBuf};

use super::digest::Digest;
use super::message::RepoId;
use super::names;

/// How deep a model's folders are looked into: real ones have two levels.
const MOST_LEVELS: usize = 6;
/// How many files of a repository are looked at.
const MOST_FILES: usize = 100_000;

/// One repository in the cache.
pub(super) struct CachedRepo {
    root: PathBuf,
}

/// A file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CachedFile {
    /// Inside the repository, with `/` between folders.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its checksum, where the cache calls it by that.
    pub digest: Option<Digest>,
    /// On this disk.
    pub place: PathBuf,
}

impl CachedRepo {
    /// The folder of `repo`, whether there is one or not.
    pub fn new(cache: &Path, repo: &RepoId) -> Self {
        Self { root: cache.join(format!("models--{}", repo.folder_name())) }
    }

    /// The commit that a branch or tag meant when it was last asked for; a commit means itself.
    pub fn commit(&self, revision: &str) -> Option<String> {
        let stored =
            names::below(&self.root.join("refs"), revision).ok().and_then(|file| fs::read_to_string(file).ok());
        let commit = stored.map_or_else(|| revision.to_owned(), |text| text.trim().to_owned());
        let is_commit = names::file_name(&commit) == commit && self.snapshot(&commit).is_dir();
        is_commit.then_some(commit)
    }

    /// Where a file of a commit, or any file with the same bytes, lies.
    pub fn find(&self, commit: &str, path: &str, digest: Option<&Digest>) -> Option<PathBuf> {
        let blob = digest.map(|digest| self.root.join("blobs").join(digest.hex())).filter(|blob| blob.is_file());
        let in_snapshot = || names::below(&self.snapshot(commit), path).ok().filter(|place| place.is_file());
        blob.or_else(in_snapshot)
    }

    /// Every file of a commit that is there, sorted.
    pub fn files(&self, commit: &str) -> Vec<CachedFile> {
        let mut files = Vec::new();
        let mut folders = vec![(self.snapshot(commit), String::new(), 0)];
        while let Some((folder, prefix, level)) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let (Ok(name), place) = (entry.file_name().into_string(), entry.path()) else { continue };
                let path = format!("{prefix}{name}");
                // Through the link: snapshots point to blobs.
                let Ok(found) = fs::metadata(&place) else { continue };
                if found.is_dir() && level < MOST_LEVELS {
                    folders.push((place, format!("{path}/"), level + 1));
                } else if found.is_file() && files.len() < MOST_FILES {
                    let blob = fs::read_link(&place).ok();
                    let digest = blob.as_ref().and_then(|blob| Digest::of_name(blob.file_name()?.to_str()?));
                    files.push(CachedFile { path, size: found.len(), digest, place });
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }
}
