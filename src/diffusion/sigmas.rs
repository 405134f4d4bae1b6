//! Where the web UIs put a picture's noise levels: formulas over the trained sigmas, noisiest first, the end included.
//!
//! Sources: k-diffusion's `get_sigmas_*`, A1111's `modules/sd_schedulers.py`, ComfyUI's `comfy/samplers.py`; the papers are
//! named in [`ScheduleKind`]. All in f64.

use crate::request::ScheduleKind;

/// Stable Diffusion 1.5's sigmas (Sabour et al. 2024; research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html).
const ALIGN_YOUR_STEPS: [f64; 11] = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029];
/// Stable Diffusion XL's, from the same page.
const ALIGN_YOUR_STEPS_XL: [f64; 11] = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029];
/// Both parameters of the beta distribution, A1111's and ComfyUI's default.
const BETA_SHAPE: f64 = 0.6;
/// The share of the noise that linear-quadratic's straight half takes away (Mochi 1).
const LINEAR_SHARE: f64 = 0.025;

/// The sigmas of `n` steps of a schedule that does not look at the model's settings; `None` for one that does. `trained`
/// are the model's, by timestep, rising.
pub(super) fn sigmas(kind: ScheduleKind, trained: &[f64], n: usize) -> Option<Vec<f64>> {
    let (low, high) = (trained[0], trained[trained.len() - 1]);
    let top = (trained.len() - 1) as f64;
    let sigmas: Vec<f64> = match kind {
        ScheduleKind::Model | ScheduleKind::Automatic => return None,
        // Ends at the lowest trained level: the theorem's last level is where data begins.
        ScheduleKind::KlOptimal => return Some(line(high.atan(), low.atan(), n + 1).map(f64::tan).collect()),
        ScheduleKind::Karras => karras(low, high, n),
        // A1111's rho for the polynomial is 1.
        ScheduleKind::Exponential | ScheduleKind::Polyexponential => {
            line(high.ln(), low.ln(), n).map(f64::exp).collect()
        }
        ScheduleKind::SgmUniform => line(top, 0.0, n + 1).take(n).map(|t| sigma_at(trained, t)).collect(),
        ScheduleKind::Normal => line(top, 0.0, n).map(|t| sigma_at(trained, t)).collect(),
        ScheduleKind::AlignYourSteps => line(0.0, 1.0, n).map(|share| between(&ALIGN_YOUR_STEPS, share)).collect(),
        ScheduleKind::AlignYourStepsXl => line(0.0, 1.0, n).map(|share| between(&ALIGN_YOUR_STEPS_XL, share)).collect(),
        ScheduleKind::Simple => {
            let stride = trained.len() as f64 / n as f64;
            (0..n).map(|i| trained[trained.len() - 1 - (i as f64 * stride) as usize]).collect()
        }
        ScheduleKind::DdimUniform => {
            let stride = (trained.len() / n).max(1);
            let mut rising: Vec<f64> = trained.iter().skip(1).step_by(stride).copied().collect();
            rising.reverse();
            rising
        }
        ScheduleKind::Beta => line(1.0, 0.0, n).map(|share| low + beta_quantile(share) * (high - low)).collect(),
        ScheduleKind::LinearQuadratic => (0..n).map(|i| high * (1.0 - linear_quadratic(i, n))).collect(),
    };
    Some(sigmas.into_iter().chain([0.0]).collect())
}

/// `n` even points from `from` to `to`; one point is `from`.
fn line(from: f64, to: f64, n: usize) -> impl Iterator<Item = f64> {
    (0..n).map(move |i| from + (to - from) * i as f64 / (n.max(2) - 1) as f64)
}

/// Karras et al. 2022, equation 5 with rho 7, without the final zero.
pub(super) fn karras(low: f64, high: f64, n: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    line(high.powf(1.0 / RHO), low.powf(1.0 / RHO), n).map(|root| root.powf(RHO)).collect()
}

/// The sigma of a timestep, interpolated on its logarithm (k-diffusion's `t_to_sigma`).
fn sigma_at(trained: &[f64], timestep: f64) -> f64 {
    let below = (timestep as usize).min(trained.len() - 1);
    let above = (below + 1).min(trained.len() - 1);
    let part = timestep - below as f64;
    (trained[below].ln() * (1.0 - part) + trained[above].ln() * part).exp()
}

/// A table, interpolated on its logarithm at `share` of its length.
fn between(table: &[f64; 11], share: f64) -> f64 {
    let last = table.len() - 1;
    let place = share * last as f64;
    let knot = (place as usize).min(last - 1);
    let part = place - knot as f64;
    (table[knot].ln() * (1.0 - part) + table[knot + 1].ln() * part).exp()
}

/// How much of the noise is gone before step `i` of `n`: half of the steps take a little in even parts, a parabola of the
/// same slope takes the rest.
fn linear_quadratic(i: usize, n: usize) -> f64 {
    if n < 2 {
        return 0.0;
    }
    let straight = (n / 2) as f64;
    let curved = n as f64 - straight;
    let slope = LINEAR_SHARE / straight;
    let past = i as f64 - straight;
    if past < 0.0 {
        return slope * i as f64;
    }
    let curvature = (1.0 - LINEAR_SHARE - slope * curved) / (curved * curved);
    LINEAR_SHARE + slope * past + curvature * past * past
}

/// The quantile of the symmetric beta distribution, found by halving.
fn beta_quantile(share: f64) -> f64 {
    // The distribution is its own mirror image; the series converges fast below the middle.
    if share > 0.5 {
        return 1.0 - beta_quantile(1.0 - share);
    }
    // The half of the integral that its symmetry gives.
    let whole = 2.0 * beta_integral(0.5);
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if beta_integral(middle) < share * whole {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The integral of `t^(a-1) (1-t)^(a-1)` from 0 to `x <= 1/2`, by the binomial series of the second factor.
fn beta_integral(x: f64) -> f64 {
    let mut coefficient = 1.0;
    let mut sum = 0.0;
    // The terms fall at least as 2^-k.
    for k in 0..64 {
        sum += coefficient * x.powi(k) / (BETA_SHAPE + f64::from(k));
        coefficient *= (f64::from(k) + 1.0 - BETA_SHAPE) / (f64::from(k) + 1.0);
    }
    sum * x.powf(BETA_SHAPE)
}
