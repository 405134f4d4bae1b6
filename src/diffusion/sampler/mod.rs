//! The samplers: from noise to clean latents, one step at a time, with a state that is plain data between the steps.
//!
//! A solver knows only a list of noise levels, a function from noisy to clean latents, and a function that draws noise.
//! All work on `x = x0 + sigma * noise`; the loop over the steps is the caller's and exists once, in the pipeline.

mod ancestral;
mod deis;
mod dpm2;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2s;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod euler;
mod heun;
mod lcm;
mod lms;
mod tcd;
mod unipc;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::DiffusionError;
use super::brownian::BrownianTree;
use super::noise::NoiseSource;
use super::noise_schedule::{NoiseLevel, Schedule};
use super::pixels::check_finite;
use crate::request::SamplerKind;

/// Noisy latents at a level to predicted clean ones.
pub type Denoise<'a> = dyn FnMut(&Tensor, NoiseLevel) -> Result<Tensor, DiffusionError> + 'a;

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
}

/// A sampler at work.
pub struct Sampler {
    kind: SamplerKind,
    schedule: Schedule,
    step: usize,
    x: Tensor,
    history: Vec<Tensor>,
    noise: NoiseSource,
}

/// What one step needs and may change.
struct Stage<'a> {
    x: &'a Tensor,
    /// Where the step starts.
    from: NoiseLevel,
    /// Where it ends.
    to: NoiseLevel,
    /// Where the step before started, if there was one.
    before: Option<NoiseLevel>,
    /// Which step it is, from 0.
    index: usize,
    /// All levels.
    schedule: &'a Schedule,
    history: &'a mut Vec<Tensor>,
    noise: &'a mut NoiseSource,
}

impl Stage<'_> {
    /// Unit noise in the shape of the latents.
    fn draw(&mut self) -> Result<Tensor, DiffusionError> {
        let values = self.noise.normals(self.x.elem_count());
        Ok(Tensor::from_vec(values, self.x.shape(), self.x.device())?)
    }

    /// Unit noise for a step between two sigmas: the increment of the picture's one Brownian path, which spans the whole
    /// schedule and grows from its seed. Nothing is drawn from the generator.
    fn brownian(&self, from: f64, to: f64) -> Result<Tensor, DiffusionError> {
        let sigmas = || self.schedule.levels.iter().map(|level| level.sigma).filter(|sigma| *sigma > 0.0);
        let tree = BrownianTree {
            source: self.noise.kind(),
            seed: self.noise.seed(),
            low: sigmas().fold(f64::INFINITY, f64::min),
            high: sigmas().fold(0.0, f64::max),
        };
        let values = tree.noise(from, to, self.x.elem_count());
        Ok(Tensor::from_vec(values, self.x.shape(), self.x.device())?)
    }

    /// The sigma at which the `back`-th step before this one started.
    fn sigma_before(&self, back: usize) -> f64 {
        self.schedule.levels[self.index.saturating_sub(back)].sigma
    }
}

/// A step's result.
struct Stepped {
    x: Tensor,
    /// The first prediction of clean latents in this step, which previews show.
    denoised: Tensor,
}

impl Sampler {
    /// Starts at `first_step` of the schedule from `clean` latents `[B, C, H, W]` (zeros when there is no start image)
    /// with the next noise of `noise` on top.
    ///
    /// # Errors
    /// When the device fails.
    pub fn start(
        kind: SamplerKind,
        schedule: Schedule,
        mut noise: NoiseSource,
        start: Start,
        device: &Device,
    ) -> Result<Self, DiffusionError> {
        let (x, step) = match start {
            Start::Noise { shape } => {
                let values = noise.normals(shape.iter().product());
                ((Tensor::from_vec(values, shape.to_vec(), device)? * schedule.initial_scale)?, 0)
            }
            Start::Latents { clean, first_step } => {
                let unit = Tensor::from_vec(noise.normals(clean.elem_count()), clean.shape(), device)?;
                let sigma = schedule.levels[first_step].sigma;
                ((clean.to_dtype(DType::F32)? + (unit * sigma)?)?, first_step)
            }
        };
        Ok(Self { kind, schedule, step, x, history: Vec::new(), noise })
    }

    /// Goes on from a stored state.
    ///
    /// # Errors
    /// When the state's parts do not fit each other or the schedule.
    pub fn restore(
        kind: SamplerKind,
        schedule: Schedule,
        state: &SamplerState,
        device: &Device,
    ) -> Result<Self, DiffusionError> {
        let count = state.shape.iter().product::<usize>();
        let problem = if state.step >= schedule.levels.len() {
            "its step is beyond the schedule"
        } else if state.latents.len() != count || state.history.iter().any(|h| h.len() != count) {
            "its latents have another size than its shape says"
        } else if !state.noise.is_sound() {
            "its noise generator is damaged"
        } else {
            let tensor = |values: &Vec<f32>| Tensor::from_slice(values, state.shape.to_vec(), device);
            return Ok(Self {
                kind,
                schedule,
                step: state.step,
                x: tensor(&state.latents)?,
                history: state.history.iter().map(tensor).collect::<Result<_, _>>()?,
                noise: state.noise.clone(),
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
        let (b, c, h, w) = self.x.dims4()?;
        Ok(SamplerState {
            step: self.step,
            shape: [b, c, h, w],
            latents: values(&self.x)?,
            history: self.history.iter().map(values).collect::<Result<_, _>>()?,
            noise: self.noise.clone(),
        })
    }

    /// Steps done, those that an image-to-image start skips included.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// Steps in all.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.schedule.levels.len() - 1
    }

    /// Takes one step and gives the clean latents as predicted in it; `None` when all steps are done.
    ///
    /// # Errors
    /// What `denoise` fails with; [`DiffusionError::NotFinite`] when the latents leave the finite range.
    pub fn advance(&mut self, denoise: &mut Denoise) -> Result<Option<Tensor>, DiffusionError> {
        let index = self.step;
        if index >= self.steps() {
            return Ok(None);
        }
        let levels = &self.schedule.levels;
        let mut stage = Stage {
            x: &self.x,
            from: levels[index],
            to: levels[index + 1],
            // A history tells that the step before was taken, not skipped.
            before: index.checked_sub(1).filter(|_| !self.history.is_empty()).map(|i| levels[i]),
            index,
            schedule: &self.schedule,
            history: &mut self.history,
            noise: &mut self.noise,
        };
        let stepped = match self.kind {
            // In this form DDIM with eta 0 is Euler's method (Song et al. 2020, equation 13), and DDPM's posterior is
            // the ancestral step; they differ in their levels.
            SamplerKind::Ddim | SamplerKind::Euler => euler::step(&stage, denoise)?,
            SamplerKind::Ddpm | SamplerKind::EulerAncestral => ancestral::step(stage, denoise)?,
            SamplerKind::Heun => heun::step(&stage, denoise)?,
            SamplerKind::Lms => lms::step(&mut stage, denoise)?,
            SamplerKind::Dpm2 => dpm2::step(&stage, denoise)?,
            SamplerKind::Dpm2Ancestral => dpm2::step_ancestral(stage, denoise)?,
            SamplerKind::DpmPlusPlus2SAncestral => dpmpp_2s::step(stage, denoise)?,
            SamplerKind::DpmPlusPlus2M => dpmpp_2m::step(stage, denoise)?,
            SamplerKind::DpmPlusPlusSde => dpmpp_sde::step(&stage, denoise)?,
            SamplerKind::DpmPlusPlus2MSde => dpmpp_2m_sde::step_midpoint(&mut stage, denoise)?,
            SamplerKind::DpmPlusPlus2MSdeHeun => dpmpp_2m_sde::step_heun(&mut stage, denoise)?,
            SamplerKind::DpmPlusPlus3MSde => dpmpp_3m_sde::step(&mut stage, denoise)?,
            SamplerKind::UniPcBh2 => unipc::step(&mut stage, unipc::Variant::Bh2, denoise)?,
            SamplerKind::UniPc => unipc::step(&mut stage, unipc::Variant::Bh1, denoise)?,
            SamplerKind::Deis => deis::step(&mut stage, denoise)?,
            SamplerKind::Lcm => lcm::step(stage, denoise)?,
            SamplerKind::Tcd => tcd::step(stage, denoise)?,
        };
        let place = || format!("step {} of {}: the latents", index + 1, self.steps());
        check_finite(&stepped.x.flatten_all()?.to_vec1::<f32>()?, place)?;
        self.x = stepped.x;
        self.step += 1;
        Ok(Some(stepped.denoised))
    }

    /// The latents in the U-Net's scale. A schedule that ends above zero leaves its share of noise in them.
    ///
    /// # Errors
    /// When the device fails.
    pub fn latents(&self) -> Result<Tensor, DiffusionError> {
        let sigma = self.schedule.levels[self.step].sigma;
        let is_done = self.step == self.steps();
        let scale = if is_done { self.schedule.final_scale } else { 1.0 / (1.0 + sigma * sigma).sqrt() };
        Ok((&self.x * scale)?)
    }
}

/// What the first latents are made of.
pub enum Start {
    /// Noise alone.
    Noise {
        /// `[B, C, H, W]`.
        shape: [usize; 4],
    },
    /// The latents of a start image with the noise of a later level.
    Latents {
        /// `[B, C, H, W]`, in the U-Net's scale.
        clean: Tensor,
        /// The steps before it are skipped.
        first_step: usize,
    },
}

/// Keeps what a multistep solver remembers to its newest `most`.
fn remember(history: &mut Vec<Tensor>, newest: Tensor, most: usize) {
    history.push(newest);
    let surplus = history.len().saturating_sub(most);
    history.drain(..surplus);
}

/// An ancestral step from `from` to `to`: how far down to go without noise, and how much noise leads up again (Ho et al.
/// 2020, equation 7, in sigmas).
fn ancestral_split(from: f64, to: f64) -> (f64, f64) {
    let up_squared = to * to * (from * from - to * to) / (from * from);
    ((to * to - up_squared).max(0.0).sqrt(), up_squared.sqrt())
}

/// The direction of the probability-flow equation, `(x - x0) / sigma`.
fn slope(x: &Tensor, denoised: &Tensor, sigma: f64) -> candle_core::Result<Tensor> {
    (x - denoised)? * (1.0 / sigma)
}
