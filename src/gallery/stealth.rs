//! Recipes hidden in the lowest bits of a picture's pixels, which NovelAI and some forks of A1111 write.
//!
//! The bits stand column by column, in alpha or else in red, green and blue: a signature of 15 letters, the number of
//! bits that follow in 32 bits, big-endian, then a text or its gzip.

use std::io::Read as _;

use image::DynamicImage;

use crate::gallery::foreign::{COMMENT_KEYWORD, json};
use crate::gallery::texts::{MAX_TEXT_BYTES, PARAMETERS_KEYWORD, Texts};

/// The most bytes that are taken out of the pixels.
const MAX_HIDDEN_BYTES: usize = 1 << 20;
/// The length of a signature in bytes.
const SIGNATURE_BYTES: usize = 15;

/// Adds the hidden text, if there is one. Never fails: what is damaged is left out.
pub fn read_into(texts: &mut Texts, pixels: &DynamicImage) {
    let Some(text) = in_alpha(pixels).or_else(|| in_colours(pixels)) else { return };
    let keyword = if json::object(&text).is_some() { COMMENT_KEYWORD } else { PARAMETERS_KEYWORD };
    texts.keep(keyword, &text);
}

fn in_alpha(pixels: &DynamicImage) -> Option<String> {
    let pixels = pixels.as_rgba8()?;
    let (width, height) = pixels.dimensions();
    let columns = (0..width).flat_map(|x| (0..height).map(move |y| (x, y)));
    let bits = columns.map(|(x, y)| pixels.get_pixel(x, y).0[3] & 1);
    hidden(bits, b"stealth_pnginfo", b"stealth_pngcomp")
}

fn in_colours(pixels: &DynamicImage) -> Option<String> {
    let colours: Box<dyn Fn(u32, u32) -> [u8; 3]> = if let Some(pixels) = pixels.as_rgb8() {
        Box::new(|x, y| pixels.get_pixel(x, y).0)
    } else {
        let pixels = pixels.as_rgba8()?;
        Box::new(|x, y| {
            let [red, green, blue, _] = pixels.get_pixel(x, y).0;
            [red, green, blue]
        })
    };
    let (width, height) = (pixels.width(), pixels.height());
    let columns = (0..width).flat_map(|x| (0..height).map(move |y| (x, y)));
    let bits = columns.flat_map(|(x, y)| colours(x, y).map(|colour| colour & 1));
    hidden(bits, b"stealth_rgbinfo", b"stealth_rgbcomp")
}

fn hidden(mut bits: impl Iterator<Item = u8>, plain: &[u8], packed: &[u8]) -> Option<String> {
    let signature = bytes(&mut bits, SIGNATURE_BYTES)?;
    let is_packed = signature == packed;
    if !is_packed && signature != plain {
        return None;
    }
    let length: [u8; 4] = bytes(&mut bits, 4)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()? / 8;
    let content = bytes(&mut bits, Some(length).filter(|length| *length <= MAX_HIDDEN_BYTES)?)?;
    if !is_packed {
        return String::from_utf8(content).ok();
    }
    let mut text = String::new();
    let limit = u64::try_from(MAX_TEXT_BYTES).ok()?;
    flate2::read::GzDecoder::new(content.as_slice()).take(limit).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The next bytes, highest bit first; `None` when the picture ends before.
fn bytes(bits: &mut impl Iterator<Item = u8>, count: usize) -> Option<Vec<u8>> {
    (0..count).map(|_| (0..8).try_fold(0_u8, |byte, _| Some(byte << 1 | bits.next()?))).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use image::{RgbImage, RgbaImage};
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "a fox\nSteps: 20, Sampler: Euler, Seed: 3";

    fn bits_of(signature: &str, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len() * 8).unwrap().to_be_bytes();
        let bytes = [signature.as_bytes(), &length, content].concat();
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect()
    }

    fn read(pixels: &DynamicImage) -> Option<String> {
        let mut texts = Texts::default();
        read_into(&mut texts, pixels);
        texts.get(PARAMETERS_KEYWORD).map(str::to_owned)
    }

    fn alpha(bits: &[u8]) -> DynamicImage {
        RgbaImage::from_fn(40, 40, |x, y| {
            image::Rgba([9, 9, 9, 0xfe | bits.get((x * 40 + y) as usize).copied().unwrap_or(0)])
        })
        .into()
    }

    #[test]
    fn texts_in_alpha_and_in_colours_are_found() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(TEXT.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(read(&alpha(&bits_of("stealth_pnginfo", TEXT.as_bytes()))).as_deref(), Some(TEXT));
        assert_eq!(read(&alpha(&bits_of("stealth_pngcomp", &packed))).as_deref(), Some(TEXT));
        let bits = bits_of("stealth_rgbinfo", TEXT.as_bytes());
        let coloured = RgbImage::from_fn(40, 40, |x, y| {
            let at = (x * 40 + y) as usize * 3;
            image::Rgb([0, 1, 2].map(|colour| 8 | bits.get(at + colour).copied().unwrap_or(0)))
        });
        assert_eq!(read(&coloured.into()).as_deref(), Some(TEXT));
    }

    #[test]
    fn a_length_beyond_the_picture_and_a_picture_that_hides_nothing_say_nothing() {
        let mut bits = bits_of("stealth_pnginfo", TEXT.as_bytes());
        bits[120] = 1;
        assert_eq!(read(&alpha(&bits)), None);
        assert_eq!(read(&RgbImage::new(3, 3).into()), None);
        assert_eq!(read(&DynamicImage::new_luma16(40, 40)), None);
    }

    proptest! {
        #[test]
        fn any_hidden_bytes_are_read_without_a_panic(content in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&alpha(&bits_of("stealth_pngcomp", &content)));
        }
    }
}
