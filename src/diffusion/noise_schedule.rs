//! The noise levels: from the betas that a model was trained with to the list that a sampler visits.
//!
//! Everything is kept in the variance-exploding form `x = x0 + sigma * noise`, `sigma = sqrt((1 - a) / a)` with a the
//! cumulative product of `1 - beta` (Karras et al. 2022, arXiv:2206.00364). The grids are those of diffusers' schedulers,
//! so that a seed gives diffusers' picture; all in f64.

use serde::Deserialize;

use super::DiffusionError;
use super::config::require;
use super::prediction::Prediction;
use crate::request::{SamplerKind, ScheduleKind, Steps};

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

/// A point of the noise schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NoiseLevel {
    /// Standard deviation of the noise relative to the clean latents.
    pub sigma: f64,
    /// The timestep that the U-Net is told, 0 to the number of trained ones; may lie between two.
    pub timestep: f64,
}

/// What a sampler visits, noisiest first; the last level is where it ends and the model is not asked there.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// One more than there are steps.
    pub levels: Vec<NoiseLevel>,
    /// Unit noise times this are the latents of the first level.
    pub initial_scale: f64,
}

/// The levels that a model was trained on.
#[derive(Debug, Clone)]
pub struct NoiseSchedule {
    /// By timestep, rising.
    sigmas: Vec<f64>,
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
        let zero_snr = config.rescale_betas_zero_snr;
        require(PART, "rescale_betas_zero_snr", !zero_snr, || "true".to_owned(), "false")?;
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
        let mut product = 1.0;
        let sigmas: Vec<f64> = betas(config)?
            .into_iter()
            .map(|beta| {
                product *= 1.0 - beta;
                ((1.0 - product) / product).sqrt()
            })
            .collect();
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
        let mut levels: Vec<NoiseLevel> = match kind {
            ScheduleKind::Model => self.timesteps(sampler, n).into_iter().map(|t| self.level_at(t)).collect(),
            ScheduleKind::Karras => {
                let rounded = sampler == SamplerKind::DpmPlusPlus2M;
                karras(self.sigmas[0], self.sigmas[self.sigmas.len() - 1], n)
                    .into_iter()
                    .map(|sigma| {
                        // diffusers rounds the timestep for DPM-Solver++ only.
                        let timestep = self.timestep_of(sigma);
                        NoiseLevel { sigma, timestep: if rounded { timestep.round_ties_even() } else { timestep } }
                    })
                    .collect()
            }
        };
        // Only DDIM knows a last level above zero: that of timestep 0, unless the folder sets its alpha to one.
        let last = if sampler == SamplerKind::Ddim && kind == ScheduleKind::Model && !self.ends_at_zero {
            self.sigmas[0]
        } else {
            0.0
        };
        levels.push(NoiseLevel { sigma: last, timestep: 0.0 });
        // The last step may stand still: DDIM's does where the grid ends at timestep 0 and that is where it ends.
        let falls = |a: &NoiseLevel, b: &NoiseLevel| a.sigma > b.sigma;
        if !levels[..n].is_sorted_by(falls) || levels[n - 1].sigma < last {
            let problem = format!(
                "{n} steps are more than this model's noise schedule can tell apart with {}: take fewer",
                sampler.label()
            );
            return Err(DiffusionError::Request(problem));
        }
        let first = levels[0].sigma;
        // diffusers' Euler and Heun start from bare noise unless the spacing is "leading"; the others always add the
        // variance of the latents.
        let is_bare = is_continuous(sampler) && self.spacing_for(sampler) != Spacing::Leading;
        let initial_scale = if is_bare { first } else { (1.0 + first * first).sqrt() };
        Ok(Schedule { levels, initial_scale })
    }

    /// The model's own grid, highest first.
    fn timesteps(&self, sampler: SamplerKind, n: usize) -> Vec<f64> {
        let trained = self.sigmas.len();
        let last = (trained - 1) as f64;
        // The multistep solver's grid has one point more and leaves out the lowest.
        let points = if sampler == SamplerKind::DpmPlusPlus2M { n + 1 } else { n };
        let grid: Vec<f64> = match self.spacing_for(sampler) {
            Spacing::Leading => {
                let ratio = trained / points;
                (0..points).map(|i| ((i * ratio + self.steps_offset) as f64).min(last)).rev().collect()
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
            SamplerKind::Ddim | SamplerKind::Ddpm => Spacing::Leading,
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

/// Euler and Heun, whose timesteps may lie between the trained ones in diffusers.
fn is_continuous(sampler: SamplerKind) -> bool {
    matches!(sampler, SamplerKind::Euler | SamplerKind::EulerAncestral | SamplerKind::Heun)
}

/// Karras et al. 2022, equation 5 with rho 7, without the final zero.
fn karras(sigma_min: f64, sigma_max: f64, n: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (min, max) = (sigma_min.powf(1.0 / RHO), sigma_max.powf(1.0 / RHO));
    let gap = if n > 1 { 1.0 / (n - 1) as f64 } else { 0.0 };
    (0..n).map(|i| (max + i as f64 * gap * (min - max)).powf(RHO)).collect()
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
