//! Finds the files of a folder that can be models: recursively, within bounds, each once, never for ever.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::library::message::KindGroup;

/// Endings of files that can be models, in lower case.
pub(super) const ENDINGS: &[&str] = &["safetensors", "sft", "ckpt", "pt", "pth", "bin", "gguf"];
/// Folders in folders in folders; more is a loop or no library.
const MOST_DEPTH: usize = 16;
/// Files and folders that are listed in all.
const MOST_FOUND: usize = 50_000;
/// Names that are looked at in one folder: it may be a data set.
const MOST_NAMES: usize = 100_000;
/// Endings behind the stem of pictures of a model, the best first.
const PREVIEWS: [&str; 8] =
    [".preview.png", ".png", ".preview.jpg", ".jpg", ".preview.webp", ".webp", ".preview.jpeg", ".jpeg"];
/// Endings behind the stem of notes about a model, the best first.
const NOTES: [&str; 2] = [".civitai.info", ".json"];

/// A file, or a model folder, that can be a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub path: PathBuf,
    /// Below its part of the library, without the ending.
    pub name: String,
    /// What its folder is for.
    pub shelf: Option<KindGroup>,
    pub stamp: Stamp,
    pub preview: Option<PathBuf>,
    pub notes: Option<(PathBuf, Stamp)>,
    /// Why its facts could not be had.
    pub problem: Option<String>,
}

/// By what a changed file is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    pub size_bytes: u64,
    /// Of the last change, in nanoseconds since 1970.
    pub changed_ns: u64,
}

impl Stamp {
    /// Of a file.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        Ok(Self::from(&fs::metadata(path)?))
    }

    /// Of a model folder: that of the files which say what it is, together.
    fn of_folder(path: &Path) -> Self {
        let inner = ["model_index.json", "unet", "unet/config.json", "text_encoder", "text_encoder_2", "vae"];
        let stamps = inner.iter().filter_map(|inner| Self::of(&path.join(inner)).ok());
        stamps.fold(Self::default(), |all, one| Self {
            size_bytes: all.size_bytes.wrapping_add(one.size_bytes),
            changed_ns: all.changed_ns.max(one.changed_ns),
        })
    }
}

impl From<&Metadata> for Stamp {
    fn from(facts: &Metadata) -> Self {
        let changed = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Self { size_bytes: facts.len(), changed_ns: changed.map_or(0, |since| since.as_nanos() as u64) }
    }
}

/// One walk over all folders.
#[derive(Default)]
pub struct Walk {
    pub found: Vec<Candidate>,
    /// Folders as they are without links, so that none is walked twice.
    walked: HashSet<PathBuf>,
}

impl Walk {
    /// Adds what is in a folder; `stop` is asked at each folder.
    ///
    /// # Errors
    /// When the folder itself cannot be read; those below it are passed over.
    pub fn add(
        &mut self,
        part: &Path,
        shelf: Option<KindGroup>,
        stop: &mut dyn FnMut() -> bool,
    ) -> std::io::Result<()> {
        let mut waiting = vec![(part.to_owned(), 0)];
        let mut is_first = true;
        while let Some((folder, depth)) = waiting.pop() {
            if stop() || self.found.len() >= MOST_FOUND || self.walked.len() >= MOST_FOUND {
                break;
            }
            match self.folder(part, &folder, shelf) {
                Ok(below) if depth < MOST_DEPTH => waiting.extend(below.into_iter().rev().map(|f| (f, depth + 1))),
                Ok(_) => tracing::debug!("{} is too deep", folder.display()),
                Err(error) if is_first => return Err(error),
                Err(error) => tracing::warn!(%error, "{} could not be listed", folder.display()),
            }
            is_first = false;
        }
        Ok(())
    }

    /// Lists one folder; gives back the folders in it, sorted.
    fn folder(&mut self, part: &Path, folder: &Path, shelf: Option<KindGroup>) -> std::io::Result<Vec<PathBuf>> {
        if !self.walked.insert(fs::canonicalize(folder)?) {
            return Ok(Vec::new());
        }
        // Sorted, and at hand by name for the files beside a model.
        let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
        for entry in fs::read_dir(folder)?.flatten().take(MOST_NAMES) {
            names.insert(entry.file_name().to_string_lossy().into_owned(), entry.path());
        }
        if names.contains_key("model_index.json") {
            self.found.push(Candidate {
                name: name_below(part, folder),
                path: folder.to_owned(),
                shelf,
                stamp: Stamp::of_folder(folder),
                preview: None,
                notes: None,
                problem: None,
            });
            return Ok(Vec::new());
        }
        let mut below = Vec::new();
        for (name, path) in &names {
            if name.starts_with('.') {
                continue;
            }
            let stem = name.rsplit_once('.').and_then(|(stem, ending)| {
                ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)).then_some(stem)
            });
            // A link is what it leads to.
            match (fs::metadata(path), stem) {
                (Ok(facts), _) if facts.is_dir() => below.push(path.clone()),
                (Ok(facts), Some(stem)) if facts.is_file() => {
                    let candidate = candidate(part, path, stem, shelf, &names);
                    self.found.push(Candidate { stamp: Stamp::from(&facts), ..candidate });
                }
                (Err(error), Some(stem)) => {
                    let candidate = candidate(part, path, stem, shelf, &names);
                    self.found.push(Candidate { problem: Some(error.to_string()), ..candidate });
                }
                _ => {}
            }
        }
        Ok(below)
    }
}

fn candidate(
    part: &Path,
    path: &Path,
    stem: &str,
    shelf: Option<KindGroup>,
    names: &BTreeMap<String, PathBuf>,
) -> Candidate {
    let beside = |ending: &&str| names.get(&format!("{stem}{ending}")).cloned();
    let notes = NOTES.iter().find_map(beside);
    Candidate {
        path: path.to_owned(),
        name: name_below(part, &path.with_file_name(stem)),
        shelf,
        stamp: Stamp::default(),
        preview: PREVIEWS.iter().find_map(beside),
        notes: notes.and_then(|path| Some((path.clone(), Stamp::of(&path).ok()?))),
        problem: None,
    }
}

/// The path below `part` with `/` between its parts; the folder's own name for `part` itself.
fn name_below(part: &Path, path: &Path) -> String {
    let below = path.strip_prefix(part).unwrap_or(path);
    let parts: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.is_empty() { path.file_name().unwrap_or_default().to_string_lossy().into_owned() } else { parts.join("/") }
}
