//! What the makers of a file wrote into its metadata, cut and cleaned so that it can be shown.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::card::MakersNotes;
use super::tensor_file::TAGS;

/// Longer texts are cut.
const MOST_CHARACTERS: usize = 4000;
/// How many of the training's words are kept.
const MOST_TAGS: usize = 40;
/// The sha256 of nothing, which a trainer wrote for every file.
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Reads the notes out of the metadata.
pub(super) fn read(metadata: &BTreeMap<String, String>) -> MakersNotes {
    // Python's None is written as a word.
    let said = |key: &str| metadata.get(key).map(|text| shown(text)).filter(|text| !text.is_empty() && text != "None");
    MakersNotes {
        title: said("modelspec.title"),
        author: said("modelspec.author"),
        description: said("modelspec.description").or_else(|| said("ss_training_comment")),
        license: said("modelspec.license"),
        trigger: said("modelspec.trigger_phrase"),
        tags: metadata.get(TAGS).map(|text| tags(text)).unwrap_or_default(),
        alias: said("ss_output_name"),
        base: said("ss_base_model_version").or_else(|| said("modelspec.architecture")),
        trained_on: said("ss_sd_model_name"),
        embedded_hash: said("sshs_model_hash").and_then(|text| hash(&text)),
    }
}

/// The text without control characters, which could write to a terminal, and no longer than can be shown.
pub fn shown(text: &str) -> String {
    let clean = |c: char| match c {
        '\n' => Some('\n'),
        c if c.is_control() => None,
        // Marks that turn the direction of writing can make one name look like another.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        c => Some(c),
    };
    text.trim().chars().filter_map(clean).take(MOST_CHARACTERS).collect()
}

/// kohya's table: folder, then tag, then how often.
fn tags(text: &str) -> Vec<(String, u64)> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Whole(u64),
        Other(serde::de::IgnoredAny),
    }
    let Ok(folders) = serde_json::from_str::<HashMap<String, HashMap<String, Count>>>(text) else { return Vec::new() };
    let mut counts: HashMap<String, u64> = HashMap::new();
    for (tag, count) in folders.into_values().flatten() {
        if let Count::Whole(count) = count {
            let sum = counts.entry(tag.trim().to_owned()).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    let mut tags: Vec<(String, u64)> = counts.into_iter().filter(|(tag, _)| !tag.is_empty()).collect();
    tags.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    tags.truncate(MOST_TAGS);
    tags.into_iter().map(|(tag, count)| (shown(&tag), count)).collect()
}

fn hash(text: &str) -> Option<String> {
    let text = text.strip_prefix("0x").unwrap_or(text).to_ascii_lowercase();
    let is_hash = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) && text != HASH_OF_NOTHING;
    is_hash.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tags_of_all_folders_are_counted_together() {
        let text = r#"{"10_fox": {"fox": 3, "red": 1, "odd": "x"}, "2_more": {"fox ": 2, "": 9}}"#;
        assert_eq!(tags(text), [("fox".to_owned(), 5), ("red".to_owned(), 1)]);
        assert_eq!(tags("[1, 2"), []);
    }

    #[test]
    fn texts_are_shown_without_what_a_terminal_obeys() {
        assert_eq!(shown("a\u{1b}[31mb\u{7}\u{202e}c\nd"), "a[31mbc\nd");
        assert_eq!(shown(&"x".repeat(9999)).len(), MOST_CHARACTERS);
        assert_eq!(hash(HASH_OF_NOTHING), None);
        assert_eq!(hash(&format!("0x{}", "AB".repeat(32))), Some("ab".repeat(32)));
    }
}
