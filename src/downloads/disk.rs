//! Room on the disk, and names that are there after a power cut.

use std::fs::{self, File};
use std::path::Path;

use super::{DownloadError, Surroundings};

/// What stays free beside the model: pictures and the system want to write too.
const MARGIN_BYTES: u64 = 256 << 20;

/// Makes a folder with its parents.
pub(super) fn make_folder(folder: &Path) -> Result<(), DownloadError> {
    fs::create_dir_all(folder).map_err(DownloadError::io(folder))
}

/// Sees that `bytes` more can be written into a folder that exists. A system that does not say is believed.
pub(super) fn check_room(surroundings: &Surroundings, folder: &Path, bytes: u64) -> Result<(), DownloadError> {
    let free = match (surroundings.free_space)(folder) {
        Ok(free) => free,
        Err(error) => {
            tracing::warn!(%error, "the free space could not be asked for: {}", folder.display());
            return Ok(());
        }
    };
    let needed = bytes.saturating_add(MARGIN_BYTES);
    if bytes == 0 || needed <= free {
        return Ok(());
    }
    Err(DownloadError::NoRoom { needed: size(needed), free: size(free), folder: folder.to_owned() })
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// Gives a whole file its name, over what is there, and puts the name on the disk.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), DownloadError> {
    fs::rename(from, to).map_err(DownloadError::io(to))?;
    #[cfg(unix)]
    if let Some(folder) = to.parent()
        && let Err(error) = File::open(folder).and_then(|folder| folder.sync_all())
    {
        tracing::warn!(%error, "a folder could not be synced; a power cut now may lose the newest name in it");
    }
    Ok(())
}

/// Takes a file away that may not be there.
pub(super) fn remove(path: &Path) -> Result<(), DownloadError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(DownloadError::io(path)(error)),
        _ => Ok(()),
    }
}

/// Opens a file for writing, made when it is not there, and keeps every other download away from it.
pub(super) fn open_alone(path: &Path) -> Result<File, DownloadError> {
    loop {
        let file = open_locked(path)?;
        // Between opening and locking another download may have given the file its final name.
        if is_still_at(&file, path) {
            return Ok(file);
        }
    }
}

/// True when the open file is the one that has this name.
#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |facts: fs::Metadata| (facts.dev(), facts.ino());
    let (open, named) = (file.metadata().map(place), fs::metadata(path).map(place));
    open.is_ok_and(|open| named.is_ok_and(|named| named == open))
}

/// Files that are open cannot be renamed here.
#[cfg(not(unix))]
fn is_still_at(_: &File, _: &Path) -> bool {
    true
}

fn open_locked(path: &Path) -> Result<File, DownloadError> {
    let mut options = File::options();
    let file =
        options.create(true).truncate(false).read(true).write(true).open(path).map_err(DownloadError::io(path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(DownloadError::InUse { path: path.to_owned() }),
        // Some network file systems know no locks: better an unguarded download than none.
        Err(fs::TryLockError::Error(error)) => {
            tracing::warn!(%error, "no lock could be had: {}", path.display());
            Ok(file)
        }
    }
}
