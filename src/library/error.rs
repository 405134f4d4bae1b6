//! What can go wrong with the library.

use std::path::PathBuf;

use crate::printable;

/// Why something was not done; every text names the file.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The file is no model, or cannot be read.
    #[error("{problem}")]
    NoModel {
        /// What the checkpoint room says.
        problem: String,
    },
    /// Only folders can be added.
    #[error("this is no folder: {}", printable::path(path))]
    NotAFolder {
        /// What was to be added.
        path: PathBuf,
    },
    /// It is on the list already.
    #[error("this folder is in the library already: {}", printable::path(path))]
    AlreadyThere {
        /// Which.
        path: PathBuf,
    },
    /// It is not on the list.
    #[error(
        "this folder is not in the library; `calotype models list --folders` tells which are: {}",
        printable::path(path)
    )]
    NotThere {
        /// Which.
        path: PathBuf,
    },
    /// Calotype's own folder is always there.
    #[error("Calotype's own models folder cannot be taken off the list: {}", printable::path(path))]
    Own {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("could not read {}: {source}", printable::path(path))]
    Reading {
        /// What the operating system says.
        #[source]
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
    /// The list could not be written.
    #[error("the list of model folders could not be written: {source} ({})", printable::path(path))]
    Writing {
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
