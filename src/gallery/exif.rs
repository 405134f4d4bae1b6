//! The texts in EXIF, where JPEG and WebP (and some PNGs) keep their recipes.
//!
//! EXIF is a small TIFF file: a directory of entries, one of which leads to a second directory. Only six tags are
//! looked at, every offset is checked, and nothing is followed twice.

use crate::gallery::exif_block::{EXIF_DIRECTORY, MAKER_NOTE, MAKER_NOTE_MARK, USER_COMMENT};
use crate::gallery::foreign::{COMMENT_KEYWORD, json};
use crate::gallery::png::RECORD_KEYWORD;
use crate::gallery::texts::{PARAMETERS_KEYWORD, Texts};

const IMAGE_DESCRIPTION: u16 = 0x010e;
const MAKE: u16 = 0x010f;
const CAMERA_MODEL: u16 = 0x0110;
/// The most entries of a directory that are looked at; real ones have a few dozen.
const MOST_ENTRIES: usize = 64;
/// The most bytes of EXIF that are looked at; ComfyUI's largest graphs are a quarter of it.
const MAX_EXIF_BYTES: usize = 4 << 20;

/// Adds the texts of an EXIF block under the keywords that a PNG would have. Never fails: what is damaged is left out.
pub fn read_into(texts: &mut Texts, exif: &[u8]) {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let Some(tiff) = Tiff::of(&exif[..exif.len().min(MAX_EXIF_BYTES)]) else { return };
    let Some(first) = tiff.u32(4).and_then(|at| usize::try_from(at).ok()) else { return };
    for (tag, bytes) in tiff.entries(first) {
        // Entries may all point at the same megabytes.
        if texts.is_full() {
            return;
        }
        if tag == EXIF_DIRECTORY {
            let second = tiff.number(bytes).and_then(|at| usize::try_from(at).ok());
            let entries = second.map(|at| tiff.entries(at)).unwrap_or_default();
            let value = |wanted: u16| entries.iter().find(|(tag, _)| *tag == wanted).map(|(_, bytes)| *bytes);
            if let Some(record) = value(MAKER_NOTE).and_then(|bytes| bytes.strip_prefix(MAKER_NOTE_MARK)) {
                texts.keep(RECORD_KEYWORD, &plain(record));
            }
            if let Some(bytes) = value(USER_COMMENT) {
                keep_comment(texts, &comment(bytes));
            }
        } else if tag == USER_COMMENT {
            keep_comment(texts, &comment(bytes));
        } else if matches!(tag, IMAGE_DESCRIPTION | MAKE | CAMERA_MODEL) {
            keep_tagged(texts, tag, &plain(bytes));
        }
    }
}

/// A comment that is a JSON object belongs to a program that is found out later; any other is an infotext.
fn keep_comment(texts: &mut Texts, text: &str) {
    let text = text.trim_matches('\0');
    if text.trim().is_empty() {
        return;
    }
    let keyword = if json::object(text).is_some() { COMMENT_KEYWORD } else { PARAMETERS_KEYWORD };
    texts.keep(keyword, text);
}

/// ComfyUI's savers write `workflow:{…}` and `Prompt: {…}` into the camera's tags.
fn keep_tagged(texts: &mut Texts, tag: u16, text: &str) {
    for keyword in ["prompt", "workflow"] {
        if let Some((name, rest)) = text.split_once(':')
            && name.trim().eq_ignore_ascii_case(keyword)
        {
            texts.keep(keyword, rest);
            return;
        }
    }
    if tag == IMAGE_DESCRIPTION && !text.trim().is_empty() {
        texts.keep("Description", text);
    }
}

/// A user comment without its code of eight bytes.
fn comment(bytes: &[u8]) -> String {
    let Some((code, rest)) = bytes.split_first_chunk::<8>() else { return plain(bytes) };
    match code {
        b"UNICODE\0" => utf16(rest),
        // Nobody writes the Japanese code for what it stands for; Latin letters read the same.
        b"ASCII\0\0\0" | b"JIS\0\0\0\0\0" | b"\0\0\0\0\0\0\0\0" => plain(rest),
        _ => plain(bytes),
    }
}

/// UTF-16 in the byte order in which its text makes sense, which is not always that of the file around it: the zero
/// byte of Latin letters shows it.
fn utf16(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let is_big_endian = match pairs.first() {
        Some([0xfe, 0xff]) => true,
        Some([0xff, 0xfe]) => false,
        _ => zeros(0) >= zeros(1),
    };
    let units =
        pairs.iter().map(|&pair| if is_big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) });
    let text: String = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.trim_start_matches('\u{feff}').to_owned()
}

/// UTF-8, or Latin-1 when it is not that.
fn plain(bytes: &[u8]) -> String {
    let text =
        std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned);
    text.trim_matches('\0').to_owned()
}

/// A TIFF's bytes and their order.
struct Tiff<'a> {
    bytes: &'a [u8],
    is_big_endian: bool,
}

impl<'a> Tiff<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let is_big_endian = match bytes.get(..4)? {
            b"MM\0*" => true,
            b"II*\0" => false,
            _ => return None,
        };
        Some(Self { bytes, is_big_endian })
    }

    /// Tag and value of every entry of the directory at `at`; what lies outside is left out.
    fn entries(&self, at: usize) -> Vec<(u16, &'a [u8])> {
        let count = usize::from(self.u16(at).unwrap_or(0)).min(MOST_ENTRIES);
        (0..count).filter_map(|index| self.entry(at.checked_add(2 + 12 * index)?)).collect()
    }

    /// An entry is tag, type, count and value of 2, 2, 4 and 4 bytes; longer values stand elsewhere.
    fn entry(&self, at: usize) -> Option<(u16, &'a [u8])> {
        let (tag, kind) = (self.u16(at)?, self.u16(at.checked_add(2)?)?);
        let count = usize::try_from(self.u32(at.checked_add(4)?)?).ok()?;
        let length = match kind {
            // Bytes, ASCII, undefined, and UTF-8 of EXIF 3.
            1 | 2 | 7 | 129 => count,
            4 | 13 => count.checked_mul(4)?,
            _ => return None,
        };
        let value = at.checked_add(8)?;
        let start = if length <= 4 { value } else { usize::try_from(self.u32(value)?).ok()? };
        // A file that was cut off still has the beginning of its text.
        let end = start.checked_add(length)?.min(self.bytes.len());
        Some((tag, self.bytes.get(start..end)?))
    }

    fn u16(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.number(self.bytes.get(at..)?)
    }

    fn number(&self, bytes: &[u8]) -> Option<u32> {
        let bytes = *bytes.first_chunk::<4>()?;
        Some(if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! EXIF blocks for the tests of the room.

    /// A block whose one user comment is `bytes`.
    pub fn exif(is_big_endian: bool, comment: &[u8]) -> Vec<u8> {
        let u16 = |n: u16| if is_big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
        let u32 = |n: u32| if is_big_endian { n.to_be_bytes() } else { n.to_le_bytes() };
        let mut bytes = if is_big_endian { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
        bytes.extend(u32(8));
        // IFD0 at 8: one entry, which leads to 26; there one entry, whose value stands at 44.
        for (tag, kind, count, value) in [(0x8769, 4, 1, 26), (0x9286, 7, comment.len() as u32, 44)] {
            bytes.extend(u16(1));
            bytes.extend(u16(tag));
            bytes.extend(u16(kind));
            bytes.extend(u32(count));
            bytes.extend(u32(value));
            bytes.extend(u32(0));
        }
        bytes.extend(comment);
        bytes
    }

    /// The comment as A1111 writes it.
    pub fn unicode_be(text: &str) -> Vec<u8> {
        let mut bytes = b"UNICODE\0".to_vec();
        bytes.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::samples::{exif, unicode_be};
    use super::*;

    fn read(bytes: &[u8]) -> Texts {
        let mut texts = Texts::default();
        read_into(&mut texts, bytes);
        texts
    }

    const INFOTEXT: &str = "a fox, \u{72d0}\nSteps: 20, Sampler: Euler, Seed: 3";

    #[test]
    fn both_byte_orders_occur_in_both_kinds_of_files() {
        let mut little = b"UNICODE\0".to_vec();
        little.extend(INFOTEXT.encode_utf16().flat_map(u16::to_le_bytes));
        for comment in [unicode_be(INFOTEXT), little, [b"ASCII\0\0\0", INFOTEXT.as_bytes()].concat()] {
            for is_big_endian in [false, true] {
                let block = exif(is_big_endian, &comment);
                assert_eq!(read(&block).get(PARAMETERS_KEYWORD), Some(INFOTEXT));
                assert_eq!(read(&[b"Exif\0\0", &block[..]].concat()).get(PARAMETERS_KEYWORD), Some(INFOTEXT));
            }
        }
    }

    #[test]
    fn an_object_is_kept_apart_and_a_brace_is_not() {
        assert!(read(&exif(true, &unicode_be("{\"a\": 1}"))).get(COMMENT_KEYWORD).is_some());
        assert_eq!(read(&exif(true, &unicode_be("{a|b} fox"))).get(PARAMETERS_KEYWORD), Some("{a|b} fox"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[b"II*\0\x08\0\0\0".to_vec(), bytes].concat());
        }

        #[test]
        fn damaged_blocks_are_read_without_a_panic(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = exif(true, &unicode_be(INFOTEXT));
            for (index, value) in changes {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            bytes.truncate(cut.index(bytes.len()));
            let _ = read(&bytes);
        }
    }
}
