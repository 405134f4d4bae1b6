//! What can go wrong with pictures on disk, in sentences that say what to do about it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::gallery::record::RecordError;

/// Why a picture could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum GalleryError {
    /// No folder was named yet.
    #[error("no gallery folder is chosen; choose one in the settings")]
    NoFolder,
    /// No room left, or none that this user may use.
    #[error("the disk is full; make room, or save the picture somewhere else: {path}")]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system does not let this program write there.
    #[error("this place may not be written to; choose another folder, or change its permissions: {path}")]
    NotWritable {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file stands where a folder should be.
    #[error("there is a file where a folder should be; move it away, or choose another folder: {path}")]
    NotAFolder {
        /// The folder that should be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Any other trouble while writing.
    #[error("the picture could not be written; try another folder: {path}")]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The name is taken and nobody said that it may be written over.
    #[error("there is a file of this name already; choose another name: {path}")]
    Exists {
        /// The taken name.
        path: PathBuf,
    },
    /// The name asks for another format.
    #[error("pictures are saved as PNG, JPEG or WebP; end the name in .png, .jpg or .webp: {path}")]
    UnknownEnding {
        /// The name asked for.
        path: PathBuf,
    },
    /// The pixels do not make a PNG.
    #[error("the picture cannot be made into a PNG")]
    Encode {
        /// What the encoder said.
        #[source]
        source: png::EncodingError,
    },
    /// The pixels do not make a JPEG or a WebP.
    #[error("the picture cannot be made into a {format}")]
    EncodeAs {
        /// The format's name.
        format: &'static str,
        /// What the encoder said.
        #[source]
        source: image::ImageError,
    },
    /// A JPEG has room for a little less than 64 KiB beside its pixels.
    #[error("the recipe is too long for a JPEG ({found} KiB, at most {limit} KiB); export the picture as WebP or PNG")]
    RecipeTooLong {
        /// In KiB.
        found: usize,
        /// In KiB.
        limit: usize,
    },
    /// The recipe does not make a record.
    #[error("the picture's recipe cannot be written into it")]
    Record {
        /// What was wrong with it.
        #[source]
        source: RecordError,
    },
    /// A folder or a device where a picture should be.
    #[error("this is not a file; choose a picture: {path}")]
    NotAFile {
        /// What it is.
        path: PathBuf,
    },
    /// Nothing is there.
    #[error("there is no such file, or no longer: {path}")]
    Missing {
        /// What should be there.
        path: PathBuf,
    },
    /// Any other trouble while reading.
    #[error("this could not be read; check its permissions and its disk: {path}")]
    Read {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The content is no picture that we know.
    #[error("this is no picture that can be opened, or it is damaged; PNG, JPEG, WebP, BMP and TIFF can be: {path}")]
    NotAPicture {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        #[source]
        source: image::ImageError,
    },
    /// More pixels than we are ready to hold.
    #[error(
        "this picture is too large to open ({width}x{height}, at most {limit} million pixels); scale it down: {path}"
    )]
    TooManyPixels {
        /// The file.
        path: PathBuf,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// The most, in millions of pixels.
        limit: u64,
    },
    /// More bytes than a picture within the limits has.
    #[error("this file is too large for a picture ({found} MiB, at most {limit} MiB): {path}")]
    TooManyBytes {
        /// The file.
        path: PathBuf,
        /// In MiB.
        found: u64,
        /// In MiB.
        limit: u64,
    },
    /// The trash did not take it.
    #[error("this could not be moved to the trash; it is still in its place: {path}")]
    Trash {
        /// The file.
        path: PathBuf,
        /// What the trash said.
        #[source]
        source: trash::Error,
    },
}

impl GalleryError {
    /// The error for trouble while writing `path`.
    pub(super) fn writing(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path, source },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::NotWritable { path, source },
            // `create_dir_all` says AlreadyExists when the last part of the path is a file.
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => Self::NotAFolder { path, source },
            _ => Self::Write { path, source },
        }
    }

    /// The error for trouble while reading `path`.
    pub(super) fn reading(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::NotFound => Self::Missing { path },
            ErrorKind::IsADirectory => Self::NotAFile { path },
            _ => Self::Read { path, source },
        }
    }

    /// The whole story in one line: this error and what caused it.
    #[must_use]
    pub fn for_people(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_write_trouble_says_what_to_do() {
        let path = Path::new("/pictures");
        for (kind, advice) in [
            (ErrorKind::StorageFull, "make room"),
            (ErrorKind::QuotaExceeded, "make room"),
            (ErrorKind::PermissionDenied, "choose another folder"),
            (ErrorKind::ReadOnlyFilesystem, "choose another folder"),
            (ErrorKind::NotADirectory, "move it away"),
            (ErrorKind::AlreadyExists, "move it away"),
            (ErrorKind::Other, "try another folder"),
        ] {
            let text = GalleryError::writing(path, kind.into()).for_people();
            assert!(text.contains(advice) && text.contains("/pictures"), "{kind:?}: {text}");
        }
    }
}
