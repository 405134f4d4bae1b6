//! The ancestral step: down a little further than asked, then up again with fresh noise. With eta 1 it is the posterior of
//! DDPM (Ho et al. 2020, equations 6 and 7) and k-diffusion's `euler_ancestral`, with any eta DDIM's step (Song et al.
//! 2020, arXiv:2010.02502, equations 12 and 16).

use super::{Denoise, Stage, Stepped, ancestral_split, slope};
use crate::diffusion::DiffusionError;

pub(super) fn step(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?.clean;
    let (down, up) = ancestral_split(from, to, stage.eta);
    let mut x = (stage.x + (slope(stage.x, &denoised, from)? * (down - from))?)?;
    if up > 0.0 {
        x = (x + (stage.draw()? * up)?)?;
    }
    Ok(Stepped { x, denoised })
}
