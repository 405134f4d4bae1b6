//! Two-dimensional convolution with bias: on the CPU as a matrix product over patches that are laid out a tile at a time.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::contiguous;
use super::matmul::{Extent, Into, Place, matmul};

/// Output pixels of one tile: enough for the product to run at speed, few enough for the patches to stay in the cache.
const TILE_PIXELS: usize = 192;
/// Pictures with no more pixels than this are divided by channels: their weights are the larger part.
const FEW_PIXELS: usize = 512;

/// How few-pixel pictures are divided. As every division of the work it does not depend on the number of threads, so that
/// the same request gives the same bytes on any number of them.
const CHANNELS_OF_A_TASK: usize = 64;

/// A convolution with square kernel, stride and zero padding.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    padding: usize,
}

impl Conv2d {
    /// `weight` is `[C_out, C_in, K, K]`, `bias` `[C_out]`.
    ///
    /// # Errors
    /// When the two do not fit.
    pub fn new(weight: Tensor, bias: Tensor, stride: usize, padding: usize) -> Result<Self> {
        let (channels_out, _, height, width) = weight.dims4()?;
        if height != width || bias.dims1()? != channels_out || stride == 0 {
            bail!("convolution: weight {:?}, bias {:?}, stride {stride}", weight.dims(), bias.dims());
        }
        Ok(Self { weight, bias, stride, padding })
    }

    /// `x` is `[B, C_in, H, W]`; `[B, C_out, H', W']` comes back.
    ///
    /// # Errors
    /// When `x` has other channels or the device fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() && x.dtype() == DType::F32 {
            let op = ConvOp { stride: self.stride, padding: self.padding };
            return x.contiguous()?.apply_op3_no_bwd(&self.weight, &self.bias, &op);
        }
        x.conv2d(&self.weight, self.padding, self.stride, 1, 1)?.broadcast_add(&self.bias.reshape((1, (), 1, 1))?)
    }
}

struct ConvOp {
    stride: usize,
    padding: usize,
}

/// The sizes of one convolution.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    channels_in: usize,
    channels_out: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    height: usize,
    width: usize,
    out_height: usize,
    out_width: usize,
}

impl Sizes {
    /// Values of one patch: what an output pixel looks at.
    fn patch(self) -> usize {
        self.channels_in * self.kernel * self.kernel
    }

    fn area(self) -> usize {
        self.height * self.width
    }

    fn out_area(self) -> usize {
        self.out_height * self.out_width
    }

    /// Output pixel `p` of a picture needs nothing but input pixel `p`.
    fn is_pointwise(self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0
    }

    /// Lays out the patches of `count` output pixels of one picture from `first` on: patch value (channel, ky, kx) of
    /// pixel p goes to `patches[((channel * K + ky) * K + kx) * count + p]`.
    fn lay_out(self, picture: &[f32], first: usize, count: usize, patches: &mut [f32]) {
        let k = self.kernel;
        for (channel, plane) in picture.chunks_exact(self.area()).enumerate() {
            for ky in 0..k {
                for kx in 0..k {
                    let start = ((channel * k + ky) * k + kx) * count;
                    self.lay_out_tap(plane, (ky, kx), first, &mut patches[start..start + count]);
                }
            }
        }
    }

    /// One row of [`Sizes::lay_out`]: what tap (ky, kx) of the kernel sees on a channel's plane.
    fn lay_out_tap(self, plane: &[f32], (ky, kx): (usize, usize), first: usize, out: &mut [f32]) {
        let mut done = 0;
        while done < out.len() {
            let pixel = first + done;
            let (oy, ox) = (pixel / self.out_width, pixel % self.out_width);
            let run = (self.out_width - ox).min(out.len() - done);
            let target = &mut out[done..done + run];
            done += run;
            // Input coordinates plus padding, so that they are never negative.
            let y = oy * self.stride + ky;
            if y < self.padding || y - self.padding >= self.height {
                target.fill(0.0);
                continue;
            }
            let line = &plane[(y - self.padding) * self.width..][..self.width];
            let x = ox * self.stride + kx;
            if self.stride == 1 {
                let left = self.padding.saturating_sub(x).min(run);
                let from = (x + left).saturating_sub(self.padding).min(self.width);
                let inside = (self.width - from).min(run - left);
                target[..left].fill(0.0);
                target[left..left + inside].copy_from_slice(&line[from..from + inside]);
                target[left + inside..].fill(0.0);
            } else {
                for (i, value) in target.iter_mut().enumerate() {
                    let x = x + i * self.stride;
                    let is_inside = x >= self.padding && x - self.padding < self.width;
                    *value = if is_inside { line[x - self.padding] } else { 0.0 };
                }
            }
        }
    }
}

impl CustomOp3 for ConvOp {
    fn name(&self) -> &'static str {
        "conv2d"
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
        let (batch, channels_in, height, width) = x_layout.shape().dims4()?;
        let (channels_out, weight_channels, kernel, _) = weight_layout.shape().dims4()?;
        let (stride, padding) = (self.stride, self.padding);
        if channels_in != weight_channels || height + 2 * padding < kernel || width + 2 * padding < kernel {
            bail!("convolution: input {:?}, weight {:?}", x_layout.dims(), weight_layout.dims());
        }
        let out_side = |side: usize| (side + 2 * padding - kernel) / stride + 1;
        let (out_height, out_width) = (out_side(height), out_side(width));
        let sizes =
            Sizes { batch, channels_in, channels_out, kernel, stride, padding, height, width, out_height, out_width };
        let x = contiguous(x.as_slice::<f32>()?, x_layout)?;
        let weight = contiguous(weight.as_slice::<f32>()?, weight_layout)?;
        let bias = contiguous(bias.as_slice::<f32>()?, bias_layout)?;
        let out = if sizes.out_area() <= FEW_PIXELS {
            by_channels(sizes, x, weight, bias)
        } else {
            by_pixels(sizes, x, weight, bias)
        };
        Ok((CpuStorage::F32(out), Shape::from((batch, channels_out, out_height, out_width))))
    }
}

/// Many pixels: a task a tile of one picture, which computes all channels of its pixels.
fn by_pixels(sizes: Sizes, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (area, patch, channels) = (sizes.out_area(), sizes.patch(), sizes.channels_out);
    let tiles = area.div_ceil(TILE_PIXELS);
    let tasks: Vec<(usize, usize)> =
        (0..sizes.batch).flat_map(|b| (0..tiles).map(move |t| (b, t * TILE_PIXELS))).collect();
    let mut out = vec![0.0_f32; sizes.batch * channels * area];
    // [C_out][tile] for each task, then copied to the channels' planes: tiles of different tasks interleave there.
    let mut planes: Vec<&mut [f32]> = out.chunks_mut(area).collect();
    for wave in tasks.chunks(8 * rayon::current_num_threads()) {
        let results: Vec<Vec<f32>> = wave
            .par_iter()
            .map_init(Vec::new, |patches, &(b, first)| {
                let count = TILE_PIXELS.min(area - first);
                let picture = &x[b * sizes.channels_in * sizes.area()..][..sizes.channels_in * sizes.area()];
                let mut tile: Vec<f32> = bias.iter().flat_map(|&v| std::iter::repeat_n(v, count)).collect();
                let extent = Extent { rows: channels, columns: count, inner: patch };
                let (out, a) = ((tile.as_mut_slice(), Place::rows(0, count)), (weight, Place::rows(0, patch)));
                if sizes.is_pointwise() {
                    let b = (picture, Place { start: first, row_stride: area, column_stride: 1 });
                    matmul(extent, out, a, b, Into::Add);
                } else {
                    patches.resize(patch * TILE_PIXELS, 0.0);
                    sizes.lay_out(picture, first, count, patches);
                    matmul(extent, out, a, (patches, Place::rows(0, count)), Into::Add);
                }
                tile
            })
            .collect();
        for (&(b, first), tile) in wave.iter().zip(&results) {
            let count = TILE_PIXELS.min(area - first);
            for (plane, row) in planes[b * channels..][..channels].iter_mut().zip(tile.chunks_exact(count)) {
                plane[first..first + count].copy_from_slice(row);
            }
        }
    }
    out
}

/// Few pixels: the patches of the whole batch are laid out once, then each task computes some channels of all pixels.
fn by_channels(sizes: Sizes, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let (area, patch, channels) = (sizes.out_area(), sizes.patch(), sizes.channels_out);
    let columns = sizes.batch * area;
    let mut patches = vec![0.0_f32; patch * columns];
    let per_channel = sizes.kernel * sizes.kernel * columns;
    // A task a channel: its taps' rows hold the pictures of the batch side by side.
    patches.par_chunks_mut(per_channel.max(1)).enumerate().for_each(|(channel, rows)| {
        for (tap, row) in rows.chunks_exact_mut(columns).enumerate() {
            for (b, part) in row.chunks_exact_mut(area).enumerate() {
                let plane = &x[(b * sizes.channels_in + channel) * sizes.area()..][..sizes.area()];
                sizes.lay_out_tap(plane, (tap / sizes.kernel, tap % sizes.kernel), 0, part);
            }
        }
    });
    let mut by_channel = vec![0.0_f32; channels * columns];
    by_channel.par_chunks_mut(CHANNELS_OF_A_TASK * columns).enumerate().for_each(|(index, rows)| {
        let first = index * CHANNELS_OF_A_TASK;
        for (row, &v) in rows.chunks_exact_mut(columns).zip(&bias[first..]) {
            row.fill(v);
        }
        let extent = Extent { rows: rows.len() / columns, columns, inner: patch };
        let a = (weight, Place::rows(first * patch, patch));
        matmul(extent, (rows, Place::rows(0, columns)), a, (&patches, Place::rows(0, columns)), Into::Add);
    });
    if sizes.batch == 1 {
        return by_channel;
    }
    // [C, B, area] -> [B, C, area]
    let mut out = vec![0.0_f32; channels * columns];
    for (index, plane) in out.chunks_exact_mut(area).enumerate() {
        let (b, channel) = (index / channels, index % channels);
        plane.copy_from_slice(&by_channel[channel * columns + b * area..][..area]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::samples::wave;

    #[test]
    fn every_shape_gives_candles_convolution() {
        for (batch, channels_in, channels_out, side, kernel, stride, padding) in [
            (1, 1, 1, (1, 1), 3, 1, 1),
            (2, 3, 5, (7, 9), 3, 1, 1),
            (1, 4, 33, (8, 8), 3, 2, 1),
            (2, 4, 6, (9, 14), 3, 2, 1),
            (1, 3, 4, (33, 31), 3, 1, 1),
            (2, 3, 4, (40, 27), 3, 1, 1),
            (1, 2, 3, (65, 33), 3, 2, 0),
            (2, 5, 7, (6, 6), 1, 1, 0),
            (2, 5, 7, (30, 31), 1, 1, 0),
            (1, 2, 2, (5, 30), 5, 1, 2),
            (1, 3, 2, (700, 3), 3, 1, 1),
        ] {
            let x = wave(&[batch, channels_in, side.0, side.1], 0.37);
            let weight = wave(&[channels_out, channels_in, kernel, kernel], 0.71);
            let bias = wave(&[channels_out], 1.3);
            let conv = Conv2d::new(weight.clone(), bias.clone(), stride, padding).unwrap();
            let found = conv.forward(&x).unwrap();
            let expected = x.conv2d(&weight, padding, stride, 1, 1).unwrap();
            let expected = expected.broadcast_add(&bias.reshape((1, (), 1, 1)).unwrap()).unwrap();
            assert_eq!(found.dims(), expected.dims());
            let difference = (found - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            let difference = difference.to_scalar::<f32>().unwrap();
            assert!(difference < 1e-4, "{side:?} kernel {kernel} stride {stride}: {difference}");
        }
    }

    #[test]
    fn a_picture_with_other_channels_is_an_error() {
        let conv = Conv2d::new(wave(&[2, 3, 3, 3], 0.1), wave(&[2], 0.1), 1, 1).unwrap();
        assert!(conv.forward(&wave(&[1, 4, 8, 8], 0.1)).is_err());
    }
}
