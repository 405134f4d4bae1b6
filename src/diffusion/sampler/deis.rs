//! DEIS: the slope as a polynomial in ln(sigma) through those of two steps, integrated exactly (Zhang & Chen 2022,
//! arXiv:2204.13902, the log-rho form; diffusers' `DEISMultistepScheduler` with its default order of two).

use super::{Denoise, Stage, Stepped, remember, slope};
use crate::diffusion::DiffusionError;

const ORDER: usize = 2;
/// With fewer steps the last one is of first order (diffusers' `lower_order_final`).
const FEW_STEPS: usize = 15;

pub(super) fn step(stage: &mut Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?.clean;
    let newest = slope(stage.x, &denoised, from)?;
    let last = stage.history.last().cloned();
    remember(stage.history, newest.clone(), ORDER - 1);
    let steps = stage.schedule.levels.len() - 1;
    let is_plain = to == 0.0 || (steps < FEW_STEPS && stage.index + 1 == steps);
    let Some(last) = last.filter(|_| !is_plain) else {
        // Euler's step: one slope, few steps, or no logarithm of where it leads.
        return Ok(Stepped { x: (stage.x + (newest * (to - from))?)?, denoised });
    };
    let before = stage.sigma_before(1);
    let x = (stage.x + (newest * weight(from, before, from, to))?)?;
    let x = (x + (last * weight(before, from, from, to))?)?;
    Ok(Stepped { x, denoised })
}

/// The integral from `from` to `to` of the line in ln(sigma) that is 1 at sigma `at` and 0 at sigma `other`.
fn weight(at: f64, other: f64, from: f64, to: f64) -> f64 {
    let integral = |sigma: f64| sigma * (sigma.ln() - 1.0 - other.ln());
    (integral(to) - integral(from)) / (at.ln() - other.ln())
}
