//! The metadata of a safetensors header. The format has texts only; what else writers put there is no reason to refuse a
//! model: numbers become texts, and the rest is passed over.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// kohya's table of the words of a training.
pub const TAGS: &str = "ss_tag_frequency";
/// diffusers' copy of PEFT's configuration.
pub const PEFT_NOTES: &str = "lora_adapter_metadata";
/// The longest text of the metadata that is kept; longer ones are pictures, but for [`TAGS`] and [`PEFT_NOTES`].
const MOST_NOTE_BYTES: usize = 64 << 10;
/// The longest of those two.
const MOST_LONG_NOTE_BYTES: usize = 16 << 20;
/// Texts of the metadata that are kept: trainers write some hundred.
const MOST_NOTES: usize = 1000;

/// Adds what is worth it to the texts by key.
pub(super) struct NotesSeed<'a>(pub &'a mut HashMap<String, String>);

impl<'de> DeserializeSeed<'de> for NotesSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NotesSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let most = if [TAGS, PEFT_NOTES].contains(&key.as_str()) { MOST_LONG_NOTE_BYTES } else { MOST_NOTE_BYTES };
            let text = map.next_value_seed(TextSeed { most })?;
            if let Some(text) = text.filter(|_| self.0.len() < MOST_NOTES) {
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
