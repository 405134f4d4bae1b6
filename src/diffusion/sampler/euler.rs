//! Euler's method on the probability-flow equation (Karras et al. 2022, algorithm 2 without churn), and with it DDIM.

use super::{Denoise, Stage, Stepped, slope};
use crate::diffusion::DiffusionError;

pub(super) fn step(stage: &Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let Stage { x, from, to, .. } = stage;
    let denoised = denoise(x, *from)?;
    let x = (*x + (slope(x, &denoised, from.sigma)? * (to.sigma - from.sigma))?)?;
    Ok(Stepped { x, denoised })
}
