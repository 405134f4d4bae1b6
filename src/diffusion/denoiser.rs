//! The model as a sampler sees it: noisy latents and their noise level in, predicted clean latents out.

use candle_core::{DType, Tensor};

use super::conditioning::{Conditioning, Guidance, Moment};
use super::deep_cache::DeepCache;
use super::prediction::Prediction;
use super::sampler::Denoised;
use super::schedule::NoiseLevel;
use super::unet::{Evaluation, UNet};
use super::{DiffusionError, Interrupt};
use crate::kernels::Replays;
use crate::request::TokenMerging;

/// U-Net, prediction type and guidance together.
pub struct Denoiser<'a> {
    /// The network.
    pub unet: &'a UNet,
    /// What its output means.
    pub prediction: Prediction,
    /// What it is steered by.
    pub conditioning: Conditioning,
    /// What an inpainting model sees beside the latents, `[1, C + 1, H, W]`: the mask and what it leaves of a picture.
    pub beside: Option<Tensor>,
    /// What is kept of the deep blocks, where they are not evaluated each time.
    pub deep_cache: Option<DeepCache>,
    /// The evaluations that a card repeats.
    pub replays: Replays,
    /// The share of the tokens that the network joins.
    pub token_merging: TokenMerging,
    /// What the network computes in; everything around it is f32.
    pub dtype: DType,
}

impl Denoiser<'_> {
    /// The clean latents that the model sees behind `x` `[1, C, H, W]` in f32 at `level`, where `x = x0 + sigma * noise`;
    /// `moment` says which of the prompts' texts are in force, and whether they guide.
    ///
    /// # Errors
    /// When the device fails or `interrupt` says stop.
    pub fn denoise(
        &mut self,
        x: &Tensor,
        level: NoiseLevel,
        moment: Moment,
        interrupt: Interrupt,
    ) -> Result<Denoised, DiffusionError> {
        // The network was trained on latents of unit variance.
        let mut input = (x * (1.0 / (1.0 + level.sigma * level.sigma).sqrt()))?.to_dtype(self.dtype)?;
        if let Some(beside) = &self.beside {
            input = Tensor::cat(&[&input, beside], 1)?;
        }
        let (guidance, passes) = self.conditioning.at(moment);
        if let Some(cache) = &mut self.deep_cache {
            cache.begin(moment);
        }
        let mut rows = Vec::new();
        for (index, pass) in passes.iter().enumerate() {
            // What is launched as a whole cannot be asked in between.
            interrupt.check()?;
            // [1, C, H, W] -> [rows, C, H, W]
            let input = Tensor::cat(&vec![&input; pass.rows], 0)?;
            let (unet, context, token_merging) = (self.unet, &pass.context, self.token_merging);
            let time = unet.time(level.timestep, context, x.device())?;
            let predicted = match (&mut self.deep_cache, context.id()) {
                (Some(cache), _) => {
                    let evaluation = Evaluation { time: &time, context, token_merging, interrupt };
                    cache.predict(unet, index, &input, &evaluation)?
                }
                (None, Some(id)) => self.replays.run(id, &[input, time], |inputs| {
                    let time = &inputs[1];
                    unet.evaluate(&inputs[0], &Evaluation { time, context, token_merging, interrupt })
                })?,
                (None, None) => {
                    unet.evaluate(&input, &Evaluation { time: &time, context, token_merging, interrupt })?
                }
            };
            rows.push(predicted.to_dtype(DType::F32)?);
        }
        let rows = Tensor::cat(&rows, 0)?;
        let Guidance::ClassifierFree { scale, rescale, weights, keeps_unguided } = guidance else {
            return Ok(self.prediction.denoised(x, &rows, level.sigma)?.into());
        };
        let uncond = rows.narrow(0, 0, 1)?;
        let mut towards = uncond.zeros_like()?;
        for (index, weight) in weights.iter().enumerate() {
            let cond = rows.narrow(0, 1 + index, 1)?;
            towards = (towards + ((cond - &uncond)? * *weight)?)?;
        }
        let mut guided = (&uncond + (&towards * *scale)?)?;
        if *rescale > 0.0 {
            let unguided = (&uncond + &towards)?;
            let factor = deviation(&unguided)? / deviation(&guided)?.max(f64::MIN_POSITIVE);
            guided = (guided * (rescale * factor + 1.0 - rescale))?;
        }
        let clean = self.prediction.denoised(x, &guided, level.sigma)?;
        let unguided = if *keeps_unguided { Some(self.prediction.denoised(x, &uncond, level.sigma)?) } else { None };
        Ok(Denoised { clean, unguided })
    }
}

/// The standard deviation of all values.
fn deviation(values: &Tensor) -> Result<f64, DiffusionError> {
    let values = values.flatten_all()?.to_vec1::<f32>()?;
    let count = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
    Ok((values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / count).sqrt())
}
