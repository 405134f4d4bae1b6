//! The texts of a picture file, found without its pixels: every length in it may lie, and what is not a text is skipped.

use std::io::{BufRead, Read, Seek};

use crate::gallery::exif;
use crate::gallery::foreign::XMP_KEYWORD;
use crate::gallery::png;
use crate::gallery::texts::{MAX_TEXT_BYTES, Texts};

/// The most segments or chunks that are looked at; a long animation has a few thousand.
const MOST_PARTS: usize = 1 << 14;
/// How a JPEG's XMP segment begins.
const XMP_MARK: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// How a JPEG's EXIF segment begins.
const EXIF_MARK: &[u8] = b"Exif\0\0";

/// What a file is by its first bytes, whatever its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// A PNG of this many pixels, by its own word.
    Png {
        /// Width times height.
        pixels: u64,
    },
    /// A JPEG.
    Jpeg,
    /// A WebP whose pixels are as they were.
    LosslessWebP,
    /// A WebP whose pixels are nearly as they were.
    LossyWebP,
    /// Something without texts that we know of.
    Other,
}

impl Container {
    /// True when the pixels are not exactly those that were drawn.
    #[must_use]
    pub fn is_lossy(self) -> bool {
        matches!(self, Self::Jpeg | Self::LossyWebP)
    }
}

/// What the file is, and its texts. Never fails: what is damaged or beyond the limits is left out.
pub fn read(mut file: impl BufRead + Seek) -> (Container, Texts) {
    let mut texts = Texts::default();
    let mut begin = [0; 12];
    let container = match file.read_exact(&mut begin).ok().and_then(|()| file.rewind().ok()) {
        Some(()) if begin.starts_with(png::SIGNATURE) => Container::Png { pixels: png::read_into(&mut texts, file) },
        Some(()) if begin.starts_with(&[0xff, 0xd8]) => {
            jpeg_segments(&mut texts, file);
            Container::Jpeg
        }
        Some(()) if begin.starts_with(b"RIFF") && begin.ends_with(b"WEBP") => webp_chunks(&mut texts, file),
        _ => Container::Other,
    };
    (container, texts)
}

/// EXIF and XMP stand before the first scan.
fn jpeg_segments(texts: &mut Texts, mut file: impl BufRead + Seek) {
    const MARKER: u8 = 0xff;
    const APP1: u8 = 0xe1;
    const START_OF_SCAN: u8 = 0xda;
    let mut header = [0; 4];
    // Behind the marker that every JPEG begins with.
    let mut skip = 2;
    for _ in 0..MOST_PARTS {
        if file.seek_relative(skip).and_then(|()| file.read_exact(&mut header)).is_err() {
            return;
        }
        let [MARKER, kind, a, b] = header else { return };
        // The length counts its own two bytes.
        let Some(length) = u16::from_be_bytes([a, b]).checked_sub(2) else { return };
        skip = i64::from(length);
        if kind == START_OF_SCAN {
            return;
        }
        if kind == APP1 {
            let Some(data) = data(&mut file, u64::from(length)) else { return };
            if let Some(block) = data.strip_prefix(EXIF_MARK) {
                exif::read_into(texts, block);
            } else if let Some(packet) = data.strip_prefix(XMP_MARK) {
                keep_xmp(texts, packet);
            }
            skip = 0;
        }
    }
}

/// EXIF and XMP stand behind the pixels, in chunks of a name and a size.
fn webp_chunks(texts: &mut Texts, mut file: impl BufRead + Seek) -> Container {
    let mut header = [0; 8];
    let mut container = Container::LossyWebP;
    // Behind "RIFF", a size and "WEBP".
    let mut skip = 12;
    for _ in 0..MOST_PARTS {
        if file.seek_relative(skip).and_then(|()| file.read_exact(&mut header)).is_err() {
            break;
        }
        let [kind @ .., a, b, c, d] = header;
        let length = u32::from_le_bytes([a, b, c, d]);
        let padded = i64::from(length) + i64::from(length & 1);
        skip = match &kind {
            b"VP8L" => {
                container = Container::LosslessWebP;
                padded
            }
            // A frame's pixels stand in chunks inside it, behind its place and time.
            b"ANMF" => 16,
            b"EXIF" | b"XMP " => {
                let Some(data) = data(&mut file, u64::from(length)) else { break };
                if kind == *b"EXIF" {
                    exif::read_into(texts, &data);
                } else {
                    keep_xmp(texts, &data);
                }
                padded - data.len() as i64
            }
            _ => padded,
        };
    }
    container
}

/// So many bytes, or as many as there are and may be.
fn data(file: &mut impl Read, length: u64) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    file.take(length.min(MAX_TEXT_BYTES as u64)).read_to_end(&mut data).ok()?;
    Some(data)
}

fn keep_xmp(texts: &mut Texts, packet: &[u8]) {
    if let Ok(packet) = std::str::from_utf8(packet)
        && packet.len() <= texts.room()
    {
        texts.keep(XMP_KEYWORD, packet);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::gallery::exif::samples::{exif, unicode_be};
    use crate::gallery::texts::PARAMETERS_KEYWORD;

    fn webp(chunks: &[&[u8]]) -> Container {
        read(Cursor::new([b"RIFF\0\0\0\0WEBP", &chunks.concat()[..]].concat())).0
    }

    /// A JPEG's beginning with these segments of marker 0xe1.
    fn jpeg(segments: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        for segment in segments {
            bytes.extend([0xff, 0xe1]);
            bytes.extend((segment.len() as u16 + 2).to_be_bytes());
            bytes.extend(*segment);
        }
        bytes.extend([0xff, 0xda, 0, 2]);
        bytes
    }

    #[test]
    fn a_webp_is_lossy_when_its_pixels_are() {
        let extended = b"VP8X\x0a\0\0\0abcdefghij";
        assert_eq!(webp(&[b"VP8L\0\0\0\0"]), Container::LosslessWebP);
        assert_eq!(webp(&[b"VP8 \0\0\0\0"]), Container::LossyWebP);
        assert_eq!(webp(&[extended, b"ICCP\x03\0\0\0abc\0", b"VP8L\0\0\0\0"]), Container::LosslessWebP);
        let frame = b"ANMF\x20\0\0\0ghijklmnopabcdef";
        assert_eq!(webp(&[extended, frame, b"ALPH\x02\0\0\0ab", b"VP8 \0\0\0\0"]), Container::LossyWebP);
        assert!(webp(&[b"XXXX\xff\xff\xff\xff"]).is_lossy() && webp(&[]).is_lossy());
    }

    #[test]
    fn a_jpegs_segments_are_read_up_to_its_scan() {
        let block = [EXIF_MARK, &exif(true, &unicode_be("a fox"))].concat();
        let packet = [XMP_MARK, b"<x/>"].concat();
        let (container, texts) = read(Cursor::new(jpeg(&[b"something else", &packet, &block])));
        assert_eq!((container, texts.get(PARAMETERS_KEYWORD)), (Container::Jpeg, Some("a fox")));
        assert_eq!(texts.get(XMP_KEYWORD), Some("<x/>"));
        let late = [jpeg(&[]), jpeg(&[&block])].concat();
        assert_eq!(read(Cursor::new(late)).1, Texts::default());
    }

    #[test]
    fn a_length_that_lies_costs_no_memory_and_no_more_than_the_rest() {
        let block = exif(true, &unicode_be("a fox"));
        let chunks = [b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0EXIF\xff\xff\xff\xff", &block[..]].concat();
        let (container, texts) = read(Cursor::new(chunks));
        assert_eq!((container, texts.get(PARAMETERS_KEYWORD)), (Container::LosslessWebP, Some("a fox")));
    }

    proptest! {
        #[test]
        fn any_bytes_behind_any_beginning_are_read_without_a_panic(
            begin in proptest::sample::select(vec![&b"\xff\xd8\xff\xe1"[..], b"RIFF\0\0\0\0WEBPEXIF", png::SIGNATURE, b""]),
            rest in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = read(Cursor::new([begin, &rest].concat()));
        }
    }
}
