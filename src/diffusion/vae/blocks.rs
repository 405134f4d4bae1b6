//! What encoder and decoder share: the block between them, and the attention in it.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::VaeConfig;
use crate::diffusion::layers::{group_norm, linear};
use crate::diffusion::resnet::{ResnetBlock, ResnetShape};
use crate::diffusion::{DiffusionError, Interrupt};
use crate::kernels::{Addends, Before, GroupNorm, Input, Kept, Linear, Sight, attention};

/// The epsilon of every norm in the VAE.
pub(super) const EPS: f64 = 1e-6;

/// A residual block without time.
pub(super) fn resnet(
    vb: &VarBuilder,
    config: &VaeConfig,
    channels_in: usize,
    channels_out: usize,
) -> candle_core::Result<ResnetBlock> {
    let groups = config.norm_num_groups;
    ResnetBlock::load(vb, ResnetShape { channels_in, channels_out, time_width: None, groups, eps: EPS })
}

/// `UNetMidBlock2D`: residual block, attention where the configuration wants it, residual block.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: ResnetBlock,
    attention: Option<PixelAttention>,
    last: ResnetBlock,
}

impl MidBlock {
    pub fn load(vb: &VarBuilder, config: &VaeConfig, channels: usize) -> candle_core::Result<Self> {
        Ok(Self {
            first: resnet(&vb.pp("resnets.0"), config, channels, channels)?,
            attention: config
                .mid_block_add_attention
                .then(|| PixelAttention::load(&vb.pp("attentions.0"), config.norm_num_groups, channels))
                .transpose()?,
            last: resnet(&vb.pp("resnets.1"), config, channels, channels)?,
        })
    }

    pub fn forward(&self, x: Tensor, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        interrupt.check()?;
        let mut h = self.first.consume(x)?;
        if let Some(attention) = &self.attention {
            interrupt.check()?;
            h = attention.forward(&h)?;
        }
        interrupt.check()?;
        Ok(self.last.consume(h)?)
    }
}

/// Every pixel attends to every other, in one head.
#[derive(Debug)]
struct PixelAttention {
    norm: GroupNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl PixelAttention {
    fn load(vb: &VarBuilder, groups: usize, channels: usize) -> candle_core::Result<Self> {
        let square = |name: &str| linear(&vb.pp(name), channels, channels);
        Ok(Self {
            norm: group_norm(&vb.pp("group_norm"), groups, channels, EPS)?,
            q: square("to_q")?,
            k: square("to_k")?,
            v: square("to_v")?,
            out: square("to_out.0")?,
        })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        // [B, C, H, W] -> [B, C, H*W]
        let pixels = x.flatten_from(2)?;
        let normed = Input::from(&pixels).after(Before::Norm(&self.norm));
        let project = |map: &Linear| map.over_channels(normed, Addends::NONE, Kept::ForProduct);
        let h = attention(&project(&self.q)?, &project(&self.k)?, &project(&self.v)?, 1, Sight::Everywhere)?;
        let added = Addends { values: Some(&pixels), ..Addends::NONE };
        // [B, C, H*W] -> [B, C, H, W]
        self.out.over_channels((&h).into(), added, Kept::Full)?.reshape(x.shape())
    }
}
