//! The model as a sampler sees it: noisy latents and their noise level in, predicted clean latents out.

use candle_core::{DType, Tensor};

use super::noise_schedule::NoiseLevel;
use super::prediction::Prediction;
use super::unet::{PreparedContext, UNet};
use super::{DiffusionError, Interrupt};

/// The prompts that steer, ready for the U-Net.
pub enum Guidance {
    /// The prompt alone: one row, one pass.
    PromptOnly(PreparedContext),
    /// Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598): `uncond + scale * (cond - uncond)`.
    ClassifierFree {
        /// The negative prompt in the first row, the prompt in the second.
        context: PreparedContext,
        /// The factor.
        scale: f64,
    },
}

/// U-Net, prediction type and guidance together.
pub struct Denoiser<'a> {
    /// The network.
    pub unet: &'a UNet,
    /// What its output means.
    pub prediction: Prediction,
    /// What it is steered by.
    pub guidance: Guidance,
    /// What the network computes in; everything around it is f32.
    pub dtype: DType,
}

impl Denoiser<'_> {
    /// The clean latents that the model sees behind `x` `[1, C, H, W]` in f32 at `level`, where `x = x0 + sigma * noise`.
    ///
    /// # Errors
    /// When the device fails or `interrupt` says stop.
    pub fn denoise(&self, x: &Tensor, level: NoiseLevel, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        // The network was trained on latents of unit variance.
        let input = (x * (1.0 / (1.0 + level.sigma * level.sigma).sqrt()))?.to_dtype(self.dtype)?;
        let output = match &self.guidance {
            Guidance::PromptOnly(context) => {
                self.unet.forward(&input, level.timestep, context, interrupt)?.to_dtype(DType::F32)?
            }
            Guidance::ClassifierFree { context, scale } => {
                // [1, C, H, W] -> [2, C, H, W]
                let both = Tensor::cat(&[&input, &input], 0)?;
                let both = self.unet.forward(&both, level.timestep, context, interrupt)?.to_dtype(DType::F32)?;
                let (uncond, cond) = (both.narrow(0, 0, 1)?, both.narrow(0, 1, 1)?);
                (&uncond + ((cond - &uncond)? * *scale)?)?
            }
        };
        Ok(self.prediction.denoised(x, &output, level.sigma)?)
    }
}
