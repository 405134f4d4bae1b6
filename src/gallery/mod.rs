//! Finished pictures on disk: a folder of the user's with one PNG a picture, its recipe inside.

mod decode;
mod error;
mod exif;
mod foreign;
pub mod infotext;
mod keeper;
pub mod message;
mod opening;
mod png;
mod recipe;
pub mod record;
mod stealth;
pub mod store;
mod texts;
mod thumbnail;

pub use error::GalleryError;
pub use keeper::spawn;
pub use opening::open_picture;
