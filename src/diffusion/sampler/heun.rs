//! Heun's second-order method (Karras et al. 2022, algorithm 2), two evaluations a step and one in the last; with a third
//! slope (ComfyUI's `heunpp2`); and with restarts (Xu et al. 2023, arXiv:2306.14878).

use candle_core::Tensor;

use super::churn::churned;
use super::{Denoise, Stage, Stepped, slope};
use crate::diffusion::DiffusionError;
use crate::diffusion::schedule::NoiseLevel;

pub(super) fn step(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (x, from) = churned(&mut stage)?;
    between(&x, from, stage.to, denoise)
}

/// Before a descent that starts above where the last one ended there is noise to be put on top.
pub(super) fn step_restart(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let mut x = stage.x.clone();
    if let Some(low) = stage.schedule.risen_from(stage.index) {
        let up = (stage.from.sigma * stage.from.sigma - low.sigma * low.sigma).sqrt();
        x = (x + (stage.draw()? * up)?)?;
    }
    between(&x, stage.from, stage.to, denoise)
}

fn between(x: &Tensor, from: NoiseLevel, to: NoiseLevel, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let gap = to.sigma - from.sigma;
    let denoised = denoise(x, from)?.clean;
    let first = slope(x, &denoised, from.sigma)?;
    let guess = (x + (&first * gap)?)?;
    if to.sigma == 0.0 {
        return Ok(Stepped { x: guess, denoised });
    }
    let second = slope(&guess, &denoise(&guess, to)?.clean, to.sigma)?;
    let x = (x + ((first + second)? * (gap / 2.0))?)?;
    Ok(Stepped { x, denoised })
}

/// Three slopes, at this level and the two after it, each weighted by its sigma's share of the highest; two before the
/// last step, one in it.
pub(super) fn step_three_slopes(mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let (x, from) = churned(&mut stage)?;
    let levels = &stage.schedule.levels;
    let (to, highest) = (stage.to, levels[0].sigma);
    let gap = to.sigma - from.sigma;
    let denoised = denoise(&x, from)?.clean;
    let first = slope(&x, &denoised, from.sigma)?;
    let mut guess = (&x + (&first * gap)?)?;
    let left = levels.len() - 1 - stage.index;
    // (weight, slope) of every slope after the first.
    let mut further = Vec::new();
    for ahead in 1..left.min(3) {
        let (here, next) = (levels[stage.index + ahead], levels[stage.index + ahead + 1]);
        let at = slope(&guess, &denoise(&guess, here)?.clean, here.sigma)?;
        if ahead + 1 < left.min(3) {
            guess = (&guess + (&at * (next.sigma - here.sigma))?)?;
        }
        further.push((here.sigma / (left.min(3) as f64 * highest), at));
    }
    let mut direction = (first * (1.0 - further.iter().map(|(weight, _)| weight).sum::<f64>()))?;
    for (weight, at) in further {
        direction = (direction + (at * weight)?)?;
    }
    Ok(Stepped { x: (x + (direction * gap)?)?, denoised })
}
