//! Latent consistency models: jump to the prediction, then up again with fresh noise (Luo et al. 2023, arXiv:2310.04378,
//! algorithm 3; diffusers' `LCMScheduler`). Needs a model distilled for it.

use super::{Denoise, Stage, Stepped};
use crate::diffusion::DiffusionError;

/// The deviation of data that the boundary condition assumes, and the factor on its timesteps (diffusers' defaults).
const DATA_DEVIATION: f64 = 0.5;
const TIMESTEP_SCALE: f64 = 10.0;

pub(super) fn step(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let denoised = denoise(stage.x, stage.from)?.clean;
    let (time, deviation) = (stage.from.timestep * TIMESTEP_SCALE, DATA_DEVIATION);
    let square = time * time + deviation * deviation;
    let (kept, taken) = (deviation * deviation / square, time / square.sqrt());
    // The condition is on latents of unit variance.
    let kept = kept / (1.0 + stage.from.sigma * stage.from.sigma).sqrt();
    let mut x = ((&denoised * taken)? + (stage.x * kept)?)?;
    if stage.to.sigma > 0.0 {
        x = (x + (stage.draw()? * stage.to.sigma)?)?;
    }
    Ok(Stepped { x, denoised })
}
