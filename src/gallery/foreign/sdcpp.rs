//! stable-diffusion.cpp: what newer versions repeat as JSON behind their infotext, which is exact.

use serde_json::{Map, Value};

use crate::gallery::foreign::fields::{Field, Gathering};
use crate::gallery::foreign::json;
use crate::gallery::record::{ReadLora, ReadRecipe};

/// Where each value stands in `sdcpp.image.params/v1`.
const PLACES: &[(&str, Field)] = &[
    ("/prompt/positive", Field::Prompt),
    ("/prompt/negative", Field::NegativePrompt),
    ("/sampling/steps", Field::Steps),
    ("/sampling/method", Field::Sampler),
    ("/sampling/scheduler", Field::Schedule),
    ("/sampling/guidance/txt_cfg", Field::Guidance),
    ("/seed", Field::Seed),
    ("/width", Field::Width),
    ("/height", Field::Height),
    ("/models/model", Field::Model),
];
/// What is not named as not understood: it does not draw, or is told above.
const ASIDE: &[&str] = &["schema", "mode", "generator", "prompt", "seed", "width", "height", "loras", "models"];

/// The recipe of the JSON after `SDCPP:`.
#[must_use]
pub fn read(object: &Map<String, Value>) -> Option<ReadRecipe> {
    if !object.get("schema")?.as_str()?.starts_with("sdcpp.image.params/") {
        return None;
    }
    let whole = Value::Object(object.clone());
    let mut gathering = Gathering::of("stable-diffusion.cpp");
    for (place, field) in PLACES {
        if let Some(value) = whole.pointer(place).filter(|value| !json::says_nothing(value)) {
            gathering.take(*field, place.trim_start_matches('/'), &json::plain(value));
        }
    }
    for lora in object.get("loras").and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = lora.get("name").or_else(|| lora.get("path")).map(json::plain) {
            let weight = lora.get("multiplier").and_then(Value::as_f64);
            gathering.lora(ReadLora { name, weight, hash: None });
        }
    }
    // Below 1 means the model's own.
    if let Some(skip) = object.get("clip_skip").and_then(Value::as_i64).filter(|skip| *skip > 0) {
        gathering.take(Field::ClipSkip, "clip_skip", &skip.to_string());
    }
    let known = |key: &str| ASIDE.contains(&key) || matches!(key, "clip_skip" | "sampling");
    for (key, value) in object.iter().filter(|(key, value)| !known(key) && !json::says_nothing(value)) {
        gathering.cannot_follow(key, &json::plain(value));
    }
    for (key, value) in whole.pointer("/sampling").and_then(Value::as_object).into_iter().flatten() {
        if !matches!(key.as_str(), "steps" | "method" | "scheduler" | "guidance") && !json::says_nothing(value) {
            gathering.cannot_follow(key, &json::plain(value));
        }
    }
    for (key, value) in whole.pointer("/sampling/guidance").and_then(Value::as_object).into_iter().flatten() {
        if key != "txt_cfg" && !json::says_nothing(value) {
            gathering.cannot_follow(key, &json::plain(value));
        }
    }
    for (key, value) in whole.pointer("/models").and_then(Value::as_object).into_iter().flatten() {
        if key != "model" && !json::says_nothing(value) {
            gathering.cannot_follow(key, &json::plain(value));
        }
    }
    Some(gathering.finish())
}
