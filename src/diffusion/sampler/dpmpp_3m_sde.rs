//! SDE-DPM-Solver++ (3M): third order from the predictions of three steps, along a Brownian path (k-diffusion's
//! `dpmpp_3m_sde`).

use super::{Denoise, Stage, Stepped, remember};
use crate::diffusion::DiffusionError;

pub(super) fn step(stage: &mut Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?.clean;
    let earlier: Vec<_> = stage.history.iter().rev().cloned().collect();
    remember(stage.history, denoised.clone(), 2);
    if to == 0.0 {
        return Ok(Stepped { x: denoised.clone(), denoised });
    }
    let length = |back: usize| (stage.sigma_before(back) / stage.sigma_before(back - 1)).ln();
    let gap = (from / to).ln();
    // The latents decay towards the prediction, and by eta again to make room for noise.
    let eta = stage.eta;
    let decay = gap * (1.0 + eta);
    let taken = -(-decay).exp_m1();
    let mut x = ((stage.x * (-decay).exp())? + (&denoised * taken)?)?;
    // The exponential integrator's functions of second and third order.
    let phi_2 = 1.0 - taken / decay;
    let phi_3 = phi_2 / decay - 0.5;
    match earlier.as_slice() {
        [] => {}
        [last] => {
            let change = ((&denoised - last)? * (gap / length(1)))?;
            x = (x + (change * phi_2)?)?;
        }
        [last, older, ..] => {
            let (r0, r1) = (length(1) / gap, length(2) / gap);
            let newest = ((&denoised - last)? * (1.0 / r0))?;
            let before = ((last - older)? * (1.0 / r1))?;
            let bend = (&newest - before)?;
            let first = (newest + (&bend * (r0 / (r0 + r1)))?)?;
            let second = (bend * (1.0 / (r0 + r1)))?;
            x = ((x + (first * phi_2)?)? - (second * phi_3)?)?;
        }
    }
    if eta > 0.0 {
        x = (x + (stage.brownian(from, to)? * (to * (-(-2.0 * eta * gap).exp_m1()).sqrt()))?)?;
    }
    Ok(Stepped { x, denoised })
}
