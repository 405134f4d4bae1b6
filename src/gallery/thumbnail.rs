//! Small pictures of picture files.

use std::path::Path;

use image::RgbaImage;

use crate::gallery::decode::decode;
use crate::gallery::error::GalleryError;
use crate::gallery::message::THUMBNAIL_SIDE_PX;

/// The picture of a file, its longer side at most [`THUMBNAIL_SIDE_PX`], never enlarged.
///
/// # Errors
/// As [`decode`].
pub fn thumbnail(path: &Path) -> Result<RgbaImage, GalleryError> {
    let pixels = decode(path)?;
    let is_small = pixels.width().max(pixels.height()) <= THUMBNAIL_SIDE_PX;
    let small = if is_small { pixels } else { pixels.thumbnail(THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX) };
    Ok(small.into_rgba8())
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    fn size_of_thumbnail_of(width: u32, height: u32) -> (u32, u32) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        RgbImage::from_pixel(width, height, Rgb([10, 200, 30])).save(&path).unwrap();
        let small = thumbnail(&path).unwrap();
        assert_eq!(small.get_pixel(0, 0).0, [10, 200, 30, 255]);
        small.dimensions()
    }

    #[test]
    fn a_large_picture_keeps_its_shape() {
        assert_eq!(size_of_thumbnail_of(512, 768), (171, 256));
        assert_eq!(size_of_thumbnail_of(1024, 512), (256, 128));
    }

    #[test]
    fn a_small_picture_stays_as_it_is() {
        assert_eq!(size_of_thumbnail_of(128, 128), (128, 128));
    }

    #[test]
    fn a_thread_of_a_picture_keeps_a_pixel() {
        assert_eq!(size_of_thumbnail_of(3000, 1), (256, 1));
    }
}
