//! A model of many files: put together in a hidden folder, which gets its name when all is there.

use std::fs;
use std::path::{Path, PathBuf};

use super::DownloadError;
use super::choice::{self, INDEX};
use super::client::shown;
use super::disk;
use super::fetch::{Existing, Fetcher, RemoteFile};
use super::message::RepoId;
use super::names;
use super::patience::patiently;

/// The largest index that is read: real ones have less than a kilobyte.
const MOST_INDEX_BYTES: u64 = 1 << 20;

/// Where a model folder comes to be.
pub(super) struct Workshop {
    /// `org--name`.
    name: String,
    /// The folder under its name.
    finished: PathBuf,
    /// `.org--name.partial`, which no list of models shows.
    hidden: PathBuf,
    /// `.org--name.lock`, which keeps a second download out of both folders; beside them, so that it holds until the hidden
    /// one has its name.
    lock: PathBuf,
}

impl Workshop {
    /// For a repository's model below `destination`.
    pub fn new(destination: &Path, repo: &RepoId) -> Self {
        let name = repo.folder_name();
        let beside = |ending: &str| destination.join(format!(".{name}.{ending}"));
        let (finished, hidden, lock) = (destination.join(&name), beside("partial"), beside("lock"));
        Self { name, finished, hidden, lock }
    }

    /// Fetches what is missing of the model and gives back its folder. `files` are those of the repository.
    pub fn fetch(
        &self,
        repo: &RepoId,
        files: &[RemoteFile],
        variant: Option<&str>,
        fetcher: &mut Fetcher<'_, '_>,
    ) -> Result<PathBuf, DownloadError> {
        let destination = self.lock.parent().unwrap_or(Path::new("."));
        disk::make_folder(destination)?;
        let lock = patiently(fetcher.progress, || disk::open_alone(&self.lock))?;
        let done = self.fetch_alone(repo, files, variant, fetcher);
        // Taken away while it is held: who has opened it already sees that it is no longer the lock.
        let unlocked = disk::remove(&self.lock);
        drop(lock);
        done.and_then(|path| unlocked.map(|()| path))
    }

    /// [`Workshop::fetch`], while no other download is in these folders.
    fn fetch_alone(
        &self,
        repo: &RepoId,
        files: &[RemoteFile],
        variant: Option<&str>,
        fetcher: &mut Fetcher<'_, '_>,
    ) -> Result<PathBuf, DownloadError> {
        disk::make_folder(&self.hidden)?;
        let index = self.index(files, fetcher)?;
        let chosen = match choice::model_folder(&repo.to_string(), files, &index, variant) {
            Ok(chosen) => chosen,
            Err(error) => {
                self.give_up();
                return Err(error);
            }
        };
        let missing = self.missing(&chosen, fetcher)?;
        let all = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
        let total = all(&mut chosen.iter().filter_map(|file| file.size));
        fetcher.progress.found(&self.name, chosen.len(), Some(total));
        let to_come = missing.iter().filter(|(file, _)| file.cached.is_none());
        let bytes = all(&mut to_come.map(|(file, place)| file.size.unwrap_or(0).saturating_sub(begun(place))));
        disk::check_room(fetcher.progress.surroundings, &self.hidden, bytes)?;
        let missing_bytes = all(&mut missing.iter().filter_map(|(file, _)| file.size));
        fetcher.progress.there(total.saturating_sub(missing_bytes));
        for (file, place) in &missing {
            if let Some(folder) = place.parent() {
                disk::make_folder(folder)?;
            }
            fetcher.fetch(file, place, Existing::Replace)?;
        }
        fetcher.progress.check()?;
        self.finish(&chosen)?;
        Ok(self.finished.clone())
    }

    /// Takes the hidden folder away again, unless an earlier download has left something in it.
    fn give_up(&self) {
        if disk::remove(&self.hidden.join(INDEX)).is_ok() && fs::remove_dir(&self.hidden).is_err() {
            tracing::debug!("something is left in {}", self.hidden.display());
        }
    }

    /// The model's `model_index.json`, fetched when it is not there.
    fn index(&self, files: &[RemoteFile], fetcher: &mut Fetcher<'_, '_>) -> Result<Vec<u8>, DownloadError> {
        let Some(file) = files.iter().find(|file| file.name == INDEX) else { return Ok(Vec::new()) };
        if file.size.is_none_or(|size| size > MOST_INDEX_BYTES) {
            return Err(DownloadError::Answer { problem: "it is too large".to_owned(), url: shown(&file.url) });
        }
        let mut place = self.finished.join(INDEX);
        if !fetcher.is_there(file, &place)? {
            place = self.hidden.join(INDEX);
            if !fetcher.is_there(file, &place)? {
                fetcher.fetch(file, &place, Existing::Replace)?;
            }
        }
        fs::read(&place).map_err(DownloadError::io(&place))
    }

    /// The files that are neither in the finished nor in the hidden folder, and where in the hidden one they go. Those in
    /// the hidden folder were compared when they got their names: their size is enough.
    fn missing<'f>(
        &self,
        chosen: &'f [RemoteFile],
        fetcher: &mut Fetcher<'_, '_>,
    ) -> Result<Vec<(&'f RemoteFile, PathBuf)>, DownloadError> {
        let mut missing = Vec::new();
        for file in chosen {
            let place = names::below(&self.hidden, &file.name)?;
            let size = fs::metadata(&place).ok().filter(fs::Metadata::is_file).map(|found| found.len());
            let is_in_hidden = size.is_some() && size == file.size;
            if !is_in_hidden && !fetcher.is_there(file, &names::below(&self.finished, &file.name)?)? {
                missing.push((file, place));
            }
        }
        Ok(missing)
    }

    /// Gives the hidden folder its name, or moves its files to those that have the name already.
    fn finish(&self, chosen: &[RemoteFile]) -> Result<(), DownloadError> {
        if !self.finished.exists() {
            self.clear_up(chosen)?;
            return disk::rename(&self.hidden, &self.finished);
        }
        for file in chosen {
            let place = names::below(&self.hidden, &file.name)?;
            if !place.is_file() {
                continue;
            }
            let target = names::below(&self.finished, &file.name)?;
            if let Some(folder) = target.parent() {
                disk::make_folder(folder)?;
            }
            disk::rename(&place, &target)?;
        }
        fs::remove_dir_all(&self.hidden).map_err(DownloadError::io(&self.hidden))
    }

    /// Takes away what an earlier download of other weights has left in the hidden folder.
    fn clear_up(&self, chosen: &[RemoteFile]) -> Result<(), DownloadError> {
        let mut folders = vec![(self.hidden.clone(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(DownloadError::io(&folder))? {
                let entry = entry.map_err(DownloadError::io(&folder))?;
                let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
                if entry.path().is_dir() {
                    folders.push((entry.path(), format!("{path}/")));
                } else if !chosen.iter().any(|file| file.name == path) {
                    disk::remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }
}

/// How many bytes of a file are in its part.
pub(super) fn begun(place: &Path) -> u64 {
    fs::metadata(names::beside(place, ".part")).map_or(0, |found| found.len())
}
