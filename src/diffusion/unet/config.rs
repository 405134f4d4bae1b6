//! `unet/config.json` of a diffusers folder.

use serde::Deserialize;

use crate::diffusion::config::{PerBlock, PerLevel};

pub(super) const PART: &str = "unet";

/// What the file says, with diffusers' defaults for what it leaves out.
#[derive(Debug, Clone, Deserialize)]
pub struct UNetConfig {
    #[serde(rename = "_class_name", default)]
    pub(super) class_name: Option<String>,
    /// Side of the latents that the model was trained on.
    #[serde(default)]
    sample_size: Option<PerLevel>,
    /// Channels of the input.
    #[serde(default = "four")]
    pub in_channels: usize,
    /// Channels of the prediction.
    #[serde(default = "four")]
    pub out_channels: usize,
    pub(super) block_out_channels: Vec<usize>,
    pub(super) down_block_types: Vec<String>,
    pub(super) up_block_types: Vec<String>,
    #[serde(default = "mid_block")]
    pub(super) mid_block_type: Option<String>,
    #[serde(default = "two")]
    pub(super) layers_per_block: PerLevel,
    /// Width of the text encoder's hidden states.
    #[serde(default = "cross_attention_width")]
    pub(super) cross_attention_dim: PerLevel,
    /// Named for what it once was: it holds the number of heads.
    #[serde(default = "eight")]
    pub(super) attention_head_dim: PerLevel,
    #[serde(default)]
    pub(super) num_attention_heads: Option<PerLevel>,
    #[serde(default = "one_block")]
    pub(super) transformer_layers_per_block: PerBlock,
    #[serde(default)]
    pub(super) reverse_transformer_layers_per_block: Option<PerBlock>,
    /// What is told beside the hidden states: nothing, or XL's pooled text and sizes.
    #[serde(default)]
    pub(super) addition_embed_type: Option<String>,
    #[serde(default)]
    pub(super) addition_time_embed_dim: Option<usize>,
    #[serde(default)]
    pub(super) projection_class_embeddings_input_dim: Option<usize>,
    #[serde(default)]
    pub(super) use_linear_projection: bool,
    #[serde(default = "groups")]
    pub(super) norm_num_groups: usize,
    #[serde(default = "norm_eps")]
    pub(super) norm_eps: f64,
    #[serde(default = "silu")]
    pub(super) act_fn: String,
    #[serde(default = "yes")]
    pub(super) flip_sin_to_cos: bool,
    #[serde(default)]
    pub(super) freq_shift: f64,
    #[serde(default)]
    pub(super) downsample_padding: Option<usize>,
    #[serde(flatten)]
    pub(super) rest: serde_json::Map<String, serde_json::Value>,
}

fn one_block() -> PerBlock {
    PerBlock::One(1)
}
fn two() -> PerLevel {
    PerLevel::One(2)
}
fn eight() -> PerLevel {
    PerLevel::One(8)
}
fn cross_attention_width() -> PerLevel {
    PerLevel::One(1280)
}
fn four() -> usize {
    4
}
fn groups() -> usize {
    32
}
fn norm_eps() -> f64 {
    1e-5
}
fn silu() -> String {
    "silu".to_owned()
}
fn yes() -> bool {
    true
}
#[expect(clippy::unnecessary_wraps, reason = "serde's default has the field's type")]
fn mid_block() -> Option<String> {
    Some("UNetMidBlock2DCrossAttn".to_owned())
}

/// Keys that change the arithmetic, with the values under which they do not.
pub(super) const INERT: &[(&str, &[&str])] = &[
    ("attention_type", &["\"default\""]),
    ("center_input_sample", &["false"]),
    ("class_embed_type", &["null"]),
    ("conv_in_kernel", &["3"]),
    ("conv_out_kernel", &["3"]),
    ("cross_attention_norm", &["null"]),
    ("dual_cross_attention", &["false"]),
    ("encoder_hid_dim_type", &["null"]),
    ("encoder_hid_dim", &["null"]),
    ("mid_block_only_cross_attention", &["null", "false"]),
    ("mid_block_scale_factor", &["1", "1.0"]),
    ("num_class_embeds", &["null"]),
    ("only_cross_attention", &["false"]),
    ("resnet_out_scale_factor", &["1", "1.0"]),
    ("resnet_skip_time_act", &["false"]),
    ("resnet_time_scale_shift", &["\"default\""]),
    ("time_cond_proj_dim", &["null"]),
    ("time_embedding_act_fn", &["null"]),
    ("time_embedding_dim", &["null"]),
    ("time_embedding_type", &["\"positional\""]),
    ("timestep_post_act", &["null"]),
];

impl UNetConfig {
    /// Side of the latents that the model was trained on, `(height, width)`.
    #[must_use]
    pub fn sample_size(&self) -> Option<(usize, usize)> {
        match self.sample_size.as_ref()? {
            PerLevel::One(side) => Some((*side, *side)),
            PerLevel::Each(sides) => Some((*sides.first()?, *sides.get(1)?)),
        }
    }

    /// Widths of what is told beside the hidden states: all of it, and the sinusoids of one number. None for models
    /// that are told nothing more.
    #[must_use]
    pub fn added_widths(&self) -> Option<(usize, usize)> {
        self.addition_embed_type.as_ref()?;
        self.projection_class_embeddings_input_dim.zip(self.addition_time_embed_dim)
    }

    /// Number of levels; latents need a side of at least 2 to the power of one less.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Channels of the outermost level and of the next.
    #[must_use]
    pub fn outer_channels(&self) -> (usize, usize) {
        let of_level = |level: usize| self.block_out_channels.get(level).copied().unwrap_or(0);
        (of_level(0), of_level(1))
    }

    /// Width of the text encoder's hidden states that the outermost level expects.
    #[must_use]
    pub fn context_width(&self) -> usize {
        match &self.cross_attention_dim {
            PerLevel::One(width) => *width,
            PerLevel::Each(widths) => widths.first().copied().unwrap_or(0),
        }
    }
}
