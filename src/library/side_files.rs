//! Notes that other programs put beside a model: Civitai's `.info`, A1111's `.json`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::checkpoint::shown;
use crate::library::message::SideNotes;

/// Larger files are no notes.
const MOST_BYTES: u64 = 1 << 20;
/// Trigger words that are kept.
const MOST_WORDS: usize = 40;

/// Reads a notes file; one that cannot be understood says nothing.
pub fn read(path: &Path) -> SideNotes {
    let mut text = Vec::new();
    // Opening a pipe would wait for whoever writes to it.
    if !path.is_file() {
        return SideNotes::default();
    }
    let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut text));
    if read.is_err() || text.len() as u64 > MOST_BYTES {
        return SideNotes::default();
    }
    serde_json::from_slice(&text).map(|notes| of_json(&notes)).unwrap_or_default()
}

fn of_json(notes: &Value) -> SideNotes {
    let said = |key: &str| notes.get(key).and_then(Value::as_str).map(plain).filter(|text| !text.is_empty());
    let trained = notes.get("trainedWords").and_then(Value::as_array);
    let words = trained.into_iter().flatten().filter_map(Value::as_str).map(plain).filter(|word| !word.is_empty());
    let mut trigger_words: Vec<String> = words.take(MOST_WORDS).collect();
    // A1111's own.
    if trigger_words.is_empty() {
        trigger_words.extend(said("activation text"));
    }
    let of_model = || notes.get("model")?.get("description")?.as_str().map(plain);
    let description = said("description").or_else(of_model).or_else(|| said("notes"));
    SideNotes { trigger_words, description: description.filter(|text| !text.is_empty()) }
}

/// The text without markup: Civitai writes HTML.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once('<') {
        plain.push_str(before);
        match tag.split_once('>') {
            Some((tag, after)) if tag.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') => {
                if matches!(tag.trim_end_matches('/').trim(), "/p" | "br" | "/li" | "/h1" | "/h2" | "/h3") {
                    plain.push('\n');
                }
                rest = after;
            }
            // Not markup: "<3", or a tag that never ends.
            _ => {
                plain.push('<');
                rest = tag;
            }
        }
    }
    plain.push_str(rest);
    let marks = [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    shown(marks.iter().fold(plain, |text, (mark, sign)| text.replace(mark, sign)).trim())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn civitais_notes_lose_their_markup() {
        let notes = of_json(&json!({
            "trainedWords": ["ink style", "", 3, "<b>fox</b>"],
            "description": "<p>Draws <b>ink</b> &amp; fox &lt;3</p><p>Use 0.8 <3</p>",
        }));
        assert_eq!(notes.trigger_words, ["ink style", "fox"]);
        assert_eq!(notes.description.as_deref(), Some("Draws ink & fox <3\nUse 0.8 <3"));
    }

    #[test]
    fn a1111s_notes_are_understood_and_nonsense_says_nothing() {
        let notes = of_json(&json!({"activation text": "ink", "description": "", "notes": "mine"}));
        assert_eq!((notes.trigger_words, notes.description.as_deref()), (vec!["ink".to_owned()], Some("mine")));
        assert_eq!(of_json(&json!([1, {"a": "b"}])), SideNotes::default());
    }
}
