//! A checkpoint in one file under its original names: what family it is of and how it is built, read from names and
//! shapes. What shapes do not tell is the family's: heads, activation, noise, scale of the latents.

mod sidecar;
mod text;
mod unet;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::CheckpointError;
use super::files::ModelFiles;
use super::foreign;
use super::meter::Meter;
use super::original_names::{OriginalNames, Spelling, Tower, VAE_PREFIX};
use super::taesd::Taesd;
use super::tensor_file::TensorFile;
use super::unet_blocks::{UNET_PREFIX, UNetBlocks};
use super::weights::Weights;
use crate::diffusion::text_encoder::HiddenStates;

/// TAESD's bare numbers for names say nothing by themselves.
const TAESD: &str = "a TAESD, which the settings take for previews, not a model";

/// An open checkpoint that is Stable Diffusion 1, 2 or XL.
pub(super) struct SingleFile {
    file: TensorFile,
    blocks: UNetBlocks,
    /// At least one.
    towers: Vec<Tower>,
}

/// One part of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// By its place.
    TextEncoder(usize),
    UNet,
    Vae,
}

fn is_taesd(file: &TensorFile) -> bool {
    Taesd::find(&|name| file.get(name).map(|tensor| tensor.shape.as_slice())).is_some()
}

impl SingleFile {
    /// # Errors
    /// When the file is damaged, is something else, or lacks a part.
    pub fn open(files: &ModelFiles) -> Result<Self, CheckpointError> {
        let file = TensorFile::open(files, "")?;
        let path = || file.path().clone();
        let foreign = |what: &'static str| CheckpointError::Foreign { what, path: path() };
        let names: Vec<&str> = file.tensors().map(|(name, _)| name.as_str()).collect();
        if let Some(what) = foreign::relative(&names) {
            return Err(foreign(what));
        }
        if !names.iter().any(|name| name.starts_with(UNET_PREFIX)) {
            let part = foreign::part(&names).or_else(|| is_taesd(&file).then_some(TAESD));
            let what = part.unwrap_or("a file of tensors without a U-Net (model.diffusion_model)");
            return Err(foreign(what));
        }
        let input = file.get(&format!("{UNET_PREFIX}input_blocks.0.0.weight"));
        let channels = input.and_then(|input| input.shape.get(1).copied());
        if let Some(what) = channels.and_then(foreign::by_input_channels) {
            return Err(foreign(what));
        }
        let label = file.get(&format!("{UNET_PREFIX}label_emb.0.0.weight"));
        let towers = text::towers(&file, label.is_some());
        let Some(last) = towers.last() else {
            if let Some(what) = label.and_then(|l| foreign::by_label_width(l.shape.last().copied().unwrap_or(0))) {
                return Err(foreign(what));
            }
            let part = match label {
                Some(_) => "text encoders (conditioner.embedders)",
                None => "text encoder (cond_stage_model)",
            };
            return Err(CheckpointError::MissingPart { part, path: path() });
        };
        if label.is_some() && last.spelling != Spelling::OpenClip {
            let part = "second text encoder (conditioner.embedders.1.model)";
            return Err(CheckpointError::MissingPart { part, path: path() });
        }
        if file.get(&format!("{VAE_PREFIX}decoder.conv_in.weight")).is_none() {
            return Err(CheckpointError::MissingPart { part: "VAE (first_stage_model)", path: path() });
        }
        let blocks = UNetBlocks::read(names.iter().copied());
        Ok(Self { file, blocks, towers })
    }

    /// The weights of one part, to be asked for by diffusers' names.
    pub fn into_weights(self, part: Part, meter: Arc<Meter>) -> Result<Weights, CheckpointError> {
        let names = match part {
            Part::TextEncoder(index) => OriginalNames::Text(self.towers[index]),
            Part::UNet => OriginalNames::UNet(self.blocks),
            Part::Vae => OriginalNames::Vae { levels: self.vae_levels()? },
        };
        Ok(Weights::in_single_file(self.file, names, meter))
    }

    /// How many text encoders there are.
    pub fn text_encoders(&self) -> usize {
        self.towers.len()
    }

    /// Which hidden states the family is trained on.
    pub fn hidden_states(&self) -> HiddenStates {
        if self.is_xl() { HiddenStates::LayerBeforeLast } else { HiddenStates::Last }
    }

    /// True where an empty negative prompt is all zeros: Stable Diffusion XL, and not its refiner.
    pub fn zeroes_empty_negative(&self) -> bool {
        self.is_xl() && self.towers.len() > 1
    }

    /// Stable Diffusion XL or its refiner: what only they are told has a place in the U-Net.
    fn is_xl(&self) -> bool {
        self.file.get(&format!("{UNET_PREFIX}label_emb.0.0.weight")).is_some()
    }

    /// Stable Diffusion 2.
    fn is_second(&self) -> bool {
        !self.is_xl() && self.towers[0].spelling == Spelling::OpenClip
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
            "scaling_factor": if self.is_xl() { 0.13025 } else { 0.18215 },
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

    /// Whether the U-Net predicts v: by a tensor that only says so, by the metadata, by the yaml file beside it, or
    /// by what only Stable Diffusion 2's v model has: a wide spread in the last block's norm (ComfyUI's test and bound).
    fn is_v_prediction(&self) -> Result<bool, CheckpointError> {
        const LEAST_SPREAD: f64 = 0.09;
        if self.file.get("v_pred").is_some() {
            return Ok(true);
        }
        if let Some(said) = self.file.metadata("modelspec.prediction_type") {
            return Ok(said.starts_with('v'));
        }
        if let Some(said) = sidecar::is_v_prediction(self.file.path())? {
            return Ok(said);
        }
        let last = self.blocks.up.last().and_then(|level| level.blocks.last());
        let (true, Some(last)) = (self.is_second(), last) else { return Ok(false) };
        // Its inpainting model predicts the noise.
        if self.dim(&format!("{UNET_PREFIX}input_blocks.0.0.weight"), 1)? != 4 {
            return Ok(false);
        }
        let name = format!("{UNET_PREFIX}output_blocks.{last}.1.transformer_blocks.0.norm1.bias");
        let Some(bias) = self.file.get(&name) else { return Ok(false) };
        let values = self.file.read_f32(&name, bias)?;
        let count = values.len().max(1) as f64;
        let centre = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = values.iter().map(|&v| (f64::from(v) - centre).powi(2)).sum::<f64>() / count;
        Ok(variance.sqrt() > LEAST_SPREAD)
    }

    fn vae_levels(&self) -> Result<usize, CheckpointError> {
        match self.count(|level| format!("{VAE_PREFIX}encoder.down.{level}.block.0.conv1.weight")) {
            0 => Err(self.damaged("its VAE has no encoder under the original names")),
            levels => Ok(levels),
        }
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
