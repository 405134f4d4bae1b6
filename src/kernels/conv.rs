//! Two-dimensional convolution with bias.

use candle_core::{Result, Tensor};

/// A convolution with square kernel, stride and zero padding.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    /// `[1, C_out, 1, 1]`.
    bias: Option<Tensor>,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// `weight` is `[C_out, C_in, K, K]`, `bias` `[C_out]`.
    ///
    /// # Errors
    /// When the bias has not one axis.
    pub fn new(weight: Tensor, bias: Option<Tensor>, stride: usize, padding: usize) -> Result<Self> {
        let bias = bias.map(|b| b.reshape((1, (), 1, 1))).transpose()?;
        Ok(Self { weight, bias, stride, padding })
    }

    /// `x` is `[B, C_in, H, W]`; `[B, C_out, H', W']` comes back.
    ///
    /// # Errors
    /// When `x` has other channels or the device fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = x.conv2d(&self.weight, self.padding, self.stride, 1, 1)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}
