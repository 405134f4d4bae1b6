//! The model as a sampler sees it: noisy latents and their noise level in, predicted clean latents out.

use candle_core::{DType, Tensor};

use super::conditioning::{Conditioning, Guidance};
use super::noise_schedule::NoiseLevel;
use super::prediction::Prediction;
use super::unet::UNet;
use super::{DiffusionError, Interrupt};

/// U-Net, prediction type and guidance together.
pub struct Denoiser<'a> {
    /// The network.
    pub unet: &'a UNet,
    /// What its output means.
    pub prediction: Prediction,
    /// What it is steered by.
    pub conditioning: Conditioning,
    /// What the network computes in; everything around it is f32.
    pub dtype: DType,
}

impl Denoiser<'_> {
    /// The clean latents that the model sees behind `x` `[1, C, H, W]` in f32 at `level`, where `x = x0 + sigma * noise`;
    /// `call` counts the picture's calls from 0 and says which of the prompts' texts are in force.
    ///
    /// # Errors
    /// When the device fails or `interrupt` says stop.
    pub fn denoise(
        &self,
        x: &Tensor,
        level: NoiseLevel,
        call: usize,
        interrupt: Interrupt,
    ) -> Result<Tensor, DiffusionError> {
        // The network was trained on latents of unit variance.
        let input = (x * (1.0 / (1.0 + level.sigma * level.sigma).sqrt()))?.to_dtype(self.dtype)?;
        let mut rows = Vec::new();
        for pass in self.conditioning.passes(call) {
            // [1, C, H, W] -> [rows, C, H, W]
            let input = Tensor::cat(&vec![&input; pass.rows], 0)?;
            rows.push(self.unet.forward(&input, level.timestep, &pass.context, interrupt)?.to_dtype(DType::F32)?);
        }
        let rows = Tensor::cat(&rows, 0)?;
        let output = match &self.conditioning.guidance {
            Guidance::PromptOnly => rows,
            Guidance::ClassifierFree { scales } => {
                let uncond = rows.narrow(0, 0, 1)?;
                let mut guided = uncond.clone();
                for (index, scale) in scales.iter().enumerate() {
                    let cond = rows.narrow(0, 1 + index, 1)?;
                    guided = (&guided + ((cond - &uncond)? * *scale)?)?;
                }
                guided
            }
        };
        Ok(self.prediction.denoised(x, &output, level.sigma)?)
    }
}
