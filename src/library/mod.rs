//! The model library: folders of models listed from their headers, watched, hashed in the background, found by name and
//! by hash. Files are never written, moved or deleted here.

mod cache;
mod catalogue;
mod error;
mod extra_paths;
mod folder_list;
mod hash;
pub mod index;
mod layout;
mod librarian;
pub mod message;
mod network_drive;
mod scan;
mod side_files;
mod watch;

use std::path::Path;

pub use catalogue::Catalogue;
pub use error::LibraryError;
pub use folder_list::{FolderList, Places};
pub use hash::{HashStop, hash_file};
pub use librarian::spawn;

pub use crate::checkpoint::{shown, vae_beside};
use message::Card;

/// What is at `path`, from headers alone.
///
/// # Errors
/// When it cannot be read or is no file of tensors; the text names the file and says what to do.
pub fn inspect(path: &Path) -> Result<Card, LibraryError> {
    crate::checkpoint::inspect(path).map_err(|error| LibraryError::NoModel { problem: error.to_string() })
}
