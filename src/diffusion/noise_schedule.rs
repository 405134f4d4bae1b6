//! The noise levels: from the betas that a model was trained with to the list that a sampler visits.
//!
//! Everything is kept in the variance-exploding form `x = x0 + sigma * noise`, `sigma = sqrt((1 - a) / a)` with a the
//! cumulative product of `1 - beta` (Karras et al. 2022, arXiv:2206.00364). The grids are those of diffusers' schedulers,
//! so that a seed gives diffusers' picture; all in f64.

use std::sync::Arc;

use serde::Deserialize;

use super::DiffusionError;
use super::prediction::Prediction;
use super::schedule::{NoiseLevel, Plan, Schedule};
use super::sigmas::sigmas;
use crate::request::{PredictionOverride, SamplerKind, ScheduleKind, Sigmas, Steps};

const PART: &str = "scheduler";

/// `scheduler/scheduler_config.json`, with diffusers' defaults for what it leaves out.
#[derive(Debug, Clone, Deserialize)]
pub struct SchedulerConfig {
    #[serde(default = "train_timesteps")]
    num_train_timesteps: usize,
    #[serde(default = "beta_start")]
    beta_start: f64,
    #[serde(default = "beta_end")]
    beta_end: f64,
    #[serde(default = "linear")]
    beta_schedule: String,
    #[serde(default)]
    trained_betas: Option<Vec<f64>>,
    #[serde(default = "epsilon")]
    prediction_type: String,
    #[serde(default)]
    timestep_spacing: Option<String>,
    #[serde(default = "steps_offset")]
    steps_offset: usize,
    #[serde(default = "yes")]
    set_alpha_to_one: bool,
    #[serde(default)]
    rescale_betas_zero_snr: bool,
}

fn train_timesteps() -> usize {
    1000
}
fn beta_start() -> f64 {
    0.0001
}
fn beta_end() -> f64 {
    0.02
}
fn linear() -> String {
    "linear".to_owned()
}
// 0 in the scheduler classes, but the Stable Diffusion pipelines of diffusers set it to 1.
fn steps_offset() -> usize {
    1
}
fn epsilon() -> String {
    "epsilon".to_owned()
}
fn yes() -> bool {
    true
}

impl SchedulerConfig {
    /// As if this were what the configuration says to be predicted.
    #[must_use]
    pub fn with_prediction(self, prediction: PredictionOverride) -> Self {
        let name = match prediction {
            PredictionOverride::Epsilon => "epsilon",
            PredictionOverride::V => "v_prediction",
        };
        Self { prediction_type: name.to_owned(), ..self }
    }

    /// A schedule is a list in memory: numbers that no training has used are a damaged file.
    fn check_counts(&self) -> Result<(), DiffusionError> {
        const MOST_TIMESTEPS: usize = 100_000;
        let count = self.trained_betas.as_ref().map_or(self.num_train_timesteps, Vec::len);
        let problem = if !(2..=MOST_TIMESTEPS).contains(&count) {
            format!("num_train_timesteps is {count}, not a number from 2 to {MOST_TIMESTEPS}")
        } else if self.steps_offset >= count {
            format!("steps_offset is {}, beyond the {count} trained timesteps", self.steps_offset)
        } else {
            return Ok(());
        };
        Err(DiffusionError::Config { part: PART, problem })
    }
}

/// How the visited timesteps are spread over the trained ones (Lin et al. 2023, arXiv:2305.08891, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spacing {
    Leading,
    Linspace,
    Trailing,
}

/// The levels that a model was trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseSchedule {
    /// By timestep, rising; shared by the schedules made of it.
    sigmas: Arc<[f64]>,
    /// None where the folder leaves it out: each sampler then has diffusers' default for it.
    spacing: Option<Spacing>,
    steps_offset: usize,
    ends_at_zero: bool,
    prediction: Prediction,
}

impl NoiseSchedule {
    /// Computes the trained levels.
    ///
    /// # Errors
    /// When the configuration names something unknown or holds impossible betas.
    pub fn new(config: &SchedulerConfig) -> Result<Self, DiffusionError> {
        let prediction = Prediction::from_name(&config.prediction_type).ok_or_else(|| DiffusionError::Unsupported {
            part: PART,
            key: "prediction_type",
            found: config.prediction_type.clone(),
            known: "epsilon, v_prediction",
        })?;
        let spacing = match config.timestep_spacing.as_deref() {
            None => None,
            Some("leading") => Some(Spacing::Leading),
            Some("linspace") => Some(Spacing::Linspace),
            Some("trailing") => Some(Spacing::Trailing),
            Some(other) => {
                return Err(DiffusionError::Unsupported {
                    part: PART,
                    key: "timestep_spacing",
                    found: other.to_owned(),
                    known: "leading, linspace, trailing",
                });
            }
        };
        config.check_counts()?;
        let mut kept = kept_shares(&betas(config)?);
        if config.rescale_betas_zero_snr {
            lead_to_zero(&mut kept);
        }
        let sigmas: Arc<[f64]> = kept.into_iter().map(|a| ((1.0 - a) / a).sqrt()).collect();
        if sigmas.len() < 2 || !sigmas.iter().all(|s| s.is_finite()) || !sigmas.is_sorted_by(|a, b| a < b) {
            let problem = "the betas do not give a rising, finite list of noise levels".to_owned();
            return Err(DiffusionError::Config { part: PART, problem });
        }
        Ok(Self {
            sigmas,
            spacing,
            steps_offset: config.steps_offset,
            ends_at_zero: config.set_alpha_to_one,
            prediction,
        })
    }

    /// What the model's output means.
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// The levels that `sampler` visits in `steps` steps.
    ///
    /// # Errors
    /// When there are not as many different levels as steps.
    pub fn schedule(&self, kind: ScheduleKind, sampler: SamplerKind, steps: Steps) -> Result<Schedule, DiffusionError> {
        let n = steps.get() as usize;
        let kind = match kind.resolved_for(sampler) {
            // These plan their own way between the ends of the trained range.
            ScheduleKind::Model if matches!(sampler, SamplerKind::DpmFast | SamplerKind::DpmAdaptive) => {
                ScheduleKind::Normal
            }
            kind => kind,
        };
        let levels = match kind {
            ScheduleKind::Model => self.model_levels(sampler, n),
            _ => self.free_levels(kind, sampler, n),
        };
        let last = levels.len() - 1;
        // The last step may stand still: DDIM's does where the grid ends at timestep 0 and that is where it ends.
        let falls = |a: &NoiseLevel, b: &NoiseLevel| a.sigma > b.sigma;
        if !levels[..last].is_sorted_by(falls) || levels[last - 1].sigma < levels[last].sigma {
            let problem = format!(
                "{n} steps are more than this model's noise schedule can tell apart with {}: take fewer",
                sampler.label()
            );
            return Err(DiffusionError::Request(problem));
        }
        let (first, end) = (levels[0].sigma, levels[last].sigma);
        let initial_scale = if self.starts_bare(kind, sampler) { first } else { (1.0 + first * first).sqrt() };
        // diffusers' DDIM, DEIS and TCD leave their share of noise in latents of unit variance; A1111 decodes what there is.
        let final_scale = if kind == ScheduleKind::KlOptimal { 1.0 } else { 1.0 / (1.0 + end * end).sqrt() };
        Ok(Schedule { levels, plan: Plan::Plain, initial_scale, final_scale, trained: self.clone() })
    }

    /// Levels written by hand: what they end with is decoded as it is.
    #[must_use]
    pub fn schedule_over(&self, sigmas: &Sigmas) -> Schedule {
        let level = |&sigma: &f64| NoiseLevel { sigma, timestep: self.timestep_of(sigma) };
        let levels: Vec<NoiseLevel> = sigmas.as_slice().iter().map(level).collect();
        let initial_scale = levels[0].sigma;
        Schedule { levels, plan: Plan::Plain, initial_scale, final_scale: 1.0, trained: self.clone() }
    }

    /// Whether the first latents are bare noise, without the variance of clean ones. diffusers' Euler and its kin start
    /// so unless the spacing is "leading", its others never; k-diffusion and the web UIs always do.
    fn starts_bare(&self, kind: ScheduleKind, sampler: SamplerKind) -> bool {
        match kind {
            ScheduleKind::Karras if is_k_diffusions(sampler) => true,
            ScheduleKind::Model | ScheduleKind::Karras => {
                is_continuous(sampler) && self.spacing_for(sampler) != Spacing::Leading
            }
            _ => true,
        }
    }

    /// The levels of the model's own settings.
    fn model_levels(&self, sampler: SamplerKind, n: usize) -> Vec<NoiseLevel> {
        // Only these know a last level above zero, that of timestep 0: DDIM and PLMS, unless the folder sets its alpha to
        // one, DEIS and TCD.
        let ends_above = match sampler {
            SamplerKind::Ddim | SamplerKind::DdimCfgPp | SamplerKind::Pndm => !self.ends_at_zero,
            SamplerKind::Deis | SamplerKind::Tcd => true,
            _ => false,
        };
        let last = if ends_above { self.sigmas[0] } else { 0.0 };
        let end = NoiseLevel { sigma: last, timestep: 0.0 };
        self.timesteps(sampler, n).into_iter().map(|t| self.level_at(t)).chain([end]).collect()
    }

    /// The levels of a formula over sigmas.
    fn free_levels(&self, kind: ScheduleKind, sampler: SamplerKind, n: usize) -> Vec<NoiseLevel> {
        // A1111's `discard_next_to_last_sigma`: these solvers do badly with the last level but one.
        let drops = matches!(sampler, SamplerKind::Dpm2 | SamplerKind::Dpm2Ancestral | SamplerKind::DpmPlusPlus3MSde);
        let mut sigmas = sigmas(kind, &self.sigmas, n + usize::from(drops)).unwrap_or_default();
        if drops && sigmas.len() > 2 {
            sigmas.remove(sigmas.len() - 2);
        }
        if sampler == SamplerKind::Deis && kind == ScheduleKind::Karras {
            // diffusers' DEIS stands still in the last step.
            sigmas.pop();
            sigmas.extend(sigmas.last().copied());
        }
        // diffusers rounds the timestep for its multistep solvers under Karras' levels, and only there.
        let is_rounded = kind == ScheduleKind::Karras && is_multistep(sampler);
        let level = |sigma: f64| {
            let timestep = self.timestep_of(sigma);
            NoiseLevel { sigma, timestep: if is_rounded { timestep.round_ties_even() } else { timestep } }
        };
        sigmas.into_iter().map(level).collect()
    }

    /// The model's own grid, highest first.
    fn timesteps(&self, sampler: SamplerKind, n: usize) -> Vec<f64> {
        let trained = self.sigmas.len();
        let last = (trained - 1) as f64;
        if matches!(sampler, SamplerKind::Lcm | SamplerKind::Tcd) {
            return distilled_timesteps(trained, n);
        }
        // The multistep solvers' grid has one point more and leaves out the lowest.
        let points = if is_multistep(sampler) { n + 1 } else { n };
        let grid: Vec<f64> = match self.spacing_for(sampler) {
            Spacing::Leading => {
                let ratio = trained / points;
                // As many steps as levels leave no room for an offset.
                let offset = self.steps_offset.min(trained - 1 - (points - 1) * ratio);
                (0..points).map(|i| (i * ratio + offset) as f64).rev().collect()
            }
            Spacing::Linspace => {
                let gap = if points > 1 { last / (points - 1) as f64 } else { 0.0 };
                let whole = |t: f64| if is_continuous(sampler) { t } else { t.round_ties_even() };
                (0..points).map(|i| whole(i as f64 * gap)).rev().collect()
            }
            Spacing::Trailing => {
                let gap = trained as f64 / n as f64;
                (0..n).map(|i| (trained as f64 - i as f64 * gap).round_ties_even() - 1.0).collect()
            }
        };
        grid.into_iter().take(n).collect()
    }

    fn spacing_for(&self, sampler: SamplerKind) -> Spacing {
        self.spacing.unwrap_or(match sampler {
            SamplerKind::Ddim | SamplerKind::DdimCfgPp | SamplerKind::Ddpm | SamplerKind::Pndm => Spacing::Leading,
            _ => Spacing::Linspace,
        })
    }

    /// The level of a timestep; between two trained ones sigma is interpolated linearly.
    #[must_use]
    pub fn level_at(&self, timestep: f64) -> NoiseLevel {
        let clamped = timestep.clamp(0.0, self.last_timestep());
        let below = clamped.floor() as usize;
        let above = (below + 1).min(self.sigmas.len() - 1);
        let part = clamped.fract();
        NoiseLevel { sigma: self.sigmas[below] * (1.0 - part) + self.sigmas[above] * part, timestep }
    }

    /// The timestep of a sigma, interpolated on its logarithm (k-diffusion's `sigma_to_t`); clamped to the trained ones.
    #[must_use]
    pub fn timestep_of(&self, sigma: f64) -> f64 {
        let above = self.sigmas.partition_point(|&s| s < sigma);
        if above == 0 {
            return 0.0;
        }
        if above == self.sigmas.len() {
            return self.last_timestep();
        }
        let (low, high) = (self.sigmas[above - 1].ln(), self.sigmas[above].ln());
        (above - 1) as f64 + (sigma.ln() - low) / (high - low)
    }

    fn last_timestep(&self) -> f64 {
        (self.sigmas.len() - 1) as f64
    }
}

/// Euler and its kin, whose timesteps may lie between the trained ones in diffusers.
fn is_continuous(sampler: SamplerKind) -> bool {
    !sampler.has_own_grid() && !is_multistep(sampler)
}

/// DPM-Solver++ and those that share its grid in diffusers.
fn is_multistep(sampler: SamplerKind) -> bool {
    matches!(sampler, SamplerKind::DpmPlusPlus2M | SamplerKind::UniPcBh2 | SamplerKind::UniPc | SamplerKind::Deis)
}

/// The grid of latent consistency models: `n` of the 50 timesteps that they are distilled at, from the highest (diffusers'
/// `original_inference_steps`).
fn distilled_timesteps(trained: usize, n: usize) -> Vec<f64> {
    const DISTILLED: usize = 50;
    let stride = (trained / DISTILLED).max(1);
    (0..n).map(|i| ((DISTILLED - i * DISTILLED / n) * stride - 1) as f64).collect()
}

/// Those that diffusers does not have, or has with another noise.
fn is_k_diffusions(sampler: SamplerKind) -> bool {
    matches!(
        sampler,
        SamplerKind::DpmPlusPlus2SAncestral
            | SamplerKind::DpmPlusPlusSde
            | SamplerKind::DpmPlusPlus2MSde
            | SamplerKind::DpmPlusPlus2MSdeHeun
            | SamplerKind::DpmPlusPlus3MSde
            | SamplerKind::EulerCfgPp
            | SamplerKind::HeunPp2
            | SamplerKind::Ipndm
            | SamplerKind::Restart
    )
}

/// How much of the picture is left at each timestep, squared: the cumulative product of `1 - beta`.
fn kept_shares(betas: &[f64]) -> Vec<f64> {
    let mut product = 1.0;
    let kept = betas.iter().map(|beta| {
        product *= 1.0 - beta;
        product
    });
    kept.collect()
}

/// Moves the shares so that nothing is left at the last timestep (Lin et al. 2023, arXiv:2305.08891, algorithm 1).
fn lead_to_zero(kept: &mut [f64]) {
    // An infinite sigma cannot be stepped from: the last share is what diffusers' Euler takes for nothing.
    const NEARLY_NOTHING: f64 = 1.0 / (1 << 24) as f64;
    let (Some(first), Some(last)) = (kept.first().map(|a| a.sqrt()), kept.last().map(|a| a.sqrt())) else { return };
    for share in kept.iter_mut() {
        *share = ((share.sqrt() - last) * first / (first - last)).powi(2);
    }
    if let Some(end) = kept.last_mut() {
        *end = NEARLY_NOTHING;
    }
}

fn betas(config: &SchedulerConfig) -> Result<Vec<f64>, DiffusionError> {
    if let Some(betas) = &config.trained_betas {
        return Ok(betas.clone());
    }
    let n = config.num_train_timesteps;
    let line = |from: f64, to: f64| (0..n).map(move |i| from + (to - from) * i as f64 / (n.max(2) - 1) as f64);
    match config.beta_schedule.as_str() {
        "linear" => Ok(line(config.beta_start, config.beta_end).collect()),
        "scaled_linear" => Ok(line(config.beta_start.sqrt(), config.beta_end.sqrt()).map(|root| root * root).collect()),
        // Nichol & Dhariwal 2021, arXiv:2102.09672, equation 17.
        "squaredcos_cap_v2" => {
            let kept = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
            let share = |i: usize| i as f64 / n as f64;
            Ok((0..n).map(|i| (1.0 - kept(share(i + 1)) / kept(share(i))).min(0.999)).collect())
        }
        other => Err(DiffusionError::Unsupported {
            part: PART,
            key: "beta_schedule",
            found: other.to_owned(),
            known: "linear, scaled_linear, squaredcos_cap_v2",
        }),
    }
}
