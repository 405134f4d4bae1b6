//! Euler's method on the probability-flow equation (Karras et al. 2022, algorithm 2).

use super::churn::churned;
use super::{Denoise, Stage, Stepped, slope};
use crate::diffusion::DiffusionError;

pub(super) fn step(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (x, from) = churned(&mut stage)?;
    let denoised = denoise(&x, from)?.clean;
    let x = (&x + (slope(&x, &denoised, from.sigma)? * (stage.to.sigma - from.sigma))?)?;
    Ok(Stepped { x, denoised })
}

/// With the noise of the unguided prediction, which lies on the model's manifold (Chung et al. 2024, arXiv:2406.08070,
/// algorithm 2).
pub(super) fn step_cfg_pp(stage: &Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let predicted = denoise(stage.x, stage.from)?;
    let unguided = predicted.unguided.as_ref().unwrap_or(&predicted.clean);
    let x = (&predicted.clean + (slope(stage.x, unguided, stage.from.sigma)? * stage.to.sigma)?)?;
    Ok(Stepped { x, denoised: predicted.clean })
}
