//! The timestep as the U-Net sees it: sinusoids through a small MLP, always in f32.

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::plan::{AddedWidths, Plan};
use crate::diffusion::layers::linear;
use crate::kernels::{Linear, activations};

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
    let angles = frequencies(width, freq_shift).map(|frequency| timestep as f32 * frequency);
    let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(f32::sin_cos).unzip();
    let mut values = if flip_sin_to_cos { [cos, sin].concat() } else { [sin, cos].concat() };
    values.resize(width, 0.0);
    Tensor::from_vec(values, (1, width), device)
}

/// Radians a timestep of each of the `width / 2` sines and cosines.
fn frequencies(width: usize, freq_shift: f64) -> impl Iterator<Item = f32> {
    let half = width / 2;
    (0..half).map(move |i| {
        let exponent = -(10_000_f64.ln()) as f32 * i as f32 / (half as f64 - freq_shift) as f32;
        exponent.exp()
    })
}

/// `linear, silu, linear`.
#[derive(Debug)]
pub struct TimeEmbedding {
    /// `[1, width / 2]` on a card, so that no step brings anything there.
    frequencies: Option<Tensor>,
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
        let dtype = activations(vb.dtype(), vb.device());
        let vb = vb.pp("time_embedding").to_dtype(DType::F32);
        let on_card = |device: &Device| {
            Tensor::from_vec(frequencies(width, freq_shift).collect::<Vec<_>>(), (1, width / 2), device)
        };
        Ok(Self {
            frequencies: (!vb.device().is_cpu()).then(|| on_card(vb.device())).transpose()?,
            linear1: linear(&vb.pp("linear_1"), width, width * 4)?,
            linear2: linear(&vb.pp("linear_2"), width * 4, width * 4)?,
            width,
            flip_sin_to_cos,
            freq_shift,
            dtype,
        })
    }

    /// `[1, 4 * width]` for one timestep, or `[B, 4 * width]` with what is `added` to it, with the SiLU that every
    /// residual block puts before its projection.
    pub(super) fn forward_silu(
        &self,
        timestep: f64,
        added: Option<&Tensor>,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let features = match &self.frequencies {
            Some(frequencies) => self.sinusoids_of(&(frequencies * timestep)?)?,
            None => sinusoids(timestep, self.width, self.flip_sin_to_cos, self.freq_shift, device)?,
        };
        let mut embedding = self.linear2.forward(&self.linear1.forward(&features)?.silu()?)?;
        if let Some(added) = added {
            embedding = added.broadcast_add(&embedding)?;
        }
        embedding.silu()?.to_dtype(self.dtype)
    }

    /// As [`sinusoids`], of angles `[1, width / 2]`.
    fn sinusoids_of(&self, angles: &Tensor) -> candle_core::Result<Tensor> {
        let (sin, cos) = (angles.sin()?, angles.cos()?);
        let pair = if self.flip_sin_to_cos { [cos, sin] } else { [sin, cos] };
        // [1, width], with a zero behind an odd one's
        Tensor::cat(&pair, 1)?.pad_with_zeros(1, 0, self.width % 2)
    }
}

/// What is told beside the prompt's hidden states (Podell et al. 2023, arXiv:2307.01952, section 2.2), for each row.
#[derive(Debug, Clone)]
pub struct Added {
    /// The text as one vector, `[B, P]`.
    pub pooled: Tensor,
    /// Sizes and crops in pixels, height before width, or what else the model was trained with; for each row.
    pub numbers: Vec<Vec<f64>>,
}

/// `linear, silu, linear` of the pooled text and the sinusoids of the numbers, always in f32.
#[derive(Debug)]
pub(super) struct AddedEmbedding {
    linear1: Linear,
    linear2: Linear,
    widths: AddedWidths,
    flip_sin_to_cos: bool,
    freq_shift: f64,
}

impl AddedEmbedding {
    /// Loads `add_embedding` below `vb`, to `width`.
    pub fn load(vb: &VarBuilder, widths: AddedWidths, width: usize, plan: &Plan) -> candle_core::Result<Self> {
        let vb = vb.pp("add_embedding").to_dtype(DType::F32);
        Ok(Self {
            linear1: linear(&vb.pp("linear_1"), widths.all, width)?,
            linear2: linear(&vb.pp("linear_2"), width, width)?,
            widths,
            flip_sin_to_cos: plan.flip_sin_to_cos,
            freq_shift: plan.freq_shift,
        })
    }

    /// `[B, 4 * width]`, to be added to the time embedding.
    pub fn forward(&self, added: &Added) -> candle_core::Result<Tensor> {
        let device = added.pooled.device();
        let mut rows = Vec::with_capacity(added.numbers.len());
        for numbers in &added.numbers {
            let features = numbers
                .iter()
                .map(|&n| sinusoids(n, self.widths.number, self.flip_sin_to_cos, self.freq_shift, device))
                .collect::<candle_core::Result<Vec<_>>>()?;
            rows.push(Tensor::cat(&features, 1)?);
        }
        // [B, P] and [B, n * width] -> [B, P + n * width]
        let features = Tensor::cat(&[&added.pooled.to_dtype(DType::F32)?, &Tensor::cat(&rows, 0)?], 1)?;
        self.linear2.forward(&self.linear1.forward(&features)?.silu()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_of_angles_on_a_card_are_those_of_the_timestep() {
        let vb = VarBuilder::zeros(DType::F32, &Device::Cpu);
        for (width, flip_sin_to_cos) in [(32, true), (33, false)] {
            let embedding = TimeEmbedding::load(&vb, width, flip_sin_to_cos, 1.0).unwrap();
            let angles = frequencies(width, 1.0).collect::<Vec<_>>();
            let angles = (Tensor::from_vec(angles, (1, width / 2), &Device::Cpu).unwrap() * 981.5).unwrap();
            let found = embedding.sinusoids_of(&angles).unwrap();
            let expected = sinusoids(981.5, width, flip_sin_to_cos, 1.0, &Device::Cpu).unwrap();
            assert_eq!(found.dims(), [1, width]);
            let difference = (found - expected).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() < 1e-4);
        }
    }
}
