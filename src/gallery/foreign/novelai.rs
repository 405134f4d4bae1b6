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
    ("n_samples", Field::Aside),
    ("signed_hash", Field::Aside),
    ("request_type", Field::Aside),
    ("version", Field::Aside),
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
    // Strength and noise are written for pictures that began from nothing too.
    let kind = said.get("request_type").and_then(Value::as_str).map(str::to_owned);
    match (kind.as_deref(), said.get("strength")) {
        (Some("PromptGenerateRequest"), _) => {
            said.remove("strength");
            said.remove("noise");
        }
        (Some("Img2ImgRequest"), Some(strength)) => {
            gathering.take(Field::Denoise, "strength", &json::plain(strength));
            said.remove("strength");
        }
        _ => {}
    }
    let typed = said.get("prompt").map(json::plain).or_else(|| description.map(str::to_owned)).unwrap_or_default();
    let without = said.get("uc").map(json::plain).unwrap_or_default();
    if [typed, without].iter().any(|text| text.contains(['{', '[']) || text.contains("::")) {
        gathering.cannot_follow("Prompt", "weights in NovelAI's own language");
    }
    for (key, name) in [("v4_prompt", "Character"), ("v4_negative_prompt", "Character without")] {
        let characters = said.remove(key);
        let captions =
            characters.as_ref().and_then(|v4| v4.pointer("/caption/char_captions")).and_then(Value::as_array);
        for caption in captions.into_iter().flatten() {
            let text = caption.get("char_caption").map(json::plain).unwrap_or_default();
            if !text.is_empty() {
                gathering.cannot_follow(name, &text);
            }
        }
    }
    gathering.take_all(KEYS, &said);
    gathering.finish()
}
