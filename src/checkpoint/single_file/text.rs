//! The text encoders of a single file.

use serde::de::DeserializeOwned;
use serde_json::json;

use super::SingleFile;
use crate::checkpoint::original_names::{Spelling, Tower};
use crate::checkpoint::tensor_file::TensorFile;
use crate::checkpoint::{CheckpointError, clip_vocabulary};
use crate::prompt::{SpecialTokens, Tokenizer};

/// Where a text encoder can be, with the tensor that shows it; Stable Diffusion XL's are in order. Old merges lack
/// `text_model`; `embedders.0.model` is the refiner's only one, and where generative-models put that of SD-Turbo.
const TOWERS: [(Spelling, &str, &str); 6] = [
    (Spelling::Clip, "cond_stage_model.transformer.text_model.", "embeddings.token_embedding.weight"),
    (Spelling::Clip, "cond_stage_model.transformer.", "embeddings.token_embedding.weight"),
    (Spelling::OpenClip, "cond_stage_model.model.", "token_embedding.weight"),
    (Spelling::Clip, "conditioner.embedders.0.transformer.text_model.", "embeddings.token_embedding.weight"),
    (Spelling::OpenClip, "conditioner.embedders.0.model.", "token_embedding.weight"),
    (Spelling::OpenClip, "conditioner.embedders.1.model.", "token_embedding.weight"),
];

/// The text encoders in a file: two for Stable Diffusion XL, else the first that is there.
pub(super) fn towers(file: &TensorFile, is_xl: bool) -> Vec<Tower> {
    let found = TOWERS.iter().filter(|(_, prefix, shown_by)| file.get(&format!("{prefix}{shown_by}")).is_some());
    let towers = found.map(|&(spelling, prefix, _)| Tower { spelling, prefix });
    if is_xl {
        // What an XL file has of another family's is left over from a merge.
        return towers.filter(|tower| tower.prefix.starts_with("conditioner.")).collect();
    }
    towers.take(1).collect()
}

impl SingleFile {
    /// CLIP's tokenizer, padding as the text encoder at `index` was trained.
    pub fn tokenizer(&self, index: usize) -> Result<Tokenizer, CheckpointError> {
        let special = match self.towers[index].spelling {
            Spelling::Clip => SpecialTokens::default(),
            // OpenCLIP pads with id 0.
            Spelling::OpenClip => SpecialTokens::padding_with("!"),
        };
        clip_vocabulary::tokenizer(self.positions(self.towers[index])?, &special)
            .map_err(|source| CheckpointError::Tokenizer { source, path: self.file.path().clone() })
    }

    /// What the `config.json` of the text encoder at `index` would say.
    pub fn text_encoder<T: DeserializeOwned>(&self, index: usize) -> Result<T, CheckpointError> {
        let tower = self.towers[index];
        let (table, layer, inner, act) = match tower.spelling {
            Spelling::Clip => ("embeddings.token_embedding.weight", "encoder.layers", "mlp.fc1.weight", "quick_gelu"),
            Spelling::OpenClip => ("token_embedding.weight", "transformer.resblocks", "mlp.c_fc.weight", "gelu"),
        };
        let prefix = tower.prefix;
        let width = self.dim(&format!("{prefix}{table}"), 1)?;
        let present = self.count(|index| format!("{prefix}{layer}.{index}.{inner}"));
        let layers = match tower.spelling {
            Spelling::OpenClip if self.is_xl() => present,
            // Stable Diffusion 2's context is the layer before the last. The tower has 24; who left the unused one out
            // has 23.
            Spelling::OpenClip if present != 23 => present.saturating_sub(1),
            _ => present,
        };
        let mut config = json!({
            "vocab_size": self.dim(&format!("{prefix}{table}"), 0)?,
            "hidden_size": width,
            "intermediate_size": self.dim(&format!("{prefix}{layer}.0.{inner}"), 0)?,
            "num_hidden_layers": layers,
            // 64 wide, in CLIP ViT-L as in OpenCLIP ViT-H and bigG.
            "num_attention_heads": (width / 64).max(1),
            "max_position_embeddings": self.positions(tower)?,
            "hidden_act": act,
        });
        if self.is_xl() && tower.spelling == Spelling::OpenClip {
            config["architectures"] = json!(["CLIPTextModelWithProjection"]);
            config["projection_dim"] = self.pooled_width()?.into();
        }
        self.config(config)
    }

    /// Width of the pooled text that Stable Diffusion XL's last text encoder gives.
    pub(super) fn pooled_width(&self) -> Result<usize, CheckpointError> {
        let prefix = self.towers.last().map_or("", |tower| tower.prefix);
        self.dim(&format!("{prefix}text_projection"), 1)
    }

    /// Tokens of one chunk.
    fn positions(&self, tower: Tower) -> Result<usize, CheckpointError> {
        /// CLIP has 77; its mask has the square of this many numbers.
        const MOST_POSITIONS: usize = 1024;
        let table = match tower.spelling {
            Spelling::Clip => "embeddings.position_embedding.weight",
            Spelling::OpenClip => "positional_embedding",
        };
        let positions = self.dim(&format!("{}{table}", tower.prefix), 0)?;
        if (3..=MOST_POSITIONS).contains(&positions) {
            return Ok(positions);
        }
        Err(self.damaged("its text encoder has a number of positions that no text encoder has"))
    }
}
