//! Draw Things: JSON in the `exif:UserComment` of an XMP packet, or in EXIF itself.

use serde_json::{Map, Value};

use crate::gallery::foreign::fields::{Field, Gathering, Keys};
use crate::gallery::foreign::json;
use crate::gallery::record::{ReadLora, ReadRecipe};

const KEYS: Keys = &[
    ("c", Field::Prompt),
    ("uc", Field::NegativePrompt),
    ("seed", Field::Seed),
    ("steps", Field::Steps),
    ("scale", Field::Guidance),
    ("size", Field::Size),
    ("sampler", Field::Sampler),
    ("model", Field::Model),
    ("strength", Field::Denoise),
    ("profile", Field::Aside),
    ("v2", Field::Aside),
];

/// From an XMP packet.
#[must_use]
pub fn read_xmp(packet: &str) -> Option<ReadRecipe> {
    if !packet.contains("Draw Things") {
        return None;
    }
    let inside = packet.split_once("<exif:UserComment")?.1.split_once("</exif:UserComment")?.0;
    // The text stands in a list of languages.
    let text = inside.split_once("<rdf:li")?.1.split_once('>')?.1.split_once("</rdf:li")?.0;
    read(&json::object(&unescaped(text))?)
}

/// From the object itself.
#[must_use]
pub fn read(object: &Map<String, Value>) -> Option<ReadRecipe> {
    if !["c", "seed", "steps", "scale", "sampler"].iter().all(|key| object.contains_key(*key)) {
        return None;
    }
    let mut said = object.clone();
    let mut gathering = Gathering::of("Draw Things");
    // A float32 was widened; the full settings have the number that was typed.
    if let Some(guidance) = object.get("v2").and_then(|v2| v2.get("guidanceScale")) {
        gathering.take(Field::Guidance, "guidanceScale", &json::plain(guidance));
    }
    for lora in said.remove("lora").as_ref().and_then(Value::as_array).into_iter().flatten() {
        if let Some(name) = lora.get("model").map(json::plain) {
            gathering.lora(ReadLora { name, weight: lora.get("weight").and_then(Value::as_f64), hash: None });
        }
    }
    let full = object.get("v2").and_then(Value::as_object);
    for (key, value) in full.into_iter().flatten().filter(|(_, value)| !json::says_nothing(value)) {
        match key.as_str() {
            "clipSkip" => gathering.take(Field::ClipSkip, "Clip skip", &json::plain(value)),
            "hiresFix" | "refinerModel" | "upscaler" | "controls" | "tiledDiffusion" | "faceRestoration" => {
                gathering.cannot_follow(key, &json::plain(value));
            }
            // The rest are the settings above once more, and those of what is named here.
            _ => {}
        }
    }
    gathering.take_all(KEYS, &said);
    Some(gathering.finish())
}

/// XML's five named marks and its numbers.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        // No name is longer than a number of six digits.
        let end = after.bytes().take(10).position(|byte| byte == b';');
        let (mark, length) = end.and_then(|end| Some((marked(after.get(..end)?)?, end + 1))).unwrap_or(('&', 0));
        plain.push(mark);
        rest = &after[length..];
    }
    plain + rest
}

fn marked(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix("#x") {
            Some(digits) => char::from_u32(u32::from_str_radix(digits, 16).ok()?),
            None => char::from_u32(name.strip_prefix('#')?.parse().ok()?),
        },
    }
}
