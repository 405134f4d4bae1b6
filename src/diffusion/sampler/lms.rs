//! Linear multistep: the Adams-Bashforth method on uneven levels, up to order four (k-diffusion's `lms`).

use super::{Denoise, Stage, Stepped, remember, slope};
use crate::diffusion::DiffusionError;

const ORDER: usize = 4;

pub(super) fn step(stage: &mut Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let denoised = denoise(stage.x, stage.from)?.clean;
    remember(stage.history, slope(stage.x, &denoised, stage.from.sigma)?, ORDER);
    let order = stage.history.len();
    let sigmas: Vec<f64> = (0..order).map(|back| stage.sigma_before(back)).collect();
    let mut x = stage.x.clone();
    for (back, slope) in stage.history.iter().rev().enumerate() {
        x = (x + (slope * weight(&sigmas, back, stage.to.sigma))?)?;
    }
    Ok(Stepped { x, denoised })
}

/// The integral of the `which`-th Lagrange polynomial over `sigmas` from the first of them to `to`. Gauss' formula with two
/// points is exact for its degree, three at most.
fn weight(sigmas: &[f64], which: usize, to: f64) -> f64 {
    let polynomial = |tau: f64| -> f64 {
        let others = sigmas.iter().enumerate().filter(|(k, _)| *k != which);
        others.map(|(_, sigma)| (tau - sigma) / (sigmas[which] - sigma)).product()
    };
    let (middle, half) = (0.5 * (to + sigmas[0]), 0.5 * (to - sigmas[0]));
    let offset = half / 3.0_f64.sqrt();
    half * (polynomial(middle - offset) + polynomial(middle + offset))
}
