//! The timestep as the U-Net sees it: sinusoids through a small MLP, always in f32.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::diffusion::layers::linear;
use crate::kernels::Linear;

/// Sinusoidal features of `timestep`, `[1, width]` in f32 (Vaswani et al. 2017; diffusers' `get_timestep_embedding`).
///
/// # Errors
/// When the device fails.
pub fn sinusoids(
    timestep: f64,
    width: usize,
    flip_sin_to_cos: bool,
    freq_shift: f64,
    device: &Device,
) -> candle_core::Result<Tensor> {
    let half = width / 2;
    let angles = (0..half).map(|i| {
        let exponent = -(10_000_f64.ln()) as f32 * i as f32 / (half as f64 - freq_shift) as f32;
        timestep as f32 * exponent.exp()
    });
    let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
    let mut values = if flip_sin_to_cos { [cos, sin].concat() } else { [sin, cos].concat() };
    values.resize(width, 0.0);
    Tensor::from_vec(values, (1, width), device)
}

/// `linear, silu, linear`.
#[derive(Debug)]
pub struct TimeEmbedding {
    linear1: Linear,
    linear2: Linear,
    width: usize,
    flip_sin_to_cos: bool,
    freq_shift: f64,
    dtype: DType,
}

impl TimeEmbedding {
    /// Loads `time_embedding` below `vb`: `width` sinusoids to `4 * width`.
    pub(super) fn load(
        vb: &VarBuilder,
        width: usize,
        flip_sin_to_cos: bool,
        freq_shift: f64,
    ) -> candle_core::Result<Self> {
        let dtype = vb.dtype();
        let vb = vb.pp("time_embedding").to_dtype(DType::F32);
        Ok(Self {
            linear1: linear(&vb.pp("linear_1"), width, width * 4)?,
            linear2: linear(&vb.pp("linear_2"), width * 4, width * 4)?,
            width,
            flip_sin_to_cos,
            freq_shift,
            dtype,
        })
    }

    /// `[1, 4 * width]` for one timestep, with the SiLU that every residual block puts before its projection.
    pub(super) fn forward_silu(&self, timestep: f64, device: &Device) -> candle_core::Result<Tensor> {
        let features = sinusoids(timestep, self.width, self.flip_sin_to_cos, self.freq_shift, device)?;
        let embedding = self.linear2.forward(&self.linear1.forward(&features)?.silu()?)?;
        embedding.silu()?.to_dtype(self.dtype)
    }
}
