//! The VAE of a file: where it is, and how it is built as its names and shapes show it.

use serde_json::json;

use super::part::{FilePart, norm_groups};
use crate::checkpoint::CheckpointError;
use crate::checkpoint::original_names::Spelling;
use crate::checkpoint::tensor_file::TensorFile;
use crate::diffusion::vae::VaeConfig;

/// What can stand before its names.
const PREFIXES: [&str; 4] = ["first_stage_model.", "vae.", "model.vae.", ""];

/// The VAE in a file, if there is one or half of one.
pub(in crate::checkpoint) fn find(file: &TensorFile) -> Option<FilePart<'_>> {
    let begins = |start: &str| file.tensors().any(|(name, _)| name.starts_with(start));
    PREFIXES.iter().find_map(|prefix| {
        if begins(&format!("{prefix}decoder.up.")) || begins(&format!("{prefix}encoder.down.")) {
            let levels =
                (0..file.tensors().count()).take_while(|level| begins(&format!("{prefix}decoder.up.{level}."))).count();
            return Some(FilePart::new(file, prefix, Spelling::Vae { levels }));
        }
        let is_diffusers = ["decoder.up_blocks.", "encoder.down_blocks."];
        let is_diffusers = is_diffusers.iter().any(|start| begins(&format!("{prefix}{start}")));
        is_diffusers.then(|| FilePart::new(file, prefix, Spelling::AsAsked))
    })
}

/// What `vae/config.json` would say, but for the scale of the latents, which no shape tells.
///
/// # Errors
/// When it is half a VAE, one of another family, or damaged.
pub(in crate::checkpoint) fn config(vae: &FilePart, scaling_factor: f64) -> Result<VaeConfig, CheckpointError> {
    for half in ["encoder", "decoder"] {
        if !vae.has(&format!("{half}.conv_in.weight")) {
            return Err(CheckpointError::HalfVae { half, path: vae.file.path().clone() });
        }
    }
    let latent_channels = vae.dim("decoder.conv_in.weight", 1)?;
    if latent_channels == 16 {
        let what = "a VAE of Stable Diffusion 3 or Flux (16 latent channels)";
        return Err(CheckpointError::Foreign { what, path: vae.file.path().clone() });
    }
    let first = |level: usize| format!("encoder.down_blocks.{level}.resnets.0.conv1.weight");
    let levels = vae.count(first);
    let ups = vae.count(|level| format!("decoder.up_blocks.{level}.resnets.0.conv1.weight"));
    if levels == 0 || ups != levels {
        return Err(vae.damaged("the levels of its VAE's halves are not the same"));
    }
    let widths = (0..levels).map(|level| vae.dim(&first(level), 0)).collect::<Result<Vec<_>, _>>()?;
    vae.config(json!({
        "norm_num_groups": norm_groups(&widths),
        "block_out_channels": widths,
        "layers_per_block": vae.count(|index| format!("encoder.down_blocks.0.resnets.{index}.conv1.weight")),
        "latent_channels": latent_channels,
        "mid_block_add_attention": vae.has("decoder.mid_block.attentions.0.group_norm.weight"),
        "use_quant_conv": vae.has("quant_conv.weight"),
        "use_post_quant_conv": vae.has("post_quant_conv.weight"),
        "scaling_factor": scaling_factor,
    }))
}
