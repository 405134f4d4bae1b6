//! What the window says to the gallery thread, and what it answers: plain data only.

use std::path::PathBuf;
use std::sync::Arc;

use image::{RgbImage, RgbaImage};

pub use crate::gallery::caption::Caption;
pub use crate::gallery::export::JpegQuality;
use crate::gallery::record::{PictureRecord, ReadRecipe};

/// Names one picture that is to be saved; the sender counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaveId(pub u64);

/// Orders to the gallery thread, carried out one after the other, saves also when the window is going.
#[derive(Debug)]
pub enum Command {
    /// Use this folder from now on; it is made when the first picture is saved. Answered by `Listed`.
    SetFolder(PathBuf),
    /// Read the folder again. Answered by `Listed`.
    List,
    /// Write a finished picture into the folder. Answered by `Saved` or `SaveFailed`.
    Save {
        /// Its name in the answer.
        id: SaveId,
        /// The pixels.
        image: Arc<RgbImage>,
        /// The recipe.
        record: Box<PictureRecord>,
    },
    /// Write a finished picture to a path of the user's choice, over what is there, as its ending says. Answered by `Saved` or `SaveFailed`.
    SaveAs {
        /// Its name in the answer.
        id: SaveId,
        /// Where to.
        path: PathBuf,
        /// The pixels.
        image: Arc<RgbImage>,
        /// What is known of how it was made.
        caption: Caption,
        /// For a name that ends in `.jpg`.
        quality: JpegQuality,
    },
    /// Make a small picture of a file. Answered by `Thumbnail` or `ThumbnailFailed`.
    Thumbnail(PathBuf),
    /// Read a picture and its recipe, from the gallery or anywhere. Answered by `Opened` or `OpenFailed`.
    Open(PathBuf),
    /// Move a picture to the trash. Answered by `Deleted` or `DeleteFailed`.
    Delete(PathBuf),
}

/// A picture of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file; its name sorts by time.
    pub path: PathBuf,
}

/// A picture read back with what it says about itself.
#[derive(Debug, Clone)]
pub struct OpenedPicture {
    /// The file.
    pub path: PathBuf,
    /// The pixels.
    pub image: Arc<RgbImage>,
    /// True when the file does not keep every pixel as it was: JPEG, and most WebP.
    pub is_lossy: bool,
    /// Our own record, when the file holds one that this build understands.
    pub record: Option<PictureRecord>,
    /// The settings to take over: from our own record, else from the infotext; none when the file says nothing.
    pub recipe: Option<ReadRecipe>,
    /// The A1111 `parameters` text as it stands in the file.
    pub infotext: Option<String>,
    /// What was in the file but could not be understood, for people.
    pub warning: Option<String>,
    /// The text that holds the recipe, word for word, where it could not be read at all.
    pub unread: Option<String>,
}

/// News from the gallery thread.
#[derive(Debug)]
pub enum Event {
    /// The pictures of the folder, newest first.
    Listed {
        /// The folder.
        folder: PathBuf,
        /// Its pictures.
        entries: Vec<Entry>,
    },
    /// The folder could not be read.
    ListFailed {
        /// The folder.
        folder: PathBuf,
        /// Why, for people.
        error: String,
    },
    /// The picture is on disk, synced.
    Saved {
        /// Which.
        id: SaveId,
        /// Where.
        entry: Entry,
    },
    /// The picture is not on disk; nothing half-written is left.
    SaveFailed {
        /// Which.
        id: SaveId,
        /// Why and what to do, for people.
        error: String,
    },
    /// A small picture, its longer side at most [`THUMBNAIL_SIDE_PX`].
    Thumbnail {
        /// Of which file.
        path: PathBuf,
        /// Its pixels.
        image: Arc<RgbaImage>,
    },
    /// No small picture could be made.
    ThumbnailFailed {
        /// Of which file.
        path: PathBuf,
        /// Why, for people.
        error: String,
    },
    /// A picture was read.
    Opened(Box<OpenedPicture>),
    /// A picture could not be read.
    OpenFailed {
        /// Which file.
        path: PathBuf,
        /// Why, for people.
        error: String,
    },
    /// The picture is in the trash.
    Deleted {
        /// Which file it was.
        path: PathBuf,
    },
    /// The picture is where it was.
    DeleteFailed {
        /// Which file.
        path: PathBuf,
        /// Why, for people.
        error: String,
    },
}

/// The longer side of a thumbnail in pixels.
pub const THUMBNAIL_SIDE_PX: u32 = 256;
