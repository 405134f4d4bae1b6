//! The Adams-Bashforth formulas for even steps, on slopes: PLMS (Liu et al. 2022, arXiv:2202.09778; diffusers'
//! `PNDMScheduler` with `skip_prk_steps`) and IPNDM (Zhang & Chen 2022, arXiv:2204.13902; ComfyUI's `ipndm`). The linear
//! multistep method of `lms` is the one for uneven steps.

use candle_core::Tensor;

use super::{Denoise, Stage, Stepped, remember, slope};
use crate::diffusion::DiffusionError;

/// By the number of slopes known, the newest first.
const WEIGHTS: [&[f64]; 4] = [
    &[1.0],
    &[3.0 / 2.0, -1.0 / 2.0],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

/// The first step corrects itself by the slope at its end, which costs one call more.
pub(super) fn step_plms(stage: &mut Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?.clean;
    let newest = slope(stage.x, &denoised, from)?;
    remember(stage.history, newest.clone(), WEIGHTS.len());
    let is_last = stage.index + 2 == stage.schedule.levels.len();
    let direction = if stage.history.len() == 1 && !is_last {
        let guess = (stage.x + (&newest * (to - from))?)?;
        let end = slope(&guess, &denoise(&guess, stage.to)?.clean, to)?;
        ((newest + end)? * 0.5)?
    } else {
        combined(stage.history)?
    };
    Ok(Stepped { x: (stage.x + (direction * (to - from))?)?, denoised })
}

pub(super) fn step_ipndm(stage: &mut Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?.clean;
    remember(stage.history, slope(stage.x, &denoised, from)?, WEIGHTS.len());
    if to == 0.0 {
        return Ok(Stepped { x: denoised.clone(), denoised });
    }
    Ok(Stepped { x: (stage.x + (combined(stage.history)? * (to - from))?)?, denoised })
}

fn combined(slopes: &[Tensor]) -> Result<Tensor, DiffusionError> {
    let weights = WEIGHTS[slopes.len().clamp(1, WEIGHTS.len()) - 1];
    let mut sum = (&slopes[slopes.len() - 1] * weights[0])?;
    for (slope, weight) in slopes.iter().rev().zip(weights).skip(1) {
        sum = (sum + (slope * *weight)?)?;
    }
    Ok(sum)
}
