//! The library itself: folders, what was read of their files, and the hashes; used by the thread and the command line.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::checkpoint::CheckpointError;
use crate::library::cache::{Cache, CachedFile};
use crate::library::error::LibraryError;
use crate::library::folder_list::{FolderList, Places};
use crate::library::hash::{HashStop, hash_file};
use crate::library::index::LibraryIndex;
use crate::library::layout::{Layout, recognise};
use crate::library::message::{Activity, Card, Entry, Folder, KindGroup};
use crate::library::scan::{Candidate, Stamp, Walk};
use crate::library::side_files;

/// An unread file of at least this size in a folder that says nothing is taken for a checkpoint.
const LEAST_CHECKPOINT_BYTES: u64 = 1 << 30;
/// In what order groups are hashed: recipes name checkpoints by their hash, then LoRAs.
const HASHED: [KindGroup; 5] =
    [KindGroup::Checkpoint, KindGroup::Lora, KindGroup::Embedding, KindGroup::Vae, KindGroup::UNet];

/// Told how many of how many files are read; true stops the scan.
pub type ScanStop<'a> = &'a mut dyn FnMut(&Catalogue, usize, usize) -> bool;

/// The library on disk.
#[derive(Debug)]
pub struct Catalogue {
    places: Places,
    cache: Cache,
    folders: Vec<Folder>,
    entries: Vec<Arc<Entry>>,
    /// Files whose headers were read, for whoever wants to know what the cache is good for.
    opened: usize,
    /// Files that cannot be hashed now: they are not tried again before the next scan.
    unhashable: HashSet<PathBuf>,
}

impl Catalogue {
    /// The library as it was left; nothing is listed before the first [`Catalogue::scan`].
    #[must_use]
    pub fn open(places: Places) -> Self {
        let cache = Cache::read(&places.cache_file);
        let (folders, entries, unhashable) = (Vec::new(), Vec::new(), HashSet::new());
        Self { places, cache, folders, entries, opened: 0, unhashable }
    }

    /// Lists all folders anew; files that did not change are not opened. False when it was stopped: then the list is what
    /// was read so far.
    pub fn scan(&mut self, stop: ScanStop<'_>) -> bool {
        let own = self.places.own.clone();
        let added = FolderList::read(&self.places).folders;
        let mut walk = Walk::default();
        let mut is_stopped = false;
        self.folders.clear();
        for path in std::iter::once(own.clone()).chain(added) {
            let is_own = path == own;
            let Layout { program, parts } = recognise(&path);
            let mut problem = None;
            for (part, shelf) in parts {
                let mut is_over = || stop(self, 0, 0);
                if let Err(error) = walk.add(&part, shelf, &mut is_over)
                    && !(is_own && error.kind() == std::io::ErrorKind::NotFound)
                {
                    problem = Some(format!("could not read {}: {error}", part.display()));
                }
            }
            self.folders.push(Folder { path, program, is_own, problem, is_watched: false });
        }
        let of = walk.found.len();
        let before = std::mem::take(&mut self.entries);
        self.unhashable.clear();
        for (done, candidate) in walk.found.into_iter().enumerate() {
            if is_stopped || stop(self, done, of) {
                is_stopped = true;
                break;
            }
            let entry = self.entry(candidate);
            self.entries.push(Arc::new(entry));
        }
        if is_stopped {
            let read: HashSet<PathBuf> = self.entries.iter().map(|entry| entry.path.clone()).collect();
            self.entries.extend(before.into_iter().filter(|entry| !read.contains(&entry.path)));
        } else {
            let there: HashSet<&Path> = self.entries.iter().map(|entry| entry.path.as_path()).collect();
            self.cache.forget_lost(|path| there.contains(path));
        }
        self.save();
        !is_stopped
    }

    fn entry(&mut self, candidate: Candidate) -> Entry {
        let Candidate { path, name, shelf, stamp, preview, notes, problem } = candidate;
        let (card, hashes, notes) = if let Some(problem) = problem {
            (Err(problem), None, None)
        } else {
            let file = self.file(&path, stamp, notes);
            (file.card, file.hashes, file.notes)
        };
        let size_bytes = match &card {
            Ok(card) => card.size_bytes,
            Err(_) => stamp.size_bytes,
        };
        let group = group(card.as_ref().ok(), (&name, shelf), size_bytes);
        let notes = notes.map(|(_, notes)| notes).unwrap_or_default();
        Entry { path, name, size_bytes, group, card, hashes, preview, notes }
    }

    /// What is known of a file, read where it is not.
    fn file(&mut self, path: &Path, stamp: Stamp, notes: Option<(PathBuf, Stamp)>) -> CachedFile {
        let known = self.cache.get(path, stamp).cloned();
        let notes_stamp = notes.as_ref().map(|(_, stamp)| *stamp);
        if let Some(known) = &known
            && known.notes.as_ref().map(|(stamp, _)| *stamp) == notes_stamp
        {
            return known.clone();
        }
        let (card, hashes) = if let Some(known) = known {
            (known.card, known.hashes)
        } else {
            self.opened += 1;
            (crate::checkpoint::inspect(path).map_err(problem), None)
        };
        let notes = notes.map(|(path, stamp)| (stamp, side_files::read(&path)));
        let file = CachedFile { stamp, card, hashes, notes };
        self.cache.put(path.to_owned(), file.clone());
        file
    }

    /// What is known now.
    #[must_use]
    pub fn index(&self, activity: Activity) -> LibraryIndex {
        LibraryIndex { entries: self.entries.clone(), folders: self.folders.clone(), activity }
    }

    /// How many headers were read since the start.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.opened
    }

    /// Puts a folder on the list; the next scan lists it.
    ///
    /// # Errors
    /// As [`FolderList::add`].
    pub fn add_folder(&mut self, folder: &Path) -> Result<(), LibraryError> {
        FolderList::add(&self.places, folder).map(drop)
    }

    /// Takes a folder off the list; no file is touched.
    ///
    /// # Errors
    /// As [`FolderList::remove`].
    pub fn remove_folder(&mut self, folder: &Path) -> Result<(), LibraryError> {
        FolderList::remove(&self.places, folder).map(drop)
    }

    /// Says of each folder whether changes in it are seen.
    pub fn note_watched(&mut self, mut is_watched: impl FnMut(&Path) -> bool) {
        for folder in &mut self.folders {
            folder.is_watched = is_watched(&folder.path);
        }
    }

    /// The files without hashes, in the order in which they are to be hashed.
    #[must_use]
    pub fn unhashed(&self) -> Vec<PathBuf> {
        let index = self.index(Activity::Idle);
        let of_group = |group: KindGroup| index.unhashed(group).map(|entry| entry.path.clone()).collect::<Vec<_>>();
        let all = HASHED.into_iter().flat_map(of_group);
        all.filter(|path| !self.unhashable.contains(path)).collect()
    }

    /// Computes the hashes of one file of the list.
    ///
    /// # Errors
    /// When it cannot be read, changed meanwhile, or `stop` says so.
    pub fn hash(&mut self, path: &Path, stop: HashStop<'_>) -> Result<(), LibraryError> {
        let result = self.hash_unchanged(path, stop);
        if result.as_ref().is_err_and(|error| !matches!(error, LibraryError::Cancelled)) {
            self.unhashable.insert(path.to_owned());
        }
        result
    }

    fn hash_unchanged(&mut self, path: &Path, stop: HashStop<'_>) -> Result<(), LibraryError> {
        let reading = |source| LibraryError::Reading { source, path: path.to_owned() };
        let before = Stamp::of(path).map_err(reading)?;
        let hashes = hash_file(path, stop)?;
        let is_the_same = self.cache.get(path, before).is_some() && Stamp::of(path).map_err(reading)? == before;
        if !is_the_same {
            return Err(reading(std::io::Error::other("it changed while it was hashed")));
        }
        self.cache.put_hashes(path, hashes.clone());
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.path == path) {
            Arc::make_mut(entry).hashes = Some(hashes);
        }
        Ok(())
    }

    /// Keeps what was read for the next start.
    pub fn save(&mut self) {
        self.cache.write(&self.places.cache_file);
    }

    /// The folders as they were listed.
    pub(super) fn folders(&self) -> &[Folder] {
        &self.folders
    }

    /// How large a file is, by the list.
    pub(super) fn size_of(&self, path: &Path) -> u64 {
        self.entries.iter().find(|entry| entry.path == path).map_or(0, |entry| entry.size_bytes)
    }
}

/// Why a file is not known, without its path: lists show it beside its name.
fn problem(error: CheckpointError) -> String {
    match error {
        CheckpointError::Foreign { what, .. } => format!("this is {what}"),
        CheckpointError::Damaged { problem, .. } => format!("damaged, {problem}"),
        CheckpointError::Io { source, .. } => format!("could not be read: {source}"),
        error => error.to_string(),
    }
}

/// What it is decides; where that does not show, what its folder is for.
fn group(card: Option<&Card>, (name, shelf): (&str, Option<KindGroup>), size_bytes: u64) -> KindGroup {
    let of_card = card.map(|card| card.kind.group());
    // A1111 takes `NAME.vae.pt` for the VAE of the checkpoint NAME, whatever else is inside.
    let is_vae_by_name = name.to_lowercase().ends_with(".vae");
    if is_vae_by_name && matches!(of_card, None | Some(KindGroup::Checkpoint)) {
        return KindGroup::Vae;
    }
    if let Some(group) = of_card {
        return group;
    }
    let is_large = size_bytes >= LEAST_CHECKPOINT_BYTES;
    shelf.unwrap_or(if is_large { KindGroup::Checkpoint } else { KindGroup::Other })
}
