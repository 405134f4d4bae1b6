//! The activations that Stable Diffusion's parts name in their configuration.

use candle_core::{D, Result, Tensor};

/// An activation function, elementwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`, also called swish.
    Silu,
    /// The exact GELU, `x * (1 + erf(x / sqrt 2)) / 2`.
    Gelu,
    /// CLIP's approximation, `x * sigmoid(1.702 x)`.
    QuickGelu,
}

impl Activation {
    /// The activation that a configuration file calls `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "silu" | "swish" => Some(Self::Silu),
            "gelu" => Some(Self::Gelu),
            "quick_gelu" => Some(Self::QuickGelu),
            _ => None,
        }
    }

    /// Applies it; any shape.
    ///
    /// # Errors
    /// When the device fails.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Silu => x.silu(),
            Self::Gelu => x.gelu_erf(),
            Self::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
        }
    }
}

/// The gated GELU: the last axis is halved into value and gate, the result is `value * gelu(gate)`.
///
/// # Errors
/// When the last axis is odd or the device fails.
pub fn geglu(x: &Tensor) -> Result<Tensor> {
    let halves = x.chunk(2, D::Minus1)?;
    &halves[0] * halves[1].contiguous()?.gelu_erf()?
}
