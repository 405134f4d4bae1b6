//! DPM-Solver-2 in the variance-exploding form: the slope of the step is that of its middle, geometrically (Lu et al. 2022,
//! arXiv:2206.00927, algorithm 1; Karras et al. 2022; k-diffusion's `dpm_2`), with churn or with ancestral noise.

use candle_core::Tensor;

use super::churn::churned;
use super::{Denoise, Stage, Stepped, ancestral_split, slope};
use crate::diffusion::DiffusionError;
use crate::diffusion::schedule::NoiseLevel;

pub(super) fn step(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (x, from) = churned(&mut stage)?;
    let denoised = denoise(&x, from)?.clean;
    let start = Start { x: &x, from, denoised: &denoised };
    let x = through_middle(&stage, &start, stage.to.sigma, denoise)?;
    Ok(Stepped { x, denoised })
}

pub(super) fn step_ancestral(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let denoised = denoise(stage.x, stage.from)?.clean;
    let (down, up) = ancestral_split(stage.from.sigma, stage.to.sigma, stage.eta);
    let start = Start { x: stage.x, from: stage.from, denoised: &denoised };
    let mut x = through_middle(&stage, &start, down, denoise)?;
    if down > 0.0 {
        x = (x + (stage.draw()? * up)?)?;
    }
    Ok(Stepped { x, denoised })
}

/// Where a step starts, and what is predicted there.
struct Start<'a> {
    x: &'a Tensor,
    from: NoiseLevel,
    denoised: &'a Tensor,
}

fn through_middle(stage: &Stage, start: &Start, to: f64, denoise: &mut Denoise) -> Result<Tensor, DiffusionError> {
    let (x, from) = (start.x, start.from.sigma);
    let first = slope(x, start.denoised, from)?;
    if to == 0.0 {
        // There is no middle on the way to no noise: Euler's step.
        return Ok((x + (first * (to - from))?)?);
    }
    let middle = (from * to).sqrt();
    let guess = (x + (first * (middle - from))?)?;
    let second = slope(&guess, &denoise(&guess, stage.schedule.level_of(middle))?.clean, middle)?;
    Ok((x + (second * (to - from))?)?)
}
