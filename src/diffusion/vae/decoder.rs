//! Latents to pictures.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::VaeConfig;
use super::blocks::{EPS, MidBlock, resnet};
use crate::diffusion::layers::{conv3x3, group_norm};
use crate::diffusion::resnet::ResnetBlock;
use crate::diffusion::{DiffusionError, Interrupt};
use crate::kernels::{Addends, Before, Conv2d, GroupNorm, Input};

#[derive(Debug)]
pub(super) struct Decoder {
    conv_in: Conv2d,
    mid: MidBlock,
    /// From the innermost out.
    levels: Vec<Level>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// `UpDecoderBlock2D`.
#[derive(Debug)]
struct Level {
    resnets: Vec<ResnetBlock>,
    upsample: Option<Conv2d>,
}

impl Decoder {
    pub fn load(vb: &VarBuilder, config: &VaeConfig) -> candle_core::Result<Self> {
        let widths = &config.block_out_channels;
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let levels = (0..widths.len())
            .map(|index| Level::load(&vb.pp("up_blocks").pp(index), config, index))
            .collect::<candle_core::Result<_>>()?;
        Ok(Self {
            conv_in: conv3x3(&vb.pp("conv_in"), config.latent_channels, last)?,
            mid: MidBlock::load(&vb.pp("mid_block"), config, last)?,
            levels,
            norm_out: group_norm(&vb.pp("conv_norm_out"), config.norm_num_groups, first, EPS)?,
            conv_out: conv3x3(&vb.pp("conv_out"), first, 3)?,
        })
    }

    /// `[B, latent channels, h, w]` to `[B, 3, h * factor, w * factor]`.
    pub fn forward(&self, latents: &Tensor, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        let mut h = self.mid.forward(self.conv_in.forward(latents)?, interrupt)?;
        for level in &self.levels {
            h = level.forward(h, interrupt)?;
        }
        interrupt.check()?;
        Ok(self.conv_out.apply(Input::from(&h).after(Before::NormSilu(&self.norm_out)), Addends::NONE)?)
    }
}

impl Level {
    /// `index` counts from the innermost.
    fn load(vb: &VarBuilder, config: &VaeConfig, index: usize) -> candle_core::Result<Self> {
        let widths: Vec<usize> = config.block_out_channels.iter().rev().copied().collect();
        let (from, to) = (widths[index.saturating_sub(1)], widths[index]);
        let resnets = (0..=config.layers_per_block)
            .map(|i| resnet(&vb.pp("resnets").pp(i), config, if i == 0 { from } else { to }, to))
            .collect::<candle_core::Result<_>>()?;
        let is_last = index + 1 == widths.len();
        let upsample = (!is_last).then(|| conv3x3(&vb.pp("upsamplers.0.conv"), to, to)).transpose()?;
        Ok(Self { resnets, upsample })
    }

    fn forward(&self, x: Tensor, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        let mut h = x;
        for resnet in &self.resnets {
            interrupt.check()?;
            h = resnet.consume(h)?;
        }
        if let Some(upsample) = &self.upsample {
            interrupt.check()?;
            let (_, _, height, width) = h.dims4()?;
            h = upsample.apply(Input::from(&h).enlarged(2 * height, 2 * width), Addends::NONE)?;
        }
        Ok(h)
    }
}
