//! Trajectory consistency distillation: down past the next level, then up to it with fresh noise (Zheng et al. 2024,
//! arXiv:2402.19159, algorithm 4; diffusers' `TCDScheduler`). Needs a model distilled for it.

use super::{Denoise, Stage, Stepped, slope};
use crate::diffusion::DiffusionError;

pub(super) fn step(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?.clean;
    if to == 0.0 {
        return Ok(Stepped { x: denoised.clone(), denoised });
    }
    // Eta is how far past, as a share of the timestep; "gamma" in the paper.
    let past = ((1.0 - stage.eta) * stage.to.timestep).floor();
    let down = stage.schedule.level_at(past).sigma.min(to);
    let mut x = (stage.x + (slope(stage.x, &denoised, from)? * (down - from))?)?;
    if stage.index + 2 < stage.schedule.levels.len() {
        x = (x + (stage.draw()? * (to * to - down * down).sqrt())?)?;
    }
    Ok(Stepped { x, denoised })
}
