//! Reads a picture back with everything that it says about itself.

use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use image::{DynamicImage, ImageFormat};

use crate::gallery::decode::{Decoded, decode, on_white, open};
use crate::gallery::error::GalleryError;
use crate::gallery::exif;
use crate::gallery::foreign::{self, XMP_KEYWORD};
use crate::gallery::message::OpenedPicture;
use crate::gallery::png::{self, RECORD_KEYWORD};
use crate::gallery::record::{PictureRecord, ReadRecipe};
use crate::gallery::stealth;
use crate::gallery::texts::Texts;

/// Reads a picture and its recipe. A recipe that cannot be read is a warning, not an error.
///
/// # Errors
/// When nothing or no file is there, it is no picture, or it is beyond the limits.
pub fn open_picture(path: &Path) -> Result<OpenedPicture, GalleryError> {
    let decoded = decode(path)?;
    let texts = texts_of(&decoded, path)?;
    let is_lossy = match decoded.format {
        ImageFormat::Jpeg => true,
        ImageFormat::WebP => is_lossy_webp(open(path)?),
        _ => false,
    };
    let mut said = said(&texts);
    if said.recipe.is_none() {
        said = said.or_hidden_in(&decoded.pixels);
    }
    Ok(OpenedPicture {
        path: path.to_owned(),
        image: Arc::new(on_white(decoded.pixels)),
        is_lossy,
        record: said.record,
        recipe: said.recipe,
        infotext: said.infotext,
        warning: said.warning,
        unread: said.unread,
    })
}

/// A WebP's pixels stand in a chunk `VP8L` when they are as they were, in `VP8 ` when not.
fn is_lossy_webp(mut file: impl Read + Seek) -> bool {
    let mut header = [0; 8];
    // Behind "RIFF", a size and "WEBP"; real files have few chunks before their pixels.
    let mut skip = 12;
    for _ in 0..16 {
        if file.seek_relative(skip).and_then(|()| file.read_exact(&mut header)).is_err() {
            return true;
        }
        let [kind @ .., a, b, c, d] = header;
        skip = match &kind {
            b"VP8L" => return false,
            b"VP8 " => return true,
            // A frame's pixels stand in chunks inside it, behind its place and time.
            b"ANMF" => 16,
            _ => i64::from(u32::from_le_bytes([a, b, c, d])) + i64::from(a & 1),
        };
    }
    true
}

fn texts_of(decoded: &Decoded, path: &Path) -> Result<Texts, GalleryError> {
    let mut texts = Texts::default();
    if decoded.format == ImageFormat::Png {
        png::read_into(&mut texts, open(path)?);
    }
    if let Some(block) = &decoded.exif {
        exif::read_into(&mut texts, block);
    }
    if let Some(packet) = decoded.xmp.as_deref().and_then(|packet| std::str::from_utf8(packet).ok()) {
        texts.keep(XMP_KEYWORD, packet);
    }
    Ok(texts)
}

/// What the texts of a picture come to.
#[derive(Default)]
struct Said {
    record: Option<PictureRecord>,
    recipe: Option<ReadRecipe>,
    infotext: Option<String>,
    warning: Option<String>,
    unread: Option<String>,
}

impl Said {
    /// What the pixels say, where the texts say nothing; warnings of the texts stay if the pixels say nothing either.
    fn or_hidden_in(self, pixels: &DynamicImage) -> Self {
        let mut hidden = Texts::default();
        stealth::read_into(&mut hidden, pixels);
        let found = said(&hidden);
        if found.recipe.is_some() { found } else { self }
    }
}

fn said(texts: &Texts) -> Said {
    let mut said = Said::default();
    match texts.get(RECORD_KEYWORD).map(PictureRecord::from_json) {
        Some(Ok(record)) => {
            let recipe = Some(ReadRecipe::from(&record));
            let infotext = foreign::infotext_in(texts).map(str::to_owned);
            return Said { record: Some(record), recipe, infotext, ..Said::default() };
        }
        Some(Err(error)) => said.warning = Some(error.to_string()),
        None => {}
    }
    let found = foreign::read(texts);
    (said.recipe, said.infotext, said.unread) = (found.recipe, found.infotext, found.unread);
    said.warning = said.warning.or(found.warning);
    said
}

#[cfg(test)]
mod tests {
    use image::RgbImage;

    use super::*;
    use crate::gallery::exif::samples::unicode_be;
    use crate::gallery::export::{PictureFormat, encode};
    use crate::gallery::message::Caption;
    use crate::gallery::record::samples::fox;
    use crate::gallery::texts::PARAMETERS_KEYWORD;

    /// Writes a PNG with these texts and opens it.
    fn opened(texts: &[(&str, &str)]) -> OpenedPicture {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let mut encoder = ::png::Encoder::new(std::fs::File::create(&path).unwrap(), 1, 1);
        encoder.set_color(::png::ColorType::Rgb);
        for (keyword, text) in texts {
            encoder.add_itxt_chunk((*keyword).to_owned(), (*text).to_owned()).unwrap();
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[1, 2, 3]).unwrap();
        writer.finish().unwrap();
        open_picture(&path).unwrap()
    }

    #[test]
    fn our_own_picture_comes_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let image = RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3]));
        std::fs::write(&path, encode(&image, &Caption::of(Some(fox()), None), PictureFormat::Png).unwrap()).unwrap();
        let picture = open_picture(&path).unwrap();
        assert_eq!((&*picture.image, picture.record), (&image, Some(fox())));
        assert_eq!(picture.recipe, Some(ReadRecipe::from(&fox())));
        assert!(picture.infotext.unwrap().starts_with("a fox\nSteps: 20"));
        assert_eq!(picture.warning, None);
    }

    #[test]
    fn the_infotext_of_another_program_is_a_recipe() {
        let picture = opened(&[(PARAMETERS_KEYWORD, "a fox\nSteps: 20, Sampler: Euler a, Seed: 7")]);
        assert_eq!(picture.record, None);
        assert_eq!(picture.recipe.unwrap().seed, Some(crate::request::Seed(7)));
    }

    #[test]
    fn a_record_of_a_newer_version_is_a_warning_and_the_infotext_serves() {
        let newer = fox().to_json().unwrap().replace("\"version\":1", "\"version\":9");
        let picture =
            opened(&[(RECORD_KEYWORD, &newer), (PARAMETERS_KEYWORD, "a fox\nSteps: 20, Sampler: Euler, Seed: 7")]);
        assert!(picture.warning.unwrap().contains("newer Calotype"));
        assert_eq!(picture.recipe.unwrap().prompt, "a fox");
    }

    #[test]
    fn recipes_that_cannot_be_read_are_named() {
        let picture = opened(&[("prompt", "{}"), ("workflow", "{\"nodes\": []}")]);
        assert!(picture.recipe.is_none() && picture.warning.unwrap().contains("ComfyUI"));
        assert_eq!(picture.unread.as_deref(), Some("{}"), "the graph is kept for the user");
        let picture = opened(&[(PARAMETERS_KEYWORD, "{\"some\": \"thing\"}")]);
        assert!(picture.recipe.is_none() && picture.warning.unwrap().contains("JSON"));
        assert_eq!(opened(&[(PARAMETERS_KEYWORD, "{a|b} fox")]).recipe.unwrap().prompt, "{a|b} fox");
    }

    #[test]
    fn a_jpeg_and_a_webp_hold_the_infotext_in_their_exif() {
        use image::ImageEncoder;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let exif = exif::samples::exif(true, &unicode_be("a fox\nSteps: 20, Sampler: Euler, Seed: 7"));
        let mut jpeg = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
        encoder.set_exif_metadata(exif.clone()).unwrap();
        encoder.write_image(&[0; 192], 8, 8, image::ExtendedColorType::Rgb8).unwrap();
        let mut webp = Vec::new();
        let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut webp);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(&[0; 192], 8, 8, image::ExtendedColorType::Rgb8).unwrap();
        for bytes in [jpeg, webp] {
            std::fs::write(&path, bytes).unwrap();
            let picture = open_picture(&path).unwrap();
            assert_eq!(picture.recipe.unwrap().seed, Some(crate::request::Seed(7)));
            assert!(picture.infotext.unwrap().starts_with("a fox"));
        }
    }

    #[test]
    fn a_webp_is_lossy_when_its_pixels_are() {
        let webp = |chunks: &[&[u8]]| {
            is_lossy_webp(std::io::Cursor::new([b"RIFF\0\0\0\0WEBP", &chunks.concat()[..]].concat()))
        };
        let extended = b"VP8X\x0a\0\0\00123456789";
        assert!(!webp(&[b"VP8L\0\0\0\0"]) && webp(&[b"VP8 \0\0\0\0"]));
        assert!(!webp(&[extended, b"ICCP\x03\0\0\0abc\0", b"VP8L\0\0\0\0"]));
        assert!(webp(&[extended, b"ANMF\x20\0\0\00123456789abcdef", b"ALPH\x02\0\0\0ab", b"VP8 \0\0\0\0"]));
        assert!(webp(&[b"XXXX\xff\xff\xff\xff"]) && webp(&[]));
    }

    #[test]
    fn a_picture_that_says_nothing_opens_without_a_warning() {
        let picture = opened(&[]);
        assert!(picture.recipe.is_none() && picture.infotext.is_none() && picture.warning.is_none());
    }
}
