//! TensorArt: JSON under `generation_data`, as it was ordered. The graph beside it, where there is one, is what ran.

use serde_json::{Map, Value};

use crate::gallery::foreign::fields::{Field, Gathering, Keys};
use crate::gallery::foreign::json;
use crate::gallery::record::{ReadLora, ReadRecipe};

/// Where it stands.
pub const KEYWORD: &str = "generation_data";

const KEYS: Keys = &[
    ("prompt", Field::Prompt),
    ("negativePrompt", Field::NegativePrompt),
    ("width", Field::Width),
    ("height", Field::Height),
    ("steps", Field::Steps),
    ("cfgScale", Field::Guidance),
    ("seed", Field::Seed),
    ("clipSkip", Field::ClipSkip),
    ("denoisingStrength", Field::Denoise),
    ("imageCount", Field::Aside),
    ("images", Field::Aside),
    ("workspaceType", Field::Aside),
];

/// The recipe of the object; `None` when it is another program's.
#[must_use]
pub fn read(object: &Map<String, Value>) -> Option<ReadRecipe> {
    if !object.contains_key("prompt") || !(object.contains_key("samplerName") || object.contains_key("ksamplerName")) {
        return None;
    }
    let mut said = object.clone();
    let mut gathering = Gathering::of("TensorArt");
    // Of a sampler's two names the second is that of the solver that ran.
    let sampler = [said.remove("ksamplerName"), said.remove("samplerName")].into_iter().flatten();
    for name in sampler.filter(|name| !json::says_nothing(name)).take(1) {
        gathering.take(Field::Sampler, "samplerName", &json::plain(&name));
    }
    if let Some(schedule) = said.remove("schedule").filter(|schedule| !json::says_nothing(schedule)) {
        gathering.take(Field::Schedule, "schedule", &json::plain(&schedule));
    }
    if let Some(model) = said.remove("baseModel") {
        let text = |key: &str| model.get(key).filter(|value| !json::says_nothing(value)).map(json::plain);
        if let Some(name) = text("modelFileName").or_else(|| text("label")) {
            gathering.take(Field::Model, "baseModel", &name);
        }
        if let Some(hash) = text("hash") {
            gathering.take(Field::ModelHash, "baseModel hash", &hash);
        }
    }
    for model in said.remove("models").as_ref().and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| model.get(key).filter(|value| !json::says_nothing(value)).map(json::plain);
        if let Some(name) = text("modelFileName").or_else(|| text("label")) {
            let weight = model.get("weight").and_then(Value::as_f64);
            gathering.lora(ReadLora { name, weight, hash: text("hash") });
        }
    }
    if said.get("sdVae").is_some_and(|vae| vae == "Automatic") {
        said.remove("sdVae");
    }
    if said.get("sdxl").and_then(|sdxl| sdxl.get("refiner")).is_some_and(|refiner| refiner == false) {
        said.remove("sdxl");
    }
    gathering.take_all(KEYS, &said);
    Some(gathering.finish())
}
