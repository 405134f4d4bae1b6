//! A checkpoint in one file under its original names: what family it is of and how it is built, read from names and
//! shapes. What shapes do not tell is the family's: heads, activation, noise, scale of the latents.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::files::ModelFiles;
use super::foreign;
use super::meter::Meter;
use super::original_names::{OriginalNames, Spelling, Tower, VAE_PREFIX};
use super::safetensors_file::SafetensorsFile;
use super::unet_blocks::{BlockLevel, UNET_PREFIX, UNetBlocks};
use super::weights::Weights;
use super::{CheckpointError, clip_vocabulary};
use crate::prompt::{SpecialTokens, Tokenizer, TokenizerError};

/// Where a text encoder can be, with the tensor that shows it. Old merges lack `text_model`; the third is where
/// generative-models put it (SD-Turbo).
const TOWERS: [(Spelling, &str, &str); 4] = [
    (Spelling::Clip, "cond_stage_model.transformer.text_model.", "embeddings.token_embedding.weight"),
    (Spelling::Clip, "cond_stage_model.transformer.", "embeddings.token_embedding.weight"),
    (Spelling::OpenClip, "cond_stage_model.model.", "token_embedding.weight"),
    (Spelling::OpenClip, "conditioner.embedders.0.model.", "token_embedding.weight"),
];

/// An open checkpoint that is Stable Diffusion 1 or 2.
pub(super) struct SingleFile {
    file: SafetensorsFile,
    blocks: UNetBlocks,
    tower: Tower,
}

/// One part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    TextEncoder,
    UNet,
    Vae,
}

impl SingleFile {
    /// # Errors
    /// When the file is damaged, is something else, or lacks a part.
    pub fn open(files: &ModelFiles) -> Result<Self, CheckpointError> {
        check_first_bytes(files)?;
        let file = SafetensorsFile::open(files, "")?;
        let path = || file.path().clone();
        let foreign = |what: &'static str| CheckpointError::Foreign { what, path: path() };
        let names: Vec<&str> = file.tensors().map(|(name, _)| name.as_str()).collect();
        if let Some(what) = foreign::relative(&names) {
            return Err(foreign(what));
        }
        if !names.iter().any(|name| name.starts_with(UNET_PREFIX)) {
            let what = foreign::part(&names).unwrap_or("a file of tensors without a U-Net (model.diffusion_model)");
            return Err(foreign(what));
        }
        if let Some(label) = file.get(&format!("{UNET_PREFIX}label_emb.0.0.weight")) {
            return Err(foreign(foreign::by_label_width(label.shape.last().copied().unwrap_or(0))));
        }
        let input = file.get(&format!("{UNET_PREFIX}input_blocks.0.0.weight"));
        let channels = input.and_then(|input| input.shape.get(1).copied());
        if let Some(what) = channels.and_then(foreign::by_input_channels) {
            return Err(foreign(what));
        }
        let tower = TOWERS.iter().find(|(_, prefix, shown_by)| file.get(&format!("{prefix}{shown_by}")).is_some());
        let Some(&(spelling, prefix, _)) = tower else {
            return Err(CheckpointError::MissingPart { part: "text encoder (cond_stage_model)", path: path() });
        };
        if file.get(&format!("{VAE_PREFIX}decoder.conv_in.weight")).is_none() {
            return Err(CheckpointError::MissingPart { part: "VAE (first_stage_model)", path: path() });
        }
        let blocks = UNetBlocks::read(names.iter().copied());
        Ok(Self { file, blocks, tower: Tower { spelling, prefix } })
    }

    /// The weights of one part, to be asked for by diffusers' names.
    pub fn into_weights(self, part: Part, meter: Arc<Meter>) -> Result<Weights, CheckpointError> {
        let names = match part {
            Part::TextEncoder => OriginalNames::Text(self.tower),
            Part::UNet => OriginalNames::UNet(self.blocks),
            Part::Vae => OriginalNames::Vae { levels: self.vae_levels()? },
        };
        Ok(Weights::in_single_file(self.file, names, meter))
    }

    /// CLIP's tokenizer, padding as the family does.
    pub fn tokenizer(&self) -> Result<Tokenizer, CheckpointError> {
        let special = match self.tower.spelling {
            Spelling::Clip => SpecialTokens::default(),
            // OpenCLIP pads with id 0.
            Spelling::OpenClip => SpecialTokens::padding_with("!"),
        };
        let length = self.positions()?;
        clip_vocabulary::tokenizer(length, &special)
            .map_err(|source: TokenizerError| CheckpointError::Tokenizer { source, path: self.file.path().clone() })
    }

    /// What `text_encoder/config.json` would say.
    pub fn text_encoder<T: DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        let (table, layer, inner, act) = match self.tower.spelling {
            Spelling::Clip => ("embeddings.token_embedding.weight", "encoder.layers", "mlp.fc1.weight", "quick_gelu"),
            Spelling::OpenClip => ("token_embedding.weight", "transformer.resblocks", "mlp.c_fc.weight", "gelu"),
        };
        let prefix = self.tower.prefix;
        let width = self.dim(&format!("{prefix}{table}"), 1)?;
        let present = self.count(|index| format!("{prefix}{layer}.{index}.{inner}"));
        let layers = match self.tower.spelling {
            Spelling::Clip => present,
            // The context is the layer before the last. The tower has 24; who left the unused one out has 23.
            Spelling::OpenClip if present == 23 => present,
            Spelling::OpenClip => present.saturating_sub(1),
        };
        self.config(json!({
            "vocab_size": self.dim(&format!("{prefix}{table}"), 0)?,
            "hidden_size": width,
            "intermediate_size": self.dim(&format!("{prefix}{layer}.0.{inner}"), 0)?,
            "num_hidden_layers": layers,
            // 64 wide, in CLIP ViT-L as in OpenCLIP ViT-H.
            "num_attention_heads": (width / 64).max(1),
            "max_position_embeddings": self.positions()?,
            "hidden_act": act,
        }))
    }

    /// What `unet/config.json` would say.
    pub fn unet<T: DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        let UNetBlocks { down, up } = &self.blocks;
        let fits = |(down, up): (&BlockLevel, &BlockLevel)| up.blocks.len() == down.blocks.len() + 1;
        if down.is_empty() || down.len() != up.len() || !down.iter().zip(up.iter().rev()).all(fits) {
            return Err(self.damaged("the blocks of its U-Net are not those of Stable Diffusion"));
        }
        let down_depths = down.iter().map(|l| self.depth("input_blocks", l)).collect::<Result<Vec<_>, _>>()?;
        let up_depths = up.iter().map(|l| self.depth("output_blocks", l)).collect::<Result<Vec<_>, _>>()?;
        let uneven = |(down, up): (&usize, &usize)| *down != 0 && *up != 0 && down != up;
        if down_depths.iter().zip(up_depths.iter().rev()).any(uneven) {
            return Err(self.damaged("its U-Net has other transformers on the way up than down"));
        }
        let first = |level: &BlockLevel| format!("{UNET_PREFIX}input_blocks.{}", level.blocks[0]);
        let widths = down
            .iter()
            .map(|level| self.dim(&format!("{}.0.out_layers.3.weight", first(level)), 0))
            .collect::<Result<Vec<_>, _>>()?;
        let middle = format!("{UNET_PREFIX}middle_block.1");
        let context = self.dim(&format!("{middle}.transformer_blocks.0.attn2.to_k.weight"), 1)?;
        let is_linear = self.shape(&format!("{middle}.proj_in.weight"))?.len() == 2;
        // Stable Diffusion 1 has 8 heads everywhere, 2 has heads that are 64 wide.
        let eight = context == 768 || !is_linear;
        let heads: Vec<usize> = widths.iter().map(|width| if eight { 8 } else { (width / 64).max(1) }).collect();
        let types = |depths: &[usize], way: &str| -> Vec<String> {
            let name = |depth: &usize| format!("{}{way}Block2D", if *depth > 0 { "CrossAttn" } else { "" });
            depths.iter().map(name).collect()
        };
        self.config(json!({
            // Stable Diffusion 2's v model was trained at 768 pixels, all others at 512.
            "sample_size": if self.tower.spelling == Spelling::OpenClip && self.is_v_prediction()? { 96 } else { 64 },
            "in_channels": self.dim(&format!("{UNET_PREFIX}input_blocks.0.0.weight"), 1)?,
            "out_channels": self.dim(&format!("{UNET_PREFIX}out.2.weight"), 0)?,
            "block_out_channels": widths,
            "down_block_types": types(&down_depths, "Down"),
            "up_block_types": types(&up_depths, "Up"),
            "layers_per_block": down.iter().map(|level| level.blocks.len()).collect::<Vec<_>>(),
            "cross_attention_dim": context,
            "attention_head_dim": heads,
            "transformer_layers_per_block": self.depths(&down_depths, &up_depths),
            "use_linear_projection": is_linear,
        }))
    }

    /// What `vae/config.json` would say.
    pub fn vae<T: DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        let has = |name: &str| self.file.get(&format!("{VAE_PREFIX}{name}")).is_some();
        let widths = (0..self.vae_levels()?)
            .map(|level| self.dim(&format!("{VAE_PREFIX}encoder.down.{level}.block.0.conv1.weight"), 0))
            .collect::<Result<Vec<_>, _>>()?;
        self.config(json!({
            "block_out_channels": widths,
            "layers_per_block": self.count(|i| format!("{VAE_PREFIX}encoder.down.0.block.{i}.conv1.weight")),
            "latent_channels": self.dim(&format!("{VAE_PREFIX}decoder.conv_in.weight"), 1)?,
            "mid_block_add_attention": has("decoder.mid.attn_1.norm.weight"),
            "use_quant_conv": has("quant_conv.weight"),
            "use_post_quant_conv": has("post_quant_conv.weight"),
            "scaling_factor": 0.18215,
        }))
    }

    /// What `scheduler/scheduler_config.json` would say: as that of Stable Diffusion 1.5, which names no spacing.
    pub fn scheduler<T: DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        self.config(json!({
            "num_train_timesteps": 1000,
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "prediction_type": if self.is_v_prediction()? { "v_prediction" } else { "epsilon" },
            "set_alpha_to_one": false,
            "steps_offset": 1,
            // A tensor that only says so, written by trainers.
            "rescale_betas_zero_snr": self.file.get("ztsnr").is_some(),
        }))
    }

    /// Whether the U-Net predicts v: by a tensor that only says so, by the metadata, or by what only Stable Diffusion
    /// 2's v model has: a wide spread in the last block's norm (ComfyUI's test and bound).
    fn is_v_prediction(&self) -> Result<bool, CheckpointError> {
        const LEAST_SPREAD: f64 = 0.09;
        if self.file.get("v_pred").is_some() {
            return Ok(true);
        }
        if let Some(said) = self.file.metadata("modelspec.prediction_type") {
            return Ok(said.starts_with('v'));
        }
        let last = self.blocks.up.last().and_then(|level| level.blocks.last());
        let (Spelling::OpenClip, Some(last)) = (self.tower.spelling, last) else { return Ok(false) };
        let name = format!("{UNET_PREFIX}output_blocks.{last}.1.transformer_blocks.0.norm1.bias");
        let Some(bias) = self.file.get(&name) else { return Ok(false) };
        let values = self.file.read_f32(&name, bias)?;
        let count = values.len().max(1) as f64;
        let centre = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = values.iter().map(|&v| (f64::from(v) - centre).powi(2)).sum::<f64>() / count;
        Ok(variance.sqrt() > LEAST_SPREAD)
    }

    /// Transformer blocks in each block of a level; 0 where it does not attend.
    fn depth(&self, row: &str, level: &BlockLevel) -> Result<usize, CheckpointError> {
        let one = |block: &usize| {
            self.count(|i| format!("{UNET_PREFIX}{row}.{block}.1.transformer_blocks.{i}.attn1.to_q.weight"))
        };
        let depths: Vec<usize> = level.blocks.iter().map(one).collect();
        match depths.as_slice() {
            [first, rest @ ..] if rest.iter().all(|depth| depth == first) => Ok(*first),
            _ => Err(self.damaged("its U-Net has other transformers in one block than in the next of the same level")),
        }
    }

    /// One depth a level, for both ways; the last is the middle's, which always attends.
    fn depths(&self, down: &[usize], up: &[usize]) -> Vec<usize> {
        let middle = self.count(|i| format!("{UNET_PREFIX}middle_block.1.transformer_blocks.{i}.attn1.to_q.weight"));
        let both = down.iter().zip(up.iter().rev()).map(|(down, up)| *down.max(up));
        let mut depths: Vec<usize> = both.map(|depth| depth.max(1)).collect();
        if let Some(last) = depths.last_mut().filter(|_| down.last() == Some(&0)) {
            *last = middle;
        }
        depths
    }

    fn vae_levels(&self) -> Result<usize, CheckpointError> {
        match self.count(|level| format!("{VAE_PREFIX}encoder.down.{level}.block.0.conv1.weight")) {
            0 => Err(self.damaged("its VAE has no encoder under the original names")),
            levels => Ok(levels),
        }
    }

    /// Tokens of one chunk.
    fn positions(&self) -> Result<usize, CheckpointError> {
        /// CLIP has 77; its mask has the square of this many numbers.
        const MOST_POSITIONS: usize = 1024;
        let table = match self.tower.spelling {
            Spelling::Clip => "embeddings.position_embedding.weight",
            Spelling::OpenClip => "positional_embedding",
        };
        let positions = self.dim(&format!("{}{table}", self.tower.prefix), 0)?;
        if (3..=MOST_POSITIONS).contains(&positions) {
            return Ok(positions);
        }
        Err(self.damaged("its text encoder has a number of positions that no text encoder has"))
    }

    /// How many tensors there are, counted from 0 until one is missing.
    fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..self.file.tensors().count()).take_while(|&index| self.file.get(&name(index)).is_some()).count()
    }

    fn shape(&self, name: &str) -> Result<&[usize], CheckpointError> {
        let tensor = self.file.get(name).ok_or_else(|| self.damaged(&format!("tensor \"{name}\" is missing")))?;
        Ok(&tensor.shape)
    }

    fn dim(&self, name: &str, axis: usize) -> Result<usize, CheckpointError> {
        /// More than any model has; a tensor without bytes may claim it.
        const MOST: usize = 1 << 20;
        let shape = self.shape(name)?;
        let side = shape.get(axis).copied().filter(|side| (1..=MOST).contains(side));
        side.ok_or_else(|| self.damaged(&format!("tensor \"{name}\" has shape {shape:?}")))
    }

    fn damaged(&self, problem: &str) -> CheckpointError {
        CheckpointError::Damaged { problem: problem.to_owned(), path: self.file.path().clone() }
    }

    fn config<T: DeserializeOwned>(&self, value: Value) -> Result<T, CheckpointError> {
        serde_json::from_value(value).map_err(|e| self.damaged(&e.to_string()))
    }
}

/// Refuses what is no safetensors file by what it is.
fn check_first_bytes(files: &ModelFiles) -> Result<(), CheckpointError> {
    match foreign::by_content(files)? {
        Some(what) => Err(CheckpointError::Foreign { what, path: files.path("") }),
        None => Ok(()),
    }
}
