//! Textual-inversion embeddings (Gal et al. 2022, arXiv:2208.01618): from a file to the vectors that a word stands for.

use std::path::Path;

use super::adapter::{AdapterError, family};
use super::files::ModelFiles;
use super::tensor_file::{StoredTensor, TensorFile};
use super::{CheckpointError, foreign};
use crate::printable;

/// More vectors than this fit no chunk of CLIP's.
const MOST_VECTORS: usize = 75;

/// The rows of an embedding for text encoders of these widths, one after the other for each encoder: as many vectors in
/// each. Understood are A1111's and kohya's single tensors, diffusers' tensors named by their token, and the pairs of
/// Stable Diffusion XL.
///
/// # Errors
/// When the file is damaged, is something else, or is made for text encoders of another width.
pub fn read_embedding(path: &Path, widths: &[usize]) -> Result<Vec<Vec<f32>>, AdapterError> {
    let files = ModelFiles::at(path)?;
    let not_one = |what: &'static str| AdapterError::NotAnEmbedding { what, path: path.to_owned() };
    if matches!(files, ModelFiles::Folder(_)) {
        return Err(not_one("a folder"));
    }
    let file = TensorFile::open(&files, "").map_err(|error| match error {
        CheckpointError::Foreign { what, .. } => not_one(what),
        error => error.into(),
    })?;
    let tensors = parts(&file).ok_or_else(|| {
        let names: Vec<&str> = file.tensors().map(|(name, _)| name.as_str()).collect();
        not_one(foreign::part(&names).or(foreign::relative(&names)).unwrap_or("no embedding's file"))
    })?;
    let found: Vec<usize> = tensors.iter().filter_map(|(_, tensor)| tensor.shape.last().copied()).collect();
    if found != widths {
        let made_for = in_words(&found);
        return Err(AdapterError::WrongFamily { made_for, model: in_words(widths), path: path.to_owned() });
    }
    let mut by_encoder = Vec::new();
    for (name, tensor) in &tensors {
        let damaged = |problem: String| {
            let module = format!("tensor \"{}\"", printable::name(name));
            AdapterError::Damaged { module, problem, path: path.to_owned() }
        };
        let vectors = vectors(tensor).filter(|vectors| (1..=MOST_VECTORS).contains(vectors));
        let Some(vectors) = vectors else {
            return Err(damaged(format!("shape {:?} is not that of 1 to {MOST_VECTORS} vectors", tensor.shape)));
        };
        let values = file.read_f32(name, tensor)?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(damaged("it holds NaN or infinity".to_owned()));
        }
        by_encoder.push((vectors, values));
    }
    if by_encoder.windows(2).any(|pair| pair[0].0 != pair[1].0) {
        let problem = "its text encoders have different numbers of vectors".to_owned();
        return Err(AdapterError::Damaged { module: "embedding".to_owned(), problem, path: path.to_owned() });
    }
    Ok(by_encoder.into_iter().map(|(_, values)| values).collect())
}

/// The tensors of an embedding's file, one for each text encoder.
fn parts(file: &TensorFile) -> Option<Vec<(String, StoredTensor)>> {
    const PAIRS: [[&str; 2]; 2] = [["clip_l", "clip_g"], ["text_encoders_0", "text_encoders_1"]];
    let get = |name: &str| Some((name.to_owned(), file.get(name)?.clone()));
    for names in PAIRS {
        let found: Vec<_> = names.iter().filter_map(|name| get(name)).collect();
        if !found.is_empty() {
            return Some(found);
        }
    }
    if let Some(found) = get("emb_params") {
        return Some(vec![found]);
    }
    // "string_to_param.*", or the token itself.
    let mut all: Vec<_> = file.tensors().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    all.retain(|(_, tensor)| vectors(tensor).is_some());
    (all.len() == 1 && file.tensors().count() <= 2).then_some(all)
}

/// How many rows there are; a single one may be written without its side.
fn vectors(tensor: &StoredTensor) -> Option<usize> {
    match tensor.shape.as_slice() {
        [width] if *width > 1 => Some(1),
        [rows, _] => Some(*rows),
        _ => None,
    }
}

fn in_words(widths: &[usize]) -> String {
    match widths {
        [768, 1280] => "Stable Diffusion XL".to_owned(),
        [1280] => "the second text encoder of Stable Diffusion XL alone".to_owned(),
        [width] => family::by_width(*width),
        [] => "a model without text encoders".to_owned(),
        widths => {
            let widths: Vec<String> = widths.iter().map(ToString::to_string).collect();
            format!("a model with text encoders {} wide", widths.join(" and "))
        }
    }
}
