//! NovelAI: the prompt in `Description`, the rest as JSON in `Comment`; since version 4 all of it in `Comment`.

use serde_json::{Map, Value};

use crate::gallery::foreign::fields::{Field, Gathering, Keys};
use crate::gallery::foreign::json;
use crate::gallery::record::ReadRecipe;
use crate::gallery::texts::Texts;

const KEYS: Keys = &[
    ("prompt", Field::Prompt),
    ("uc", Field::NegativePrompt),
    ("steps", Field::Steps),
    ("scale", Field::Guidance),
    ("seed", Field::Seed),
    ("width", Field::Width),
    ("height", Field::Height),
    ("sampler", Field::Sampler),
    ("noise_schedule", Field::Schedule),
    ("strength", Field::Aside),
    ("n_samples", Field::Aside),
    ("signed_hash", Field::Aside),
    ("request_type", Field::Aside),
    ("version", Field::Aside),
    ("v4_negative_prompt", Field::Aside),
];

/// From a PNG's texts.
#[must_use]
pub fn read(texts: &Texts) -> Option<ReadRecipe> {
    let comment = json::object(texts.get("Comment")?)?;
    if texts.get("Software") != Some("NovelAI") && !(comment.contains_key("uc") && comment.contains_key("sampler")) {
        return None;
    }
    Some(understand(&comment, texts.get("Description"), texts.get("Source")))
}

/// From a WebP's comment: an object of the same texts, in which "Comment" is again JSON as text.
#[must_use]
pub fn read_wrapped(object: &Map<String, Value>) -> Option<ReadRecipe> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let comment = json::object(text("Comment")?)?;
    if text("Software") != Some("NovelAI") && !comment.contains_key("uc") {
        return None;
    }
    Some(understand(&comment, text("Description"), text("Source")))
}

fn understand(comment: &Map<String, Value>, description: Option<&str>, source: Option<&str>) -> ReadRecipe {
    let mut said = comment.clone();
    let mut gathering = Gathering::of("NovelAI");
    if !said.contains_key("prompt") {
        gathering.take(Field::Prompt, "Description", description.unwrap_or_default());
    }
    if let Some(model) = source {
        gathering.take(Field::Model, "Source", model);
    }
    let strength = said.get("strength").map(json::plain);
    if let Some(strength) = strength.filter(|_| said.contains_key("noise") || said.contains_key("image")) {
        gathering.take(Field::Denoise, "strength", &strength);
    }
    let characters = said.remove("v4_prompt");
    let captions = characters.as_ref().and_then(|v4| v4.pointer("/caption/char_captions")).and_then(Value::as_array);
    for caption in captions.into_iter().flatten() {
        gathering.cannot_follow("Character", &caption.get("char_caption").map(json::plain).unwrap_or_default());
    }
    said.retain(|_, value| value.as_f64() != Some(0.0) || value.is_u64());
    gathering.take_all(KEYS, &said);
    gathering.finish()
}
