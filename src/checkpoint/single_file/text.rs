//! The text encoders of a file: which there are, and how each is built.

use serde_json::json;

use super::part::FilePart;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::original_names::Spelling;
use crate::checkpoint::tensor_file::TensorFile;
use crate::checkpoint::towers::{Role, TowerShape};
use crate::diffusion::text_encoder::TextEncoderConfig;

/// transformers' table of tokens.
const TABLE: &str = "embeddings.token_embedding.weight";
/// OpenCLIP's.
const OPEN_CLIP_TABLE: &str = "token_embedding.weight";

/// The text encoders in a file, those of Stable Diffusion XL first and in order: what an XL file has beside them is left
/// over from a merge.
pub(in crate::checkpoint) fn find(file: &TensorFile) -> Vec<FilePart<'_>> {
    let mut found: Vec<(String, Spelling)> = file
        .tensors()
        .filter_map(|(name, _)| {
            if let Some(prefix) = name.strip_suffix(TABLE) {
                // Layers ask for what is inside of it with or without this.
                return Some((prefix.strip_suffix("text_model.").unwrap_or(prefix), Spelling::AsAsked));
            }
            Some((name.strip_suffix(OPEN_CLIP_TABLE)?, Spelling::OpenClip))
        })
        .filter(|(prefix, _)| prefix.is_empty() || prefix.ends_with('.'))
        .map(|(prefix, spelling)| (prefix.to_owned(), spelling))
        .collect();
    found.sort_by_key(|(prefix, _)| (!prefix.starts_with("conditioner."), prefix.clone()));
    found.dedup_by(|a, b| a.0 == b.0);
    found.into_iter().map(|(prefix, spelling)| FilePart::new(file, &prefix, spelling)).collect()
}

/// What its shapes say.
///
/// # Errors
/// When it is damaged.
pub(in crate::checkpoint) fn shape(tower: &FilePart) -> Result<TowerShape, CheckpointError> {
    /// CLIP has 77; its mask has the square of this many numbers.
    const MOST_POSITIONS: usize = 1024;
    let inside = |name: &str| {
        let long = format!("text_model.{name}");
        if tower.has(&long) { long } else { name.to_owned() }
    };
    let positions = tower.dim(&inside("embeddings.position_embedding.weight"), 0)?;
    if !(3..=MOST_POSITIONS).contains(&positions) {
        return Err(tower.damaged("its text encoder has a number of positions that no text encoder has"));
    }
    let projection = "text_projection.weight";
    Ok(TowerShape {
        vocab_size: tower.dim(&inside(TABLE), 0)?,
        width: tower.dim(&inside(TABLE), 1)?,
        intermediate: tower.dim(&inside("encoder.layers.0.mlp.fc1.weight"), 0)?,
        layers: tower.count(|index| inside(&format!("encoder.layers.{index}.mlp.fc1.weight"))),
        positions,
        projection: tower.has(projection).then(|| tower.dim(projection, 0)).transpose()?,
        is_open_clip: tower.names.spelling == Spelling::OpenClip,
    })
}

/// What `config.json` would say of a text encoder in this role.
///
/// # Errors
/// When the shapes make no configuration.
pub(in crate::checkpoint) fn config(shape: &TowerShape, role: Role) -> Result<TextEncoderConfig, serde_json::Error> {
    let layers = match role {
        // Stable Diffusion 2's context is the layer before the last. The tower has 24; who left the unused one out
        // has 23, as transformers' folders have.
        Role::Second if shape.layers == 24 || (shape.is_open_clip && shape.layers != 23) => {
            shape.layers.saturating_sub(1)
        }
        _ => shape.layers,
    };
    let mut config = json!({
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.width,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": layers,
        // 64 wide, in CLIP ViT-L as in OpenCLIP ViT-H and bigG.
        "num_attention_heads": (shape.width / 64).max(1),
        "max_position_embeddings": shape.positions,
        "hidden_act": if role.is_open_clip() { "gelu" } else { "quick_gelu" },
    });
    if role == Role::XlLast {
        config["architectures"] = json!(["CLIPTextModelWithProjection"]);
        config["projection_dim"] = shape.projection.unwrap_or(shape.width).into();
    }
    serde_json::from_value(config)
}
