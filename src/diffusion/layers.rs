//! Loading the kernels' layers under their checkpoint names.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

use crate::kernels::{Conv2d, GroupNorm, LayerNorm, Linear};

/// A 3x3 convolution that keeps the size.
pub fn conv3x3(vb: &VarBuilder, channels_in: usize, channels_out: usize) -> Result<Conv2d> {
    conv(vb, channels_in, channels_out, Window { kernel: 3, stride: 1, padding: 1 })
}

/// A 3x3 convolution that keeps the size, without bias.
pub fn conv3x3_no_bias(vb: &VarBuilder, channels_in: usize, channels_out: usize) -> Result<Conv2d> {
    let bias = Tensor::zeros(channels_out, vb.dtype(), vb.device())?;
    Conv2d::new(vb.get((channels_out, channels_in, 3, 3), "weight")?, bias, 1, 1)
}

/// A 3x3 convolution that halves the size, with `padding` zeros on all sides.
pub fn conv3x3_halving(vb: &VarBuilder, channels: usize, padding: usize) -> Result<Conv2d> {
    conv(vb, channels, channels, Window { kernel: 3, stride: 2, padding })
}

/// A 1x1 convolution.
pub fn conv1x1(vb: &VarBuilder, channels_in: usize, channels_out: usize) -> Result<Conv2d> {
    conv(vb, channels_in, channels_out, Window { kernel: 1, stride: 1, padding: 0 })
}

/// A 1x1 convolution as a linear map over channels.
pub fn pointwise(vb: &VarBuilder, channels_in: usize, channels_out: usize) -> Result<Linear> {
    let weight = vb.get((channels_out, channels_in, 1, 1), "weight")?.reshape((channels_out, channels_in))?;
    Linear::new(weight, Some(vector(vb, channels_out, "bias")?))
}

/// A bias or the like: in f32, whatever the matrices are kept in.
fn vector(vb: &VarBuilder, width: usize, name: &str) -> Result<Tensor> {
    vb.clone().to_dtype(DType::F32).get(width, name)
}

/// What a convolution looks at.
#[derive(Clone, Copy)]
struct Window {
    kernel: usize,
    stride: usize,
    padding: usize,
}

fn conv(vb: &VarBuilder, channels_in: usize, channels_out: usize, window: Window) -> Result<Conv2d> {
    let Window { kernel, stride, padding } = window;
    let weight = vb.get((channels_out, channels_in, kernel, kernel), "weight")?;
    Conv2d::new(weight, vector(vb, channels_out, "bias")?, stride, padding)
}

/// A linear map with bias.
pub fn linear(vb: &VarBuilder, width_in: usize, width_out: usize) -> Result<Linear> {
    Linear::new(vb.get((width_out, width_in), "weight")?, Some(vector(vb, width_out, "bias")?))
}

/// A linear map without bias.
pub fn linear_no_bias(vb: &VarBuilder, width_in: usize, width_out: usize) -> Result<Linear> {
    Linear::new(vb.get((width_out, width_in), "weight")?, None)
}

/// Layer normalisation with scale and shift.
pub fn layer_norm(vb: &VarBuilder, width: usize, eps: f64) -> Result<LayerNorm> {
    Ok(LayerNorm::new(vector(vb, width, "weight")?, vector(vb, width, "bias")?, eps))
}

/// Group normalisation with scale and shift.
pub fn group_norm(vb: &VarBuilder, groups: usize, channels: usize, eps: f64) -> Result<GroupNorm> {
    GroupNorm::new(groups, eps, vector(vb, channels, "weight")?, vector(vb, channels, "bias")?)
}
