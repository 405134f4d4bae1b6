//! Reads a picture back with everything that it says about itself.

use std::path::Path;
use std::sync::Arc;

use image::DynamicImage;

use crate::gallery::container::{self, Container};
use crate::gallery::decode::{decode, dimensions, on_white, open};
use crate::gallery::error::GalleryError;
use crate::gallery::foreign;
use crate::gallery::message::OpenedPicture;
use crate::gallery::png::RECORD_KEYWORD;
use crate::gallery::record::{PictureRecord, ReadRecipe};
use crate::gallery::stealth;
use crate::gallery::texts::{MAX_TEXT_BYTES, Texts};

/// The most bytes of text beside which a recipe is looked for in the pixels.
const MOST_TEXT_SEARCHED: usize = 1 << 20;
/// The most pixels that are unpacked only to look for a recipe in them. Programs that hide one there draw a few million.
const MOST_PIXELS_SEARCHED: u64 = 6 << 20;

/// What a file says about how its picture was made.
#[derive(Debug, Default)]
pub struct Said {
    /// Our own record, when the file holds one that this build understands.
    pub record: Option<PictureRecord>,
    /// The settings, from our own record or another program's texts.
    pub recipe: Option<ReadRecipe>,
    /// The A1111 `parameters` text as it stands in the file.
    pub infotext: Option<String>,
    /// What was in the file but could not be understood, for people.
    pub warning: Option<String>,
    /// The text that holds the recipe, word for word, where it could not be read at all.
    pub unread: Option<String>,
}

/// Reads a picture and its recipe. A recipe that cannot be read is a warning, not an error.
///
/// # Errors
/// When nothing or no file is there, it is no picture, or it is beyond the limits.
pub fn open_picture(path: &Path) -> Result<OpenedPicture, GalleryError> {
    let (container, texts) = container::read(open(path)?);
    let pixels = decode(path)?;
    let said = said(&texts).or_hidden_in(&pixels);
    Ok(OpenedPicture {
        path: path.to_owned(),
        is_lossy: container.is_lossy(),
        record: said.record,
        recipe: said.recipe,
        infotext: said.infotext,
        warning: said.warning,
        unread: said.unread,
        image: Arc::new(on_white(pixels)),
    })
}

/// Reads a picture's recipe without its pixels, but for those of pictures of a usual size that may hide one.
///
/// # Errors
/// When nothing or no file is there, or it is no picture.
pub fn read_recipe(path: &Path) -> Result<Said, GalleryError> {
    let (container, texts) = container::read(open(path)?);
    let said = said(&texts);
    // A file with more text than anyone writes who hides a recipe besides is not worth its pixels.
    if said.recipe.is_some() || texts.is_full() || texts.room() < MAX_TEXT_BYTES - MOST_TEXT_SEARCHED {
        return Ok(said);
    }
    let pixels = match container {
        Container::Jpeg | Container::LossyWebP => return Ok(said),
        Container::Png { pixels } => pixels,
        Container::LosslessWebP | Container::Other => {
            let (width, height) = dimensions(path)?;
            u64::from(width) * u64::from(height)
        }
    };
    if pixels > MOST_PIXELS_SEARCHED {
        return Ok(said);
    }
    let pixels = decode(path)?;
    Ok(said.or_hidden_in(&pixels))
}

impl Said {
    /// What the pixels say, where the texts say nothing; warnings of the texts stay if the pixels say nothing either.
    fn or_hidden_in(self, pixels: &DynamicImage) -> Self {
        if self.recipe.is_some() {
            return self;
        }
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
    use crate::gallery::exif;
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
    fn a_recipe_is_read_without_the_pixels_that_it_is_not_hidden_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        // Eight thousand pixels a side, of which there are none.
        let mut bytes = encode(&RgbImage::new(1, 1), &Caption::of(Some(fox()), None), PictureFormat::Png).unwrap();
        bytes[16..24].copy_from_slice(&[0, 0, 0x20, 0, 0, 0, 0x20, 0]);
        std::fs::write(&path, &bytes).unwrap();
        assert!(open_picture(&path).is_err());
        assert_eq!(read_recipe(&path).unwrap().record, Some(fox()));
        let bare = encode(&RgbImage::new(1, 1), &Caption::Nothing, PictureFormat::Png).unwrap();
        std::fs::write(&path, [&bare[..16], &bytes[16..24], &bare[24..]].concat()).unwrap();
        assert!(read_recipe(&path).unwrap().recipe.is_none(), "too large to be searched");
        std::fs::write(&path, "no picture").unwrap();
        assert!(matches!(read_recipe(&path), Err(GalleryError::NotAPicture { .. })));
    }

    #[test]
    fn a_picture_that_says_nothing_opens_without_a_warning() {
        let picture = opened(&[]);
        assert!(picture.recipe.is_none() && picture.infotext.is_none() && picture.warning.is_none());
    }
}
