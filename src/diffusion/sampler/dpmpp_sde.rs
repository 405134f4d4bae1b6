//! DPM-Solver++ as a stochastic equation, with a second prediction halfway (Lu et al. 2022, arXiv:2211.01095;
//! k-diffusion's `dpmpp_sde` with r = 1/2).

use super::{Denoise, Stage, Stepped, ancestral_split};
use crate::diffusion::DiffusionError;

pub(super) fn step(stage: &Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let denoised = denoise(stage.x, stage.from)?.clean;
    if to == 0.0 {
        return Ok(Stepped { x: denoised.clone(), denoised });
    }
    let eta = stage.eta;
    let path = PathPoints::of(from, to);
    let middle = (from * to).sqrt();
    let (down, up) = ancestral_split(from, middle, eta);
    let guess = ((stage.x * (down / from))? + (&denoised * (1.0 - down / from))?)?;
    let guess = (guess + (stage.brownian(path.from, path.middle)? * up)?)?;
    let second = denoise(&guess, stage.schedule.level_of(middle))?.clean;

    // With r = 1/2 the second prediction has all the weight.
    let (down, up) = ancestral_split(from, to, eta);
    let x = ((stage.x * (down / from))? + (second * (1.0 - down / from))?)?;
    let x = (x + (stage.brownian(path.from, path.to)? * up)?)?;
    Ok(Stepped { x, denoised })
}

/// Where k-diffusion looks at the Brownian path: its sigmas have been to the logarithm and back in f32, which moves them by
/// a bit, and the path is resolved finely enough to notice.
struct PathPoints {
    from: f64,
    middle: f64,
    to: f64,
}

impl PathPoints {
    fn of(from: f64, to: f64) -> Self {
        let (start, end) = (-(from as f32).ln(), -(to as f32).ln());
        let halfway = start + (end - start) * 0.5;
        let sigma = |time: f32| f64::from((-time).exp());
        Self { from: sigma(start), middle: sigma(halfway), to: sigma(end) }
    }
}
