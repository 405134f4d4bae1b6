//! The activations that Stable Diffusion's parts name in their configuration.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::contiguous;
use super::on_card;
use super::values::{Values, tensor};
use super::vector::{gated_gelu, gelu_of, sigmoid_weighted};

/// Values that one task activates.
const VALUES_OF_A_TASK: usize = 1 << 14;

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
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            let x = x.contiguous()?;
            let values = Values::of(&x)?;
            let values = values.f32()?;
            let mut out = vec![0.0_f32; values.len()];
            let chunks = out.par_chunks_mut(VALUES_OF_A_TASK).zip(values.par_chunks(VALUES_OF_A_TASK));
            match self {
                Self::Silu => chunks.for_each(|(out, x)| sigmoid_weighted(out, x, 1.0)),
                Self::QuickGelu => chunks.for_each(|(out, x)| sigmoid_weighted(out, x, 1.702)),
                Self::Gelu => chunks.for_each(|(out, x)| gelu_of(out, x)),
            }
            return tensor(out, x.dims());
        }
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
    if x.device().is_cpu() && x.dtype() == DType::F32 {
        return x.contiguous()?.apply_op1_no_bwd(&GegluOp);
    }
    if let Some(y) = on_card::geglu(x, x.rank().saturating_sub(1))? {
        return Ok(y);
    }
    let halves = x.chunk(2, D::Minus1)?;
    &halves[0] * halves[1].contiguous()?.gelu_erf()?
}

/// The CPU's path: one sweep, without the halves as tensors of their own.
struct GegluOp;

impl CustomOp1 for GegluOp {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(x.as_slice::<f32>()?, layout)?;
        let mut dims = layout.dims().to_vec();
        let Some(width) = dims.last_mut().filter(|width| **width > 0 && width.is_multiple_of(2)) else {
            bail!("geglu needs an even last axis, not {dims:?}");
        };
        *width /= 2;
        let half = *width;
        let mut out = vec![0.0_f32; x.len() / 2];
        out.par_chunks_mut(half).zip(x.par_chunks(2 * half)).for_each(|(out, x)| {
            let (value, gate) = x.split_at(half);
            gated_gelu(out, value, gate);
        });
        Ok((CpuStorage::F32(out), Shape::from(dims)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_cpu_path_of_geglu_is_value_times_gelu() {
        let x: Vec<f32> = (0..2 * 3 * 40).map(|i| (i as f32 * 0.37).sin() * 4.0).collect();
        let x = Tensor::from_vec(x, (2, 3, 40), &Device::Cpu).unwrap();
        let halves = x.chunk(2, D::Minus1).unwrap();
        let expected = (&halves[0] * halves[1].contiguous().unwrap().gelu_erf().unwrap()).unwrap();
        let difference = (geglu(&x).unwrap() - expected).unwrap().abs().unwrap().flatten_all().unwrap();
        assert!(difference.max(0).unwrap().to_scalar::<f32>().unwrap() < 2e-6);
        assert!(geglu(&Tensor::zeros((2, 3), DType::F32, &Device::Cpu).unwrap()).is_err());
    }
}
