//! The samplers: from noise to clean latents, one step at a time, with a state that is plain data between the steps.
//!
//! A solver knows only a list of noise levels, a function from noisy to clean latents, and a function that draws noise.
//! All work on `x = x0 + sigma * noise`; the loop over the steps is the caller's and exists once, in the pipeline.

mod ancestral;
mod dpmpp_2m;
mod euler;
mod heun;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::DiffusionError;
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
    history: &'a mut Vec<Tensor>,
    noise: &'a mut NoiseSource,
}

impl Stage<'_> {
    /// Unit noise in the shape of the latents.
    fn draw(&mut self) -> Result<Tensor, DiffusionError> {
        let values = self.noise.normals(self.x.elem_count());
        Ok(Tensor::from_vec(values, self.x.shape(), self.x.device())?)
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
        let NoiseSource::TorchCpu(generator) = &state.noise;
        let problem = if state.step >= schedule.levels.len() {
            "its step is beyond the schedule"
        } else if state.latents.len() != count || state.history.iter().any(|h| h.len() != count) {
            "its latents have another size than its shape says"
        } else if !generator.is_sound() {
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
        let stage = Stage {
            x: &self.x,
            from: levels[index],
            to: levels[index + 1],
            // A history tells that the step before was taken, not skipped.
            before: index.checked_sub(1).filter(|_| !self.history.is_empty()).map(|i| levels[i]),
            history: &mut self.history,
            noise: &mut self.noise,
        };
        let stepped = match self.kind {
            // In this form DDIM with eta 0 is Euler's method (Song et al. 2020, equation 13), and DDPM's posterior is
            // the ancestral step; they differ in their levels.
            SamplerKind::Ddim | SamplerKind::Euler => euler::step(&stage, denoise)?,
            SamplerKind::Ddpm | SamplerKind::EulerAncestral => ancestral::step(stage, denoise)?,
            SamplerKind::Heun => heun::step(&stage, denoise)?,
            SamplerKind::DpmPlusPlus2M => dpmpp_2m::step(stage, denoise)?,
        };
        let place = || format!("step {} of {}: the latents", index + 1, self.steps());
        check_finite(&stepped.x.flatten_all()?.to_vec1::<f32>()?, place)?;
        self.x = stepped.x;
        self.step += 1;
        Ok(Some(stepped.denoised))
    }

    /// The latents in the U-Net's scale. A schedule that ends above zero leaves its share of noise in them, as
    /// diffusers does.
    ///
    /// # Errors
    /// When the device fails.
    pub fn latents(&self) -> Result<Tensor, DiffusionError> {
        let sigma = self.schedule.levels[self.step].sigma;
        Ok((&self.x * (1.0 / (1.0 + sigma * sigma).sqrt()))?)
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

/// The direction of the probability-flow equation, `(x - x0) / sigma`.
fn slope(x: &Tensor, denoised: &Tensor, sigma: f64) -> candle_core::Result<Tensor> {
    (x - denoised)? * (1.0 / sigma)
}
