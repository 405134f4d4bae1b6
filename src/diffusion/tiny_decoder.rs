//! TAESD's decoder (Ollin Boer Bohan 2023, github.com/madebyollin/taesd): latents to a picture in a small part of the
//! VAE's time, for previews.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use image::RgbImage;

use super::layers::{conv3x3, conv3x3_no_bias};
use super::pixels::to_picture;
use super::{DiffusionError, Interrupt};
use crate::kernels::{Conv2d, activations, upsample_nearest};
use crate::latent_image::LatentImage;

/// Where the latents are softly cut off, so that stray values do not spoil the picture.
const MAGNITUDE: f64 = 3.0;

/// What the names and shapes of its tensors tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TinyDecoderConfig {
    /// Channels of the latents: 4 for Stable Diffusion 1, 2 and XL.
    pub latent_channels: usize,
    /// Channels of all layers between: 64.
    pub width: usize,
    /// Blocks at each size, from the latents out: 3, 3, 3, 1. Between two of them the sides double.
    pub blocks: Vec<usize>,
}

/// One tensor's name, by diffusers' numbers below `layers`, and its shape.
pub type NamedShape = (String, Vec<usize>);

impl TinyDecoderConfig {
    /// Pixels a latent pixel stands for, along each side.
    #[must_use]
    pub fn factor(&self) -> usize {
        1 << self.blocks.len().saturating_sub(1).min(16)
    }

    /// All tensors, by their names in diffusers' sequence: "0.weight", "2.conv.0.weight".
    #[must_use]
    pub fn tensors(&self) -> Vec<NamedShape> {
        let mut all = Vec::new();
        let mut add = |name: &str, (to, from): (usize, usize), has_bias: bool| {
            all.push((format!("{name}.weight"), vec![to, from, 3, 3]));
            if has_bias {
                all.push((format!("{name}.bias"), vec![to]));
            }
        };
        let (width, mut at) = (self.width, 2);
        add("0", (width, self.latent_channels), true);
        for (stage, &blocks) in self.blocks.iter().enumerate() {
            for block in at..at + blocks {
                for conv in [0, 2, 4] {
                    add(&format!("{block}.conv.{conv}"), (width, width), true);
                }
            }
            at += blocks;
            if stage + 1 == self.blocks.len() {
                add(&at.to_string(), (3, width), true);
            } else {
                // The enlargement has a number of its own.
                add(&(at + 1).to_string(), (width, width), false);
                at += 2;
            }
        }
        all
    }
}

/// The decoder with its weights.
#[derive(Debug)]
pub struct TinyDecoder {
    conv_in: Conv2d,
    stages: Vec<Stage>,
    conv_out: Conv2d,
    config: TinyDecoderConfig,
    device: Device,
    dtype: DType,
}

/// The blocks of one size, and what follows the enlargement after them.
#[derive(Debug)]
struct Stage {
    blocks: Vec<Block>,
    enlarged: Option<Conv2d>,
}

/// `AutoencoderTinyBlock`: three convolutions beside the identity.
#[derive(Debug)]
struct Block {
    convs: [Conv2d; 3],
}

impl TinyDecoder {
    /// Loads the weights below `vb`, under the names of [`TinyDecoderConfig::tensors`].
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub fn load(vb: &VarBuilder, config: &TinyDecoderConfig) -> Result<Self, DiffusionError> {
        let width = config.width;
        let conv_in = conv3x3(&vb.pp(0), config.latent_channels, width)?;
        let mut at = 2;
        let mut stages = Vec::new();
        for (stage, &count) in config.blocks.iter().enumerate() {
            let blocks = (at..at + count).map(|n| Block::load(&vb.pp(n).pp("conv"), width));
            let blocks = blocks.collect::<candle_core::Result<_>>()?;
            at += count;
            let is_last = stage + 1 == config.blocks.len();
            let enlarged = (!is_last).then(|| conv3x3_no_bias(&vb.pp(at + 1), width, width)).transpose()?;
            at += if is_last { 0 } else { 2 };
            stages.push(Stage { blocks, enlarged });
        }
        let conv_out = conv3x3(&vb.pp(at), width, 3)?;
        Ok(Self {
            conv_in,
            stages,
            conv_out,
            config: config.clone(),
            device: vb.device().clone(),
            dtype: activations(vb.dtype(), vb.device()),
        })
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &TinyDecoderConfig {
        &self.config
    }

    /// Latents in the U-Net's scale `[B, C, h, w]` to pictures `[B, 3, h * factor, w * factor]`, about -1..1.
    ///
    /// # Errors
    /// When the shape does not fit, the device fails or `interrupt` says stop.
    pub fn decode(&self, latents: &Tensor, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        let held = ((latents / MAGNITUDE)?.tanh()? * MAGNITUDE)?;
        let mut h = self.conv_in.forward(&held)?.relu()?;
        for stage in &self.stages {
            for block in &stage.blocks {
                interrupt.check()?;
                h = block.forward(&h)?;
            }
            if let Some(enlarged) = &stage.enlarged {
                interrupt.check()?;
                let (_, _, height, width) = h.dims4()?;
                h = enlarged.forward(&upsample_nearest(&h, 2 * height, 2 * width)?)?;
            }
        }
        interrupt.check()?;
        // It was trained for 0..1.
        Ok(self.conv_out.forward(&h)?.affine(2.0, -1.0)?)
    }

    /// The picture of latents in the U-Net's scale.
    ///
    /// # Errors
    /// When the latents have other channels, hold what is no number, or `interrupt` says stop.
    pub fn picture(&self, latents: &LatentImage, interrupt: Interrupt) -> Result<RgbImage, DiffusionError> {
        let shape = (1, latents.channels, latents.height, latents.width);
        let latents = Tensor::from_slice(&latents.values, shape, &self.device)?.to_dtype(self.dtype)?;
        to_picture(&self.decode(&latents, interrupt)?)
    }
}

impl Block {
    fn load(vb: &VarBuilder, width: usize) -> candle_core::Result<Self> {
        let conv = |n: usize| conv3x3(&vb.pp(n), width, width);
        Ok(Self { convs: [conv(0)?, conv(2)?, conv(4)?] })
    }

    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let [first, second, third] = &self.convs;
        let h = second.forward(&first.forward(x)?.relu()?)?.relu()?;
        (third.forward(&h)? + x)?.relu()
    }
}
