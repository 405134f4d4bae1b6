//! The U-Net of a file: where it is, and its levels, depths and widths, as its names and shapes show them.

use serde_json::{Value, json};

use super::part::{FilePart, norm_groups};
use super::sidecar;
use crate::checkpoint::original_names::Spelling;
use crate::checkpoint::taesd::Taesd;
use crate::checkpoint::tensor_file::TensorFile;
use crate::checkpoint::unet_blocks::UNetBlocks;
use crate::checkpoint::{CheckpointError, foreign};
use crate::diffusion::noise_schedule::SchedulerConfig;
use crate::diffusion::unet::UNetConfig;
use crate::request::PredictionOverride;

/// What can stand before its names.
const PREFIXES: [&str; 3] = ["model.diffusion_model.", "diffusion_model.", ""];
/// Sinusoids of one of the numbers that Stable Diffusion XL is told.
const NUMBER_WIDTH: usize = 256;
/// Has a place only in a U-Net that is told more than the text.
const LABEL: &str = "add_embedding.linear_1.weight";

/// The families that shapes alone do not tell everything of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::checkpoint) enum Family {
    First,
    Second,
    /// XL and its refiner.
    Xl,
}

/// A U-Net in a file.
pub(in crate::checkpoint) struct FileUNet<'a> {
    pub part: FilePart<'a>,
    pub family: Family,
    /// Resnets of each level, from the finest in.
    down: Vec<usize>,
    /// From the deepest out.
    up: Vec<usize>,
    is_v: bool,
}

/// The part of the file that is a U-Net.
fn find(file: &TensorFile) -> Option<FilePart<'_>> {
    let has = |name: String| file.get(&name).is_some();
    PREFIXES.iter().find_map(|prefix| {
        let originals = ["input_blocks.0.0.weight", "time_embed.0.weight", "out.2.weight"];
        if originals.iter().any(|name| has(format!("{prefix}{name}"))) {
            let names = file.tensors().map(|(name, _)| name.as_str());
            return Some(FilePart::new(file, prefix, Spelling::UNet(UNetBlocks::read(names, prefix))));
        }
        let theirs = ["conv_in.weight", "time_embedding.linear_1.weight"];
        let is_diffusers = theirs.iter().all(|name| has(format!("{prefix}{name}")));
        is_diffusers.then(|| FilePart::new(file, prefix, Spelling::AsAsked))
    })
}

impl<'a> FileUNet<'a> {
    /// The U-Net of a file, which `prediction` says the prediction of where its user knows better.
    ///
    /// # Errors
    /// When there is none, it is for something else than pictures, or damaged.
    pub fn find(file: &'a TensorFile, prediction: Option<PredictionOverride>) -> Result<Self, CheckpointError> {
        let foreign = |what: &'static str| CheckpointError::Foreign { what, path: file.path().clone() };
        let Some(part) = find(file) else {
            let names: Vec<&str> = file.tensors().map(|(name, _)| name.as_str()).collect();
            let part = foreign::part(&names).or_else(|| Taesd::name_in(file));
            let what = part.unwrap_or("a file of tensors without a U-Net (model.diffusion_model)");
            return Err(foreign(what));
        };
        let side = |name: &str, axis| part.get(name).and_then(|(_, tensor, _)| tensor.shape.get(axis).copied());
        let unlike = side("conv_in.weight", 1).and_then(foreign::by_input_channels);
        if let Some(what) = unlike.or_else(|| side(LABEL, 1).and_then(foreign::by_label_width)) {
            return Err(foreign(what));
        }
        let levels = |row: &str| -> Vec<usize> {
            let resnets = |level| part.count(|index| format!("{row}.{level}.resnets.{index}.conv1.weight"));
            (0..file.tensors().count()).map(resnets).take_while(|count| *count > 0).collect()
        };
        let (down, up) = (levels("down_blocks"), levels("up_blocks"));
        let fits = |(down, up): (&usize, &usize)| *up == down + 1;
        if down.is_empty() || down.len() != up.len() || !down.iter().zip(up.iter().rev()).all(fits) {
            return Err(part.damaged("the blocks of its U-Net are not those of Stable Diffusion"));
        }
        let mut unet = Self { part, family: Family::Xl, down, up, is_v: false };
        if !unet.part.has(LABEL) {
            unet.family = if unet.has_eight_heads()? { Family::First } else { Family::Second };
        }
        unet.is_v = match prediction {
            Some(said) => said == PredictionOverride::V,
            None => unet.shows_v()?,
        };
        Ok(unet)
    }

    /// Width of the texts that it wants.
    pub fn context(&self) -> Result<usize, CheckpointError> {
        self.part.dim(&format!("{}.transformer_blocks.0.attn2.to_k.weight", self.attending_block()?), 1)
    }

    /// The scale of its latents.
    pub fn scaling_factor(&self) -> f64 {
        if self.family == Family::Xl { 0.13025 } else { 0.18215 }
    }

    /// Stable Diffusion 1 has 8 heads everywhere, 2 and XL have heads that are 64 wide. Their linear projections are
    /// met with the shape of convolutions too.
    fn has_eight_heads(&self) -> Result<bool, CheckpointError> {
        const SECOND: usize = 1024;
        let context = self.context()?;
        Ok(!self.part.has(LABEL) && (context == 768 || context != SECOND && !self.is_linear()?))
    }

    fn is_linear(&self) -> Result<bool, CheckpointError> {
        Ok(self.part.shape(&format!("{}.proj_in.weight", self.attending_block()?))?.len() == 2)
    }

    /// What `unet/config.json` would say.
    pub fn config(&self) -> Result<UNetConfig, CheckpointError> {
        let part = &self.part;
        let down_depths = self.depths("down_blocks", &self.down)?;
        let up_depths = self.depths("up_blocks", &self.up)?;
        let widths = (0..self.down.len())
            .map(|level| part.dim(&format!("down_blocks.{level}.resnets.0.conv2.weight"), 0))
            .collect::<Result<Vec<_>, _>>()?;
        let eight = self.has_eight_heads()?;
        let heads: Vec<usize> = widths.iter().map(|width| if eight { 8 } else { (width / 64).max(1) }).collect();
        let types = |depths: &[Vec<usize>], way: &str| -> Vec<String> {
            let name = |depths: &Vec<usize>| format!("{}{way}Block2D", if depths[0] > 0 { "CrossAttn" } else { "" });
            depths.iter().map(name).collect()
        };
        let mut config = json!({
            "sample_size": self.sample_size(),
            "in_channels": part.dim("conv_in.weight", 1)?,
            "out_channels": part.dim("conv_out.weight", 0)?,
            "norm_num_groups": norm_groups(&widths),
            "block_out_channels": widths,
            "down_block_types": types(&down_depths, "Down"),
            "up_block_types": types(&up_depths, "Up"),
            "mid_block_type": self.mid_block_type(),
            "layers_per_block": self.down,
            "cross_attention_dim": self.context()?,
            "attention_head_dim": heads,
            "transformer_layers_per_block": self.down_layers(&down_depths)?,
            "reverse_transformer_layers_per_block": up_depths.iter().map(|depths| listed(depths)).collect::<Vec<_>>(),
            "use_linear_projection": self.is_linear()?,
        });
        if self.family == Family::Xl {
            config["addition_embed_type"] = "text_time".into();
            config["addition_time_embed_dim"] = NUMBER_WIDTH.into();
            config["projection_class_embeddings_input_dim"] = part.dim(LABEL, 1)?.into();
        }
        part.config(config)
    }

    /// What `scheduler/scheduler_config.json` would say: as that of Stable Diffusion 1.5, which names no spacing.
    pub fn scheduler(&self) -> Result<SchedulerConfig, CheckpointError> {
        self.part.config(json!({
            "num_train_timesteps": 1000,
            "beta_schedule": "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "prediction_type": if self.is_v { "v_prediction" } else { "epsilon" },
            "set_alpha_to_one": false,
            "steps_offset": 1,
            // A tensor that only says so, written by trainers.
            "rescale_betas_zero_snr": self.part.file.get("ztsnr").is_some(),
        }))
    }

    /// Whether the U-Net predicts v: by a tensor that only says so, by the metadata, by the yaml file beside it, or
    /// by what only Stable Diffusion 2's v model has: a wide spread in the last block's norm (ComfyUI's test and bound).
    fn shows_v(&self) -> Result<bool, CheckpointError> {
        const LEAST_SPREAD: f64 = 0.09;
        let file = self.part.file;
        if file.get("v_pred").is_some() {
            return Ok(true);
        }
        if let Some(said) = file.metadata("modelspec.prediction_type") {
            return Ok(said.starts_with('v'));
        }
        if let Some(said) = sidecar::is_v_prediction(file.path())? {
            return Ok(said);
        }
        // Its inpainting model predicts the noise.
        if self.family != Family::Second || self.part.dim("conv_in.weight", 1)? != 4 {
            return Ok(false);
        }
        let (level, block) = (self.up.len() - 1, self.up[self.up.len() - 1] - 1);
        let name = format!("up_blocks.{level}.attentions.{block}.transformer_blocks.0.norm1.bias");
        let Some((name, bias, _)) = self.part.get(&name) else { return Ok(false) };
        let values = file.read_f32(&name, bias)?;
        let count = values.len().max(1) as f64;
        let centre = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = values.iter().map(|&v| (f64::from(v) - centre).powi(2)).sum::<f64>() / count;
        Ok(variance.sqrt() > LEAST_SPREAD)
    }

    /// Side of the latents that the model was trained on.
    fn sample_size(&self) -> usize {
        match self.family {
            Family::Xl => 128,
            // Stable Diffusion 2's v model was trained at 768 pixels, all others at 512.
            Family::Second if self.is_v => 96,
            Family::First | Family::Second => 64,
        }
    }

    /// Transformer layers in each block of each level: all blocks of a level or none.
    fn depths(&self, row: &str, levels: &[usize]) -> Result<Vec<Vec<usize>>, CheckpointError> {
        let one = |level: usize, block: usize| {
            self.part.count(|i| format!("{row}.{level}.attentions.{block}.transformer_blocks.{i}.attn1.to_q.weight"))
        };
        let of_level = |(level, &blocks): (usize, &usize)| {
            let depths: Vec<usize> = (0..blocks).map(|block| one(level, block)).collect();
            if depths.contains(&0) && depths.iter().any(|depth| *depth > 0) {
                let problem = "its U-Net attends in one block and not in the next of the same level";
                return Err(self.part.damaged(problem));
            }
            Ok(depths)
        };
        levels.iter().enumerate().map(of_level).collect()
    }

    /// A block that attends.
    fn attending_block(&self) -> Result<String, CheckpointError> {
        let down = (0..self.down.len()).map(|level| format!("down_blocks.{level}.attentions.0"));
        let mut blocks = std::iter::once("mid_block.attentions.0".to_owned()).chain(down);
        let attends = |block: &String| self.part.has(&format!("{block}.transformer_blocks.0.attn1.to_q.weight"));
        blocks.find(attends).ok_or_else(|| self.part.damaged("its U-Net has no attention"))
    }

    fn middle_layers(&self) -> usize {
        self.part.count(|i| format!("mid_block.attentions.0.transformer_blocks.{i}.attn1.to_q.weight"))
    }

    fn mid_block_type(&self) -> Option<&'static str> {
        if self.middle_layers() > 0 {
            return Some("UNetMidBlock2DCrossAttn");
        }
        self.part.has("mid_block.resnets.0.conv1.weight").then_some("UNetMidBlock2D")
    }

    /// `transformer_layers_per_block`, whose last number is the middle's too.
    fn down_layers(&self, down: &[Vec<usize>]) -> Result<Vec<Value>, CheckpointError> {
        let mut layers: Vec<Value> = down.iter().map(|depths| listed(depths)).collect();
        let middle = self.middle_layers();
        if let (Some(last), Some(depths)) = (layers.last_mut(), down.last())
            && middle > 0
        {
            if depths[0] == 0 {
                *last = middle.into();
            } else if depths[0] != middle {
                return Err(self.part.damaged("its U-Net has other transformers in the middle than before it"));
            }
        }
        Ok(layers)
    }
}

/// One number where all blocks have it, at least 1: what does not attend says so by its type.
fn listed(depths: &[usize]) -> Value {
    match depths {
        [first, rest @ ..] if rest.iter().all(|depth| depth == first) => (*first).max(1).into(),
        _ => depths.into(),
    }
}
