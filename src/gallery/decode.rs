//! Turns any picture file into pixels, within limits that no real picture meets.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, RgbImage};

use crate::gallery::error::GalleryError;

/// The most pixels of a picture: 8192x8192, four times the largest that we make.
const MAX_PIXELS: u64 = 64 << 20;
/// The longest side in pixels, which bounds what a decoder keeps for a row.
const MAX_SIDE_PX: u32 = 1 << 16;
/// The most memory that a decoder may take for what stands around the pixels: colour profiles unpack to much.
const MAX_HEADER_BYTES: u64 = 32 << 20;
/// The most that it may take for a pixel: four channels of 16 bits, and as much again for work.
const DECODER_BYTES_A_PIXEL: u64 = 16;
/// The most bytes of a file: the most pixels, uncompressed.
const MAX_FILE_BYTES: u64 = 4 * MAX_PIXELS;

/// Reads a picture, turned as its file says.
///
/// # Errors
/// When nothing or no file is there, it is no picture, or it is beyond the limits.
pub fn decode(path: &Path) -> Result<DynamicImage, GalleryError> {
    let (width, height) = dimensions(path)?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(GalleryError::TooManyPixels { path: path.to_owned(), width, height, limit: MAX_PIXELS >> 20 });
    }
    let mut decoder = decoder(path, MAX_HEADER_BYTES + pixels * DECODER_BYTES_A_PIXEL)?;
    let orientation = decoder.orientation().map_err(|source| not_a_picture(path, source))?;
    let mut pixels = DynamicImage::from_decoder(decoder).map_err(|source| not_a_picture(path, source))?;
    pixels.apply_orientation(orientation);
    Ok(pixels)
}

/// Width and height in pixels as the file says, before it is turned.
///
/// # Errors
/// As [`decode`].
pub fn dimensions(path: &Path) -> Result<(u32, u32), GalleryError> {
    Ok(decoder(path, MAX_HEADER_BYTES)?.dimensions())
}

fn decoder(path: &Path, max_bytes: u64) -> Result<impl ImageDecoder + use<>, GalleryError> {
    let file = open(path)?;
    let mut reader =
        ImageReader::new(file).with_guessed_format().map_err(|source| GalleryError::reading(path, source))?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE_PX);
    limits.max_image_height = Some(MAX_SIDE_PX);
    limits.max_alloc = Some(max_bytes);
    reader.limits(limits);
    reader.into_decoder().map_err(|source| not_a_picture(path, source))
}

fn not_a_picture(path: &Path, source: ImageError) -> GalleryError {
    match source {
        // The disk's own trouble, not the decoder's.
        ImageError::IoError(source) if source.raw_os_error().is_some() => GalleryError::reading(path, source),
        source => GalleryError::NotAPicture { path: path.to_owned(), source },
    }
}

/// Opens a file for reading; refuses what could block for ever (a pipe) or has no end (a device).
///
/// # Errors
/// When nothing or no file is there, it may not be read, or it is too large.
pub fn open(path: &Path) -> Result<BufReader<File>, GalleryError> {
    let about = std::fs::metadata(path).map_err(|source| GalleryError::reading(path, source))?;
    if !about.is_file() {
        return Err(GalleryError::NotAFile { path: path.to_owned() });
    }
    if about.len() > MAX_FILE_BYTES {
        let (found, limit) = (about.len() >> 20, MAX_FILE_BYTES >> 20);
        return Err(GalleryError::TooManyBytes { path: path.to_owned(), found, limit });
    }
    Ok(BufReader::new(File::open(path).map_err(|source| GalleryError::reading(path, source))?))
}

/// The picture without transparency, on white as on paper: the colours of invisible pixels are anything.
#[must_use]
pub fn on_white(pixels: DynamicImage) -> RgbImage {
    if !pixels.color().has_alpha() {
        return pixels.into_rgb8();
    }
    let pixels = pixels.into_rgba8();
    let (width, height) = pixels.dimensions();
    let mut flat = RgbImage::new(width, height);
    for (flat, pixel) in flat.pixels_mut().zip(pixels.pixels()) {
        let [red, green, blue, alpha] = pixel.0.map(u32::from);
        // At most 255 * 255 / 255.
        let blend = |colour: u32| ((colour * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        flat.0 = [red, green, blue].map(blend);
    }
    flat
}

#[cfg(test)]
mod tests {
    use image::ImageFormat;
    use proptest::prelude::*;

    use super::*;

    fn written(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn encoded(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_name_may_lie_about_the_format() {
        let image = DynamicImage::ImageRgb8(RgbImage::from_pixel(8, 9, image::Rgb([200, 10, 10])));
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff] {
            let (_folder, path) = written(&encoded(&image, format));
            let pixels = decode(&path).unwrap();
            assert_eq!((pixels.width(), pixels.height()), (8, 9), "{format:?}");
        }
    }

    #[test]
    fn transparent_pixels_become_white() {
        let mut image = image::RgbaImage::from_pixel(2, 1, image::Rgba([9, 8, 7, 255]));
        image.put_pixel(1, 0, image::Rgba([9, 8, 7, 0]));
        let flat = on_white(DynamicImage::ImageRgba8(image));
        assert_eq!((flat.get_pixel(0, 0).0, flat.get_pixel(1, 0).0), ([9, 8, 7], [255; 3]));
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused_before_memory_is_taken() {
        let mut bytes = encoded(&DynamicImage::ImageRgb8(RgbImage::new(8, 8)), ImageFormat::Bmp);
        // Width and height stand at bytes 18 and 22 of a BMP, little-endian.
        bytes[18..26].copy_from_slice(&[0, 0xc0, 0, 0, 0, 0xc0, 0, 0]);
        let (_folder, path) = written(&bytes);
        assert!(matches!(decode(&path), Err(GalleryError::TooManyPixels { width: 0xc000, height: 0xc000, .. })));
    }

    #[test]
    fn folders_pipes_and_missing_files_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(decode(folder.path()), Err(GalleryError::NotAFile { .. })));
        assert!(matches!(decode(&folder.path().join("none.png")), Err(GalleryError::Missing { .. })));
        #[cfg(unix)]
        assert!(matches!(decode(Path::new("/dev/zero")), Err(GalleryError::NotAFile { .. })));
    }

    #[test]
    fn a_text_file_is_no_picture() {
        let (_folder, path) = written(b"once upon a time");
        let text = decode(&path).unwrap_err().for_people();
        assert!(text.contains("PNG, JPEG, WebP, BMP and TIFF"), "{text}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damaged_files_are_errors_or_pictures_and_never_panics(
            format in proptest::sample::select(vec![ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff]),
            cut in any::<prop::sample::Index>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let mut bytes = encoded(&DynamicImage::ImageRgb8(RgbImage::new(16, 16)), format);
            bytes.truncate(bytes.len() - cut.index(bytes.len() / 2));
            for (index, value) in changes {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            let (_folder, path) = written(&bytes);
            let _ = decode(&path);
        }
    }
}
