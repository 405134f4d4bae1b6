//! The header of a GGUF file, as stable-diffusion.cpp and ComfyUI-GGUF write it: names, shapes and types, also those that
//! cannot be computed with. Every length is checked before room is made for it.

use std::collections::HashMap;
use std::io::{BufReader, Error, ErrorKind, Read, Result, Take};

use candle_core::quantized::GgmlDType;

use super::stored::{StoredTensor, StoredType};
use super::{Header, MOST_DIMENSIONS, MOST_HEADER_BYTES, MOST_TENSORS, check_name};
use crate::checkpoint::files::{Source, SourceReader};
use crate::printable;

/// Where ComfyUI-GGUF keeps the shape of a tensor that it stores in rows of 256.
const ORIGINAL_SHAPE: &str = "comfy.gguf.orig_shape.";
/// Keys and items of arrays that are read; image models have a handful.
const MOST_ITEMS: u64 = 1 << 20;
/// Names longer than this are damage; values are passed over.
const MOST_TEXT_BYTES: u64 = 64 << 10;
/// Arrays in arrays; none are known.
const MOST_DEPTH: u32 = 4;
/// Bytes that the first tensor's place is a multiple of when the file does not say.
const USUAL_ALIGNMENT: u64 = 32;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// GGML's types that are not computed with: name, numbers of a block, bytes of a block (ggml.c, `type_traits`).
const UNREAD: &[(u32, &str, usize, usize)] = &[
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
];

/// # Errors
/// How the header is damaged.
pub(super) fn header(source: &Source) -> std::result::Result<Header, String> {
    read(BufReader::new(SourceReader::new(source))).map_err(|error| format!("its header: {error}"))
}

/// What the keys say.
struct Keys {
    alignment: u64,
    texts: HashMap<String, String>,
    /// By the name of the tensor, outermost first.
    shapes: HashMap<String, Vec<usize>>,
}

/// A tensor's line, with its place behind the header.
struct Line {
    name: String,
    shape: Vec<usize>,
    kind: StoredType,
    place: u64,
}

/// Reads the header of versions 2 and 3.
fn read(reader: impl Read) -> Result<Header> {
    let reader = &mut reader.take(MOST_HEADER_BYTES);
    let (_magic, version) = (u32_of(reader)?, u32_of(reader)?);
    if !(2..=3).contains(&version) {
        return Err(wrong(format!("version {version} of GGUF is not known")));
    }
    let (tensor_count, key_count) = (u64_of(reader)?, u64_of(reader)?);
    if tensor_count > MOST_TENSORS as u64 || key_count > MOST_ITEMS {
        return Err(wrong(format!("it claims {tensor_count} tensors and {key_count} keys")));
    }
    let mut keys = Keys { alignment: USUAL_ALIGNMENT, texts: HashMap::new(), shapes: HashMap::new() };
    for _ in 0..key_count {
        keys.read_one(reader)?;
    }
    let mut lines = Vec::new();
    for _ in 0..tensor_count {
        lines.push(line(reader)?);
    }
    let data = (MOST_HEADER_BYTES - reader.limit()).next_multiple_of(keys.alignment);
    let mut tensors = HashMap::new();
    for Line { name, shape, kind, place } in lines {
        let stored = data.checked_add(place).and_then(|offset| StoredTensor::packed(shape.clone(), kind, offset));
        let stored = stored.ok_or_else(|| {
            let name = printable::name(&name);
            wrong(format!("tensor \"{name}\" of shape {shape:?} is not made of whole blocks of {}", kind.name()))
        })?;
        let stored = match keys.shapes.remove(&name) {
            Some(original) => StoredTensor::packed(original, kind, stored.offset)
                .filter(|original| original.len_bytes == stored.len_bytes)
                .ok_or_else(|| {
                    wrong(format!("tensor \"{}\" has another size than its shape says", printable::name(&name)))
                })?,
            None => stored,
        };
        tensors.insert(name, stored);
    }
    Ok(Header { tensors, metadata: keys.texts })
}

impl Keys {
    fn read_one(&mut self, reader: &mut Take<impl Read>) -> Result<()> {
        let key = text(reader)?;
        let kind = u32_of(reader)?;
        if kind == STRING {
            if let Some(value) = value(reader)? {
                self.texts.insert(key, value);
            }
        } else if let Some(name) = key.strip_prefix(ORIGINAL_SHAPE).filter(|_| kind == ARRAY) {
            let (kind, count) = (u32_of(reader)?, u64_of(reader)?);
            if count > MOST_DIMENSIONS as u64 {
                return Err(wrong(format!("{count} dimensions for tensor \"{}\"", printable::name(name))));
            }
            let sides = (0..count).map(|_| Ok(usize_of(whole_number(reader, kind)?))).collect::<Result<_>>()?;
            self.shapes.insert(name.to_owned(), sides);
        } else if key == "general.alignment" {
            self.alignment = whole_number(reader, kind)?;
            if !self.alignment.is_power_of_two() || self.alignment > MOST_HEADER_BYTES {
                return Err(wrong(format!("an alignment of {}", self.alignment)));
            }
        } else {
            skip(reader, kind, 0)?;
        }
        Ok(())
    }
}

fn line(reader: &mut Take<impl Read>) -> Result<Line> {
    let name = text(reader)?;
    check_name(&name).map_err(wrong)?;
    let sides = u32_of(reader)?;
    if sides as usize > MOST_DIMENSIONS {
        return Err(wrong(format!("tensor \"{}\" has {sides} dimensions", printable::name(&name))));
    }
    let mut shape = (0..sides).map(|_| Ok(usize_of(u64_of(reader)?))).collect::<Result<Vec<_>>>()?;
    // The file has the innermost first.
    shape.reverse();
    let kind = stored_type(u32_of(reader)?);
    Ok(Line { name, shape, kind, place: u64_of(reader)? })
}

/// GGML's type of this number; one that is not known takes no bytes, and its name says so.
fn stored_type(number: u32) -> StoredType {
    let quantised = match number {
        0 => return StoredType::F32,
        1 => return StoredType::F16,
        28 => return StoredType::F64,
        30 => return StoredType::BF16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        15 => GgmlDType::Q8K,
        other => {
            let known = UNREAD.iter().find(|(id, ..)| *id == other);
            let (name, numbers, bytes) = known.map_or(("a newer GGML type", 1, 0), |&(_, name, n, b)| (name, n, b));
            return StoredType::Other(name, (numbers, bytes));
        }
    };
    StoredType::Quantised(quantised)
}

fn skip(reader: &mut Take<impl Read>, kind: u32, depth: u32) -> Result<()> {
    let width = match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        STRING => u64_of(reader)?,
        ARRAY if depth < MOST_DEPTH => {
            let (kind, count) = (u32_of(reader)?, u64_of(reader)?);
            if count > MOST_ITEMS {
                return Err(wrong(format!("it claims an array of {count} items")));
            }
            return (0..count).try_for_each(|_| skip(reader, kind, depth + 1));
        }
        _ => return Err(wrong(format!("it has a value of the unknown kind {kind}"))),
    };
    skip_bytes(reader, width)
}

fn skip_bytes(reader: &mut Take<impl Read>, count: u64) -> Result<()> {
    let skipped = std::io::copy(&mut reader.take(count), &mut std::io::sink())?;
    if skipped == count { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// A value of one of the kinds of whole numbers that can be a size.
fn whole_number(reader: &mut Take<impl Read>, kind: u32) -> Result<u64> {
    let width = match kind {
        0 | 1 => 1,
        2 | 3 => 2,
        4 | 5 => 4,
        10 | 11 => 8,
        _ => return Err(wrong(format!("a size is written as the kind {kind}"))),
    };
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes[..width])?;
    Ok(u64::from_le_bytes(bytes))
}

/// A text; none when it is longer than anything that is shown.
fn value(reader: &mut Take<impl Read>) -> Result<Option<String>> {
    let len = u64_of(reader)?;
    if len > MOST_TEXT_BYTES {
        return skip_bytes(reader, len).map(|()| None);
    }
    let mut bytes = Vec::new();
    reader.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != len {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn text(reader: &mut Take<impl Read>) -> Result<String> {
    value(reader)?.ok_or_else(|| wrong("a name in it is longer than any name".to_owned()))
}

fn u32_of(reader: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn u64_of(reader: &mut impl Read) -> Result<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// What does not fit is too large for any file, which is told where the bytes are counted.
fn usize_of(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn wrong(problem: String) -> Error {
    Error::new(ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }

    fn file(tensors: u64, keys: u64) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(keys.to_le_bytes());
        bytes
    }

    /// One tensor of `[2, 256]` in this type, behind an alignment.
    fn one_tensor(kind: u32, alignment: u32) -> Vec<u8> {
        let mut bytes = file(1, 2);
        put(&mut bytes, "general.architecture");
        bytes.extend(STRING.to_le_bytes());
        put(&mut bytes, "sd1");
        put(&mut bytes, "general.alignment");
        bytes.extend(4_u32.to_le_bytes());
        bytes.extend(alignment.to_le_bytes());
        put(&mut bytes, "x.weight");
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend([256_u64, 2].into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(64_u64.to_le_bytes());
        bytes
    }

    #[test]
    fn names_shapes_types_and_places_are_read() {
        let bytes = one_tensor(12, 256);
        let header = read(bytes.as_slice()).unwrap();
        assert_eq!(header.metadata["general.architecture"], "sd1");
        let tensor = &header.tensors["x.weight"];
        assert_eq!((tensor.shape.as_slice(), tensor.kind.name().as_str()), (&[2, 256][..], "Q4_K"));
        assert_eq!((tensor.offset, tensor.len_bytes), (256 + 64, 288));
        assert!(bytes.len() < 256);
    }

    #[test]
    fn a_type_that_is_not_computed_with_still_has_a_header() {
        for (number, name, len) in [(23, "IQ4_XS", 272), (4711, "a newer GGML type", 0)] {
            let header = read(one_tensor(number, 32).as_slice()).unwrap();
            let tensor = &header.tensors["x.weight"];
            assert_eq!((tensor.kind.name().as_str(), tensor.len_bytes), (name, len));
            assert!(!tensor.kind.is_number());
        }
    }

    #[test]
    fn claims_that_the_file_cannot_hold_are_errors() {
        let mut long_name = file(1, 0);
        long_name.extend(u64::MAX.to_le_bytes());
        let mut array = file(0, 1);
        put(&mut array, "k");
        array.extend(ARRAY.to_le_bytes());
        array.extend(0_u32.to_le_bytes());
        array.extend(u64::MAX.to_le_bytes());
        let mut long_value = file(0, 1);
        put(&mut long_value, "k");
        long_value.extend(STRING.to_le_bytes());
        long_value.extend(u64::MAX.to_le_bytes());
        let claims = [file(u64::MAX, 0), file(0, u64::MAX), file(3, 0), long_name, array, long_value];
        for bytes in claims.into_iter().chain([b"GGUF".to_vec(), one_tensor(12, 0), one_tensor(12, 3)]) {
            assert!(read(bytes.as_slice()).is_err());
        }
    }
}
