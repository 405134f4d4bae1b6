//! DPM-Solver++ (2S), single step, with ancestral noise (Lu et al. 2022, arXiv:2211.01095, algorithm 1; k-diffusion's
//! `dpmpp_2s_ancestral`).

use super::{Denoise, Stage, Stepped, ancestral_split};
use crate::diffusion::DiffusionError;

pub(super) fn step(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let from = stage.from.sigma;
    let denoised = denoise(stage.x, stage.from)?.clean;
    let (down, up) = ancestral_split(from, stage.to.sigma, stage.eta);
    if down == 0.0 {
        // Euler's step to no noise is the prediction itself.
        return Ok(Stepped { x: denoised.clone(), denoised });
    }
    // Time is -ln(sigma); both halves keep sigma' / sigma of the latents and take the rest from a prediction.
    let middle = (from * down).sqrt();
    let towards = |to: f64| (to / from, 1.0 - to / from);
    let (kept, taken) = towards(middle);
    let guess = ((stage.x * kept)? + (&denoised * taken)?)?;
    let second = denoise(&guess, stage.schedule.level_of(middle))?.clean;
    let (kept, taken) = towards(down);
    let x = ((stage.x * kept)? + (second * taken)?)?;
    Ok(Stepped { x: (x + (stage.draw()? * up)?)?, denoised })
}
