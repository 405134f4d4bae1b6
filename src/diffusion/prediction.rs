//! What a model's output means: the noise, or the velocity between noise and picture.

use candle_core::{Result, Tensor};

/// The quantity that a model was trained to predict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise e of `x_t = sqrt(a) x0 + sqrt(1 - a) e` (Ho et al. 2020).
    Epsilon,
    /// `v = sqrt(a) e - sqrt(1 - a) x0` (Salimans & Ho 2022, arXiv:2202.00512).
    Velocity,
}

impl Prediction {
    /// The prediction that a scheduler configuration calls `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "epsilon" => Some(Self::Epsilon),
            "v_prediction" => Some(Self::Velocity),
            _ => None,
        }
    }

    /// The clean latents behind `x = x0 + sigma * e`, given the model's output for them.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn denoised(self, x: &Tensor, output: &Tensor, sigma: f64) -> Result<Tensor> {
        match self {
            Self::Epsilon => x - (output * sigma)?,
            // With a = 1 / (1 + sigma^2): x0 = a x - sqrt(a) sigma v.
            Self::Velocity => {
                let a = 1.0 / (1.0 + sigma * sigma);
                (x * a)? - (output * (a.sqrt() * sigma))?
            }
        }
    }
}
