//! What the window and the command line say to the downloading thread, and what it answers: plain data only.

use std::path::PathBuf;

pub use crate::downloads::digest::Sha256Hex;
pub use crate::downloads::wanted::{RepoId, Wanted};
use crate::inference::cancel::CancelToken;

/// Names one download; never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DownloadId(pub u64);

/// Orders to the downloading thread, carried out one after the other.
#[derive(Debug)]
pub enum Command {
    /// Fetch a model. Answered by `Started`, `Found`, `Progress`es, then exactly one of `Finished`, `Cancelled`, `Failed`;
    /// by `Cancelled` alone when it was cancelled before its turn.
    Start(Box<Order>),
}

/// One model to fetch.
#[derive(Debug)]
pub struct Order {
    /// Its name in every event.
    pub id: DownloadId,
    /// What to fetch.
    pub what: Wanted,
    /// The folder that the file, or the model's folder, goes into; made when it is not there.
    pub destination: PathBuf,
    /// Which of a repository's weights, `fp16` for example; without it the plain ones, else those in half precision.
    pub variant: Option<String>,
    /// What the file has to come to; for single files only.
    pub sha256: Option<Sha256Hex>,
    /// Ends the download early. What is there stays, and the same order goes on from it.
    pub cancel: CancelToken,
}

/// News from the downloading thread.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The order's turn has come; what it takes is being looked up.
    Started {
        /// Which.
        id: DownloadId,
    },
    /// What is to be fetched is known, and there is room for it.
    Found {
        /// Which.
        id: DownloadId,
        /// For people: the name of the file, or of the model's folder.
        name: String,
        /// How many files the model has.
        files: usize,
        /// The size of all, in bytes, where the server says it.
        total: Option<u64>,
    },
    /// Offered: how far it is.
    Progress {
        /// Which.
        id: DownloadId,
        /// Bytes that are on the disk, those of earlier tries and of a cache among them.
        done: u64,
        /// The size of all, in bytes, where the server says it.
        total: Option<u64>,
        /// How fast it comes in now.
        bytes_per_second: f64,
        /// The file at hand.
        file: String,
    },
    /// Offered: a whole file is being compared with its checksum.
    Verifying {
        /// Which.
        id: DownloadId,
        /// The file.
        file: String,
    },
    /// The server is busy or the connection was cut: the next try is after a pause.
    Waiting {
        /// Which.
        id: DownloadId,
        /// How long the pause is.
        seconds: u64,
        /// Why, for people.
        reason: String,
    },
    /// All is there, and right.
    Finished {
        /// Which.
        id: DownloadId,
        /// The file or the model's folder.
        path: PathBuf,
        /// How many bytes came over the network for it; 0 when all was there.
        fetched: u64,
    },
    /// It ended because it was asked to; the same order goes on from there.
    Cancelled {
        /// Which.
        id: DownloadId,
    },
    /// It ended with an error; the thread is ready for the next.
    Failed {
        /// Which.
        id: DownloadId,
        /// Why and what to do, for people.
        error: String,
    },
}
