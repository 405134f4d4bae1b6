//! Writes a caption as an EXIF block: for JPEG and WebP, which have no text chunks.
//!
//! The infotext stands where A1111 puts it, byte for byte as piexif lays it out: big-endian TIFF, one entry that leads
//! to the second directory, there a `UserComment` of `UNICODE\0` and UTF-16, big-endian. Our record is the
//! `MakerNote` before it, the place that EXIF has for a maker's own data, which others keep and do not look into.

use crate::gallery::caption::CaptionTexts;

/// How our record begins in its `MakerNote`, so that nobody takes a camera's for it.
pub const MAKER_NOTE_MARK: &[u8] = b"Calotype\0";
/// A maker's own data, of any bytes.
pub const MAKER_NOTE: u16 = 0x927c;
/// What the user says about the picture.
pub const USER_COMMENT: u16 = 0x9286;
/// The entry that leads to the directory of the photograph's settings.
pub const EXIF_DIRECTORY: u16 = 0x8769;

/// TIFF's types of values.
const LONG: u16 = 4;
const UNDEFINED: u16 = 7;
/// The first directory begins behind the header of 8 bytes and holds one entry: 2 + 12 + 4 bytes.
const SECOND_DIRECTORY: usize = 8 + 18;

/// The block, without the `Exif\0\0` that JPEG puts before it; `None` when there is nothing to say.
#[must_use]
pub fn write(texts: &CaptionTexts) -> Option<Vec<u8>> {
    // Directories are sorted by tag.
    let mut values = Vec::new();
    if let Some(record) = &texts.record {
        values.push((MAKER_NOTE, [MAKER_NOTE_MARK, record.as_bytes()].concat()));
    }
    if let Some(infotext) = &texts.infotext {
        let mut comment = b"UNICODE\0".to_vec();
        comment.extend(infotext.encode_utf16().flat_map(u16::to_be_bytes));
        values.push((USER_COMMENT, comment));
    }
    if values.is_empty() {
        return None;
    }
    let mut block = b"MM\0*".to_vec();
    block.extend(8_u32.to_be_bytes());
    block.extend(1_u16.to_be_bytes());
    block.extend(entry(EXIF_DIRECTORY, LONG, 1, SECOND_DIRECTORY));
    block.extend(0_u32.to_be_bytes());
    block.extend((values.len() as u16).to_be_bytes());
    // Values stand behind the directory, in its order; they are all longer than the four bytes of an entry.
    let mut at = SECOND_DIRECTORY + 2 + 12 * values.len() + 4;
    for (tag, value) in &values {
        block.extend(entry(*tag, UNDEFINED, value.len(), at));
        at += value.len();
    }
    block.extend(0_u32.to_be_bytes());
    block.extend(values.into_iter().flat_map(|(_, value)| value));
    Some(block)
}

/// Tag, type, count and where the value stands; a block is far below 4 GiB.
fn entry(tag: u16, kind: u16, count: usize, at: usize) -> [u8; 12] {
    let mut entry = [0; 12];
    entry[..2].copy_from_slice(&tag.to_be_bytes());
    entry[2..4].copy_from_slice(&kind.to_be_bytes());
    entry[4..8].copy_from_slice(&(count as u32).to_be_bytes());
    entry[8..].copy_from_slice(&(at as u32).to_be_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gallery::caption::Caption;
    use crate::gallery::exif;
    use crate::gallery::png::RECORD_KEYWORD;
    use crate::gallery::record::PictureRecord;
    use crate::gallery::record::samples::any_record;
    use crate::gallery::texts::{PARAMETERS_KEYWORD, Texts};

    fn block(caption: &Caption) -> Option<Vec<u8>> {
        write(&caption.texts().unwrap())
    }

    fn read(block: &[u8]) -> Texts {
        let mut texts = Texts::default();
        exif::read_into(&mut texts, block);
        texts
    }

    #[test]
    fn an_infotext_stands_as_piexif_lays_it_out() {
        let block = block(&Caption::Infotext("a fox\0".into())).unwrap();
        // piexif.dump({"Exif": {UserComment: UserComment.dump("a fox", "unicode")}}), without its "Exif\0\0".
        let expected = b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0\
            \0\x01\x92\x86\0\x07\0\0\0\x12\0\0\0\x2c\0\0\0\0UNICODE\0\0a\0 \0f\0o\0x";
        assert_eq!(block, expected);
        assert_eq!(read(&block).get(PARAMETERS_KEYWORD), Some("a fox"));
    }

    #[test]
    fn nothing_to_say_is_no_block() {
        assert_eq!(block(&Caption::Nothing), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, rng_seed: proptest::test_runner::RngSeed::Fixed(5), ..ProptestConfig::default() })]
        #[test]
        fn written_read_and_written_again_is_the_same_block(record in any_record()) {
            let first = block(&Caption::Ours(Box::new(record.clone()))).unwrap();
            let texts = read(&first);
            let again = PictureRecord::from_json(texts.get(RECORD_KEYWORD).unwrap()).unwrap();
            prop_assert_eq!(&again, &record);
            prop_assert_eq!(block(&Caption::Ours(Box::new(again))).unwrap(), first);
        }
    }
}
