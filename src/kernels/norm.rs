//! Group and layer normalisation. Before a convolution or a linear map they are folded into how its input is read.

use candle_core::{D, DType, Result, Tensor, bail};
use candle_nn::Module;
use rayon::prelude::*;

use super::on_card;
use super::panel::Parts;
use super::values::{Values, tensor};
use super::vector::{affine, affine_silu, sum, sum_of_squares_around, sums_of_columns};

/// Normalises groups of channels to mean 0 and variance 1, then scales and shifts each channel.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    groups: usize,
    eps: f64,
    weight: Tensor,
    bias: Tensor,
}

impl GroupNorm {
    /// `weight` and `bias` are `[C]`, with C a multiple of `groups`.
    ///
    /// # Errors
    /// When it is not.
    pub fn new(groups: usize, eps: f64, weight: Tensor, bias: Tensor) -> Result<Self> {
        let channels = weight.dim(0)?;
        if groups == 0 || !channels.is_multiple_of(groups) {
            bail!("{channels} channels cannot be normalised in {groups} groups");
        }
        Ok(Self { groups, eps, weight, bias })
    }

    /// `x` is `[B, C, ...]`; the same shape comes back.
    ///
    /// # Errors
    /// When `x` has other channels or the device fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x, false)
    }

    /// As [`GroupNorm::forward`], followed by `x * sigmoid(x)`.
    ///
    /// # Errors
    /// When `x` has other channels or the device fails.
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x, true)
    }

    fn apply(&self, x: &Tensor, silu: bool) -> Result<Tensor> {
        let dims = x.dims().to_vec();
        let [batch, channels, spatial @ ..] = &dims[..] else { bail!("group-norm needs [B, C, ...], got {dims:?}") };
        let (batch, channels) = (*batch, *channels);
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            let x = x.contiguous()?;
            let values = Values::of(&x)?;
            let area: usize = spatial.iter().product();
            let first = values.f32()?;
            let parts = Parts { first, first_channels: channels, second: &[], second_channels: 0, area };
            let pairs = self.affine(parts, batch)?;
            let mut out = vec![0.0_f32; first.len()];
            let map = if silu { affine_silu::<f32> } else { affine::<f32> };
            let planes = out.par_chunks_mut(area.max(1)).zip(first.par_chunks(area.max(1))).zip(&pairs);
            planes.for_each(|((out, x), (a, b))| map(out, x, *a, *b));
            return tensor(out, dims);
        }
        let (weights, norm) = ((&self.weight, &self.bias), (self.groups, self.eps));
        if let Some(y) = on_card::group_norm(x, weights, norm, silu)? {
            return Ok(y);
        }
        // [B, C, ...] -> [B, G, C/G * ...]; statistics in f32.
        let grouped = x.reshape((batch, self.groups, ()))?.to_dtype(DType::F32)?;
        let centred = grouped.broadcast_sub(&grouped.mean_keepdim(2)?)?;
        let variance = centred.sqr()?.mean_keepdim(2)?;
        let normed = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?.reshape((batch, channels, ()))?;
        let weight = self.weight.to_dtype(DType::F32)?.reshape((1, channels, 1))?;
        let bias = self.bias.to_dtype(DType::F32)?.reshape((1, channels, 1))?;
        let y = normed.broadcast_mul(&weight)?.broadcast_add(&bias)?.reshape(dims)?.to_dtype(x.dtype())?;
        if silu { y.silu() } else { Ok(y) }
    }

    /// What the normalisation is for each channel of each picture: `a * x + b`.
    pub(super) fn affine(&self, parts: Parts<f32>, batch: usize) -> Result<Vec<(f32, f32)>> {
        let channels = parts.channels();
        let (weight, bias) = (self.weight.to_dtype(DType::F32)?, self.bias.to_dtype(DType::F32)?);
        let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        let (weight, bias) = (Values::of(&weight)?, Values::of(&bias)?);
        let (weight, bias) = (weight.f32()?, bias.f32()?);
        if channels != weight.len() || bias.len() != weight.len() {
            bail!("group-norm has {} channels, its input {channels}", weight.len());
        }
        let of_group = channels / self.groups;
        let groups: Vec<(f32, f32)> = (0..batch * self.groups)
            .into_par_iter()
            .map(|index| {
                let (picture, group) = (index / self.groups, index % self.groups);
                statistics(|| (group * of_group..(group + 1) * of_group).map(|c| parts.plane(picture, c)), self.eps)
            })
            .collect();
        let pair = |index: usize| {
            let channel = index % channels;
            let (mean, scale) = groups[index / channels * self.groups + channel / of_group];
            let a = weight[channel] * scale;
            (a, bias[channel] - mean * a)
        };
        Ok((0..batch * channels).map(pair).collect())
    }
}

/// Mean and reciprocal standard deviation of all values of some planes; sums in f64 over short f32 runs, so that large
/// groups stay exact.
fn statistics<'a, I: Iterator<Item = &'a [f32]>>(planes: impl Fn() -> I, eps: f64) -> (f32, f32) {
    let count: usize = planes().map(<[f32]>::len).sum();
    let count = count as f64;
    let total: f64 = planes().map(sum).sum();
    let mean = (total / count) as f32;
    let squares: f64 = planes().map(|plane| sum_of_squares_around(plane, mean)).sum();
    let scale = (1.0 / (squares / count + eps).sqrt()) as f32;
    (mean, scale)
}

/// Normalises the channels of each token to mean 0 and variance 1, then scales and shifts each channel.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    eps: f64,
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// `weight` and `bias` are `[C]`.
    #[must_use]
    pub fn new(weight: Tensor, bias: Tensor, eps: f64) -> Self {
        Self { eps, weight, bias }
    }

    /// `x` is `[..., C]`; the same shape comes back.
    ///
    /// # Errors
    /// When `x` has other channels or the device fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = (self.weight.to_dtype(x.dtype())?, self.bias.to_dtype(x.dtype())?);
        candle_nn::LayerNorm::new(weight, bias, self.eps).forward(x)
    }

    /// As [`LayerNorm::forward`] for `x` `[B, C, T]`.
    ///
    /// # Errors
    /// As [`LayerNorm::forward`].
    pub(super) fn forward_over_channels(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(y) = on_card::layer_norm(x, (&self.weight, &self.bias), self.eps)? {
            return Ok(y);
        }
        // [B, C, T] -> [B, T, C] and back
        self.forward(&x.transpose(1, D::Minus1)?.contiguous()?)?.transpose(1, D::Minus1)?.contiguous()
    }

    /// Scale and shift of the channels, in f32.
    pub(super) fn weight_and_bias(&self) -> Result<(Tensor, Tensor)> {
        let plain = |t: &Tensor| t.to_dtype(DType::F32)?.contiguous();
        Ok((plain(&self.weight)?, plain(&self.bias)?))
    }

    /// Mean and reciprocal deviation of each token of `[B, C, area]`.
    pub(super) fn statistics(&self, parts: Parts<f32>, batch: usize) -> Vec<(f32, f32)> {
        const TOKENS: usize = 64;
        let (area, channels) = (parts.area, parts.channels());
        let mut out = vec![(0.0, 0.0); batch * area];
        let blocks = out.par_chunks_mut(area.max(1)).enumerate();
        let blocks = blocks.flat_map_iter(|(picture, tokens)| {
            tokens.chunks_mut(TOKENS).enumerate().map(move |(block, tokens)| (picture, block * TOKENS, tokens))
        });
        blocks.for_each(|(picture, first, tokens)| {
            let planes = || (0..channels).map(|c| &parts.plane(picture, c)[first..first + tokens.len()]);
            let mut means = [0.0_f32; TOKENS];
            let mut sums = [0.0_f32; TOKENS];
            for plane in planes() {
                sums_of_columns(&mut sums, plane, &[0.0; TOKENS], false);
            }
            for (mean, sum) in means.iter_mut().zip(sums) {
                *mean = sum / channels as f32;
            }
            let mut squares = [0.0_f32; TOKENS];
            for plane in planes() {
                sums_of_columns(&mut squares, plane, &means, true);
            }
            for ((token, mean), squares) in tokens.iter_mut().zip(means).zip(squares) {
                let variance = f64::from(squares) / channels as f64;
                *token = (mean, (1.0 / (variance + self.eps).sqrt()) as f32);
            }
        });
        out
    }
}
