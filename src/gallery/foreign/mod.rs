//! The recipes of other programs: which of them a picture's texts hold, and what they say.

mod comfyui;
mod draw_things;
mod dream;
#[cfg(test)]
mod examples;
pub mod fields;
mod flat;
mod graph;
mod invokeai;
pub mod json;
mod names;
mod novelai;
mod sdcpp;
mod tensorart;

use crate::gallery::infotext::InfoText;
use crate::gallery::recipe::understand;
use crate::gallery::record::ReadRecipe;
use crate::gallery::texts::{PARAMETERS_KEYWORD, Texts};

/// Where a PNG keeps its XMP packet; other formats' packets are put under the same keyword.
pub const XMP_KEYWORD: &str = "XML:com.adobe.xmp";

/// Under this keyword stands a JSON object whose program is to be found out: EXIF's name for its comment.
pub const COMMENT_KEYWORD: &str = "UserComment";

/// What other programs' texts come to.
#[derive(Debug, Default)]
pub struct Found {
    /// The recipe, if there is one.
    pub recipe: Option<ReadRecipe>,
    /// The A1111 text, when the recipe is from it.
    pub infotext: Option<String>,
    /// What was there and could not be read, for people.
    pub warning: Option<String>,
    /// That text itself.
    pub unread: Option<String>,
}

/// Reads the recipe of whichever program the texts are of. Of several the most exact counts.
#[must_use]
pub fn read(texts: &Texts) -> Found {
    let exact = object_under(texts, PARAMETERS_KEYWORD)
        .or_else(|| object_under(texts, COMMENT_KEYWORD))
        .or_else(|| comfyui::read(&json::object(texts.get("prompt")?)?))
        .or_else(|| json::object(texts.get("invokeai_metadata")?).map(|object| invokeai::read(&object)))
        .or_else(|| invokeai::read_old(&json::object(texts.get("sd-metadata")?)?))
        .or_else(|| dream::read(texts.get("Dream")?))
        .or_else(|| flat::easy_diffusion(texts))
        .or_else(|| novelai::read(texts))
        .or_else(|| draw_things::read_xmp(texts.get(XMP_KEYWORD)?))
        .or_else(|| tensorart::read(&json::object(texts.get(tensorart::KEYWORD)?)?));
    if exact.is_some() {
        return Found { recipe: exact, ..Found::default() };
    }
    if let Some(text) = infotext_in(texts) {
        return Found { recipe: Some(infotext(text)), infotext: Some(text.to_owned()), ..Found::default() };
    }
    let (warning, unread) = unread(texts).unzip();
    Found { warning, unread, ..Found::default() }
}

/// The programs whose one JSON object stands where others have a text.
fn object_under(texts: &Texts, keyword: &str) -> Option<ReadRecipe> {
    let objects = texts.iter().filter(|(key, _)| *key == keyword).filter_map(|(_, text)| json::object(text));
    objects.take(MOST_OBJECTS).find_map(|object| {
        flat::swarm(&object)
            .or_else(|| flat::ruined_fooocus(&object))
            .or_else(|| flat::fooocus(&object))
            .or_else(|| flat::diffusers(&object))
            .or_else(|| novelai::read_wrapped(&object))
            .or_else(|| draw_things::read(&object))
            .or_else(|| graph_in(&object))
    })
}

/// ComfyUI's graph as a comment: beside its editor's graph, or with other keys among the nodes (Civitai).
fn graph_in(object: &serde_json::Map<String, serde_json::Value>) -> Option<ReadRecipe> {
    match object.get("prompt") {
        Some(serde_json::Value::Object(graph)) => comfyui::read(graph),
        Some(serde_json::Value::String(text)) => comfyui::read(&json::object(text)?),
        _ => comfyui::read(object),
    }
}

/// The most texts under one keyword that are tried.
const MOST_OBJECTS: usize = 4;

/// The longest A1111 text that is read: a hundred times the longest prompt with the longest settings.
const MAX_INFOTEXT_BYTES: usize = 1 << 20;

/// The A1111 text. Whole objects are some program's; everything else is a prompt at least.
#[must_use]
pub fn infotext_in(texts: &Texts) -> Option<&str> {
    let mut parameters = texts.iter().filter(|(key, _)| *key == PARAMETERS_KEYWORD).map(|(_, text)| text);
    parameters.find(|text| text.len() <= MAX_INFOTEXT_BYTES && json::object(text).is_none())
}

fn infotext(text: &str) -> ReadRecipe {
    let info = InfoText::parse(text);
    let exact = info.get("SDCPP").and_then(json::object).and_then(|object| sdcpp::read(&object));
    exact.unwrap_or_else(|| understand(&info))
}

/// Says that `parameters` is Fooocus'.
const FOOOCUS_MARK: &str = "fooocus_scheme";

/// Texts by which a program's recipe is known although nothing could be read out of it.
const UNREAD: &[(&str, &str)] = &[
    ("prompt", "ComfyUI's graph, in which no sampler is known"),
    ("workflow", "ComfyUI's editor graph, whose values have no names"),
    ("invokeai_metadata", "InvokeAI's and damaged"),
    ("sd-metadata", "InvokeAI's and damaged"),
    ("Dream", "InvokeAI's and damaged"),
    (FOOOCUS_MARK, "Fooocus' and damaged"),
    (tensorart::KEYWORD, "TensorArt's and damaged"),
    (PARAMETERS_KEYWORD, "JSON of a program that is not known, or too long"),
    (COMMENT_KEYWORD, "JSON of a program that is not known"),
];

fn unread(texts: &Texts) -> Option<(String, String)> {
    // Anything may be called a prompt; a graph is an object.
    let is_there = |keyword: &str| texts.get(keyword).is_some_and(|text| keyword != "prompt" || text.contains('{'));
    let (keyword, why) = UNREAD.iter().find(|(keyword, _)| is_there(keyword))?;
    // Fooocus' mark stands beside its text.
    let text = texts.get(PARAMETERS_KEYWORD).filter(|_| *keyword == FOOOCUS_MARK).or_else(|| texts.get(keyword))?;
    Some((format!("the recipe is {why}"), text.to_owned()))
}
