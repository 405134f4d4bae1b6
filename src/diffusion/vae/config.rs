//! `vae/config.json` of a diffusers folder, and the checks that refuse what is not understood.

use serde::Deserialize;

use crate::diffusion::DiffusionError;
use crate::diffusion::config::{activation, check_layers, require};
use crate::kernels::Activation;

const PART: &str = "vae";

/// What the file says, with diffusers' defaults for what it leaves out.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "as the file has them")]
pub struct VaeConfig {
    #[serde(rename = "_class_name", default)]
    class_name: Option<String>,
    #[serde(default = "three")]
    in_channels: usize,
    #[serde(default = "three")]
    out_channels: usize,
    /// Channels of each level, from the pixels in.
    pub block_out_channels: Vec<usize>,
    #[serde(default)]
    down_block_types: Vec<String>,
    #[serde(default)]
    up_block_types: Vec<String>,
    /// Residual blocks a level in the encoder; the decoder has one more.
    #[serde(default = "one")]
    pub layers_per_block: usize,
    /// Channels of the latents.
    #[serde(default = "four")]
    pub latent_channels: usize,
    /// Groups of every norm.
    #[serde(default = "groups")]
    pub norm_num_groups: usize,
    #[serde(default = "silu")]
    act_fn: String,
    /// Latents times this have about unit variance, as the U-Net wants them.
    #[serde(default = "sd1_scale")]
    pub scaling_factor: f64,
    #[serde(default)]
    shift_factor: Option<f64>,
    #[serde(default)]
    latents_mean: Option<serde_json::Value>,
    #[serde(default)]
    latents_std: Option<serde_json::Value>,
    /// Whether f16 is too small for what it computes with, as in XL's.
    #[serde(default = "yes")]
    pub force_upcast: bool,
    /// Whether the innermost level attends.
    #[serde(default = "yes")]
    pub mid_block_add_attention: bool,
    /// Whether a 1x1 convolution follows the encoder.
    #[serde(default = "yes")]
    pub use_quant_conv: bool,
    /// Whether a 1x1 convolution precedes the decoder.
    #[serde(default = "yes")]
    pub use_post_quant_conv: bool,
}

fn one() -> usize {
    1
}
fn three() -> usize {
    3
}
fn four() -> usize {
    4
}
fn groups() -> usize {
    32
}
fn sd1_scale() -> f64 {
    0.18215
}
fn silu() -> String {
    "silu".to_owned()
}
fn yes() -> bool {
    true
}

impl VaeConfig {
    /// Pixels a latent pixel stands for, along each side.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1).min(16)
    }

    /// Addends to the latents after the scaling is undone; 0 for Stable Diffusion.
    #[must_use]
    pub fn shift(&self) -> f64 {
        self.shift_factor.unwrap_or(0.0)
    }

    pub(super) fn check(&self) -> Result<(), DiffusionError> {
        let class = self.class_name.as_deref().unwrap_or("AutoencoderKL");
        require(PART, "_class_name", class == "AutoencoderKL", || class.to_owned(), "AutoencoderKL")?;
        let act = activation(PART, "act_fn", &self.act_fn)?;
        require(PART, "act_fn", act == Activation::Silu, || self.act_fn.clone(), "silu, swish")?;
        for (key, found, known) in [
            ("down_block_types", &self.down_block_types, "DownEncoderBlock2D"),
            ("up_block_types", &self.up_block_types, "UpDecoderBlock2D"),
        ] {
            require(PART, key, found.iter().all(|f| f == known), || found.join(", "), known)?;
        }
        for (key, count) in [("in_channels", self.in_channels), ("out_channels", self.out_channels)] {
            require(PART, key, count == 3, || count.to_string(), "3")?;
        }
        let per_channel = self.latents_mean.is_some() || self.latents_std.is_some();
        require(PART, "latents_mean", !per_channel, || "per-channel scaling".to_owned(), "null")?;
        check_layers(PART, "layers_per_block", self.layers_per_block)?;
        let problem = if self.block_out_channels.is_empty() {
            "block_out_channels is empty".to_owned()
        } else if !(1e-6..=1e6).contains(&self.scaling_factor) || !(-1e6..=1e6).contains(&self.shift()) {
            let (scale, shift) = (self.scaling_factor, self.shift());
            format!("scaling_factor {scale} or shift_factor {shift} is beyond what latents can be scaled by")
        } else if let Some(odd) = self.odd_channels() {
            format!("{odd} channels are not a multiple of norm_num_groups {}", self.norm_num_groups)
        } else {
            return Ok(());
        };
        Err(DiffusionError::Config { part: PART, problem })
    }

    fn odd_channels(&self) -> Option<usize> {
        let groups = self.norm_num_groups;
        self.block_out_channels.iter().copied().find(|c| groups == 0 || !c.is_multiple_of(groups))
    }
}
