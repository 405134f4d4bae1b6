//! The header of a GGUF file: names, shapes and quantised types, also those that cannot be computed with. Every length is
//! checked before room is made for it.

use std::collections::{BTreeMap, HashMap};
use std::io::{Error, ErrorKind, Read, Result};

use super::card::Container;
use super::header::{Header, MOST_TENSORS, MOST_VALUE_BYTES, TensorHead};

/// Keys and items of arrays that are read; image models have a handful.
const MOST_ITEMS: u64 = 1 << 20;
/// Arrays in arrays; none are known.
const MOST_DEPTH: u32 = 4;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// GGML's types by number: name, numbers of a block, bytes of a block (ggml.c, `type_traits`).
const TYPES: &[(u32, &str, u64, u64)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (20, "IQ4_NL", 32, 18),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (30, "BF16", 1, 2),
];

/// Reads the header of versions 2 and 3.
pub(super) fn read(mut reader: impl Read) -> Result<Header> {
    let reader = &mut reader;
    let (_magic, version) = (u32_of(reader)?, u32_of(reader)?);
    if !(2..=3).contains(&version) {
        return Err(wrong(format!("version {version} of GGUF is not known")));
    }
    let (tensor_count, key_count) = (u64_of(reader)?, u64_of(reader)?);
    if tensor_count > MOST_TENSORS as u64 || key_count > MOST_ITEMS {
        return Err(wrong(format!("it claims {tensor_count} tensors and {key_count} keys")));
    }
    let mut metadata = BTreeMap::new();
    for _ in 0..key_count {
        let key = text(reader)?;
        let kind = u32_of(reader)?;
        if kind == STRING {
            metadata.insert(key, text(reader)?);
        } else {
            skip_value(reader, kind, 0)?;
        }
    }
    let mut tensors = HashMap::new();
    for _ in 0..tensor_count {
        let name = text(reader)?;
        let sides = u32_of(reader)?;
        if sides > 8 {
            return Err(wrong(format!("tensor \"{name}\" has {sides} dimensions")));
        }
        let mut shape = (0..sides).map(|_| Ok(u64_of(reader)? as usize)).collect::<Result<Vec<_>>>()?;
        // The file has the innermost first.
        shape.reverse();
        let number = u32_of(reader)?;
        let _offset = u64_of(reader)?;
        let known = TYPES.iter().find(|(id, ..)| *id == number);
        let stored = known.map_or_else(|| format!("type {number}"), |(_, name, ..)| (*name).to_owned());
        let mut head = TensorHead { shape, stored, len_bytes: 0 };
        head.len_bytes = known.map_or(0, |(_, _, block, bytes)| (head.count() / block).saturating_mul(*bytes));
        tensors.insert(name, head);
    }
    Ok(Header { container: Container::Gguf, tensors, metadata })
}

fn skip_value(reader: &mut impl Read, kind: u32, depth: u32) -> Result<()> {
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
            return (0..count).try_for_each(|_| skip_value(reader, kind, depth + 1));
        }
        _ => return Err(wrong(format!("it has a value of the unknown kind {kind}"))),
    };
    let skipped = std::io::copy(&mut reader.take(width), &mut std::io::sink())?;
    if skipped == width { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn text(reader: &mut impl Read) -> Result<String> {
    let len = u64_of(reader)?;
    if len > MOST_VALUE_BYTES as u64 {
        return Err(wrong(format!("it claims a text of {len} bytes")));
    }
    let mut bytes = Vec::new();
    reader.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != len {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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

    #[test]
    fn names_shapes_and_types_are_read_and_alignment_does_not_matter() {
        let mut bytes = file(1, 2);
        put(&mut bytes, "general.architecture");
        bytes.extend(STRING.to_le_bytes());
        put(&mut bytes, "sd1");
        put(&mut bytes, "general.alignment");
        bytes.extend([4, 0, 0, 0, 0, 0, 0, 0]);
        put(&mut bytes, "x.weight");
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend([256_u64, 2].into_iter().flat_map(u64::to_le_bytes));
        bytes.extend(12_u32.to_le_bytes());
        bytes.extend(0_u64.to_le_bytes());
        let header = read(bytes.as_slice()).unwrap();
        assert_eq!(header.metadata["general.architecture"], "sd1");
        let head = &header.tensors["x.weight"];
        assert_eq!((head.shape.as_slice(), head.stored.as_str(), head.len_bytes), (&[2, 256][..], "Q4_K", 288));
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
        for bytes in [file(u64::MAX, 0), file(0, u64::MAX), file(3, 0), long_name, array, b"GGUF".to_vec()] {
            assert!(read(bytes.as_slice()).is_err());
        }
    }
}
