//! Churn: fresh noise on top of the latents before a step, so that the step starts higher (Karras et al. 2022,
//! arXiv:2206.00364, algorithm 2, lines 4 to 6).

use candle_core::Tensor;

use super::Stage;
use crate::diffusion::DiffusionError;
use crate::diffusion::schedule::NoiseLevel;

/// The latents and the level that the step really starts from.
pub(super) fn churned(stage: &mut Stage) -> Result<(Tensor, NoiseLevel), DiffusionError> {
    let (options, from) = (stage.options, stage.from);
    if options.churn() == 0.0 {
        return Ok((stage.x.clone(), from));
    }
    // k-diffusion draws in every step, whether its noise is wanted or not.
    let noise = stage.draw()?;
    let steps = (stage.schedule.levels.len() - 1) as f64;
    let share = (options.churn() / steps).min(std::f64::consts::SQRT_2 - 1.0);
    if !(options.churn_from()..=options.churn_to()).contains(&from.sigma) || share == 0.0 {
        return Ok((stage.x.clone(), from));
    }
    let higher = from.sigma * (1.0 + share);
    let x = (stage.x + (noise * (higher * higher - from.sigma * from.sigma).sqrt())?)?;
    Ok((x, stage.schedule.level_of(higher)))
}
