//! DPM-Solver++ (2M): second order from the predictions of two steps (Lu et al. 2022, arXiv:2211.01095, algorithm 2).

use super::{Denoise, Stage, Stepped};
use crate::diffusion::DiffusionError;

pub(super) fn step(stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let Stage { x, from, to, before, history, .. } = stage;
    let denoised = denoise(x, from)?.clean;
    let last = history.pop();
    history.push(denoised.clone());
    if to.sigma == 0.0 {
        // The exponential integrator's limit; second order would divide by an infinite step.
        return Ok(Stepped { x: denoised.clone(), denoised });
    }
    // Time is the logarithm of the signal-to-noise ratio, -ln(sigma).
    let gap = (from.sigma / to.sigma).ln();
    let target = match (last, before) {
        (Some(last), Some(before)) => {
            let ratio = (before.sigma / from.sigma).ln() / gap;
            let weight = 1.0 / (2.0 * ratio);
            ((&denoised * (1.0 + weight))? - (last * weight)?)?
        }
        _ => denoised.clone(),
    };
    // exp(-gap) = to / from, and 1 - exp(-gap) = -expm1(-gap).
    let x = ((x * (to.sigma / from.sigma))? + (target * -(-gap).exp_m1())?)?;
    Ok(Stepped { x, denoised })
}
