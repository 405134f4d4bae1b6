//! InvokeAI: `invokeai_metadata` since version 3, `sd-metadata` before it.

use serde_json::{Map, Value};

use crate::gallery::foreign::fields::{Field, Gathering, Keys};
use crate::gallery::foreign::json;
use crate::gallery::record::{ReadLora, ReadRecipe};
use crate::request::ScheduleKind;

const KEYS: Keys = &[
    ("positive_prompt", Field::Prompt),
    ("negative_prompt", Field::NegativePrompt),
    ("seed", Field::Seed),
    ("steps", Field::Steps),
    ("cfg_scale", Field::Guidance),
    ("scheduler", Field::Sampler),
    ("sampler", Field::Sampler),
    ("width", Field::Width),
    ("height", Field::Height),
    ("strength", Field::Denoise),
    ("app_version", Field::Aside),
    ("generation_mode", Field::Aside),
    ("type", Field::Aside),
    ("canvas_v2_metadata", Field::Aside),
    ("workflow", Field::Aside),
];

/// `invokeai_metadata`.
#[must_use]
pub fn read(object: &Map<String, Value>) -> ReadRecipe {
    let mut said = object.clone();
    let mut gathering = Gathering::of("InvokeAI");
    gathering.unsaid_schedule_is(ScheduleKind::Model);
    if let Some(model) = said.remove("model") {
        take_model(&mut gathering, &model);
    }
    // Counted from 0 here.
    if let Some(skipped) = said.remove("clip_skip").as_ref().and_then(Value::as_u64).filter(|skipped| *skipped > 0) {
        gathering.take(Field::ClipSkip, "Clip skip", &skipped.saturating_add(1).to_string());
    }
    for lora in said.remove("loras").as_ref().and_then(Value::as_array).into_iter().flatten() {
        let about = lora.get("model").or_else(|| lora.get("lora")).unwrap_or(&Value::Null);
        if let Some((name, hash)) = name_and_hash(about) {
            gathering.lora(ReadLora { name, weight: lora.get("weight").and_then(Value::as_f64), hash });
        }
    }
    if said.get("rand_device").is_some_and(|device| device == "cpu") {
        said.remove("rand_device");
    }
    let prompts = ["positive_prompt", "negative_prompt"].map(|key| said.get(key).map(json::plain).unwrap_or_default());
    if prompts
        .iter()
        .any(|prompt| [")++", ")--", "++", ".blend(", ".and(", ".swap("].iter().any(|c| prompt.contains(c)))
    {
        gathering.cannot_follow("Prompt", "weights in InvokeAI's own language");
    }
    gathering.take_all(KEYS, &said);
    gathering.finish()
}

fn take_model(gathering: &mut Gathering, model: &Value) {
    match name_and_hash(model) {
        Some((name, hash)) => {
            gathering.take(Field::Model, "model", &name);
            if let Some(hash) = hash {
                gathering.take(Field::ModelHash, "model hash", &hash);
            }
        }
        None => gathering.cannot_follow("model", &json::plain(model)),
    }
}

/// `{model_name, …}` in version 3, `{name, hash, key, …}` since 4.
fn name_and_hash(model: &Value) -> Option<(String, Option<String>)> {
    let text = |key: &str| model.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let name = text("name").or_else(|| text("model_name")).or_else(|| model.as_str().map(str::to_owned))?;
    Some((name, text("hash")))
}

/// `sd-metadata` of versions 1 and 2.
#[must_use]
pub fn read_old(object: &Map<String, Value>) -> Option<ReadRecipe> {
    let image = object.get("image").or_else(|| object.get("images")?.get(0))?.as_object()?;
    let mut said = image.clone();
    let mut gathering = Gathering::of("InvokeAI");
    gathering.unsaid_schedule_is(ScheduleKind::Model);
    match said.remove("prompt") {
        Some(Value::Array(parts)) => {
            let texts: Vec<String> = parts.iter().filter_map(|part| part.get("prompt")).map(json::plain).collect();
            for text in texts.iter().skip(1) {
                gathering.cannot_follow("Blended with", text);
            }
            take_prompt(&mut gathering, texts.first().map_or("", String::as_str));
        }
        Some(text) => take_prompt(&mut gathering, &json::plain(&text)),
        None => {}
    }
    if let Some(model) = object.get("model_weights").or_else(|| object.get("model")) {
        gathering.take(Field::Model, "model_weights", &json::plain(model));
    }
    if let Some(hash) = object.get("model_hash") {
        gathering.take(Field::ModelHash, "model_hash", &json::plain(hash));
    }
    for key in ["threshold", "perlin"] {
        if said.get(key).and_then(Value::as_f64) == Some(0.0) {
            said.remove(key);
        }
    }
    gathering.take_all(KEYS, &said);
    Some(gathering.finish())
}

/// In versions 1 and 2 the negative prompt stands in brackets inside the prompt.
pub fn take_prompt(gathering: &mut Gathering, text: &str) {
    let (mut positive, mut negative) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some((before, (inside, after))) =
        rest.split_once('[').and_then(|(before, after)| Some((before, after.split_once(']')?)))
    {
        positive.push_str(before);
        negative.push(inside.trim());
        rest = after;
    }
    positive.push_str(rest);
    gathering.take(Field::Prompt, "prompt", positive.trim());
    gathering.take(Field::NegativePrompt, "negative prompt", &negative.join(" "));
}
