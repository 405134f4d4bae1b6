//! Group normalisation, with SiLU folded in where the model applies it next.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::contiguous;
use super::vector::{affine, affine_silu};

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
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            let op = GroupNormOp { groups: self.groups, eps: self.eps, silu };
            return x.contiguous()?.apply_op3_no_bwd(&self.weight, &self.bias, &op);
        }
        let dims = x.dims().to_vec();
        let (batch, channels) = (dims[0], dims[1]);
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
}

/// The CPU's one-sweep version: each group is read twice and written once.
struct GroupNormOp {
    groups: usize,
    eps: f64,
    silu: bool,
}

impl CustomOp3 for GroupNormOp {
    fn name(&self) -> &'static str {
        "group-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = contiguous(x.as_slice::<f32>()?, x_layout)?;
        let weight = contiguous(weight.as_slice::<f32>()?, weight_layout)?;
        let bias = contiguous(bias.as_slice::<f32>()?, bias_layout)?;
        let dims = x_layout.dims();
        let [_, channels, spatial @ ..] = dims else { bail!("group-norm needs [B, C, ...], got {dims:?}") };
        if *channels != weight.len() {
            bail!("group-norm has {} channels, its input {channels}", weight.len());
        }
        let area: usize = spatial.iter().product();
        let channels_per_group = channels / self.groups;
        let group_len = channels_per_group * area;
        let mut out = vec![0.0_f32; x.len()];
        out.par_chunks_mut(group_len.max(1)).zip(x.par_chunks(group_len.max(1))).enumerate().for_each(
            |(index, (out, x))| {
                let first_channel = index % self.groups * channels_per_group;
                let (mean, scale) = statistics(x, self.eps);
                for c in 0..channels_per_group {
                    let a = weight[first_channel + c] * scale;
                    let b = bias[first_channel + c] - mean * a;
                    let range = c * area..(c + 1) * area;
                    let map = if self.silu { affine_silu } else { affine };
                    map(&mut out[range.clone()], &x[range], a, b);
                }
            },
        );
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }
}

/// Mean and reciprocal standard deviation; sums in f64 over short f32 runs, so that large groups stay exact.
fn statistics(x: &[f32], eps: f64) -> (f32, f32) {
    let count = x.len() as f64;
    let sum = |map: &dyn Fn(f32) -> f32| -> f64 {
        x.chunks(256)
            .map(|run| {
                let mut lanes = [0.0_f32; 16];
                let mut blocks = run.chunks_exact(16);
                for block in &mut blocks {
                    for (lane, &v) in lanes.iter_mut().zip(block) {
                        *lane += map(v);
                    }
                }
                let rest: f32 = blocks.remainder().iter().map(|&v| map(v)).sum();
                f64::from(lanes.iter().sum::<f32>() + rest)
            })
            .sum()
    };
    let mean = (sum(&|v| v) / count) as f32;
    let variance = sum(&|v| (v - mean) * (v - mean)) / count;
    let scale = (1.0 / (variance + eps).sqrt()) as f32;
    (mean, scale)
}
