//! SDE-DPM-Solver++ (2M): second order from the predictions of two steps, along a Brownian path (Lu et al. 2022,
//! arXiv:2211.01095, appendix; k-diffusion's `dpmpp_2m_sde` with eta 1, both forms of its correction).

use super::{Denoise, Stage, Stepped, remember};
use crate::diffusion::DiffusionError;

/// The correction by the prediction of the step's middle.
pub(super) fn step_midpoint(stage: &mut Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    step(stage, denoise, |gap| -0.5 * (-2.0 * gap).exp_m1())
}

/// The correction by the prediction's slope over the whole step.
pub(super) fn step_heun(stage: &mut Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    step(stage, denoise, |gap| 1.0 + (-2.0 * gap).exp_m1() / (2.0 * gap))
}

/// `correction`: the weight of the change of the predictions, given the step's length in -ln(sigma).
fn step(stage: &mut Stage, denoise: &mut Denoise, correction: impl Fn(f64) -> f64) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?;
    let last = stage.history.pop();
    remember(stage.history, denoised.clone(), 1);
    if to == 0.0 {
        return Ok(Stepped { x: denoised.clone(), denoised });
    }
    let gap = (from / to).ln();
    // With eta 1 the latents decay twice as fast: once towards the prediction, once to make room for noise.
    let taken = -(-2.0 * gap).exp_m1();
    let mut x = ((stage.x * (to / from * (-gap).exp()))? + (&denoised * taken)?)?;
    if let (Some(last), Some(before)) = (last, stage.before) {
        let ratio = (before.sigma / from).ln() / gap;
        x = (x + ((&denoised - last)? * (correction(gap) / ratio))?)?;
    }
    x = (x + (stage.brownian(from, to)? * (to * taken.sqrt()))?)?;
    Ok(Stepped { x, denoised })
}
