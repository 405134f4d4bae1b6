//! SDE-DPM-Solver++ (2M): second order from the predictions of two steps, along a Brownian path (Lu et al. 2022,
//! arXiv:2211.01095, appendix; k-diffusion's `dpmpp_2m_sde`, both forms of its correction).

use super::{Denoise, Stage, Stepped, remember};
use crate::diffusion::DiffusionError;

/// The correction by the prediction of the step's middle.
pub(super) fn step_midpoint(stage: &mut Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    step(stage, denoise, |decay| -0.5 * (-decay).exp_m1())
}

/// The correction by the prediction's slope over the whole step.
pub(super) fn step_heun(stage: &mut Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    step(stage, denoise, |decay| 1.0 + (-decay).exp_m1() / decay)
}

/// `correction`: the weight of the change of the predictions, given how far the latents decay.
fn step(stage: &mut Stage, denoise: &mut Denoise, correction: impl Fn(f64) -> f64) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?.clean;
    let last = stage.history.pop();
    remember(stage.history, denoised.clone(), 1);
    if to == 0.0 {
        return Ok(Stepped { x: denoised.clone(), denoised });
    }
    let gap = (from / to).ln();
    // The latents decay towards the prediction, and by eta again to make room for noise.
    let eta = stage.eta;
    let decay = gap * (1.0 + eta);
    let mut x = ((stage.x * (to / from * (-gap * eta).exp()))? - (&denoised * (-decay).exp_m1())?)?;
    if let (Some(last), Some(before)) = (last, stage.before) {
        let ratio = (before.sigma / from).ln() / gap;
        x = (x + ((&denoised - last)? * (correction(decay) / ratio))?)?;
    }
    if eta > 0.0 {
        x = (x + (stage.brownian(from, to)? * (to * (-(-2.0 * eta * gap).exp_m1()).sqrt()))?)?;
    }
    Ok(Stepped { x, denoised })
}
