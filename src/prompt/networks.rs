//! What a prompt calls by name, LoRAs and embeddings, looked up among the files at hand.

use std::ops::Range;
use std::path::PathBuf;

use super::cut::{NetworkCall, network_calls, without_comments, without_networks};
use super::parsed::ParsedPrompt;
use super::tokenizer::{LearnedWord, Tokenizer, TokenizerError};
use super::wildcards::has_wildcards;
use super::words::is_space;
use crate::request::{AdapterUse, Dialect, EmbeddingUse, NamedFile};

/// What a prompt's `<lora:name:weight>` come to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CalledAdapters {
    /// What can be applied, in the prompt's order.
    pub adapters: Vec<AdapterUse>,
    /// What cannot, each a sentence.
    pub missing: Vec<String>,
}

/// Most names that a sentence offers in place of one that is not known.
const MOST_OFFERED: usize = 4;
/// A name is near that becomes the other by so many changed letters, if they are no more than about half of it.
const NEAR: usize = 3;

/// The LoRAs that a prompt calls; the negative prompt calls none.
#[must_use]
pub fn called_adapters(prompt: &str, dialect: Dialect, files: &[NamedFile]) -> CalledAdapters {
    let mut called = CalledAdapters::default();
    if dialect == Dialect::ComfyUi {
        return called;
    }
    for call in without_networks(prompt).1 {
        let shown = format!("<{}:{}>", call.kind, call.name);
        if !matches!(call.kind.as_str(), "lora" | "lyco") {
            called.missing.push(format!("{shown} is not applied: Calotype knows <lora:…> and <lyco:…> alone"));
            continue;
        }
        let (Some(text_weight), Some(unet_weight)) = (call.weight, call.unet_weight) else {
            called.missing.push(format!("{shown} is not applied: its weight is no number"));
            continue;
        };
        match find(&call.name, files) {
            Some(file) => {
                let (name, path) = (call.name, file.path.clone());
                called.adapters.push(AdapterUse { name, path, unet_weight, text_weight });
            }
            None => called.missing.push(format!("{shown} is not applied: {}", no_such("LoRA", &call.name, files))),
        }
    }
    called
}

/// A `<lora:name:weight>` in a prompt as it is typed.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedAdapter {
    /// Where it stands, in bytes.
    pub place: Range<usize>,
    /// What it says.
    pub call: NetworkCall,
    /// The file that it means, where there is one.
    pub path: Option<PathBuf>,
}

/// The LoRAs that a prompt calls, outside of its comments, where they stand; not those that wildcards have yet to name.
#[must_use]
pub fn placed_adapters(prompt: &str, dialect: Dialect, files: &[NamedFile]) -> Vec<PlacedAdapter> {
    if dialect == Dialect::ComfyUi {
        return Vec::new();
    }
    let uncommented = without_comments(prompt);
    let calls = network_calls(&uncommented.text).into_iter();
    let is_settled = |place: &Range<usize>| !has_wildcards(&uncommented.text[place.clone()]);
    let is_adapter = |call: &NetworkCall| matches!(call.kind.as_str(), "lora" | "lyco");
    let adapters = calls.filter(|(place, call)| is_adapter(call) && is_settled(place));
    let placed = adapters.map(|(place, call)| PlacedAdapter {
        place: uncommented.origins.of_range(place),
        path: find(&call.name, files).map(|file| file.path.clone()),
        call,
    });
    placed.collect()
}

/// The prompt with `call` in place of what stands at `place`; or without it, and without the space or comma that only
/// parted it from the rest.
#[must_use]
pub fn replaced(prompt: &str, place: Range<usize>, call: Option<&NetworkCall>) -> String {
    let (before, after) = (&prompt[..place.start], &prompt[place.end..]);
    if let Some(call) = call {
        return format!("{before}{call}{after}");
    }
    let parted = before.trim_end_matches(' ');
    if !parted.is_empty() && !parted.ends_with(',') {
        return format!("{}{after}", before.strip_suffix(' ').unwrap_or(before));
    }
    let after = after.trim_start_matches(' ').strip_prefix(',').unwrap_or(after);
    format!("{before}{}", after.trim_start_matches(' '))
}

/// The embeddings that the prompts call, and a sentence for each that ComfyUI's `embedding:name` names in vain.
///
/// # Errors
/// As [`Tokenizer::ids`].
pub fn called_embeddings(
    prompts: [&str; 2],
    dialect: Dialect,
    tokenizer: &Tokenizer,
    files: &[NamedFile],
) -> Result<(Vec<EmbeddingUse>, Vec<String>), TokenizerError> {
    let word = |file: &NamedFile| LearnedWord { word: file.name.clone(), vectors: 1 };
    let tokenizer = tokenizer.with_learned(&files.iter().map(word).collect::<Vec<_>>())?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let parsed = [
        ParsedPrompt::positive(prompts[0], 1, dialect, &tokenizer)?,
        ParsedPrompt::negative(prompts[1], 1, dialect, &tokenizer)?,
    ];
    let entries = parsed.iter().flat_map(|prompt| &prompt.parts).flat_map(|part| &part.schedule);
    let ids = entries.flat_map(|entry| &entry.chunks).flat_map(|chunk| &chunk.tokens);
    for index in ids.filter_map(|id| id.checked_sub(Tokenizer::FIRST_LEARNED)) {
        let Some(file) = files.get(index as usize) else { continue };
        if found.iter().all(|known: &EmbeddingUse| known.word != file.name) {
            found.push(EmbeddingUse { word: file.name.clone(), path: file.path.clone() });
        }
    }
    if dialect == Dialect::ComfyUi {
        for name in prompts.into_iter().flat_map(named_embeddings) {
            let is_known = |name: &str| files.iter().any(|file| file.name == name || is_file_of(name, &file.name));
            if !is_known(name) && !is_known(name.trim_end_matches(',')) {
                let name = name.trim_end_matches(',');
                missing.push(format!("embedding:{name} is not applied: {}", no_such("embedding", name, files)));
            }
        }
    }
    Ok((found, missing))
}

/// The names behind every `embedding:` that opens a word.
fn named_embeddings(prompt: &str) -> impl Iterator<Item = &str> {
    prompt.split([' ', '\n', '(']).filter_map(|word| {
        let name = word.strip_prefix("embedding:")?;
        // A weight or a closed bracket behind it is none of the name.
        let end = name.find(|c| is_space(c) || matches!(c, ':' | ')')).unwrap_or(name.len());
        Some(&name[..end]).filter(|name| !name.is_empty())
    })
}

fn is_file_of(name: &str, stem: &str) -> bool {
    [".safetensors", ".pt", ".bin"].into_iter().any(|ending| name.strip_suffix(ending) == Some(stem))
}

/// To the letter, else whatever the case.
fn find<'a>(name: &str, files: &'a [NamedFile]) -> Option<&'a NamedFile> {
    let exact = files.iter().find(|file| file.name == name);
    let lower = name.to_lowercase();
    exact.or_else(|| files.iter().find(|file| file.name.to_lowercase() == lower))
}

fn no_such(what: &str, name: &str, files: &[NamedFile]) -> String {
    let lower = name.to_lowercase();
    let mut near: Vec<(usize, &str)> = files
        .iter()
        .filter_map(|file| {
            let other = file.name.to_lowercase();
            let is_part = other.contains(&lower) || lower.contains(&other);
            let distance = distance(&lower, &other);
            let longer = lower.chars().count().max(other.chars().count());
            let is_near = distance <= NEAR && distance * 2 <= longer + 1;
            (is_near || is_part).then_some((distance, file.name.as_str()))
        })
        .collect();
    near.sort_unstable();
    near.truncate(MOST_OFFERED);
    let names: Vec<&str> = near.into_iter().map(|(_, name)| name).collect();
    match (names.as_slice(), files.len()) {
        ([], 0) => format!("there is no {what} of this name, as no folder with any is known"),
        ([], _) => format!("there is no {what} of this name"),
        (names, _) => format!("there is no {what} of this name; near are {}", names.join(", ")),
    }
}

/// How many letters have to be changed, put in or taken out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, own) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(own != other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<NamedFile> {
        names.iter().map(|name| NamedFile::at(format!("/loras/{name}.safetensors").as_ref())).collect()
    }

    #[test]
    fn calls_are_found_by_name_with_both_weights() {
        let files = files(&["Ink", "snow"]);
        let called = called_adapters("a <lora:ink:0.5> <lyco:snow:0.5:-1> fox", Dialect::A1111, &files);
        let found: Vec<_> = called.adapters.iter().map(|a| (a.name.as_str(), a.text_weight, a.unet_weight)).collect();
        assert_eq!(found, [("ink", 0.5, 0.5), ("snow", 0.5, -1.0)]);
        assert_eq!(called.missing, Vec::<String>::new());
        assert_eq!(called_adapters("<lora:ink:1>", Dialect::ComfyUi, &files), CalledAdapters::default());
    }

    #[test]
    fn calls_are_changed_and_taken_out_where_they_stand() {
        let prompt = "é <lora:ink:0.5> # <lora:not:1>\n<lyco:snow:0.5:-1>, <hypernet:h>";
        let placed = placed_adapters(prompt, Dialect::A1111, &files(&["Ink"]));
        assert_eq!(placed.len(), 2);
        assert!(placed[0].path.is_some() && placed[1].path.is_none());
        let lighter = NetworkCall { weight: Some(0.25), unet_weight: Some(0.25), ..placed[0].call.clone() };
        assert_eq!(
            replaced(prompt, placed[0].place.clone(), Some(&lighter)),
            "é <lora:ink:0.25> # <lora:not:1>\n<lyco:snow:0.5:-1>, <hypernet:h>"
        );
        assert_eq!(
            replaced(prompt, placed[0].place.clone(), None),
            "é # <lora:not:1>\n<lyco:snow:0.5:-1>, <hypernet:h>"
        );
        for (prompt, without) in [("<lora:x:1>, a fox", "a fox"), ("a, <lora:x:1>, b", "a, b"), ("a <lora:x> b", "a b")]
        {
            let placed = placed_adapters(prompt, Dialect::A1111, &[]);
            assert_eq!(replaced(prompt, placed[0].place.clone(), None), without);
        }
        assert_eq!(placed_adapters("<lora:{a|b}:1> <lora:x:{0.5|1}>", Dialect::A1111, &[]), []);
        assert_eq!(placed[1].call.to_string(), "<lyco:snow:te=0.5:unet=-1>");
        assert_eq!(placed_adapters(prompt, Dialect::ComfyUi, &[]), []);
    }

    #[test]
    fn what_cannot_be_applied_is_said_with_near_names() {
        let called =
            called_adapters("<lora:ikn> <hypernet:h> <lora:Ink:much>", Dialect::A1111, &files(&["Ink", "far"]));
        assert_eq!(called.adapters, []);
        assert!(called.missing[0].ends_with("no LoRA of this name; near are Ink"), "{:?}", called.missing);
        assert!(called.missing[1].starts_with("<hypernet:h> is not applied"), "{:?}", called.missing);
        assert!(called.missing[2].ends_with("no number"), "{:?}", called.missing);
    }

    #[test]
    fn distances_are_those_of_letters() {
        assert_eq!((distance("", "abc"), distance("kitten", "sitting"), distance("é", "e")), (3, 3, 1));
    }

    #[test]
    fn names_behind_comfyuis_mark_are_found() {
        let found: Vec<&str> = named_embeddings("embedding:a, (embedding:b:1.2) xembedding:c embedding: ").collect();
        assert_eq!(found, ["a,", "b"]);
    }
}
