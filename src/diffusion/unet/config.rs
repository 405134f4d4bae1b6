//! `unet/config.json` of a diffusers folder, and the checks that refuse what is not understood.

use serde::Deserialize;

use crate::diffusion::DiffusionError;
use crate::diffusion::config::{PerLevel, activation, check_layers, require};
use crate::kernels::Activation;

pub(super) const PART: &str = "unet";

/// What the file says, with diffusers' defaults for what it leaves out.
#[derive(Debug, Clone, Deserialize)]
pub struct UNetConfig {
    #[serde(rename = "_class_name", default)]
    class_name: Option<String>,
    /// Side of the latents that the model was trained on.
    #[serde(default)]
    sample_size: Option<PerLevel>,
    /// Channels of the input.
    #[serde(default = "four")]
    pub in_channels: usize,
    /// Channels of the prediction.
    #[serde(default = "four")]
    pub out_channels: usize,
    block_out_channels: Vec<usize>,
    down_block_types: Vec<String>,
    up_block_types: Vec<String>,
    #[serde(default = "mid_block")]
    mid_block_type: Option<String>,
    #[serde(default = "two")]
    layers_per_block: PerLevel,
    /// Width of the text encoder's hidden states.
    #[serde(default = "cross_attention_width")]
    cross_attention_dim: PerLevel,
    /// Named for what it once was: it holds the number of heads.
    #[serde(default = "eight")]
    attention_head_dim: PerLevel,
    #[serde(default)]
    num_attention_heads: Option<PerLevel>,
    #[serde(default = "one")]
    transformer_layers_per_block: PerLevel,
    #[serde(default)]
    use_linear_projection: bool,
    #[serde(default = "groups")]
    norm_num_groups: usize,
    #[serde(default = "norm_eps")]
    norm_eps: f64,
    #[serde(default = "silu")]
    act_fn: String,
    #[serde(default = "yes")]
    flip_sin_to_cos: bool,
    #[serde(default)]
    freq_shift: f64,
    #[serde(default)]
    downsample_padding: Option<usize>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

fn one() -> PerLevel {
    PerLevel::One(1)
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
const INERT: &[(&str, &[&str])] = &[
    ("addition_embed_type", &["null"]),
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
    ("reverse_transformer_layers_per_block", &["null"]),
    ("time_cond_proj_dim", &["null"]),
    ("time_embedding_act_fn", &["null"]),
    ("time_embedding_dim", &["null"]),
    ("time_embedding_type", &["\"positional\""]),
    ("timestep_post_act", &["null"]),
];

/// One level of the U-Net, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    pub channels: usize,
    pub resnets: usize,
    pub heads: usize,
    pub transformer_layers: usize,
    pub context_width: usize,
    pub down_has_attention: bool,
    pub up_has_attention: bool,
}

/// The checked configuration that the blocks are built from.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// From the outermost (finest) in.
    pub levels: Vec<Level>,
    pub mid_has_attention: bool,
    pub groups: usize,
    pub eps: f64,
    pub linear_projection: bool,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
}

impl UNetConfig {
    /// Side of the latents that the model was trained on, `(height, width)`.
    #[must_use]
    pub fn sample_size(&self) -> Option<(usize, usize)> {
        match self.sample_size.as_ref()? {
            PerLevel::One(side) => Some((*side, *side)),
            PerLevel::Each(sides) => Some((*sides.first()?, *sides.get(1)?)),
        }
    }

    /// Number of levels; latents need a side of at least 2 to the power of one less.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// Width of the text encoder's hidden states that the outermost level expects.
    #[must_use]
    pub fn context_width(&self) -> usize {
        match &self.cross_attention_dim {
            PerLevel::One(width) => *width,
            PerLevel::Each(widths) => widths.first().copied().unwrap_or(0),
        }
    }

    pub(super) fn check(&self) -> Result<Plan, DiffusionError> {
        let count = self.levels();
        let class = self.class_name.as_deref().unwrap_or("UNet2DConditionModel");
        require(PART, "_class_name", class == "UNet2DConditionModel", || class.to_owned(), "UNet2DConditionModel")?;
        let known = "silu, swish";
        let act = activation(PART, "act_fn", &self.act_fn)?;
        require(PART, "act_fn", act == Activation::Silu, || self.act_fn.clone(), known)?;
        for &(key, inert) in INERT {
            let found = self.rest.get(key).map(ToString::to_string);
            if let Some(found) = found.filter(|f| !inert.contains(&f.as_str())) {
                return Err(DiffusionError::Unsupported { part: PART, key, found, known: inert[0] });
            }
        }
        let padding = self.downsample_padding.unwrap_or(1);
        require(PART, "downsample_padding", padding == 1, || padding.to_string(), "1")?;
        for (key, len) in
            [("down_block_types", self.down_block_types.len()), ("up_block_types", self.up_block_types.len())]
        {
            if len != count || count == 0 {
                let problem = format!("{key} has {len} entries for {count} levels");
                return Err(DiffusionError::Config { part: PART, problem });
            }
        }
        let heads = self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim);
        let heads = heads.resolve(count, PART, "attention_head_dim")?;
        let resnets = self.layers_per_block.resolve(count, PART, "layers_per_block")?;
        let transformer_layers =
            self.transformer_layers_per_block.resolve(count, PART, "transformer_layers_per_block")?;
        let context = self.cross_attention_dim.resolve(count, PART, "cross_attention_dim")?;
        let levels = (0..count)
            .map(|i| {
                let level = Level {
                    channels: self.block_out_channels[i],
                    resnets: resnets[i],
                    heads: heads[i],
                    transformer_layers: transformer_layers[i],
                    context_width: context[i],
                    down_has_attention: has_attention("down_block_types", &self.down_block_types[i])?,
                    up_has_attention: has_attention("up_block_types", &self.up_block_types[count - 1 - i])?,
                };
                check_layers(PART, "layers_per_block", level.resnets)?;
                check_layers(PART, "transformer_layers_per_block", level.transformer_layers)?;
                self.check_level(&level)?;
                Ok(level)
            })
            .collect::<Result<_, DiffusionError>>()?;
        Ok(Plan {
            levels,
            mid_has_attention: self.mid_has_attention()?,
            groups: self.norm_num_groups,
            eps: self.norm_eps,
            linear_projection: self.use_linear_projection,
            flip_sin_to_cos: self.flip_sin_to_cos,
            freq_shift: self.freq_shift,
        })
    }

    fn check_level(&self, level: &Level) -> Result<(), DiffusionError> {
        for (what, divisor) in [("norm_num_groups", self.norm_num_groups), ("attention_head_dim", level.heads)] {
            if divisor == 0 || !level.channels.is_multiple_of(divisor) {
                let problem = format!("{} channels are not a multiple of {what} {divisor}", level.channels);
                return Err(DiffusionError::Config { part: PART, problem });
            }
        }
        Ok(())
    }

    fn mid_has_attention(&self) -> Result<bool, DiffusionError> {
        match self.mid_block_type.as_deref() {
            Some("UNetMidBlock2DCrossAttn") => Ok(true),
            Some("UNetMidBlock2D") => Ok(false),
            other => Err(DiffusionError::Unsupported {
                part: PART,
                key: "mid_block_type",
                found: other.unwrap_or("null").to_owned(),
                known: "UNetMidBlock2DCrossAttn, UNetMidBlock2D",
            }),
        }
    }
}

fn has_attention(key: &'static str, name: &str) -> Result<bool, DiffusionError> {
    match name {
        "CrossAttnDownBlock2D" if key == "down_block_types" => Ok(true),
        "DownBlock2D" if key == "down_block_types" => Ok(false),
        "CrossAttnUpBlock2D" if key == "up_block_types" => Ok(true),
        "UpBlock2D" if key == "up_block_types" => Ok(false),
        _ => Err(DiffusionError::Unsupported {
            part: PART,
            key,
            found: name.to_owned(),
            known: "DownBlock2D, CrossAttnDownBlock2D, UpBlock2D, CrossAttnUpBlock2D",
        }),
    }
}
