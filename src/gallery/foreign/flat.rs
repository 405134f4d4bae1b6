//! Programs that write one flat JSON object: SwarmUI, Fooocus, RuinedFooocus, Hugging Face's spaces, Easy Diffusion.

use serde_json::{Map, Value};

use crate::gallery::foreign::fields::{Field, Gathering, Keys, finite};
use crate::gallery::foreign::json;
use crate::gallery::record::{ReadLora, ReadRecipe};
use crate::gallery::texts::Texts;

const SWARM: Keys = &[
    ("prompt", Field::Prompt),
    ("negativeprompt", Field::NegativePrompt),
    ("model", Field::Model),
    ("seed", Field::Seed),
    ("steps", Field::Steps),
    ("cfgscale", Field::Guidance),
    ("sampler", Field::Sampler),
    ("scheduler", Field::Schedule),
    ("width", Field::Width),
    ("height", Field::Height),
    ("initimagecreativity", Field::Denoise),
    ("clipstopatlayer", Field::ClipSkip),
    ("variationseed", Field::VariationSeed),
    ("variationseedstrength", Field::VariationStrength),
    ("aspectratio", Field::Aside),
    ("sidelength", Field::Aside),
    ("images", Field::Aside),
    ("nopreviews", Field::Aside),
    ("imageformat", Field::Aside),
    ("swarm_version", Field::Aside),
    ("date", Field::Aside),
    ("generation_time", Field::Aside),
    ("original_prompt", Field::Aside),
    ("loraweights", Field::Aside),
];

const FOOOCUS: Keys = &[
    ("full_prompt", Field::Aside),
    ("full_negative_prompt", Field::Aside),
    ("prompt", Field::Prompt),
    ("negative_prompt", Field::NegativePrompt),
    ("steps", Field::Steps),
    ("resolution", Field::Size),
    ("guidance_scale", Field::Guidance),
    ("base_model", Field::Model),
    ("base_model_name", Field::Model),
    ("base_model_hash", Field::ModelHash),
    ("sampler", Field::Sampler),
    ("sampler_name", Field::Sampler),
    ("scheduler", Field::Schedule),
    ("seed", Field::Seed),
    ("clip_skip", Field::ClipSkip),
    ("width", Field::Width),
    ("height", Field::Height),
    ("cfg", Field::Guidance),
    ("denoise", Field::Denoise),
    ("metadata_scheme", Field::Aside),
    ("version", Field::Aside),
    ("software", Field::Aside),
    ("created_by", Field::Aside),
];

/// Hugging Face's spaces, and Easy Diffusion's keys with `_` for the space of its other spelling.
const DIFFUSERS: Keys = &[
    ("prompt", Field::Prompt),
    ("negative_prompt", Field::NegativePrompt),
    ("num_inference_steps", Field::Steps),
    ("steps", Field::Steps),
    ("guidance_scale", Field::Guidance),
    ("resolution", Field::Size),
    ("width", Field::Width),
    ("height", Field::Height),
    ("seed", Field::Seed),
    ("sampler", Field::Sampler),
    ("sampler_name", Field::Sampler),
    ("scheduler", Field::Schedule),
    ("scheduler_name", Field::Schedule),
    ("model", Field::Model),
    ("model_hash", Field::ModelHash),
    ("use_stable_diffusion_model", Field::Model),
    ("stable_diffusion_model", Field::Model),
    ("prompt_strength", Field::Denoise),
    ("clip_skip", Field::Aside),
    ("lora_alpha", Field::Aside),
    ("lora_strength", Field::Aside),
    ("output_format", Field::Aside),
];

/// `{"sui_image_params": {…}}`.
#[must_use]
pub fn swarm(object: &Map<String, Value>) -> Option<ReadRecipe> {
    let mut said = object.get("sui_image_params")?.as_object()?.clone();
    let mut gathering = Gathering::of("SwarmUI");
    // Counted from the end: -2 leaves out the last layer.
    if let Some(layer) = said.get("clipstopatlayer").and_then(Value::as_i64).filter(|layer| *layer < 0) {
        said.insert("clipstopatlayer".to_owned(), layer.unsigned_abs().into());
    }
    let weights = said.get("loraweights").map(list).unwrap_or_default();
    for (at, name) in said.remove("loras").as_ref().map(list).unwrap_or_default().into_iter().enumerate() {
        gathering.lora(ReadLora { name, weight: weights.get(at).and_then(|weight| finite(weight)), hash: None });
    }
    for model in object.get("sui_models").and_then(Value::as_array).into_iter().flatten() {
        if model.get("param").is_some_and(|param| param == "model")
            && let Some(hash) = model.get("hash").and_then(Value::as_str)
        {
            gathering.take(Field::ModelHash, "hash", hash);
        }
    }
    let prompts = ["prompt", "negativeprompt"].map(|key| said.get(key).map(json::plain).unwrap_or_default());
    if prompts.iter().any(|prompt| has_macro(prompt)) {
        gathering.cannot_follow("Prompt", "macros of SwarmUI");
    }
    gathering.take_all(SWARM, &said);
    Some(gathering.finish())
}

/// `<random:…>`, `<setvar[x]:…>`, `<segment:…>`: a word of letters in angle brackets, with what it works on.
fn has_macro(prompt: &str) -> bool {
    prompt.split('<').skip(1).any(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        end > 0 && rest[end..].starts_with([':', '[', '>'])
    })
}

/// A list, or a text that is one with commas.
fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().map(json::plain).collect(),
        Value::String(text) if !text.is_empty() => text.split(',').map(|part| part.trim().to_owned()).collect(),
        _ => Vec::new(),
    }
}

/// Fooocus' own scheme; the prompts that were used are the full ones, what was typed stands beside them.
#[must_use]
pub fn fooocus(object: &Map<String, Value>) -> Option<ReadRecipe> {
    if !object.contains_key("base_model") || !object.contains_key("resolution") {
        return None;
    }
    let mut gathering = Gathering::of("Fooocus");
    for (key, field) in [("full_prompt", Field::Prompt), ("full_negative_prompt", Field::NegativePrompt)] {
        if let Some(Value::Array(parts)) = object.get(key) {
            let parts: Vec<String> = parts.iter().map(json::plain).collect();
            gathering.take(field, key, &parts.join("\n"));
        } else if let Some(Value::String(text)) = object.get(key) {
            gathering.take(field, key, text);
        }
    }
    let mut said = object.clone();
    said.retain(|key, _| !key.starts_with("lora_combined_"));
    for lora in said.remove("loras").as_ref().and_then(Value::as_array).into_iter().flatten() {
        // [name, weight, hash]
        let text = |at: usize| lora.get(at).map(json::plain);
        if let Some(name) = text(0) {
            gathering.lora(ReadLora { name, weight: lora.get(1).and_then(Value::as_f64), hash: text(2) });
        }
    }
    gathering.take_all(FOOOCUS, &said);
    Some(gathering.finish())
}

/// RuinedFooocus, told by its `software`.
#[must_use]
pub fn ruined_fooocus(object: &Map<String, Value>) -> Option<ReadRecipe> {
    if object.get("software")? != "RuinedFooocus" {
        return None;
    }
    let mut said = object.clone();
    let mut gathering = Gathering::of("RuinedFooocus");
    if let Some(text) = said.remove("Prompt").or_else(|| said.remove("prompt")) {
        gathering.take(Field::Prompt, "Prompt", &json::plain(&text));
    }
    if let Some(text) = said.remove("Negative").or_else(|| said.remove("negative")) {
        gathering.take(Field::NegativePrompt, "Negative", &json::plain(&text));
    }
    for lora in said.remove("loras").as_ref().and_then(Value::as_array).into_iter().flatten() {
        // ["hash", "weight - path"]
        let combined = lora.get(1).map(json::plain).unwrap_or_default();
        let (weight, name) = combined.split_once(" - ").unwrap_or(("", &combined));
        gathering.lora(ReadLora { name: name.to_owned(), weight: finite(weight), hash: lora.get(0).map(json::plain) });
    }
    gathering.take_all(FOOOCUS, &said);
    Some(gathering.finish())
}

/// Hugging Face's spaces, told by a name that only diffusers' users give to the steps.
#[must_use]
pub fn diffusers(object: &Map<String, Value>) -> Option<ReadRecipe> {
    let object = underscored(object);
    let is_space = object.contains_key("num_inference_steps");
    let is_easy = object.contains_key("use_stable_diffusion_model") || object.contains_key("stable_diffusion_model");
    if !object.contains_key("prompt") || !(is_space || is_easy) {
        return None;
    }
    Some(easy_or_space(object, if is_easy { Some("Easy Diffusion") } else { None }))
}

/// Easy Diffusion in PNG: one text for each field, under either of two spellings.
#[must_use]
pub fn easy_diffusion(texts: &Texts) -> Option<ReadRecipe> {
    texts.get("use_stable_diffusion_model").or_else(|| texts.get("Stable Diffusion model"))?;
    let object = texts.iter().map(|(key, text)| (key.to_owned(), Value::from(text))).collect();
    Some(easy_or_space(underscored(&object), Some("Easy Diffusion")))
}

fn easy_or_space(mut object: Map<String, Value>, tool: Option<&str>) -> ReadRecipe {
    let mut gathering = tool.map_or_else(Gathering::default, Gathering::of);
    if matches!(object.get("clip_skip"), Some(Value::Bool(true))) || object.get("clip_skip") == Some(&"True".into()) {
        gathering.take(Field::ClipSkip, "clip_skip", "2");
    }
    let weights = object.get("lora_alpha").or_else(|| object.get("lora_strength")).map(list_text).unwrap_or_default();
    let names = object.remove("use_lora_model").or_else(|| object.remove("lora_model"));
    for (at, name) in names.as_ref().map(list_text).unwrap_or_default().into_iter().enumerate() {
        gathering.lora(ReadLora { name, weight: weights.get(at).and_then(|weight| finite(weight)), hash: None });
    }
    object.retain(|_, value| !matches!(value, Value::String(text) if text == "False"));
    gathering.take_all(DIFFUSERS, &object);
    gathering.finish()
}

/// A list, also one that Python wrote as text: `['a', 'b']`; one name without brackets is one name.
fn list_text(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if text.starts_with('[') => {
            let inside = text.trim_matches(['[', ']']);
            let parts = inside.split(',').map(|part| part.trim().trim_matches(['\'', '"']).to_owned());
            parts.filter(|part| !part.is_empty()).collect()
        }
        Value::String(text) if text.is_empty() || text == "None" => Vec::new(),
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().map(json::plain).collect(),
        other => vec![json::plain(other)],
    }
}

/// "Guidance Scale" and "guidance_scale" are one key.
fn underscored(object: &Map<String, Value>) -> Map<String, Value> {
    object.iter().map(|(key, value)| (key.to_lowercase().replace(' ', "_"), value.clone())).collect()
}
