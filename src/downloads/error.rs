//! What can go wrong with a download, in sentences that say what to do about it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::printable;

/// Why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// What was asked for is neither an id nor an address.
    #[error(
        "{problem}; name a Hugging Face repository (org/name), a file in one (org/name/file), or an http address: {}",
        printable::sentence(text)
    )]
    NotAnAddress {
        /// What was typed.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A checksum that is none.
    #[error("a SHA-256 checksum has 64 digits of 0-9 and a-f: {}", printable::name(.0))]
    NotAChecksum(String),
    /// One checksum for many files.
    #[error("a checksum can only be given for a single file, and {id} is a folder of several; name the file")]
    ChecksumForFolder {
        /// The repository.
        id: String,
    },
    /// The environment names an endpoint that is none.
    #[error("HF_ENDPOINT is not an http address; correct it or take it away: {}", printable::sentence(.0))]
    Endpoint(String),
    /// The environment forbids the network.
    #[error(
        "HF_HUB_OFFLINE is set, so only the Hugging Face cache is used, and {what} is not in it or not whole ({cache}); unset HF_HUB_OFFLINE to download it"
    )]
    Offline {
        /// What was asked for.
        what: String,
        /// Where it was looked for.
        cache: String,
    },
    /// The licence is not accepted.
    #[error(
        "this model wants its licence accepted: log in and accept it on {page}, make a token on https://huggingface.co/settings/tokens, set HF_TOKEN to it and try again"
    )]
    Gated {
        /// The page of the model.
        page: String,
    },
    /// The server wants to know who asks.
    #[error(
        "{host} does not let this file out without a login, or it does not exist: {url}; for Hugging Face set HF_TOKEN to a token that may read it"
    )]
    Unauthorised {
        /// The server.
        host: String,
        /// What was asked for.
        url: String,
    },
    /// There is no such thing.
    #[error("there is no such {what}; look at its name, and at capital and small letters: {url}")]
    NotFound {
        /// A repository, revision or file.
        what: &'static str,
        /// What was asked for.
        url: String,
    },
    /// The server says no in some other way.
    #[error("the server refused with status {status}: {url}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What was asked for.
        url: String,
    },
    /// The server has no time now.
    #[error("{host} is busy or broken (status {status})")]
    Busy {
        /// The server.
        host: String,
        /// The HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The server wants to be left alone for longer than anybody waits.
    #[error("{host} asks to come back in {minutes} minutes; start the download again then, it goes on where it is")]
    ComeBackLater {
        /// The server.
        host: String,
        /// How long.
        minutes: u64,
    },
    /// The network does not work, or stopped to.
    #[error("the connection to {host} failed: {}", printable::sentence(problem))]
    Connection {
        /// The server.
        host: String,
        /// What happened.
        problem: String,
    },
    /// No safe connection.
    #[error(
        "no safe connection to {host}: {}; look at the address, at this computer's clock, and for a proxy in between",
        printable::sentence(problem)
    )]
    Insecure {
        /// The server.
        host: String,
        /// What happened.
        problem: String,
    },
    /// The rest is of another file than the beginning.
    #[error("the file at {host} has changed in the meantime")]
    Changed {
        /// The server.
        host: String,
    },
    /// Other bytes came than were asked for.
    #[error("{host} does not send the part of the file that is wanted: {problem}")]
    WrongPart {
        /// The server.
        host: String,
        /// What it did.
        problem: String,
    },
    /// Redirections that lead nowhere.
    #[error("the server sends on to {}: {}", printable::sentence(problem), printable::sentence(url))]
    Redirect {
        /// Where to.
        problem: String,
        /// From where.
        url: String,
    },
    /// Passing trouble that did not pass.
    #[error("given up after {tries} tries, {last}; look at the network and start it again: it goes on where it is")]
    GaveUp {
        /// How many.
        tries: u32,
        /// The last trouble.
        last: Box<DownloadError>,
    },
    /// Something else than a file of weights.
    #[error(
        "the server sent {what} instead of a model; open the address in a browser and copy the link of the file itself: {url}"
    )]
    NotAFile {
        /// What it is.
        what: &'static str,
        /// What was asked for.
        url: String,
    },
    /// The server's numbers contradict each other.
    #[error("the file has {found} where {said} were announced; nothing of it is kept, try again: {url}")]
    Length {
        /// The announced size.
        said: String,
        /// What came.
        found: String,
        /// What was asked for.
        url: String,
    },
    /// The file is damaged or another one.
    #[error(
        "the file is damaged or not the one that is meant: its checksum is {found} instead of {expected}; it is deleted, try again: {}",
        printable::path(path)
    )]
    WrongChecksum {
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
        /// The file.
        path: PathBuf,
    },
    /// An answer that is not understood.
    #[error("the server's answer was not understood, {}: {}", printable::sentence(problem), printable::sentence(url))]
    Answer {
        /// Where and what.
        problem: String,
        /// What was asked for.
        url: String,
    },
    /// The repository holds more than one model.
    #[error("{id} holds several checkpoints; name one of them:\n  {}", listed(files))]
    SeveralCheckpoints {
        /// The repository.
        id: String,
        /// What could be asked for.
        files: Vec<String>,
    },
    /// The repository holds no model.
    #[error("{id} holds no Stable Diffusion model: neither model_index.json nor a .safetensors, .ckpt or .gguf file")]
    NoCheckpoint {
        /// The repository.
        id: String,
    },
    /// A part of the model is not in the repository.
    #[error("{id} is not whole: {}", printable::sentence(problem))]
    Incomplete {
        /// The repository.
        id: String,
        /// What is missing.
        problem: String,
    },
    /// The weights that were asked for are not there.
    #[error(
        "{id} has no weights of the variant \"{}\"; it has {}",
        printable::name(variant),
        printable::sentence(known)
    )]
    NoVariant {
        /// The repository.
        id: String,
        /// What was asked for.
        variant: String,
        /// What there is.
        known: String,
    },
    /// A name that would lead out of the folder.
    #[error("the server names a file in a way that could do harm on this computer; nothing was written: \"{}\"", printable::name(.0))]
    UnsafeName(String),
    /// Not enough room.
    #[error(
        "not enough room: {needed} are needed and {free} are free; make room, or choose another folder: {}",
        printable::path(folder)
    )]
    NoRoom {
        /// How much is to come, with a margin.
        needed: String,
        /// How much there is.
        free: String,
        /// Where.
        folder: PathBuf,
    },
    /// Another download writes the same file.
    #[error("another download is writing this; wait for it or cancel it: {}", printable::path(path))]
    InUse {
        /// The file or folder.
        path: PathBuf,
    },
    /// A file of the user's stands there.
    #[error("there is another file of this name; move it away, or choose another folder: {}", printable::path(path))]
    Taken {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full all the same.
    #[error("the disk is full; make room and start again, it goes on where it is: {}", printable::path(path))]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
    },
    /// The disk does not work with us.
    #[error("could not write or read {}: {source}", printable::path(path))]
    Io {
        /// What the operating system says.
        #[source]
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
    /// The caller asked for the end; not a fault.
    #[error("cancelled")]
    Cancelled,
}

impl DownloadError {
    /// For `map_err`: trouble with a file.
    pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path: path.to_owned() },
            _ => Self::Io { source, path: path.to_owned() },
        }
    }

    /// True when the same may work a little later: servers recover, and a download that was cancelled lets go of its files.
    pub(super) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Connection { .. }
                | Self::Changed { .. }
                | Self::WrongPart { .. }
                | Self::InUse { .. }
        )
    }
}

/// Names, one on each line.
fn listed(files: &[String]) -> String {
    files.iter().map(|file| printable::sentence(file)).collect::<Vec<_>>().join("\n  ")
}
