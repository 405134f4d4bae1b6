//! The header of a file of tensors, whatever its container: names, shapes, types and what the makers wrote. Read for
//! lists, so it forgives what a loader must not; no tensor is touched and nothing is sized by a number of the file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::card::Container;
use super::files::{ModelFiles, open_regular};
use super::tensor_file::{StoredTensor, TensorFile, is_pickle};
use super::{CheckpointError, foreign};

/// The format's own bound on the header (safetensors' `MAX_HEADER_SIZE`).
const MOST_HEADER_BYTES: u64 = 100_000_000;
/// More tensors than any model has: SDXL with everything and EMA has some 5,000.
const MOST_TENSORS: usize = 100_000;
/// The longest value of the metadata that is kept; longer ones are thumbnails, but for the tags.
const MOST_VALUE_BYTES: usize = 64 << 10;
/// The key whose value may be longer.
pub(super) const TAGS: &str = "ss_tag_frequency";
const MOST_TAGS_BYTES: usize = 16 << 20;

/// What a file says before its tensors.
#[derive(Debug)]
pub(super) struct Header {
    pub container: Container,
    pub tensors: HashMap<String, TensorHead>,
    pub metadata: BTreeMap<String, String>,
}

/// A tensor without its numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct TensorHead {
    /// Outermost first.
    pub shape: Vec<usize>,
    /// As the file names it: "F16", "Q8_0".
    pub stored: String,
    /// How many bytes it takes.
    pub len_bytes: u64,
}

impl TensorHead {
    pub fn count(&self) -> u64 {
        self.shape.iter().fold(1, |count: u64, &side| count.saturating_mul(side as u64))
    }
}

impl Header {
    /// Reads the header of a file: that of safetensors forgivingly, the others as the loader does.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Io { source, path: path.to_owned() };
        let mut file = open_regular(path).map_err(io)?;
        let mut start = Vec::new();
        (&mut file).take(512).read_to_end(&mut start).map_err(io)?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let container = if start.starts_with(b"GGUF") {
            Container::Gguf
        } else if is_pickle(&start) {
            Container::Pickle
        } else if let Some(what) = foreign::by_first_bytes(&start) {
            return Err(CheckpointError::Foreign { what, path: path.to_owned() });
        } else {
            return safetensors(file, path);
        };
        let file = TensorFile::open(&ModelFiles::Single(path.to_owned()), "")?;
        let tensors = file.tensors().map(|(name, tensor)| (name.clone(), TensorHead::from(tensor))).collect();
        let metadata = file.all_metadata().map(|(key, text)| (key.clone(), text.clone())).collect();
        Ok(Self { container, tensors, metadata })
    }
}

impl From<&StoredTensor> for TensorHead {
    fn from(tensor: &StoredTensor) -> Self {
        Self { shape: tensor.shape.clone(), stored: tensor.kind.name(), len_bytes: tensor.len_bytes }
    }
}

fn safetensors(mut file: File, path: &Path) -> Result<Header, CheckpointError> {
    let io = |source| CheckpointError::Io { source, path: path.to_owned() };
    let damaged = |problem: String| CheckpointError::Damaged { problem, path: path.to_owned() };
    let file_len = file.metadata().map_err(io)?.len();
    if file_len < 8 {
        return Err(damaged(format!("it has {file_len} bytes, not even a header")));
    }
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(io)?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > MOST_HEADER_BYTES || header_len > file_len - 8 {
        return Err(damaged(format!("its header claims {header_len} bytes and the file has {file_len}")));
    }
    let mut bytes = Vec::new();
    file.take(header_len).read_to_end(&mut bytes).map_err(io)?;
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    let mut found = Tensors::default();
    HeaderSeed(&mut found).deserialize(&mut reader).map_err(|e| damaged(format!("its header: {e}")))?;
    let end = 8_u64.saturating_add(header_len).saturating_add(found.end);
    if end > file_len {
        return Err(damaged(format!("its tensors end at byte {end} and the file has {file_len}; it is cut off")));
    }
    Ok(Header { container: Container::Safetensors, tensors: found.by_name, metadata: found.metadata })
}

/// What the header of safetensors is read into.
#[derive(Default)]
struct Tensors {
    by_name: HashMap<String, TensorHead>,
    metadata: BTreeMap<String, String>,
    /// Where the last tensor ends, after the header.
    end: u64,
}

struct HeaderSeed<'a>(&'a mut Tensors);

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
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                map.next_value_seed(MetadataSeed(&mut self.0.metadata))?;
                continue;
            }
            let mut tensor = TensorHead::default();
            let end = map.next_value_seed(TensorSeed(&mut tensor))?;
            self.0.end = self.0.end.max(end);
            // Of names that stand twice the last counts, as in Python's reader.
            self.0.by_name.insert(name, tensor);
            if self.0.by_name.len() > MOST_TENSORS {
                return Err(serde::de::Error::custom(format!("more than {MOST_TENSORS} tensors")));
            }
        }
        Ok(())
    }
}

/// One tensor's entry; gives back where it ends.
struct TensorSeed<'a>(&'a mut TensorHead);

impl<'de> DeserializeSeed<'de> for TensorSeed<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TensorSeed<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tensor's dtype, shape and offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        let mut end = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "dtype" => self.0.stored = map.next_value()?,
                "shape" => self.0.shape = map.next_value()?,
                "data_offsets" => {
                    let (from, to): (u64, u64) = map.next_value()?;
                    self.0.len_bytes = to.saturating_sub(from);
                    end = Some(to);
                }
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        end.ok_or_else(|| serde::de::Error::missing_field("data_offsets"))
    }
}

struct MetadataSeed<'a>(&'a mut BTreeMap<String, String>);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let most = if key == TAGS { MOST_TAGS_BYTES } else { MOST_VALUE_BYTES };
            let text = map.next_value_seed(TextSeed { most })?;
            let is_told = key.starts_with("ss_") || key.starts_with("sshs_") || key.starts_with("modelspec.");
            if let Some(text) = text.filter(|_| is_told) {
                self.0.insert(key, text);
            }
        }
        Ok(())
    }
}

/// A value that should be a string: others are passed over, and so are strings longer than `most` bytes.
struct TextSeed {
    most: usize,
}

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<String>, E> {
        Ok((text.len() <= self.most).then(|| text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<String>, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<String>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<String>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
