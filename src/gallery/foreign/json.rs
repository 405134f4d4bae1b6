//! JSON out of files of strangers: bounded, and only what is one whole object.

use serde_json::{Map, Value};

/// The most bytes of JSON that are taken apart. A parsed value takes up to thirty times its text; ComfyUI's largest
/// graphs are below this.
const MAX_JSON_BYTES: usize = 1 << 20;

/// The text as one object. Prompts may begin with a brace, so nothing less than the whole text counts.
#[must_use]
pub fn object(text: &str) -> Option<Map<String, Value>> {
    let text = text.trim();
    if !text.starts_with('{') || text.len() > MAX_JSON_BYTES {
        return None;
    }
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&with_null_for_nan(text)?).ok())
}

/// The text as JSON of any kind.
#[must_use]
pub fn any(text: &str) -> Option<Value> {
    if text.len() > MAX_JSON_BYTES { None } else { serde_json::from_str(text.trim()).ok() }
}

/// Python writes `NaN` and `Infinity`, which are no JSON.
fn with_null_for_nan(text: &str) -> Option<String> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return None;
    }
    let (mut kept, mut is_string, mut is_escaped) = (String::with_capacity(text.len()), false, false);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = ["NaN", "-Infinity", "Infinity"].into_iter().find(|word| !is_string && rest.starts_with(word));
        if let Some(word) = word {
            kept.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        if first == '"' && !is_escaped {
            is_string = !is_string;
        }
        is_escaped = is_string && first == '\\' && !is_escaped;
        kept.push(first);
        rest = &rest[first.len_utf8()..];
    }
    Some(kept)
}

/// A value as people read it: texts without their quotes, lists and objects as JSON.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// True for the many ways to leave something out: null, false, an empty text, list or object.
#[must_use]
pub fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || text == "None",
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_object_is_json() {
        assert!(object(" {\"a\": 1}\n").is_some());
        assert!(object("{a|b} fox").is_none() && object("{\"a\": 1} fox").is_none() && object("[1]").is_none());
    }

    #[test]
    fn pythons_not_a_number_is_null_but_stays_in_texts() {
        let map = object("{\"is_changed\": [NaN, -Infinity], \"text\": \"NaN \\\" NaN\"}").unwrap();
        assert_eq!(map["is_changed"], serde_json::json!([null, null]));
        assert_eq!(map["text"], "NaN \" NaN");
    }

    #[test]
    fn too_deep_and_too_long_are_no_json() {
        assert!(object(&format!("{{\"a\":{}", "[".repeat(100_000))).is_none());
        assert!(object(&format!("{{\"a\": \"{}\"}}", "x".repeat(MAX_JSON_BYTES))).is_none());
    }
}
