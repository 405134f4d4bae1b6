//! Where things are kept on this machine, for the window and the command line alike.

mod wildcards;

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use directories::{ProjectDirs, UserDirs};

pub use wildcards::{wildcard_folder, wildcard_lines};

/// The environment variable that names the data folder, for portable copies.
const DATA_VARIABLE: &str = "CALOTYPE_DATA";
/// Holds the gallery folder that the user chose in the window; without it the usual one is meant.
const GALLERY_FILE: &str = "gallery-folder.txt";

/// Where form, settings and window size are stored: what `CALOTYPE_DATA` says, else this user's usual folder for
/// programs' data. None on a system without either.
#[must_use]
pub fn data_folder() -> Option<PathBuf> {
    let named = std::env::var_os(DATA_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    named.or_else(|| ProjectDirs::from("", "", "Calotype").map(|dirs| dirs.data_dir().to_owned()))
}

/// Calotype's own models, in the data folder.
#[must_use]
pub fn models() -> PathBuf {
    data_folder().unwrap_or_else(usual_gallery_folder).join("models")
}

/// What can be made again: in the data folder of a portable copy, else in this user's usual folder for caches.
#[must_use]
pub fn cache_folder() -> PathBuf {
    let is_portable = std::env::var_os(DATA_VARIABLE).is_some_and(|value| !value.is_empty());
    let usual = ProjectDirs::from("", "", "Calotype").filter(|_| !is_portable).map(|dirs| dirs.cache_dir().to_owned());
    usual.unwrap_or_else(|| data_folder().unwrap_or_else(usual_gallery_folder).join("cache"))
}

/// `Pictures/Calotype`, or `Calotype` in the home folder, or here.
#[must_use]
pub fn usual_gallery_folder() -> PathBuf {
    let dirs = UserDirs::new();
    let pictures = dirs.as_ref().and_then(|dirs| dirs.picture_dir().map(PathBuf::from));
    let home = dirs.as_ref().map(|dirs| dirs.home_dir().to_owned());
    pictures.or(home).unwrap_or_default().join("Calotype")
}

/// The gallery folder that the user chose in the window, else the usual one.
#[must_use]
pub fn gallery_folder() -> PathBuf {
    data_folder().and_then(|data| chosen_folder(&data)).unwrap_or_else(usual_gallery_folder)
}

/// Writes down in the data folder which gallery folder the user chose, for the command line; none goes back to the usual
/// one.
///
/// # Errors
/// When the data folder cannot be written to.
pub fn remember_gallery_folder(data: &Path, chosen: Option<&Path>) -> std::io::Result<()> {
    let file = data.join(GALLERY_FILE);
    match chosen {
        Some(folder) => {
            fs::create_dir_all(data)?;
            fs::write(file, folder.as_os_str().as_encoded_bytes())
        }
        None => match fs::remove_file(file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// The files of a folder that have this ending, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn files_with_ending(folder: &Path, ending: &str) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending)) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn chosen_folder(data: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(data.join(GALLERY_FILE)).ok().filter(|text| !text.is_empty())?;
    Some(PathBuf::from(OsString::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_gallery_folder_is_found_again_and_forgotten_again() {
        let data = tempfile::tempdir().unwrap();
        let inner = data.path().join("new");
        assert_eq!(chosen_folder(&inner), None);
        let chosen = Path::new("/pictures/of mine/ü");
        remember_gallery_folder(&inner, Some(chosen)).unwrap();
        assert_eq!(chosen_folder(&inner).as_deref(), Some(chosen));
        remember_gallery_folder(&inner, None).unwrap();
        remember_gallery_folder(&inner, None).unwrap();
        assert_eq!(chosen_folder(&inner), None);
    }
}
