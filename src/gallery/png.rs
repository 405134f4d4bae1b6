//! Pictures as PNG bytes with their recipe inside, and the texts that any PNG carries.

use std::io::{BufRead, Read, Seek};

use image::RgbImage;

use crate::gallery::caption::CaptionTexts;
use crate::gallery::error::GalleryError;
use crate::gallery::exif;
use crate::gallery::texts::{MAX_TEXT_BYTES, PARAMETERS_KEYWORD, Texts};

/// The chunk that holds our own record, always iTXt (UTF-8).
pub const RECORD_KEYWORD: &str = "calotype";
/// How every PNG begins.
pub const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The most bytes that the texts of one file are unpacked to, those that are then left out among them.
const MOST_UNPACKED_BYTES: usize = 3 * MAX_TEXT_BYTES;

/// The PNG of a picture, with what is said about it. The same input gives the same bytes.
///
/// # Errors
/// When the picture has no pixels.
pub(super) fn encode(image: &RgbImage, texts: &CaptionTexts) -> Result<Vec<u8>, GalleryError> {
    let mut bytes = Vec::new();
    write_png(&mut bytes, image, texts).map_err(|source| GalleryError::Encode { source })?;
    Ok(bytes)
}

fn write_png(bytes: &mut Vec<u8>, image: &RgbImage, texts: &CaptionTexts) -> Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(bytes, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    if let Some(infotext) = &texts.infotext {
        if is_safe_as_latin_1(infotext) {
            encoder.add_text_chunk(PARAMETERS_KEYWORD.to_owned(), infotext.clone())?;
        } else {
            encoder.add_itxt_chunk(PARAMETERS_KEYWORD.to_owned(), infotext.clone())?;
        }
    }
    if let Some(record) = &texts.record {
        encoder.add_itxt_chunk(RECORD_KEYWORD.to_owned(), record.clone())?;
    }
    let mut writer = encoder.write_header()?;
    writer.write_image_data(image.as_raw())?;
    writer.finish()
}

/// True for a text that every reader of a tEXt chunk reads alike: many take it for UTF-8 before they try Latin-1.
fn is_safe_as_latin_1(text: &str) -> bool {
    text.is_ascii() || latin_1_bytes(text).is_some_and(|bytes| std::str::from_utf8(&bytes).is_err())
}

fn latin_1_bytes(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(c).ok()).collect()
}

/// Adds every text before and after the pixels, and those of an EXIF chunk, in the order of the file; skips the rest unread.
/// Gives back how many pixels the picture says it has. Never fails: what is damaged or beyond the limits is left out.
pub fn read_into(texts: &mut Texts, mut file: impl BufRead + Seek) -> u64 {
    let (mut pixels, mut header, mut skip) = (0, [0; 8], SIGNATURE.len() as i64);
    // What was unpacked, kept or not: bombs add up.
    let mut work = MOST_UNPACKED_BYTES;
    while !texts.is_full() && file.seek_relative(skip).and_then(|()| file.read_exact(&mut header)).is_ok() {
        let [a, b, c, d, kind @ ..] = header;
        let length = u32::from_be_bytes([a, b, c, d]);
        let is_read = match &kind {
            b"IHDR" | b"tEXt" | b"zTXt" | b"iTXt" => u64::from(length) <= texts.room() as u64,
            // Its own reader bounds it.
            b"eXIf" => true,
            b"IEND" => break,
            _ => false,
        };
        // A checksum of four bytes stands behind the data; a text with a damaged one may still be read by people.
        skip = i64::from(length) + 4;
        if !is_read {
            continue;
        }
        let mut data = Vec::new();
        let Ok(found) = (&mut file).take(u64::from(length).min(MAX_TEXT_BYTES as u64)).read_to_end(&mut data) else {
            break;
        };
        skip -= found as i64;
        match &kind {
            b"IHDR" => pixels = pixels_of(&data).unwrap_or(0),
            b"eXIf" => exif::read_into(texts, &data),
            b"tEXt" => keep_parts(texts, until_zero(&data).map(|(keyword, text)| (keyword, plain(text)))),
            b"zTXt" => keep_parts(texts, packed_text(&data, texts.room(), &mut work)),
            _ => keep_parts(texts, international_text(&data, texts.room(), &mut work)),
        }
    }
    pixels
}

/// Width and height are the first eight bytes of the header.
fn pixels_of(header: &[u8]) -> Option<u64> {
    let (width, rest) = header.split_first_chunk::<4>()?;
    Some(u64::from(u32::from_be_bytes(*width)) * u64::from(u32::from_be_bytes(*rest.first_chunk::<4>()?)))
}

fn keep_parts(texts: &mut Texts, parts: Option<(&[u8], String)>) {
    if let Some((keyword, text)) = parts
        && text.len() <= texts.room()
    {
        texts.keep(&plain(keyword), &text);
    }
}

/// Keyword, zero, method 0, zlib.
fn packed_text<'a>(data: &'a [u8], most: usize, work: &mut usize) -> Option<(&'a [u8], String)> {
    let (keyword, rest) = until_zero(data)?;
    let (0, packed) = rest.split_first()? else { return None };
    Some((keyword, plain(&unpacked(packed, most, work)?)))
}

/// Keyword, zero, whether packed, method, language, zero, keyword in that language, zero, UTF-8.
fn international_text<'a>(data: &'a [u8], most: usize, work: &mut usize) -> Option<(&'a [u8], String)> {
    let (keyword, rest) = until_zero(data)?;
    let ([is_packed, _], rest) = rest.split_first_chunk::<2>()?;
    let (_, text) = until_zero(until_zero(rest)?.1)?;
    Some((keyword, if *is_packed == 0 { plain(text) } else { plain(&unpacked(text, most, work)?) }))
}

fn until_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|byte| *byte == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

/// At most `most` bytes, and `None` for a bomb, which stops there.
fn unpacked(packed: &[u8], most: usize, work: &mut usize) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    let limit = most.saturating_add(1).min(*work);
    let outcome = flate2::read::ZlibDecoder::new(packed).take(limit as u64).read_to_end(&mut data);
    *work -= data.len();
    outcome.ok()?;
    (data.len() < limit).then_some(data)
}

/// UTF-8, which many programs write against the rules, or Latin-1 when it is not that.
fn plain(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::gallery::caption::Caption;
    use crate::gallery::infotext;
    use crate::gallery::record::PictureRecord;
    use crate::gallery::record::samples::{any_record, fox};

    /// Our own PNG of a record.
    fn encoded(record: &PictureRecord) -> Vec<u8> {
        encode(&dots(), &Caption::Ours(Box::new(record.clone())).texts().unwrap()).unwrap()
    }

    fn read(bytes: Vec<u8>) -> Texts {
        let mut texts = Texts::default();
        read_into(&mut texts, Cursor::new(bytes));
        texts
    }

    fn dots() -> RgbImage {
        RgbImage::from_fn(9, 7, |x, y| image::Rgb([u8::try_from(x * 20).unwrap(), u8::try_from(y * 30).unwrap(), 7]))
    }

    /// A PNG of another program: `add` puts its texts in, `late` goes behind the pixels.
    fn foreign(add: impl FnOnce(&mut png::Encoder<'_, &mut Vec<u8>>), late: Option<(&str, &str)>) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Rgb);
        add(&mut encoder);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[1, 2, 3]).unwrap();
        if let Some((keyword, text)) = late {
            writer.write_text_chunk(&png::text_metadata::TEXtChunk::new(keyword, text)).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn the_same_picture_gives_the_same_bytes() {
        assert_eq!(encoded(&fox()), encoded(&fox()));
    }

    #[test]
    fn the_pixels_come_back_as_they_were() {
        let bytes = encoded(&fox());
        assert_eq!(image::load_from_memory(&bytes).unwrap().to_rgb8(), dots());
    }

    #[test]
    fn a_picture_without_pixels_is_refused() {
        assert!(matches!(
            encode(&RgbImage::new(0, 5), &Caption::Nothing.texts().unwrap()),
            Err(GalleryError::Encode { .. })
        ));
    }

    #[test]
    fn text_is_latin_1_only_when_nobody_can_misread_it() {
        assert!(is_safe_as_latin_1("a fox"));
        assert!(is_safe_as_latin_1("un renard \u{e9}l\u{e9}gant"));
        assert!(!is_safe_as_latin_1("\u{c3}\u{a9}"));
        assert!(!is_safe_as_latin_1("\u{72d0}"));
    }

    #[test]
    fn packed_and_late_texts_of_other_programs_are_read() {
        let bytes = foreign(
            |encoder| {
                encoder.add_ztxt_chunk("sd-metadata".into(), "{\"a\": 1}".into()).unwrap();
                encoder.add_text_chunk("Software".into(), "NovelAI\0".into()).unwrap();
                encoder.add_itxt_chunk("note".into(), "\u{72d0}".into()).unwrap();
            },
            Some((PARAMETERS_KEYWORD, "Steps: 20")),
        );
        let texts = read(bytes);
        assert_eq!(texts.get("sd-metadata"), Some("{\"a\": 1}"));
        assert_eq!(texts.get("Software"), Some("NovelAI"));
        assert_eq!(texts.get("note"), Some("\u{72d0}"));
        assert_eq!(texts.get(PARAMETERS_KEYWORD), Some("Steps: 20"));
        assert_eq!(texts.get("workflow"), None);
    }

    #[test]
    fn packed_utf8_text_is_read() {
        let mut chunk = png::text_metadata::ITXtChunk::new("workflow", "\u{72d0}".repeat(1000));
        chunk.compress_text().unwrap();
        chunk.compressed = true;
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_text_chunk(&chunk).unwrap();
        writer.write_image_data(&[1, 2, 3]).unwrap();
        writer.finish().unwrap();
        assert_eq!(read(bytes).get("workflow").map(str::len), Some(3000));
    }

    #[test]
    fn utf8_in_a_latin_1_chunk_is_read_as_it_was_meant() {
        let disguised: String = "\u{72d0}".bytes().map(char::from).collect();
        let bytes = foreign(|encoder| encoder.add_text_chunk(PARAMETERS_KEYWORD.into(), disguised).unwrap(), None);
        assert_eq!(read(bytes).get(PARAMETERS_KEYWORD), Some("\u{72d0}"));
    }

    #[test]
    fn a_million_texts_and_a_hundred_bombs_cost_no_more_than_the_limits() {
        let many = foreign(
            |encoder| {
                for _ in 0..5000 {
                    encoder.add_text_chunk("a".into(), "b".into()).unwrap();
                }
            },
            None,
        );
        assert!(read(many).iter().count() <= 1024);
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, &vec![b'a'; MAX_TEXT_BYTES + 1]).unwrap();
        let packed = packed.finish().unwrap();
        let mut work = MOST_UNPACKED_BYTES;
        // Each stops at the room that is left, and all of them together at the work that is done for one file.
        for _ in 0..100 {
            assert_eq!(unpacked(&packed, MAX_TEXT_BYTES, &mut work), None);
        }
        assert_eq!(work, 0);
    }

    #[test]
    fn a_text_longer_than_the_limit_is_skipped_unread_and_what_follows_is_read() {
        let bytes = foreign(
            |encoder| {
                encoder.add_text_chunk("long".into(), "a".repeat(MAX_TEXT_BYTES + 1)).unwrap();
                encoder.add_text_chunk("after".into(), "still here".into()).unwrap();
            },
            None,
        );
        let texts = read(bytes);
        assert_eq!((texts.get("long"), texts.get("after")), (None, Some("still here")));
    }

    #[test]
    fn a_bomb_of_text_is_left_out_and_the_rest_is_read() {
        let bytes = foreign(
            |encoder| {
                encoder.add_ztxt_chunk("bomb".into(), "a".repeat(MAX_TEXT_BYTES + 1)).unwrap();
                encoder.add_itxt_chunk("after".into(), "still here".into()).unwrap();
            },
            None,
        );
        let texts = read(bytes);
        assert_eq!((texts.get("bomb"), texts.get("after")), (None, Some("still here")));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, rng_seed: proptest::test_runner::RngSeed::Fixed(5), ..ProptestConfig::default() })]
        #[test]
        fn written_read_and_written_again_is_the_same_file(record in any_record()) {
            let bytes = encoded(&record);
            let again = PictureRecord::from_json(read(bytes.clone()).get(RECORD_KEYWORD).unwrap()).unwrap();
            prop_assert_eq!(encoded(&again), bytes);
        }
    }

    proptest! {
        #[test]
        fn any_record_comes_back_out_of_the_file(record in any_record()) {
            let bytes = encoded(&record);
            let texts = read(bytes);
            let json = texts.get(RECORD_KEYWORD).unwrap();
            prop_assert_eq!(PictureRecord::from_json(json).unwrap(), record.clone());
            let infotext = infotext::write(&record).replace('\0', "");
            prop_assert_eq!(texts.get(PARAMETERS_KEYWORD), Some(infotext.as_str()));
        }

        #[test]
        fn damaged_files_never_make_the_reader_panic(
            cut in 0_usize..2000,
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        ) {
            let mut bytes = encoded(&fox());
            for (index, value) in changes {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut);
            let _ = read(bytes);
        }
    }
}
