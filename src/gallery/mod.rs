//! Finished pictures on disk: a folder of the user's with one PNG a picture, its recipe inside; copies as JPEG and WebP.

mod caption;
mod container;
mod decode;
mod error;
mod exif;
mod exif_block;
pub mod export;
mod foreign;
pub mod infotext;
mod keeper;
pub mod likeness;
pub mod message;
mod opening;
mod png;
mod recipe;
pub mod record;
pub mod remake;
mod stealth;
pub mod store;
mod texts;
mod thumbnail;

pub use error::GalleryError;
pub use keeper::spawn;
pub use opening::{Said, open_picture, read_recipe};
