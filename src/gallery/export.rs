//! A picture as the bytes of a file: PNG, JPEG or WebP, its caption inside.

use std::ffi::OsStr;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageResult, RgbImage};
use serde::{Deserialize, Serialize};

use crate::gallery::caption::{Caption, CaptionTexts};
use crate::gallery::error::GalleryError;
use crate::gallery::{exif_block, png};

/// The most bytes of an EXIF block in a JPEG: a segment counts its bytes in 16 bits, two of them its own and six
/// `Exif\0\0`.
const MAX_JPEG_BLOCK_BYTES: usize = 0xffff - 2 - 6;

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    /// Every pixel as it is, texts in chunks.
    Png,
    /// Small; pixels nearly as they are.
    Jpeg(JpegQuality),
    /// Every pixel as it is, smaller than PNG.
    WebP,
}

impl PictureFormat {
    /// The format that the ending of a name asks for; none when there is no ending or it is none of ours.
    #[must_use]
    pub fn of(path: &Path, quality: JpegQuality) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase().as_str() {
            "png" => Some(Self::Png),
            "jpg" | "jpeg" => Some(Self::Jpeg(quality)),
            "webp" => Some(Self::WebP),
            _ => None,
        }
    }
}

/// How much of a picture a JPEG keeps, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct JpegQuality(u8);

impl JpegQuality {
    /// The least.
    pub const MIN: u8 = 1;
    /// The most.
    pub const MAX: u8 = 100;

    /// A quality from 1 to 100.
    ///
    /// # Errors
    /// The sentence that says so.
    pub fn new(quality: u8) -> Result<Self, String> {
        if (Self::MIN..=Self::MAX).contains(&quality) {
            Ok(Self(quality))
        } else {
            Err(format!("the quality must be from {} to {}, not {quality}", Self::MIN, Self::MAX))
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for JpegQuality {
    /// No loss that is seen at a normal distance, at a fifth of a PNG's bytes.
    fn default() -> Self {
        Self(92)
    }
}

impl TryFrom<u8> for JpegQuality {
    type Error = String;

    fn try_from(quality: u8) -> Result<Self, Self::Error> {
        Self::new(quality)
    }
}

impl From<JpegQuality> for u8 {
    fn from(quality: JpegQuality) -> Self {
        quality.0
    }
}

/// The file of a picture. The same input gives the same bytes.
///
/// # Errors
/// When the picture has no pixels, or its recipe does not fit into a JPEG.
pub fn encode(image: &RgbImage, caption: &Caption, format: PictureFormat) -> Result<Vec<u8>, GalleryError> {
    let texts = caption.texts()?;
    match format {
        PictureFormat::Png => png::encode(image, &texts),
        PictureFormat::Jpeg(quality) => {
            let block = jpeg_block(texts)?;
            written("JPEG", |bytes| {
                let mut encoder = JpegEncoder::new_with_quality(bytes, quality.get());
                with_block(&mut encoder, block);
                encoder.write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8)
            })
        }
        PictureFormat::WebP => written("WebP", |bytes| {
            let mut encoder = WebPEncoder::new_lossless(bytes);
            with_block(&mut encoder, exif_block::write(&texts));
            encoder.write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::Rgb8)
        }),
    }
}

/// Both texts; the record alone, which says all, where they are too long together.
fn jpeg_block(mut texts: CaptionTexts) -> Result<Option<Vec<u8>>, GalleryError> {
    let Some(block) = exif_block::write(&texts) else { return Ok(None) };
    if block.len() <= MAX_JPEG_BLOCK_BYTES {
        return Ok(Some(block));
    }
    texts.infotext = None;
    match exif_block::write(&texts) {
        Some(smaller) if smaller.len() <= MAX_JPEG_BLOCK_BYTES => {
            tracing::warn!("a long recipe is written into a JPEG for Calotype only: both forms do not fit");
            Ok(Some(smaller))
        }
        smaller => {
            let found = smaller.map_or(block.len(), |smaller| smaller.len());
            Err(GalleryError::RecipeTooLong { found: found >> 10, limit: MAX_JPEG_BLOCK_BYTES >> 10 })
        }
    }
}

fn with_block(encoder: &mut impl ImageEncoder, block: Option<Vec<u8>>) {
    if let Some(block) = block
        && let Err(error) = encoder.set_exif_metadata(block)
    {
        // Both encoders take EXIF; a recipe that stays behind must be heard of all the same.
        tracing::error!(%error, "a recipe could not be written into its picture");
    }
}

fn written(format: &'static str, write: impl FnOnce(&mut Vec<u8>) -> ImageResult<()>) -> Result<Vec<u8>, GalleryError> {
    let mut bytes = Vec::new();
    write(&mut bytes).map_err(|source| GalleryError::EncodeAs { format, source })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::message::OpenedPicture;
    use crate::gallery::open_picture;
    use crate::gallery::record::PictureRecord;
    use crate::gallery::record::samples::fox;

    const JPEG: PictureFormat = PictureFormat::Jpeg(JpegQuality(92));

    fn dots() -> RgbImage {
        RgbImage::from_fn(48, 40, |x, y| image::Rgb([(x * 5) as u8, (y * 6) as u8, 70]))
    }

    fn ours(record: PictureRecord) -> Caption {
        Caption::Ours(Box::new(record))
    }

    fn reopened(caption: &Caption, format: PictureFormat) -> OpenedPicture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture");
        std::fs::write(&path, encode(&dots(), caption, format).unwrap()).unwrap();
        open_picture(&path).unwrap()
    }

    #[test]
    fn our_record_comes_back_whole_out_of_every_format() {
        let mut record = fox();
        record.request.prompt = "a \u{72d0}, un renard \u{e9}l\u{e9}gant\0".into();
        for format in [PictureFormat::Png, JPEG, PictureFormat::WebP] {
            let picture = reopened(&ours(record.clone()), format);
            assert_eq!(picture.record.as_ref(), Some(&record), "{format:?}");
            assert!(picture.infotext.unwrap().starts_with("a \u{72d0}, un renard"), "{format:?}");
            assert_eq!(picture.warning, None);
        }
    }

    #[test]
    fn another_programs_infotext_travels_word_for_word() {
        let text = "a fox \u{72d0}\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, Seed: 7, Fork: of its own";
        for format in [PictureFormat::Png, JPEG, PictureFormat::WebP] {
            let picture = reopened(&Caption::Infotext(text.into()), format);
            assert_eq!((picture.record, picture.infotext.as_deref()), (None, Some(text)), "{format:?}");
        }
    }

    #[test]
    fn png_and_webp_keep_every_pixel_and_jpeg_nearly() {
        for format in [PictureFormat::Png, PictureFormat::WebP] {
            assert_eq!(*reopened(&Caption::Nothing, format).image, dots());
        }
        let jpeg = reopened(&Caption::Nothing, JPEG).image;
        let most = jpeg.as_raw().iter().zip(dots().as_raw()).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(most.is_some_and(|most| most < 16), "{most:?}");
    }

    #[test]
    fn a_recipe_too_long_for_both_forms_stays_ours_and_a_longer_one_is_refused() {
        let mut record = fox();
        record.request.prompt = "x".repeat(40_000);
        let picture = reopened(&ours(record.clone()), JPEG);
        assert_eq!((picture.record.as_ref(), picture.infotext), (Some(&record), None));
        record.request.prompt = "x".repeat(70_000);
        let text = encode(&dots(), &ours(record.clone()), JPEG).unwrap_err().for_people();
        assert!(text.contains("68 KiB") && text.contains("WebP or PNG"), "{text}");
        let foreign = Caption::Infotext("x".repeat(40_000));
        assert!(matches!(encode(&dots(), &foreign, JPEG), Err(GalleryError::RecipeTooLong { .. })));
        assert_eq!(reopened(&ours(record.clone()), PictureFormat::WebP).record, Some(record));
    }

    #[test]
    fn a_picture_without_pixels_is_refused_in_every_format() {
        for format in [PictureFormat::Png, JPEG, PictureFormat::WebP] {
            assert!(encode(&RgbImage::new(0, 5), &Caption::Nothing, format).is_err(), "{format:?}");
        }
    }

    #[test]
    fn the_ending_of_a_name_says_the_format() {
        let of = |name: &str| PictureFormat::of(Path::new(name), JpegQuality(92));
        assert_eq!((of("a.PNG"), of("a.jpeg"), of("b.c.JPG")), (Some(PictureFormat::Png), Some(JPEG), Some(JPEG)));
        assert_eq!((of("a.webp"), of("a"), of("a.gif")), (Some(PictureFormat::WebP), None, None));
        assert!(JpegQuality::new(0).is_err() && JpegQuality::new(101).is_err());
    }
}
