//! DPM-Solver in the variance-exploding form: leaps of first to third order over time, which is -ln(sigma) (Lu et al. 2022,
//! arXiv:2206.00927, algorithms 1, 2, 4 and 5; k-diffusion's `dpm_fast` and `dpm_adaptive`).

use candle_core::Tensor;

use super::{Denoise, Pace, Stage, Stepped, ancestral_split, slope};
use crate::diffusion::DiffusionError;

/// Tolerances of the adaptive solver: relative, and absolute for latents of about unit size (the paper's 0.0078).
const RELATIVE: f64 = 0.05;
const ABSOLUTE: f64 = 0.0078;
/// A leap is taken when its error wants the next one to be at least this long.
const ACCEPTED: f64 = 0.81;
/// Keeps a leap without any error from being followed by an endless one.
const LEAST_ERROR: f64 = 1e-8;
/// Near enough to the end of time.
const AT_END: f64 = 1e-5;

/// A leap from one time to another.
struct Leap {
    from: f64,
    to: f64,
}

impl Leap {
    fn length(&self) -> f64 {
        self.to - self.from
    }

    fn time(&self, share: f64) -> f64 {
        self.from + share * self.length()
    }

    /// By how much of its slope the latents move in the first `share` of the leap.
    fn move_by(&self, share: f64) -> f64 {
        sigma(self.time(share)) * (share * self.length()).exp_m1()
    }
}

/// One leap of the planned order.
pub(super) fn step_fast(mut stage: Stage, order: u8, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    let levels = &stage.schedule.levels;
    let end = time(levels[levels.len() - 1].sigma);
    let (leap, up) = ancestral_leap(&stage, time(stage.from.sigma), time(stage.to.sigma), end);
    let denoised = denoise(stage.x, stage.from)?.clean;
    let first = slope(stage.x, &denoised, stage.from.sigma)?;
    let x = match order {
        1 => first_order(stage.x, &first, &leap)?,
        2 => {
            let middle = slope_after(stage.x, &first, &leap, 0.5, &stage, denoise)?;
            second_order(stage.x, &first, &middle, &leap, 0.5)?
        }
        _ => third_order(stage.x, &first, None, &leap, &stage, denoise)?,
    };
    let noise = stage.draw()?;
    Ok(Stepped { x: (x + (noise * up)?)?, denoised })
}

/// Leaps until one is short enough for its error. The history holds the lower-order result of the leap before.
pub(super) fn step_adaptive(
    stage: &mut Stage,
    pace: &mut Pace,
    denoise: &mut Denoise,
) -> Result<Stepped, DiffusionError> {
    let levels = &stage.schedule.levels;
    let end = time(levels[levels.len() - 1].sigma);
    let here = stage.schedule.level_of(sigma(pace.time));
    let denoised = denoise(stage.x, here)?.clean;
    let first = slope(stage.x, &denoised, here.sigma)?;
    let order = if stage.eta > 0.0 { 1.5 } else { 3.0 };
    loop {
        let next = end.min(pace.time + pace.length);
        let (leap, up) = ancestral_leap(stage, pace.time, next, end);
        let third = slope_after(stage.x, &first, &leap, 1.0 / 3.0, stage, denoise)?;
        let low = second_order(stage.x, &first, &third, &leap, 1.0 / 3.0)?;
        let high = third_order(stage.x, &first, Some(third), &leap, stage, denoise)?;
        let error = error(&low, &high, stage.history.last().unwrap_or(stage.x))?;
        let factor = (1.0 / (error + LEAST_ERROR)).powf(1.0 / order);
        // Söderlind's limiter.
        let factor = 1.0 + (factor - 1.0).atan();
        pace.length *= factor;
        if !pace.length.is_finite() || !error.is_finite() {
            // The caller looks at the latents, finds what they hold, and says so.
            return Ok(Stepped { x: high, denoised });
        }
        if factor >= ACCEPTED {
            pace.time = next;
            stage.history.clear();
            stage.history.push(low);
            let noise = stage.draw()?;
            return Ok(Stepped { x: (high + (noise * up)?)?, denoised });
        }
    }
}

/// True when there is no time left.
pub(super) fn is_done(pace: &Pace, last_sigma: f64) -> bool {
    pace.time >= time(last_sigma) - AT_END
}

/// How many leaps of this length are left.
pub(super) fn leaps_left(pace: &Pace, last_sigma: f64) -> usize {
    if is_done(pace, last_sigma) {
        0
    } else {
        ((time(last_sigma) - pace.time) / pace.length).ceil().clamp(1.0, 1e4) as usize
    }
}

pub(super) fn time(sigma: f64) -> f64 {
    -sigma.ln()
}

pub(super) fn sigma(time: f64) -> f64 {
    (-time).exp()
}

/// The leap without noise, and how much noise leads up to `to` again.
fn ancestral_leap(stage: &Stage, from: f64, to: f64, end: f64) -> (Leap, f64) {
    if stage.eta == 0.0 {
        return (Leap { from, to }, 0.0);
    }
    let (down, _) = ancestral_split(sigma(from), sigma(to), stage.eta);
    let further = time(down).min(end);
    let up = (sigma(to).powi(2) - sigma(further).powi(2)).max(0.0).sqrt();
    (Leap { from, to: further }, up)
}

fn first_order(x: &Tensor, first: &Tensor, leap: &Leap) -> Result<Tensor, DiffusionError> {
    Ok((x - (first * leap.move_by(1.0))?)?)
}

/// The slope at `share` of the leap, reached along the first one.
fn slope_after(
    x: &Tensor,
    first: &Tensor,
    leap: &Leap,
    share: f64,
    stage: &Stage,
    denoise: &mut Denoise,
) -> Result<Tensor, DiffusionError> {
    let guess = (x - (first * leap.move_by(share))?)?;
    slope_at(&guess, leap.time(share), stage, denoise)
}

fn slope_at(x: &Tensor, time: f64, stage: &Stage, denoise: &mut Denoise) -> Result<Tensor, DiffusionError> {
    let level = stage.schedule.level_of(sigma(time));
    Ok(slope(x, &denoise(x, level)?.clean, level.sigma)?)
}

/// Given the slope at `share` of the leap.
fn second_order(x: &Tensor, first: &Tensor, at: &Tensor, leap: &Leap, share: f64) -> Result<Tensor, DiffusionError> {
    let change = ((at - first)? * (leap.move_by(1.0) / (2.0 * share)))?;
    Ok((first_order(x, first, leap)? - change)?)
}

/// Through both thirds; `third` is the slope at the first of them, where it is known.
fn third_order(
    x: &Tensor,
    first: &Tensor,
    third: Option<Tensor>,
    leap: &Leap,
    stage: &Stage,
    denoise: &mut Denoise,
) -> Result<Tensor, DiffusionError> {
    const SHARES: (f64, f64) = (1.0 / 3.0, 2.0 / 3.0);
    let third = match third {
        Some(third) => third,
        None => slope_after(x, first, leap, SHARES.0, stage, denoise)?,
    };
    // (exp(h) - 1) / h - 1 over a share of the leap.
    let bend = |share: f64| (share * leap.length()).exp_m1() / (share * leap.length()) - 1.0;
    let change = ((third - first)? * (sigma(leap.time(SHARES.1)) * SHARES.1 / SHARES.0 * bend(SHARES.1)))?;
    let guess = ((x - (first * leap.move_by(SHARES.1))?)? - change)?;
    let two_thirds = slope_at(&guess, leap.time(SHARES.1), stage, denoise)?;
    let change = ((two_thirds - first)? * (sigma(leap.to) / SHARES.1 * bend(1.0)))?;
    Ok((first_order(x, first, leap)? - change)?)
}

/// How far two results lie apart: the root mean square over what is tolerated.
fn error(low: &Tensor, high: &Tensor, before: &Tensor) -> Result<f64, DiffusionError> {
    let tolerated = (low.abs()?.maximum(&before.abs()?)? * RELATIVE)?.maximum(ABSOLUTE)?;
    let square = ((low - high)? / tolerated)?.sqr()?.mean_all()?.to_scalar::<f32>()?;
    Ok(f64::from(square).sqrt())
}
