//! The ancestral step: down a little further than asked, then up again with fresh noise. It is the posterior of DDPM
//! (Ho et al. 2020, equations 6 and 7) and k-diffusion's `euler_ancestral`.

use super::{Denoise, Stage, Stepped, ancestral_split, slope};
use crate::diffusion::DiffusionError;

pub(super) fn step(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?;
    let (down, up) = ancestral_split(from, to);
    let mut x = (stage.x + (slope(stage.x, &denoised, from)? * (down - from))?)?;
    if to > 0.0 {
        x = (x + (stage.draw()? * up)?)?;
    }
    Ok(Stepped { x, denoised })
}
