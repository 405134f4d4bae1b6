//! Pictures into a folder and out of it: never half-written, never over one another, never lost by a crash.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use image::RgbImage;
use jiff::Timestamp;
use tempfile::NamedTempFile;

use crate::gallery::error::GalleryError;
use crate::gallery::export::{self, PictureFormat};
use crate::gallery::message::{Caption, Entry, JpegQuality};
use crate::gallery::record::PictureRecord;
use crate::request::Seed;

/// How the name of an unfinished file begins; hidden, and never listed.
const UNFINISHED_PREFIX: &str = ".calotype-";
/// How many names are tried for pictures of one seed in one millisecond.
const MOST_NAMES: u32 = 10_000;
/// The endings of files that the gallery shows, in lower case.
const SHOWN: &[&str] = &["png", "jpg", "jpeg", "webp"];

/// Writes a picture into `folder`, which is made if it is not there, under a name of its own: the time in UTC and the
/// seed. Returns the path. When it returns, the picture is on the disk.
///
/// # Errors
/// When the folder cannot be made or written to, the disk is full, or the picture has no pixels; nothing is left behind.
pub fn save(
    folder: &Path,
    image: &RgbImage,
    record: Option<&PictureRecord>,
    now: Timestamp,
) -> Result<PathBuf, GalleryError> {
    let caption = Caption::of(record.cloned(), None);
    let mut file = write_unfinished(folder, &export::encode(image, &caption, PictureFormat::Png)?)?;
    let seed = record.map(|record| record.request.seed);
    for number in 1..=MOST_NAMES {
        let path = folder.join(file_name(now, seed, number));
        file = match give_new_name(file, &path)? {
            Naming::Done => return Ok(path),
            Naming::Taken(file) => file,
        };
    }
    Err(GalleryError::Exists { path: folder.join(file_name(now, seed, 1)) })
}

/// Writes a picture to `path`, over what is there, in the format that its ending says; its folder is made if it is not
/// there. A name without an ending gets `.png`, and then nothing is written over. Returns the path.
///
/// # Errors
/// As [`save`]; and when the name ends otherwise, is that of a folder, or the completed name is taken, or the recipe is
/// too long for a JPEG.
pub fn save_as(
    path: &Path,
    image: &RgbImage,
    caption: &Caption,
    quality: JpegQuality,
) -> Result<PathBuf, GalleryError> {
    let is_complete = path.extension().is_some();
    let format = match PictureFormat::of(path, quality) {
        Some(format) => format,
        None if is_complete => return Err(GalleryError::UnknownEnding { path: path.to_owned() }),
        None => PictureFormat::Png,
    };
    if path.is_dir() || path.file_name().is_none() {
        return Err(GalleryError::NotAFile { path: path.to_owned() });
    }
    let file = write_unfinished(folder_of(path), &export::encode(image, caption, format)?)?;
    if is_complete {
        file.persist(path).map_err(|error| GalleryError::writing(path, error.error))?;
        sync_folder(folder_of(path));
        return Ok(path.to_owned());
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".png");
    let path = PathBuf::from(name);
    match give_new_name(file, &path)? {
        Naming::Done => Ok(path),
        Naming::Taken(_) => Err(GalleryError::Exists { path }),
    }
}

/// Makes sure, before there is a picture, that one can be saved in `folder`: makes the folder and an unfinished file in it,
/// which goes again.
///
/// # Errors
/// As [`save`].
pub fn check_folder(folder: &Path) -> Result<(), GalleryError> {
    write_unfinished(folder, b"?").map(drop)
}

/// Makes sure, before there is a picture, that one can be saved at `path`.
///
/// # Errors
/// As [`save_as`].
pub fn check_file(path: &Path) -> Result<(), GalleryError> {
    match std::fs::metadata(path) {
        Ok(about) if !about.is_file() => return Err(GalleryError::NotAFile { path: path.to_owned() }),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(GalleryError::writing(path, error)),
        _ => {}
    }
    check_folder(folder_of(path))
}

/// The folder of a file; a bare name lies in the current one.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The pictures of a folder, newest first by name. A folder that is not there yet has none.
///
/// # Errors
/// When the folder cannot be read.
pub fn list(folder: &Path) -> Result<Vec<Entry>, GalleryError> {
    let trouble = |source: std::io::Error| match source.kind() {
        ErrorKind::NotADirectory => GalleryError::NotAFolder { path: folder.to_owned(), source },
        _ => GalleryError::Read { path: folder.to_owned(), source },
    };
    let found = match std::fs::read_dir(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(trouble(error)),
    };
    let mut entries = Vec::new();
    for file in found {
        let path = file.map_err(trouble)?.path();
        if is_shown(&path) && path.is_file() {
            entries.push((time_and_name(&path), Entry { path }));
        }
    }
    entries.sort_by(|(a_key, a), (b_key, b)| (b_key, &b.path).cmp(&(a_key, &a.path)));
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// What a file is sorted by. Our own names begin with their time, whatever has become of the file since; by stem, so that
/// "x-2.png" counts as younger than "x.png". Other files are as old as their content.
fn time_and_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_ours = stem.len() > 15
        && stem.char_indices().take(15).all(|(at, c)| if at == 8 { c == '-' } else { c.is_ascii_digit() });
    if is_ours {
        return stem.into_owned();
    }
    let changed = std::fs::metadata(path).and_then(|about| about.modified()).ok();
    let time = changed.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
    format!("{}-{stem}", time.strftime("%Y%m%d-%H%M%S"))
}

/// Moves a picture to the trash.
///
/// # Errors
/// When it is not there, is no file, or the trash does not take it; it is then where it was.
pub fn delete(path: &Path) -> Result<(), GalleryError> {
    let about = std::fs::symlink_metadata(path).map_err(|source| GalleryError::reading(path, source))?;
    if about.is_dir() {
        return Err(GalleryError::NotAFile { path: path.to_owned() });
    }
    trash::delete(path).map_err(|source| GalleryError::Trash { path: path.to_owned(), source })
}

/// `20260131-235959-123-42.png`; from the second of a name on `20260131-235959-123-42-2.png`.
fn file_name(now: Timestamp, seed: Option<Seed>, number: u32) -> String {
    let mut name = format!("{}-{:03}", now.strftime("%Y%m%d-%H%M%S"), now.subsec_millisecond());
    if let Some(seed) = seed {
        let _ = write!(name, "-{seed}");
    }
    if number > 1 {
        let _ = write!(name, "-{number}");
    }
    name + ".png"
}

fn is_shown(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_lowercase);
    !is_hidden && ending.is_some_and(|ending| SHOWN.contains(&ending.as_str()))
}

/// A hidden file in `folder` that holds `bytes`, on the disk; it removes itself unless it is given a name.
fn write_unfinished(folder: &Path, bytes: &[u8]) -> Result<NamedTempFile, GalleryError> {
    let trouble = |source| GalleryError::writing(folder, source);
    std::fs::create_dir_all(folder).map_err(trouble)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED_PREFIX).suffix(".tmp");
    // tempfile's own choice is for secrets; the user's umask narrows this one.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(trouble)?;
    write_and_sync(file.as_file_mut(), bytes).map_err(trouble)?;
    Ok(file)
}

fn write_and_sync(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// How the naming of an unfinished file ended, if it did not fail.
enum Naming {
    /// The file has its name.
    Done,
    /// Another file has it.
    Taken(NamedTempFile),
}

/// Gives an unfinished file its name unless that is taken.
fn give_new_name(file: NamedTempFile, path: &Path) -> Result<Naming, GalleryError> {
    let trouble = |error: tempfile::PersistError| GalleryError::writing(path, error.error);
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => return Ok(Naming::Taken(error.file)),
        // Some file systems (FAT, some of FUSE) know neither exclusive renames nor hard links.
        Err(error) if matches!(path.try_exists(), Ok(false)) => {
            error.file.persist(path).map_err(trouble)?;
        }
        Err(error) => return Err(trouble(error)),
    }
    if let Some(folder) = path.parent() {
        sync_folder(folder);
    }
    Ok(Naming::Done)
}

/// Puts a new name on the disk. Where the system cannot, the picture itself is still whole.
fn sync_folder(folder: &Path) {
    #[cfg(unix)]
    if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::warn!(%error, "a folder could not be synced; a power cut now may lose the newest name in it");
    }
    #[cfg(not(unix))]
    let _ = folder;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::record::samples::fox;

    /// The bytes of our own PNG.
    fn png(record: &PictureRecord) -> Vec<u8> {
        export::encode(&dot(), &Caption::of(Some(record.clone()), None), PictureFormat::Png).unwrap()
    }

    /// Saved under this name, nothing said about it.
    fn named(path: &Path) -> Result<PathBuf, GalleryError> {
        save_as(path, &dot(), &Caption::Nothing, JpegQuality::default())
    }

    fn dot() -> RgbImage {
        RgbImage::from_pixel(2, 2, image::Rgb([1, 2, 3]))
    }

    /// 2026-01-31 23:59:59.007 UTC.
    fn moment() -> Timestamp {
        "2026-01-31T23:59:59.007Z".parse().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: &Entry| entry.path.file_name().unwrap().to_str().unwrap().to_owned();
        list(folder).unwrap().iter().map(name).collect()
    }

    fn everything_in(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_picture_is_named_by_its_time_and_seed_in_a_folder_made_for_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("deep/gallery");
        let path = save(&folder, &dot(), Some(&fox()), moment()).unwrap();
        assert_eq!(path, folder.join("20260131-235959-007-42.png"));
        assert_eq!(std::fs::read(&path).unwrap(), png(&fox()));
        assert_eq!(everything_in(&folder), 1);
    }

    #[test]
    fn two_pictures_of_one_millisecond_both_stay_and_the_second_is_listed_first() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            save(folder.path(), &dot(), Some(&fox()), moment()).unwrap();
        }
        save(folder.path(), &dot(), None, moment() - jiff::SignedDuration::from_millis(1)).unwrap();
        assert_eq!(
            names(folder.path()),
            [
                "20260131-235959-007-42-3.png",
                "20260131-235959-007-42-2.png",
                "20260131-235959-007-42.png",
                "20260131-235959-006.png"
            ]
        );
    }

    #[test]
    fn pictures_of_other_names_stand_where_their_time_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["fox.png", "20260131-235959-007-42.png", "29990131-000000-000-1.png"] {
            named(&folder.path().join(name)).unwrap();
        }
        assert_eq!(names(folder.path()), ["29990131-000000-000-1.png", "fox.png", "20260131-235959-007-42.png"]);
    }

    #[test]
    fn the_list_holds_pictures_only_and_a_missing_folder_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        // All of one time, for a slow machine would order them by theirs.
        let changed = std::time::SystemTime::now();
        for name in ["b.PNG", "a.jpg", "c.webp", "notes.txt", ".hidden.png", ".calotype-x.tmp", "png"] {
            File::create(folder.path().join(name)).unwrap().set_modified(changed).unwrap();
        }
        std::fs::create_dir(folder.path().join("folder.png")).unwrap();
        assert_eq!(names(folder.path()), ["c.webp", "b.PNG", "a.jpg"]);
        assert_eq!(list(&folder.path().join("none")).unwrap(), []);
        assert!(matches!(list(&folder.path().join("notes.txt")), Err(GalleryError::NotAFolder { .. })));
    }

    #[test]
    fn a_file_where_the_folder_should_be_is_said_to_be_one() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("gallery");
        std::fs::write(&file, b"mine").unwrap();
        for folder in [file.clone(), file.join("below")] {
            let text = save(&folder, &dot(), None, moment()).unwrap_err().for_people();
            assert!(text.contains("there is a file where a folder should be"), "{text}");
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    }

    #[test]
    fn a_folder_deleted_meanwhile_is_made_again() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("gallery");
        save(&folder, &dot(), None, moment()).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        save(&folder, &dot(), None, moment()).unwrap();
        assert_eq!(names(&folder).len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_read_only_folder_is_said_to_be_one() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
        // Permissions do not bind root, for whom this test says nothing.
        if File::create(root.path().join("probe")).is_err() {
            let error = save(root.path(), &dot(), None, moment()).unwrap_err();
            assert!(matches!(error, GalleryError::NotWritable { .. }), "{error}");
        }
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said_to_be_full() {
        let mut full = File::options().write(true).open("/dev/full").unwrap();
        let error = write_and_sync(&mut full, b"picture").unwrap_err();
        let error = GalleryError::writing(Path::new("/dev/full"), error);
        assert!(matches!(error, GalleryError::DiskFull { .. }), "{error}");
    }

    #[test]
    fn a_save_that_is_given_up_or_killed_leaves_nothing_to_be_seen() {
        let folder = tempfile::tempdir().unwrap();
        drop(write_unfinished(folder.path(), b"half a pic").unwrap());
        assert_eq!(everything_in(folder.path()), 0);
        let (_, path) = write_unfinished(folder.path(), b"half a pic").unwrap().keep().unwrap();
        assert!(path.exists(), "a killed process leaves its file");
        assert_eq!(list(folder.path()).unwrap(), []);
    }

    #[cfg(unix)]
    #[test]
    fn a_picture_may_be_read_by_whom_the_user_lets_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, b"").unwrap();
        let path = save(folder.path(), &dot(), None, moment()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }

    #[test]
    fn save_as_writes_over_the_file_that_was_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/my fox.PNG");
        assert_eq!(named(&path).unwrap(), path);
        save_as(&path, &dot(), &Caption::of(Some(fox()), None), JpegQuality::default()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), png(&fox()));
        assert_eq!(everything_in(path.parent().unwrap()), 1);
    }

    #[test]
    fn save_as_completes_a_name_but_then_writes_over_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fox");
        assert_eq!(named(&path).unwrap(), folder.path().join("fox.png"));
        assert!(matches!(named(&path), Err(GalleryError::Exists { .. })));
        assert_eq!(everything_in(folder.path()), 1);
    }

    #[test]
    fn save_as_writes_the_format_that_the_name_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        for (name, begin) in [("a.jpg", &b"\xff\xd8\xff"[..]), ("a.webp", b"RIFF"), ("a.png", b"\x89PNG")] {
            let path = named(&folder.path().join(name)).unwrap();
            assert!(std::fs::read(path).unwrap().starts_with(begin), "{name}");
        }
    }

    #[test]
    fn save_as_refuses_other_formats_and_folders() {
        let folder = tempfile::tempdir().unwrap();
        let text = named(&folder.path().join("fox.gif")).unwrap_err().for_people();
        assert!(text.contains("end the name in .png, .jpg or .webp"), "{text}");
        assert!(matches!(
            named(folder.path()),
            Err(GalleryError::NotAFile { .. } | GalleryError::UnknownEnding { .. })
        ));
        assert_eq!(everything_in(folder.path()), 0);
    }

    #[test]
    fn a_deleted_picture_is_in_the_trash_or_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = save(folder.path(), &dot(), None, moment()).unwrap();
        let outcome = delete(&path);
        assert_eq!(outcome.is_err(), path.exists(), "{outcome:?}");
        #[cfg(any(target_os = "windows", target_os = "linux"))]
        if outcome.is_ok() {
            let ours = trash::os_limited::list().unwrap().into_iter().filter(|item| item.original_path() == path);
            trash::os_limited::purge_all(ours).unwrap();
        }
        assert!(matches!(delete(&folder.path().join("none.png")), Err(GalleryError::Missing { .. })));
        assert!(matches!(delete(folder.path()), Err(GalleryError::NotAFile { .. })));
    }
}
