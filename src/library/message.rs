//! What the window says to the library's thread, and what it answers: plain data only.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::checkpoint::card::{
    Card, Container, Family, KindGroup, MakersNotes, ModelKind, Parts, PredictionKind, Purpose,
};
pub use crate::library::index::LibraryIndex;

/// Orders to the library's thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Look at the folders again; files that did not change are not opened. Answered by `Changed`.
    Rescan,
    /// Put a folder on the list. Answered by `Changed`, or by `Refused`.
    AddFolder(PathBuf),
    /// Take a folder off the list; no file is touched. Answered by `Changed`, or by `Refused`.
    RemoveFolder(PathBuf),
    /// Whether files without hashes are hashed while there is nothing else to do. At the start they are not: the window
    /// says when the machine is free.
    Hash(bool),
}

/// News from the library's thread.
#[derive(Debug, Clone)]
pub enum Event {
    /// What the library knows now. While it reads, some may be dropped; the last always arrives.
    Changed(Arc<LibraryIndex>),
    /// Something asked for was not done.
    Refused {
        /// Why and what to do, for people.
        error: String,
    },
}

/// One file, or one model folder, of the library.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Where it is.
    pub path: PathBuf,
    /// Its path below the folder that it is listed for, `/` between the parts, without the ending: "styles/ink".
    pub name: String,
    /// In bytes.
    pub size_bytes: u64,
    /// Where lists put it.
    pub group: KindGroup,
    /// What it is, or why that is not known.
    pub card: Result<Card, String>,
    /// Its hashes, once they are computed.
    pub hashes: Option<Hashes>,
    /// A picture that lies beside it.
    pub preview: Option<PathBuf>,
    /// What a notes file beside it says.
    pub notes: SideNotes,
}

impl Entry {
    /// The last part of the name, which prompts and recipes know it by.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// The card, where the file could be read.
    #[must_use]
    pub fn known(&self) -> Option<&Card> {
        self.card.as_ref().ok()
    }

    /// The first 10 digits of the sha256, as A1111 shows it.
    #[must_use]
    pub fn short_hash(&self) -> Option<&str> {
        self.hashes.as_ref().and_then(|hashes| hashes.sha256.get(..10))
    }

    /// The words that set it off, as its notes file or its makers say.
    #[must_use]
    pub fn trigger_words(&self) -> Vec<String> {
        if !self.notes.trigger_words.is_empty() {
            return self.notes.trigger_words.clone();
        }
        self.known().and_then(|card| card.notes.trigger.clone()).into_iter().collect()
    }
}

/// The hashes of a file, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hashes {
    /// Of the whole file.
    pub sha256: String,
    /// A1111's old hash: of 64 KiB at 1 MiB, 8 digits; none for shorter files.
    pub old: Option<String>,
    /// Of what follows a safetensors header: A1111's hash of a LoRA (addnet) and Civitai's AutoV3, 64 digits.
    pub after_header: Option<String>,
}

/// What a `.civitai.info` or `.json` beside a file says, cut to what can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SideNotes {
    /// Words that set it off.
    pub trigger_words: Vec<String>,
    /// What it is, without markup.
    pub description: Option<String>,
}

/// A folder of the library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The program whose layout it has: "ComfyUI".
    pub program: Option<&'static str>,
    /// True for Calotype's own, which cannot be taken off the list.
    pub is_own: bool,
    /// Why it could not be read.
    pub problem: Option<String>,
    /// False when changes in it are not seen by themselves.
    pub is_watched: bool,
}

/// What the thread is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Activity {
    /// Nothing.
    #[default]
    Idle,
    /// Reading headers.
    Scanning {
        /// Files read or known.
        done: usize,
        /// Files found.
        of: usize,
    },
    /// Computing hashes.
    Hashing {
        /// Files that are still to be hashed, this one counted.
        left: usize,
        /// How much of this one is done, 0 to 100.
        percent: u8,
    },
}

/// "6.9 GB", as file managers count.
#[must_use]
pub fn size_for_people(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return format!("{bytes} B"),
        1_000..1_000_000 => (1e3, "kB"),
        1_000_000..1_000_000_000 => (1e6, "MB"),
        _ => (1e9, "GB"),
    };
    let size = bytes as f64 / unit;
    if size < 10.0 { format!("{size:.1} {name}") } else { format!("{size:.0} {name}") }
}
