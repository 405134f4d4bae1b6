//! From what a configuration says to what is built: the levels with their blocks, and refusals of what is not understood.

use super::config::{INERT, PART, UNetConfig};
use crate::diffusion::DiffusionError;
use crate::diffusion::config::{activation, check_layers, require};
use crate::kernels::Activation;

/// One level of the U-Net, checked.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub channels: usize,
    pub heads: usize,
    pub context_width: usize,
    /// Transformer layers after each residual block on the way down, 0 for none.
    pub down: Vec<usize>,
    /// The same on the way up, which has one block more.
    pub up: Vec<usize>,
}

/// What stands between the ways down and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mid {
    /// Two residual blocks around a transformer of so many layers.
    Attention(usize),
    /// One residual block (SSD-1B, Vega).
    Resnet,
    Nothing,
}

/// The widths of what XL is told beside the hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddedWidths {
    /// Of the pooled text and all numbers together.
    pub all: usize,
    /// Sinusoids of one number.
    pub number: usize,
}

/// The checked configuration that the blocks are built from.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// From the outermost (finest) in.
    pub levels: Vec<Level>,
    pub mid: Mid,
    pub added: Option<AddedWidths>,
    pub groups: usize,
    pub eps: f64,
    pub linear_projection: bool,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
}

impl UNetConfig {
    pub(super) fn check(&self) -> Result<Plan, DiffusionError> {
        let count = self.levels();
        self.check_known()?;
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
        let context = self.cross_attention_dim.resolve(count, PART, "cross_attention_dim")?;
        let levels = (0..count)
            .map(|i| {
                check_layers(PART, "layers_per_block", resnets[i])?;
                let level = Level {
                    channels: self.block_out_channels[i],
                    heads: heads[i],
                    context_width: context[i],
                    down: self.down_depths(i, resnets[i])?,
                    up: self.up_depths(count - 1 - i, resnets[i] + 1)?,
                };
                self.check_level(&level)?;
                Ok(level)
            })
            .collect::<Result<_, DiffusionError>>()?;
        Ok(Plan {
            levels,
            mid: self.mid()?,
            added: self.added()?,
            groups: self.norm_num_groups,
            eps: self.norm_eps,
            linear_projection: self.use_linear_projection,
            flip_sin_to_cos: self.flip_sin_to_cos,
            freq_shift: self.freq_shift,
        })
    }

    /// Refuses what changes the arithmetic in a way that is not built.
    fn check_known(&self) -> Result<(), DiffusionError> {
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
        require(PART, "downsample_padding", padding == 1, || padding.to_string(), "1")
    }

    fn down_depths(&self, level: usize, blocks: usize) -> Result<Vec<usize>, DiffusionError> {
        if has_attention("down_block_types", &self.down_block_types[level])? {
            self.check_depth_levels()?;
            return self.transformer_layers_per_block.of_level(level, blocks, PART, "transformer_layers_per_block");
        }
        Ok(vec![0; blocks])
    }

    /// `index` counts from the deepest level out.
    fn up_depths(&self, index: usize, blocks: usize) -> Result<Vec<usize>, DiffusionError> {
        if !has_attention("up_block_types", &self.up_block_types[index])? {
            return Ok(vec![0; blocks]);
        }
        if let Some(depths) = &self.reverse_transformer_layers_per_block {
            return depths.of_level(index, blocks, PART, "reverse_transformer_layers_per_block");
        }
        let key = "transformer_layers_per_block";
        if self.transformer_layers_per_block.is_uneven() {
            let problem = format!("{key} has lists in it, and there is no reverse_{key} for the way up");
            return Err(DiffusionError::Config { part: PART, problem });
        }
        self.transformer_layers_per_block.of_level(self.levels() - 1 - index, blocks, PART, key)
    }

    fn check_depth_levels(&self) -> Result<(), DiffusionError> {
        match self.transformer_layers_per_block.levels() {
            Some(entries) if entries != self.levels() => {
                let problem =
                    format!("transformer_layers_per_block has {entries} entries for {} levels", self.levels());
                Err(DiffusionError::Config { part: PART, problem })
            }
            _ => Ok(()),
        }
    }

    fn check_level(&self, level: &Level) -> Result<(), DiffusionError> {
        /// More than any model has; the time embedding is four times as wide.
        const MOST_CHANNELS: usize = 1 << 20;
        if level.channels > MOST_CHANNELS {
            let problem = format!("{} channels are more than any U-Net has", level.channels);
            return Err(DiffusionError::Config { part: PART, problem });
        }
        for (what, divisor) in [("norm_num_groups", self.norm_num_groups), ("attention_head_dim", level.heads)] {
            if divisor == 0 || !level.channels.is_multiple_of(divisor) {
                let problem = format!("{} channels are not a multiple of {what} {divisor}", level.channels);
                return Err(DiffusionError::Config { part: PART, problem });
            }
        }
        Ok(())
    }

    fn mid(&self) -> Result<Mid, DiffusionError> {
        match self.mid_block_type.as_deref() {
            Some("UNetMidBlock2DCrossAttn") => {
                let depth = self.transformer_layers_per_block.deepest().unwrap_or(0);
                check_layers(PART, "transformer_layers_per_block", depth)?;
                Ok(Mid::Attention(depth))
            }
            Some("UNetMidBlock2D") => Ok(Mid::Resnet),
            None => Ok(Mid::Nothing),
            Some(other) => Err(DiffusionError::Unsupported {
                part: PART,
                key: "mid_block_type",
                found: other.to_owned(),
                known: "UNetMidBlock2DCrossAttn, UNetMidBlock2D, null",
            }),
        }
    }

    fn added(&self) -> Result<Option<AddedWidths>, DiffusionError> {
        match (self.addition_embed_type.as_deref(), self.addition_time_embed_dim) {
            (None, _) => Ok(None),
            (Some("text_time"), Some(number @ 2..=65536)) => {
                let all = self.projection_class_embeddings_input_dim.unwrap_or(0);
                if all == 0 || all > 1 << 20 {
                    let problem = format!("projection_class_embeddings_input_dim {all} is no width");
                    return Err(DiffusionError::Config { part: PART, problem });
                }
                Ok(Some(AddedWidths { all, number }))
            }
            (Some("text_time"), width) => {
                let problem = format!("addition_time_embed_dim {width:?} is no width");
                Err(DiffusionError::Config { part: PART, problem })
            }
            (Some(other), _) => Err(DiffusionError::Unsupported {
                part: PART,
                key: "addition_embed_type",
                found: other.to_owned(),
                known: "text_time, null",
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
