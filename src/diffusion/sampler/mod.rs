//! The samplers: from noise to clean latents, one step at a time, with a state that is plain data between the steps.
//!
//! A solver knows only a list of noise levels, a function from noisy to clean latents, and a function that draws noise.
//! All work on `x = x0 + sigma * noise`; the loop over the steps is the caller's and exists once, in the pipeline.

mod adams_bashforth;
mod ancestral;
mod churn;
mod deis;
mod dpm2;
mod dpm_solver;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2s;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod euler;
mod heun;
mod lcm;
mod lms;
mod stage;
mod tcd;
mod unipc;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use self::stage::{Stage, Stepped, ancestral_split, remember, slope};
use super::DiffusionError;
use super::deep_cache::DeepFeatures;
use super::noise::NoiseSource;
use super::schedule::{NoiseLevel, Plan, Schedule};
use crate::request::{SamplerKind, SamplerOptions};

/// Noisy latents at a level to predicted clean ones.
pub type Denoise<'a> = dyn FnMut(&Tensor, NoiseLevel) -> Result<Denoised, DiffusionError> + 'a;

/// What a model predicts behind noisy latents.
pub struct Denoised {
    /// The clean latents, guided.
    pub clean: Tensor,
    /// The clean latents of the negative prompt alone; only where the solver wants them.
    pub unguided: Option<Tensor>,
}

impl From<Tensor> for Denoised {
    fn from(clean: Tensor) -> Self {
        Self { clean, unguided: None }
    }
}

/// Everything that a sampler is, between two steps: stored, it goes on to the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SamplerState {
    /// Steps done.
    pub step: usize,
    /// Shape of the latents, `[B, C, H, W]`.
    pub shape: [usize; 4],
    /// The latents, `x0 + sigma * noise` at the level of `step`.
    pub latents: Vec<f32>,
    /// What a multistep solver remembers: predictions of earlier steps, the newest last.
    pub history: Vec<Vec<f32>>,
    /// The generator after the draws so far.
    pub noise: NoiseSource,
    /// How often the model was asked.
    pub calls: usize,
    /// Only for a solver that finds its own steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Pace>,
    /// What the network keeps between its evaluations, where blocks are cached; the sampler passes it over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deep: Option<DeepFeatures>,
}

/// Where an adaptive solver is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// -ln(sigma) of the latents.
    pub time: f64,
    /// How far the next leap goes, unless it proves too far.
    pub length: f64,
}

impl Pace {
    /// The length of the first leap (k-diffusion's `h_init`).
    const FIRST: f64 = 0.05;

    fn at_start_of(schedule: &Schedule) -> Option<Self> {
        let start = || Self { time: dpm_solver::time(schedule.levels[0].sigma), length: Self::FIRST };
        (schedule.plan == Plan::Adaptive).then(start)
    }
}

/// The solver and what it is told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solver {
    /// Which one.
    pub kind: SamplerKind,
    /// Its numbers.
    pub options: SamplerOptions,
}

/// A sampler at work.
pub struct Sampler {
    solver: Solver,
    schedule: Schedule,
    step: usize,
    x: Tensor,
    history: Vec<Tensor>,
    noise: NoiseSource,
    calls: usize,
    pace: Option<Pace>,
}

impl Sampler {
    /// Starts from noise, or from the clean latents of a start image with noise on top; `noise` gives what comes after.
    ///
    /// # Errors
    /// When the device fails.
    pub fn start(
        solver: Solver,
        schedule: Schedule,
        noise: NoiseSource,
        start: Start,
        device: &Device,
    ) -> Result<Self, DiffusionError> {
        let (x, step) = match start {
            Start::Noise { unit, shape } => {
                ((Tensor::from_vec(unit, shape.to_vec(), device)? * schedule.initial_scale)?, 0)
            }
            Start::Latents { unit, clean, first_step } => {
                let unit = Tensor::from_vec(unit, clean.shape(), device)?;
                let sigma = schedule.levels[first_step].sigma;
                ((clean.to_dtype(DType::F32)? + (unit * sigma)?)?, first_step)
            }
        };
        let pace = Pace::at_start_of(&schedule);
        Ok(Self { solver, schedule, step, x, history: Vec::new(), noise, calls: 0, pace })
    }

    /// Goes on from a stored state.
    ///
    /// # Errors
    /// When the state's parts do not fit each other or the schedule.
    pub fn restore(
        solver: Solver,
        schedule: Schedule,
        state: &SamplerState,
        device: &Device,
    ) -> Result<Self, DiffusionError> {
        let count = state.shape.iter().product::<usize>();
        let is_adaptive = schedule.plan == Plan::Adaptive;
        let is_pace_sound = |pace: Pace| pace.time.is_finite() && pace.length.is_finite() && pace.length > 0.0;
        let problem = if !is_adaptive && state.step >= schedule.levels.len() {
            "its step is beyond the schedule"
        } else if state.pace.is_some() != is_adaptive || !state.pace.is_none_or(is_pace_sound) {
            "its pace is not that of this solver"
        } else if state.latents.len() != count || state.history.iter().any(|h| h.len() != count) {
            "its latents have another size than its shape says"
        } else if !state.noise.is_sound() {
            "its noise generator is damaged"
        } else {
            let tensor = |values: &Vec<f32>| Tensor::from_slice(values, state.shape.to_vec(), device);
            return Ok(Self {
                solver,
                schedule,
                step: state.step,
                x: tensor(&state.latents)?,
                history: state.history.iter().map(tensor).collect::<Result<_, _>>()?,
                noise: state.noise.clone(),
                calls: state.calls,
                pace: state.pace,
            });
        };
        Err(DiffusionError::State(problem.to_owned()))
    }

    /// The state as plain data.
    ///
    /// # Errors
    /// When the device fails.
    pub fn state(&self) -> Result<SamplerState, DiffusionError> {
        let values = |t: &Tensor| t.flatten_all()?.to_vec1::<f32>();
        Ok(SamplerState {
            step: self.step,
            shape: self.shape()?,
            latents: values(&self.x)?,
            history: self.history.iter().map(values).collect::<Result<_, _>>()?,
            noise: self.noise.clone(),
            calls: self.calls,
            pace: self.pace,
            deep: None,
        })
    }

    /// Of the latents, `[B, C, H, W]`.
    ///
    /// # Errors
    /// When they have another number of dimensions.
    pub fn shape(&self) -> Result<[usize; 4], DiffusionError> {
        Ok(self.x.dims4()?.into())
    }

    /// Steps done, those that an image-to-image start skips included.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// How often the model was asked so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Steps in all; of an adaptive solver, as far as it can tell.
    #[must_use]
    pub fn steps(&self) -> usize {
        let levels = &self.schedule.levels;
        match &self.pace {
            None => levels.len() - 1,
            Some(pace) => self.step + dpm_solver::leaps_left(pace, levels[levels.len() - 1].sigma),
        }
    }

    /// Takes one step and gives the clean latents as predicted in it; `None` when all steps are done.
    ///
    /// # Errors
    /// What `denoise` fails with. Latents that have left the finite range are not noticed here.
    pub fn advance(&mut self, denoise: &mut Denoise) -> Result<Option<Tensor>, DiffusionError> {
        if self.step >= self.steps() {
            return Ok(None);
        }
        let mut calls = self.calls;
        let stepped = self.stepped(&mut |x: &Tensor, level| {
            calls += 1;
            denoise(x, level)
        })?;
        self.calls = calls;
        self.x = stepped.x;
        self.step += 1;
        Ok(Some(stepped.denoised))
    }

    fn stepped(&mut self, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
        // An adaptive solver has but two levels, and looks at its pace.
        let index = if self.pace.is_some() { 0 } else { self.step };
        let levels = &self.schedule.levels;
        let mut stage = Stage {
            x: &self.x,
            from: levels[index],
            to: self.schedule.end_of(index),
            // A history tells that the step before was taken, not skipped.
            before: index.checked_sub(1).filter(|_| !self.history.is_empty()).map(|i| levels[i]),
            index,
            schedule: &self.schedule,
            options: self.solver.options,
            eta: self.solver.options.eta().or(self.solver.kind.usual_eta()).unwrap_or(0.0),
            history: &mut self.history,
            noise: &mut self.noise,
        };
        if let Some(pace) = &mut self.pace {
            return dpm_solver::step_adaptive(&mut stage, pace, denoise);
        }
        if let Plan::Leaps { orders } = &self.schedule.plan {
            return dpm_solver::step_fast(stage, orders[index], denoise);
        }
        step(self.solver.kind, stage, denoise)
    }

    /// The latents in the U-Net's scale. A schedule that ends above zero leaves its share of noise in them.
    ///
    /// # Errors
    /// When the device fails.
    pub fn latents(&self) -> Result<Tensor, DiffusionError> {
        let sigma = match &self.pace {
            Some(pace) => dpm_solver::sigma(pace.time),
            None => self.schedule.risen_from(self.step).unwrap_or(self.schedule.levels[self.step]).sigma,
        };
        let is_done = self.step >= self.steps();
        let scale = if is_done { self.schedule.final_scale } else { 1.0 / (1.0 + sigma * sigma).sqrt() };
        Ok((&self.x * scale)?)
    }
}

fn step(kind: SamplerKind, mut stage: Stage, denoise: &mut Denoise) -> Result<Stepped, DiffusionError> {
    match kind {
        // In this form DDIM with its eta of 0 is Euler's method, and DDPM's posterior the ancestral step; they differ in
        // their levels.
        SamplerKind::Ddim | SamplerKind::Ddpm | SamplerKind::EulerAncestral => ancestral::step(stage, denoise),
        SamplerKind::Euler => euler::step(stage, denoise),
        SamplerKind::EulerCfgPp | SamplerKind::DdimCfgPp => euler::step_cfg_pp(&stage, denoise),
        SamplerKind::Heun => heun::step(stage, denoise),
        SamplerKind::HeunPp2 => heun::step_three_slopes(stage, denoise),
        SamplerKind::Restart => heun::step_restart(stage, denoise),
        SamplerKind::Lms => lms::step(&mut stage, denoise),
        SamplerKind::Dpm2 => dpm2::step(stage, denoise),
        SamplerKind::Dpm2Ancestral => dpm2::step_ancestral(stage, denoise),
        // Their plans say more than their names.
        SamplerKind::DpmFast | SamplerKind::DpmAdaptive => dpm_solver::step_fast(stage, 1, denoise),
        SamplerKind::DpmPlusPlus2SAncestral => dpmpp_2s::step(stage, denoise),
        SamplerKind::DpmPlusPlus2M => dpmpp_2m::step(stage, denoise),
        SamplerKind::DpmPlusPlusSde => dpmpp_sde::step(&stage, denoise),
        SamplerKind::DpmPlusPlus2MSde => dpmpp_2m_sde::step_midpoint(&mut stage, denoise),
        SamplerKind::DpmPlusPlus2MSdeHeun => dpmpp_2m_sde::step_heun(&mut stage, denoise),
        SamplerKind::DpmPlusPlus3MSde => dpmpp_3m_sde::step(&mut stage, denoise),
        SamplerKind::UniPcBh2 => unipc::step(&mut stage, unipc::Variant::Bh2, denoise),
        SamplerKind::UniPc => unipc::step(&mut stage, unipc::Variant::Bh1, denoise),
        SamplerKind::Deis => deis::step(&mut stage, denoise),
        SamplerKind::Pndm => adams_bashforth::step_plms(&mut stage, denoise),
        SamplerKind::Ipndm => adams_bashforth::step_ipndm(&mut stage, denoise),
        SamplerKind::Lcm => lcm::step(stage, denoise),
        SamplerKind::Tcd => tcd::step(stage, denoise),
    }
}

/// What the first latents are made of; `unit` is unit noise for all of them.
pub enum Start {
    /// Noise alone.
    Noise {
        /// As many values as the shape has.
        unit: Vec<f32>,
        /// `[B, C, H, W]`.
        shape: [usize; 4],
    },
    /// The latents of a start image with the noise of a later level.
    Latents {
        /// As many values as `clean` has.
        unit: Vec<f32>,
        /// `[B, C, H, W]`, in the U-Net's scale.
        clean: Tensor,
        /// The steps before it are skipped.
        first_step: usize,
    },
}
