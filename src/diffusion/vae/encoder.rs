//! Pictures to the moments of their latents.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::VaeConfig;
use super::blocks::{EPS, MidBlock, resnet};
use crate::diffusion::layers::{conv3x3, conv3x3_halving, group_norm};
use crate::diffusion::resnet::ResnetBlock;
use crate::diffusion::{DiffusionError, Interrupt};
use crate::kernels::{Addends, Before, Conv2d, GroupNorm, Input};

#[derive(Debug)]
pub(super) struct Encoder {
    conv_in: Conv2d,
    levels: Vec<Level>,
    mid: MidBlock,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// `DownEncoderBlock2D`.
#[derive(Debug)]
struct Level {
    resnets: Vec<ResnetBlock>,
    downsample: Option<Conv2d>,
}

impl Encoder {
    pub fn load(vb: &VarBuilder, config: &VaeConfig) -> candle_core::Result<Self> {
        let widths = &config.block_out_channels;
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let levels = (0..widths.len())
            .map(|index| Level::load(&vb.pp("down_blocks").pp(index), config, index))
            .collect::<candle_core::Result<_>>()?;
        Ok(Self {
            conv_in: conv3x3(&vb.pp("conv_in"), 3, first)?,
            levels,
            mid: MidBlock::load(&vb.pp("mid_block"), config, last)?,
            norm_out: group_norm(&vb.pp("conv_norm_out"), config.norm_num_groups, last, EPS)?,
            conv_out: conv3x3(&vb.pp("conv_out"), last, 2 * config.latent_channels)?,
        })
    }

    /// `[B, 3, H, W]` to mean and log-variance, `[B, 2 * latent channels, H / factor, W / factor]`.
    pub fn forward(&self, pixels: &Tensor, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        let mut h = self.conv_in.forward(pixels)?;
        for level in &self.levels {
            h = level.forward(h, interrupt)?;
        }
        h = self.mid.forward(h, interrupt)?;
        Ok(self.conv_out.apply(Input::from(&h).after(Before::NormSilu(&self.norm_out)), Addends::NONE)?)
    }
}

impl Level {
    fn load(vb: &VarBuilder, config: &VaeConfig, index: usize) -> candle_core::Result<Self> {
        let widths = &config.block_out_channels;
        let (from, to) = (widths[index.saturating_sub(1)], widths[index]);
        let resnets = (0..config.layers_per_block)
            .map(|i| resnet(&vb.pp("resnets").pp(i), config, if i == 0 { from } else { to }, to))
            .collect::<candle_core::Result<_>>()?;
        let is_last = index + 1 == widths.len();
        let downsample = (!is_last).then(|| conv3x3_halving(&vb.pp("downsamplers.0.conv"), to, 0)).transpose()?;
        Ok(Self { resnets, downsample })
    }

    fn forward(&self, x: Tensor, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        let mut h = x;
        for resnet in &self.resnets {
            interrupt.check()?;
            h = resnet.consume(h)?;
        }
        if let Some(downsample) = &self.downsample {
            interrupt.check()?;
            // The VAE's strided convolutions pad right and bottom only.
            let padded = h.pad_with_zeros(2, 0, 1)?.pad_with_zeros(3, 0, 1)?;
            h = downsample.forward(&padded)?;
        }
        Ok(h)
    }
}
