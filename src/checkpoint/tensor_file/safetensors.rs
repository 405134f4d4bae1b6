//! The header of a safetensors file, read once and without room for more than any model has: nothing in it is believed
//! about lengths, and what the tensors cover must fit together.

use std::collections::HashMap;
use std::fmt;

use safetensors::Dtype;
use serde::Deserialize;
use serde::de::value::Error as PlainError;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::notes::NotesSeed;
use super::stored::{StoredTensor, StoredType};
use super::{Header, MOST_DIMENSIONS, MOST_HEADER_BYTES, MOST_TENSORS, check_name};
use crate::checkpoint::files::Source;
use crate::printable;

/// # Errors
/// How the header of a file of `file_len` bytes is damaged.
pub(super) fn header(source: &Source, file_len: u64) -> Result<Header, String> {
    if file_len < 8 {
        return Err(format!("it has {file_len} bytes, not even a header"));
    }
    let mut prefix = [0; 8];
    source.read_at(0, &mut prefix).map_err(|e| e.to_string())?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > file_len - 8 {
        return Err(format!("its header claims {header_len} bytes and the file has {file_len}"));
    }
    if header_len > MOST_HEADER_BYTES {
        let most = MOST_HEADER_BYTES >> 20;
        return Err(format!("its header has {header_len} bytes, and no model's has more than {most} MiB"));
    }
    let mut bytes = vec![0; usize::try_from(header_len).unwrap_or(0)];
    source.read_at(8, &mut bytes).map_err(|e| e.to_string())?;
    let mut found =
        Found { data: 8 + header_len, count: 0, header: Header { tensors: HashMap::new(), metadata: HashMap::new() } };
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    let read = HeaderSeed(&mut found).deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(|error| format!("its header: {error}"))?;
    check_places(&found)?;
    Ok(found.header)
}

/// The tensors follow each other without gaps.
fn check_places(found: &Found) -> Result<(), String> {
    let mut places: Vec<(u64, u64, &str)> = Vec::with_capacity(found.header.tensors.len());
    places.extend(found.header.tensors.iter().map(|(name, tensor)| (tensor.offset, tensor.len_bytes, name.as_str())));
    places.sort_unstable();
    let mut end = found.data;
    for (offset, len, name) in places {
        if offset != end {
            let what = if offset < end { "inside the one before it" } else { "behind a gap" };
            return Err(format!("tensor \"{}\" begins {what}", printable::name(name)));
        }
        end = offset + len;
    }
    Ok(())
}

/// What has been read so far.
struct Found {
    /// Where the numbers begin in the file.
    data: u64,
    /// Tensors, those that stand twice counted twice.
    count: usize,
    header: Header,
}

struct HeaderSeed<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(NameSeed)? {
            if name == "__metadata__" {
                map.next_value_seed(NotesSeed(&mut self.0.header.metadata))?;
                continue;
            }
            let tensor = map.next_value_seed(TensorSeed { name: &name, data: self.0.data })?;
            self.0.count += 1;
            if self.0.count > MOST_TENSORS {
                return Err(A::Error::custom(format!("more than {MOST_TENSORS} tensors, which no model has")));
            }
            // Of names that stand twice the last counts, as in Python's reader.
            self.0.header.tensors.insert(name, tensor);
        }
        Ok(())
    }
}

/// The name of a tensor, of a length that names have.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        check_name(name).map(|()| name.to_owned()).map_err(E::custom)
    }
}

/// One tensor's entry.
struct TensorSeed<'a> {
    name: &'a str,
    /// Where the numbers begin in the file.
    data: u64,
}

impl<'de> DeserializeSeed<'de> for TensorSeed<'_> {
    type Value = StoredTensor;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<StoredTensor, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TensorSeed<'_> {
    type Value = StoredTensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tensor's dtype, shape and offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StoredTensor, A::Error> {
        let (mut kind, mut shape, mut place) = (None, None, None);
        while let Some(key) = map.next_key_seed(NameSeed)? {
            match key.as_str() {
                "dtype" => kind = Some(map.next_value_seed(KindSeed)?),
                "shape" => shape = Some(map.next_value_seed(ShapeSeed(self.name))?),
                "data_offsets" => place = Some(map.next_value::<(u64, u64)>()?),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        let kind = kind.ok_or_else(|| A::Error::missing_field("dtype"))?;
        let shape = shape.ok_or_else(|| A::Error::missing_field("shape"))?;
        let place = place.ok_or_else(|| A::Error::missing_field("data_offsets"))?;
        self.tensor(kind, &shape, place).map_err(A::Error::custom)
    }
}

impl TensorSeed<'_> {
    fn tensor(&self, kind: StoredType, shape: &[usize], (start, end): (u64, u64)) -> Result<StoredTensor, String> {
        let name = printable::name(self.name);
        let len = end.checked_sub(start).ok_or_else(|| format!("tensor \"{name}\" ends before it begins"))?;
        let wrong = || format!("tensor \"{name}\" of shape {shape:?} has {len} bytes, not what {} takes", kind.name());
        let offset = self.data.checked_add(start).ok_or_else(|| format!("tensor \"{name}\" begins behind any file"))?;
        StoredTensor::packed(shape.to_vec(), kind, offset).filter(|stored| stored.len_bytes == len).ok_or_else(wrong)
    }
}

/// How the numbers are written.
struct KindSeed;

impl<'de> DeserializeSeed<'de> for KindSeed {
    type Value = StoredType;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<StoredType, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KindSeed {
    type Value = StoredType;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a type")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<StoredType, E> {
        let known: Result<Dtype, PlainError> = Dtype::deserialize(name.into_deserializer());
        let unknown = |_| E::custom(format!("the type \"{}\" of a tensor is not known", printable::name(name)));
        known.map(stored_type).map_err(unknown)
    }
}

struct ShapeSeed<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = Vec<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<usize>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = Vec<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a shape")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<usize>, A::Error> {
        let mut shape = Vec::new();
        while let Some(side) = seq.next_element()? {
            if shape.len() == MOST_DIMENSIONS {
                return Err(A::Error::custom(format!(
                    "tensor \"{}\" has more than {MOST_DIMENSIONS} dimensions",
                    printable::name(self.0)
                )));
            }
            shape.push(side);
        }
        Ok(shape)
    }
}

fn stored_type(dtype: Dtype) -> StoredType {
    match dtype {
        Dtype::F64 => StoredType::F64,
        Dtype::F32 => StoredType::F32,
        Dtype::F16 => StoredType::F16,
        Dtype::BF16 => StoredType::BF16,
        Dtype::F8_E4M3 => StoredType::F8E4M3,
        Dtype::F8_E5M2 => StoredType::F8E5M2,
        Dtype::I64 => StoredType::I64,
        Dtype::U64 => StoredType::Other("U64", (1, 8)),
        Dtype::I32 => StoredType::Other("I32", (1, 4)),
        Dtype::U32 => StoredType::Other("U32", (1, 4)),
        Dtype::I16 => StoredType::Other("I16", (1, 2)),
        Dtype::U16 => StoredType::Other("U16", (1, 2)),
        Dtype::I8 => StoredType::Other("I8", (1, 1)),
        Dtype::U8 | Dtype::BOOL => StoredType::U8,
        Dtype::F8_E4M3FNUZ => StoredType::Other("F8_E4M3FNUZ", (1, 1)),
        Dtype::F8_E5M2FNUZ => StoredType::Other("F8_E5M2FNUZ", (1, 1)),
        Dtype::F8_E8M0 => StoredType::Other("F8_E8M0", (1, 1)),
        Dtype::F6_E2M3 => StoredType::Other("F6_E2M3", (4, 3)),
        Dtype::F6_E3M2 => StoredType::Other("F6_E3M2", (4, 3)),
        Dtype::F4 => StoredType::Other("F4", (2, 1)),
        Dtype::C64 => StoredType::Other("C64", (1, 8)),
        _ => StoredType::Other("a type that is not known", (1, 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::checkpoint::CheckpointError;
    use crate::checkpoint::files::ModelFiles;
    use crate::checkpoint::tensor_file::TensorFile;

    fn opened(path: &Path) -> TensorFile {
        TensorFile::open(&ModelFiles::at(path).unwrap(), "").unwrap()
    }

    #[test]
    fn a_type_of_few_bits_is_named_and_the_rest_of_the_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("few.safetensors");
        let header = r#"{"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]},"b":{"dtype":"F6_E2M3","shape":[4,4],
            "data_offsets":[4,16]},"c":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[16,20]},
            "d":{"dtype":"F32","shape":[1],"data_offsets":[20,24]}}"#;
        let numbers = [&[0; 20][..], &1.5_f32.to_le_bytes()].concat();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &numbers].concat();
        std::fs::write(&path, bytes).unwrap();
        let file = opened(&path);
        for (name, dtype) in [("a", "F4"), ("b", "F6_E2M3"), ("c", "F8_E8M0")] {
            let error = file.read_f32(name, file.get(name).unwrap()).unwrap_err();
            assert!(matches!(&error, CheckpointError::UnknownDType { found, .. } if found == dtype), "{error}");
        }
        assert_eq!(file.read_f32("d", file.get("d").unwrap()).unwrap(), [1.5]);
    }
}
