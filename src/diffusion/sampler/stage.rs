//! One step of a sampler as its solver sees it, and what the solvers share.

use candle_core::Tensor;

use crate::diffusion::DiffusionError;
use crate::diffusion::brownian::BrownianTree;
use crate::diffusion::noise::NoiseSource;
use crate::diffusion::schedule::{NoiseLevel, Schedule};
use crate::request::SamplerOptions;

/// What one step needs and may change.
pub(super) struct Stage<'a> {
    pub x: &'a Tensor,
    /// Where the step starts.
    pub from: NoiseLevel,
    /// Where it ends.
    pub to: NoiseLevel,
    /// Where the step before started, if there was one.
    pub before: Option<NoiseLevel>,
    /// Which step it is, from 0.
    pub index: usize,
    /// All levels.
    pub schedule: &'a Schedule,
    pub options: SamplerOptions,
    /// The share of fresh noise: the request's, or the solver's usual one.
    pub eta: f64,
    pub history: &'a mut Vec<Tensor>,
    pub noise: &'a mut NoiseSource,
}

impl Stage<'_> {
    /// Noise in the shape of the latents: unit noise times the request's factor.
    pub fn draw(&mut self) -> Result<Tensor, DiffusionError> {
        let values = self.noise.normals(self.x.elem_count());
        self.noise_of(values)
    }

    /// Noise for a step between two sigmas: the increment of the picture's one Brownian path, which spans the whole
    /// schedule and grows from its seed. Nothing is drawn from the generator.
    pub fn brownian(&self, from: f64, to: f64) -> Result<Tensor, DiffusionError> {
        let sigmas = || self.schedule.levels.iter().map(|level| level.sigma).filter(|sigma| *sigma > 0.0);
        let tree = BrownianTree {
            source: self.noise.kind(),
            seed: self.noise.seed(),
            low: sigmas().fold(f64::INFINITY, f64::min),
            high: sigmas().fold(0.0, f64::max),
        };
        self.noise_of(tree.noise(from, to, self.x.elem_count()))
    }

    fn noise_of(&self, values: Vec<f32>) -> Result<Tensor, DiffusionError> {
        let unit = Tensor::from_vec(values, self.x.shape(), self.x.device())?;
        let factor = self.options.noise_factor();
        Ok(if factor == 1.0 { unit } else { (unit * factor)? })
    }

    /// The sigma at which the `back`-th step before this one started.
    pub fn sigma_before(&self, back: usize) -> f64 {
        self.schedule.levels[self.index.saturating_sub(back)].sigma
    }
}

/// A step's result.
pub(super) struct Stepped {
    pub x: Tensor,
    /// The first prediction of clean latents in this step, which previews show.
    pub denoised: Tensor,
}

/// Keeps what a multistep solver remembers to its newest `most`.
pub(super) fn remember(history: &mut Vec<Tensor>, newest: Tensor, most: usize) {
    history.push(newest);
    let surplus = history.len().saturating_sub(most);
    history.drain(..surplus);
}

/// An ancestral step from `from` to `to`: how far down to go without noise, and how much noise leads up again (Ho et al.
/// 2020, equation 7, in sigmas; `eta` as in Song et al. 2020, equation 16).
pub(super) fn ancestral_split(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let up_squared = (eta * eta * to * to * (from * from - to * to) / (from * from)).max(0.0);
    ((to * to - up_squared).max(0.0).sqrt(), up_squared.sqrt())
}

/// The direction of the probability-flow equation, `(x - x0) / sigma`.
pub(super) fn slope(x: &Tensor, denoised: &Tensor, sigma: f64) -> candle_core::Result<Tensor> {
    (x - denoised)? * (1.0 / sigma)
}
