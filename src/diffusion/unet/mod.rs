//! The U-Net that predicts the noise in latents, told the timestep and the prompt (Rombach et al. 2022,
//! arXiv:2112.10752).

mod blocks;
mod config;
pub mod embedding;
mod evaluation;
mod plan;
mod token_merging;
mod transformer;

use candle_core::{Tensor, TensorId};
use candle_nn::VarBuilder;

pub use config::UNetConfig;

use self::blocks::{DownBlock, Loader, MidBlock, UpBlock, project_all};
pub use self::embedding::Added;
use self::embedding::{AddedEmbedding, TimeEmbedding};
pub use self::evaluation::Evaluation;
use self::token_merging::Merging;
use super::layers::{conv3x3, group_norm};
use super::{DiffusionError, Interrupt};
use crate::kernels::{Conv2d, GroupNorm};
use crate::request::TokenMerging;

/// The U-Net with its weights.
#[derive(Debug)]
pub struct UNet {
    conv_in: Conv2d,
    time_embedding: TimeEmbedding,
    added_embedding: Option<AddedEmbedding>,
    /// From the outermost level in.
    down: Vec<DownBlock>,
    mid: MidBlock,
    /// From the innermost level out.
    up: Vec<UpBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
    config: UNetConfig,
    is_quantised: bool,
}

/// The prompt as every cross-attention needs it: computed once a picture, used at every step.
#[derive(Debug, Clone)]
pub struct PreparedContext {
    keys_and_values: Vec<(Tensor, Tensor)>,
    /// `[B, T]` in f32, for the time embedding.
    added: Option<Tensor>,
}

impl PreparedContext {
    /// The same for as long as it is the same context; none where there is no cross-attention.
    #[must_use]
    pub fn id(&self) -> Option<TensorId> {
        self.keys_and_values.first().map(|(keys, _)| keys.id())
    }
}

/// What every block of one evaluation is told.
struct Pass<'a> {
    /// Of [`UNet::time`].
    time: &'a Tensor,
    context: &'a PreparedContext,
    /// What is joined before the self-attentions of the finest level.
    merging: Option<Merging>,
    interrupt: Interrupt<'a>,
}

impl UNet {
    /// Loads the weights below `vb`.
    ///
    /// # Errors
    /// When the configuration is not understood or a tensor is missing or has another shape.
    pub fn load(vb: &VarBuilder, config: &UNetConfig) -> Result<Self, DiffusionError> {
        let plan = config.check()?;
        let levels = plan.levels.len();
        let (outer, groups, eps) = (plan.levels[0].channels, plan.groups, plan.eps);
        let added = |widths| AddedEmbedding::load(vb, widths, outer * 4, &plan);
        let mut loader = Loader { plan: &plan, time_width: outer * 4, next_context: 0 };
        let down = (0..levels)
            .map(|index| DownBlock::load(&vb.pp("down_blocks").pp(index), &mut loader, index))
            .collect::<Result<_, _>>()?;
        let up = (0..levels)
            .map(|index| UpBlock::load(&vb.pp("up_blocks").pp(index), &mut loader, levels - 1 - index))
            .collect::<Result<_, _>>()?;
        let mid = MidBlock::load(&vb.pp("mid_block"), &mut loader)?;
        Ok(Self {
            conv_in: conv3x3(&vb.pp("conv_in"), config.in_channels, outer)?,
            time_embedding: TimeEmbedding::load(vb, outer, plan.flip_sin_to_cos, plan.freq_shift)?,
            added_embedding: plan.added.map(added).transpose()?,
            down,
            mid,
            up,
            norm_out: group_norm(&vb.pp("conv_norm_out"), groups, outer, eps)?,
            conv_out: conv3x3(&vb.pp("conv_out"), outer, config.out_channels)?,
            config: config.clone(),
            is_quantised: false,
        })
    }

    /// Has the products of all levels computed in 8 bits from now on, with the weights as they are now; to be called again
    /// when they change. The first and the last convolution, the timestep's embedding and the keys and values of the prompt
    /// stay as they are: they are a small part of the work, and the picture shows most of what is lost there.
    ///
    /// # Errors
    /// When the weights are of a type that cannot be.
    pub fn quantise(&mut self) -> Result<(), DiffusionError> {
        self.down.iter_mut().try_for_each(DownBlock::quantise)?;
        self.mid.quantise()?;
        self.up.iter_mut().try_for_each(UpBlock::quantise)?;
        self.is_quantised = true;
        Ok(())
    }

    /// True after [`UNet::quantise`].
    #[must_use]
    pub fn is_quantised(&self) -> bool {
        self.is_quantised
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The keys and values of all cross-attentions for hidden states `[B, T, D]` of the text encoder, and what is told
    /// beside them, where the model is told more.
    ///
    /// # Errors
    /// When the widths are not the model's, `added` is missing or too much, or the device fails.
    pub fn prepare_context(&self, context: &Tensor, added: Option<&Added>) -> Result<PreparedContext, DiffusionError> {
        let added = match (&self.added_embedding, added) {
            (Some(embedding), Some(added)) => Some(embedding.forward(added)?),
            (None, None) => None,
            _ => {
                let problem =
                    "the text encoders do not give what the U-Net is told beside the hidden states".to_owned();
                return Err(DiffusionError::Config { part: config::PART, problem });
            }
        };
        // [B, T, D] -> [B, D, T]
        let context = &context.transpose(1, 2)?.contiguous()?;
        Ok(PreparedContext { keys_and_values: project_all(context, &self.down, &self.mid, &self.up)?, added })
    }

    /// The model's prediction for latents `x` `[B, C, H, W]` at `timestep`, with a context of the same batch.
    ///
    /// # Errors
    /// When the shapes do not fit, the device fails or `interrupt` says stop.
    pub fn forward(
        &self,
        x: &Tensor,
        timestep: f64,
        context: &PreparedContext,
        interrupt: Interrupt,
    ) -> Result<Tensor, DiffusionError> {
        let (time, token_merging) = (&self.time(timestep, context, x.device())?, TokenMerging::default());
        self.evaluate(x, &Evaluation { time, context, token_merging, interrupt })
    }
}
