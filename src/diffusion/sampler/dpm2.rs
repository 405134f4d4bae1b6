//! DPM-Solver-2 in the variance-exploding form: the slope of the step is that of its middle, geometrically (Lu et al. 2022,
//! arXiv:2206.00927, algorithm 1; Karras et al. 2022; k-diffusion's `dpm_2`), plain and with ancestral noise.

use candle_core::Tensor;

use super::{Denoise, Stage, Stepped, ancestral_split, slope};
use crate::diffusion::DiffusionError;

pub(super) fn step(stage: &Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let denoised = denoise(stage.x, stage.from)?;
    let x = through_middle(stage, &denoised, stage.to.sigma, denoise)?;
    Ok(Stepped { x, denoised })
}

pub(super) fn step_ancestral(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let denoised = denoise(stage.x, stage.from)?;
    let (down, up) = ancestral_split(stage.from.sigma, stage.to.sigma);
    let mut x = through_middle(&stage, &denoised, down, denoise)?;
    if down > 0.0 {
        x = (x + (stage.draw()? * up)?)?;
    }
    Ok(Stepped { x, denoised })
}

/// From the step's start to sigma `to`, given the prediction at the start.
fn through_middle(stage: &Stage, denoised: &Tensor, to: f64, denoise: &mut Denoise) -> Result<Tensor, DiffusionError> {
    let from = stage.from.sigma;
    let first = slope(stage.x, denoised, from)?;
    if to == 0.0 {
        // There is no middle on the way to no noise: Euler's step.
        return Ok((stage.x + (first * (to - from))?)?);
    }
    let middle = (from * to).sqrt();
    let guess = (stage.x + (first * (middle - from))?)?;
    let second = slope(&guess, &denoise(&guess, stage.schedule.level_of(middle))?, middle)?;
    Ok((stage.x + (second * (to - from))?)?)
}
