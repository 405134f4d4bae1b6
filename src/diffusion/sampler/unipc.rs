//! UniPC: a predictor of second order and a corrector that costs no further call, as it reuses the next step's (Zhao et
//! al. 2023, arXiv:2302.04867, algorithms 5 and 6 for predicted data; the form of diffusers' `UniPCMultistepScheduler`).

use candle_core::Tensor;

use super::{Denoise, Stage, Stepped};
use crate::diffusion::DiffusionError;

const ORDER: usize = 2;

/// The function B(h) that the method is free to choose.
#[derive(Clone, Copy)]
pub(super) enum Variant {
    /// `B(h) = h`.
    Bh1,
    /// `B(h) = exp(h) - 1`.
    Bh2,
}

/// Moves over `-ln(sigma)` by a step of this length.
struct Coefficients {
    /// `exp(-h) - 1`.
    phi_1: f64,
    /// `B(-h)`.
    b_h: f64,
    /// The right side of the paper's linear system, of two equations.
    b: [f64; 2],
}

impl Coefficients {
    fn new(variant: Variant, length: f64) -> Self {
        let hh = -length;
        let phi_1 = hh.exp_m1();
        let b_h = match variant {
            Variant::Bh1 => hh,
            Variant::Bh2 => phi_1,
        };
        let phi_2 = phi_1 / hh - 1.0;
        let phi_3 = phi_2 / hh - 0.5;
        Self { phi_1, b_h, b: [phi_2 / b_h, 2.0 * phi_3 / b_h] }
    }
}

/// The history holds the latents where the last step started, corrected, then its prediction, after that of the step
/// before it.
pub(super) fn step(stage: &mut Stage, variant: Variant, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let denoised = denoise(stage.x, stage.from)?.clean;
    let x = match stage.history.as_slice() {
        [] => stage.x.clone(),
        [start, predictions @ ..] => correct(stage, variant, start, predictions, &denoised)?,
    };
    let last = stage.history.pop();
    stage.history.clear();
    stage.history.push(x.clone());
    stage.history.extend(last.clone());
    stage.history.push(denoised.clone());
    if stage.to.sigma == 0.0 {
        // The exponential integrator's limit.
        return Ok(Stepped { x: denoised.clone(), denoised });
    }
    let (from, to) = (stage.from.sigma, stage.to.sigma);
    let length = (from / to).ln();
    let c = Coefficients::new(variant, length);
    let mut next = ((&x * (to / from))? - (&denoised * c.phi_1)?)?;
    let steps_left = stage.schedule.levels.len() - 1 - stage.index;
    if let (Some(last), true) = (last, steps_left >= ORDER) {
        let ratio = (from / stage.sigma_before(1)).ln() / length;
        // With second order the system's solution is near one half, which diffusers takes.
        next = (next - ((last - &denoised)? * (0.5 * c.b_h / ratio))?)?;
    }
    Ok(Stepped { x: next, denoised })
}

/// The last step again, now that the prediction at its end is known.
fn correct(
    stage: &Stage,
    variant: Variant,
    start: &Tensor,
    predictions: &[Tensor],
    at_end: &Tensor,
) -> Result<Tensor, DiffusionError> {
    let Some((newest, earlier)) = predictions.split_last() else { return Ok(stage.x.clone()) };
    let (from, to) = (stage.sigma_before(1), stage.from.sigma);
    let length = (from / to).ln();
    let c = Coefficients::new(variant, length);
    let x = ((start * (to / from))? - (newest * c.phi_1)?)?;
    let change = (at_end - newest)?;
    let bend = match earlier.last() {
        None => (change * 0.5)?,
        Some(older) => {
            // Two equations: a + b = b_1, ratio a + b = b_2.
            let ratio = (from / stage.sigma_before(2)).ln() / length;
            let a = (c.b[1] - c.b[0]) / (ratio - 1.0);
            (((older - newest)? * (a / ratio))? + (change * (c.b[0] - a))?)?
        }
    };
    Ok((x - (bend * c.b_h)?)?)
}
