//! Heun's second-order method (Karras et al. 2022, algorithm 2 without churn): two evaluations a step, one in the last.

use super::{Denoise, Stage, Stepped, slope};
use crate::diffusion::DiffusionError;

pub(super) fn step(stage: &Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let Stage { x, from, to, .. } = stage;
    let gap = to.sigma - from.sigma;
    let denoised = denoise(x, *from)?;
    let first = slope(x, &denoised, from.sigma)?;
    let guess = (*x + (&first * gap)?)?;
    if to.sigma == 0.0 {
        return Ok(Stepped { x: guess, denoised });
    }
    let second = slope(&guess, &denoise(&guess, *to)?, to.sigma)?;
    let x = (*x + ((first + second)? * (gap / 2.0))?)?;
    Ok(Stepped { x, denoised })
}
