//! Two-dimensional convolution: on the CPU a product over the patches of pictures that were made ready in one sweep.

use std::sync::{Arc, OnceLock};

use candle_core::{DType, Result, Tensor, bail};
use half::bf16;

use super::finish::{Finish, Form};
use super::input::{Addends, Before, Input, InputValues};
use super::int8::Int8;
use super::on_card;
use super::panel::{Patches, Value};
use super::planes::Pictures;
use super::product::Product;
use super::tile::Weights;
use super::values::{Values, is_ours, optional, tensor, written};
use super::winograd::{self, Factors};

/// A convolution with square kernel, stride and zero padding.
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: usize,
    padding: usize,
    quantised: Option<Arc<Quantised>>,
}

/// Weights in 8 bits.
#[derive(Debug)]
struct Quantised {
    direct: Int8,
    /// Those of the way with fewer multiplications, once it was taken.
    transformed: OnceLock<Vec<Int8>>,
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
        Ok(Self { weight, bias, stride, padding, quantised: None })
    }

    /// As [`super::Linear::quantise`].
    ///
    /// # Errors
    /// When the weights are of another type.
    pub fn quantise(&mut self) -> Result<()> {
        let quantised = |direct| Arc::new(Quantised { direct, transformed: OnceLock::new() });
        self.quantised = Int8::of_layer(&self.weight)?.map(quantised);
        Ok(())
    }

    /// `x` is `[B, C_in, H, W]`; `[B, C_out, H', W']` comes back.
    ///
    /// # Errors
    /// When `x` has other channels or the device fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(x.into(), Addends::NONE)
    }

    /// As [`Conv2d::forward`], with what comes before and what is added after.
    ///
    /// # Errors
    /// When the shapes do not fit or the device fails.
    pub fn apply(&self, input: Input, added: Addends) -> Result<Tensor> {
        let x = input.tensor();
        if is_ours(x, &self.weight) && x.dtype() == DType::F32 && !matches!(input.before(), Before::LayerNorm(_)) {
            return self.ours(input, added);
        }
        let x = input.plain()?;
        if let Some(y) = on_card::convolve(&x, (&self.weight, &self.bias), (self.stride, self.padding), added)? {
            return Ok(y);
        }
        added.plain(x.conv2d(&self.weight, self.padding, self.stride, 1, 1)?, Some(&self.bias))
    }

    fn ours(&self, input: Input, added: Addends) -> Result<Tensor> {
        let (channels_out, channels_in, kernel, _) = self.weight.dims4()?;
        let dims = input.dims()?;
        let [batch, channels, height, width] = dims[..] else { bail!("convolution: input {dims:?}") };
        let size = input.size().unwrap_or((height, width));
        let padding = self.padding;
        if channels != channels_in || size.0 + 2 * padding < kernel || size.1 + 2 * padding < kernel {
            bail!("convolution: input {dims:?}, weight {:?}", self.weight.dims());
        }
        let side = |side: usize| (side + 2 * padding - kernel) / self.stride + 1;
        let (out_height, out_width) = (side(size.0), side(size.1));
        let out = [batch, channels_out, out_height, out_width];
        added.check(&out)?;
        let area = out_height * out_width;
        let products = batch * channels_out * area * channels * kernel * kernel;
        let _span = tracing::trace_span!("convolution", kernel, area, products).entered();
        let tensors = input.contiguous()?;
        let values = InputValues::of(&tensors)?;
        let parts = values.f32()?;
        let (norm, is_activated) = match input.before() {
            Before::Norm(norm) => (Some(norm), false),
            Before::NormSilu(norm) => (Some(norm), true),
            _ => (None, false),
        };
        let pairs = norm.map(|norm| norm.affine(parts, batch)).transpose()?;
        let is_square3 = (kernel, self.stride, padding) == (3, 1, 1);
        let is_transformed = is_square3 && winograd::pays(batch * area, channels, channels_out);
        let pictures = Pictures {
            parts,
            batch,
            size: (height, width),
            affine: pairs.as_deref(),
            is_activated,
            enlarged: size,
            padding,
            filling: 0,
        };
        let weight = self.weight.contiguous()?;
        let weight = Values::of(&weight)?;
        self.multiplied(weight.weights()?, is_transformed, pictures, out, added)
    }

    /// By the way that suits it.
    fn multiplied(
        &self,
        weights: Weights,
        is_transformed: bool,
        pictures: Pictures,
        out: [usize; 4],
        added: Addends,
    ) -> Result<Tensor> {
        let (channels_out, channels, kernel, _) = self.weight.dims4()?;
        if let Some(quantised) = &self.quantised {
            if is_transformed && channels.is_multiple_of(4) {
                let points = quantised.transformed.get_or_init(|| winograd::in_bytes(weights, channels_out, channels));
                return self.transformed::<bf16>(Factors::Bytes(points), pictures, out, added);
            }
            return self.product::<bf16>(Weights::Int8(&quantised.direct), pictures, out, added);
        }
        match weights {
            Weights::F32(weights) if is_transformed => {
                self.transformed(Factors::Weights(weights), pictures, out, added)
            }
            Weights::Bf16(weights) if is_transformed => {
                self.transformed(Factors::Weights(weights), pictures, out, added)
            }
            Weights::F32(_) => self.product::<f32>(weights, pictures, out, added),
            Weights::Bf16(weights) => {
                let even = even(weights, channels * kernel * kernel);
                let weights = Weights::Bf16(even.as_deref().unwrap_or(weights));
                self.product::<bf16>(weights, pictures, out, added)
            }
            Weights::Int8(_) => bail!("convolution: weights in 8 bits come from weights of bf16 or f32"),
        }
    }

    /// With fewer multiplications.
    fn transformed<T: winograd::Kind>(
        &self,
        factors: Factors<T>,
        pictures: Pictures,
        out: [usize; 4],
        added: Addends,
    ) -> Result<Tensor> {
        let [_, channels_out, height, width] = out;
        let pictures = Pictures { filling: winograd::filling::<T>(width), ..pictures };
        self.finished(added, |finish| {
            tensor(winograd::convolve(&pictures, (height, width), factors, channels_out, finish), out.to_vec())
        })
    }

    /// Runs with what is added to the result.
    fn finished(&self, added: Addends, run: impl FnOnce(Finish) -> Result<Tensor>) -> Result<Tensor> {
        let bias = self.bias.to_dtype(DType::F32)?.contiguous()?;
        let bias = Values::of(&bias)?;
        let added = added.contiguous()?;
        let (of_channels, of_values) = (optional(added.0.as_ref())?, optional(added.1.as_ref())?);
        run(Finish {
            bias: Some(bias.f32()?),
            rows: of_channels.as_ref().map(Values::f32).transpose()?,
            values: of_values.as_ref().map(Values::f32).transpose()?,
        })
    }

    fn product<T: Value>(
        &self,
        weights: Weights,
        pictures: Pictures,
        out: [usize; 4],
        added: Addends,
    ) -> Result<Tensor> {
        let [batch, channels_out, out_height, out_width] = out;
        let (kernel, stride) = (self.weight.dim(2)?, self.stride);
        let (channels, area) = (pictures.parts.channels(), out_height * out_width);
        self.finished(added, |finish| {
            #[expect(unsafe_code, reason = "the result is written once")]
            // SAFETY: the strips cover all lines, the blocks of a product all of its rows and columns.
            let values = unsafe {
                written::<f32>(batch * channels_out * area, |room| {
                    for lines in pictures.strips::<T>(out_height, stride) {
                        let (first, len) = (lines.start * out_width, lines.len() * out_width);
                        let form = Form { rows: channels_out, area, first, len };
                        let framed = lines.start * stride..(lines.end - 1) * stride + kernel;
                        let product = Product { weights, rows: channels_out, partner: None, columns: batch * len };
                        pictures.with_lines(framed.clone(), |planes: &[T]| {
                            let (height, width) = (framed.len(), pictures.width());
                            let patches =
                                Patches { planes, channels, height, width, kernel, stride, out_width, out_area: len };
                            product.run(&patches, &|block| finish.write(form, block, room));
                        });
                    }
                })
            };
            tensor(values, out.to_vec())
        })
    }
}

/// Rows of bf16 with a zero after each, where their length is odd: two make a word.
pub(super) fn even(weights: &[bf16], inner: usize) -> Option<Vec<bf16>> {
    (!inner.is_multiple_of(2)).then(|| {
        weights.chunks_exact(inner).flat_map(|row| row.iter().copied().chain(std::iter::once(bf16::ZERO))).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::GroupNorm;
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
            (1, 32, 32, (32, 32), 3, 1, 1),
            (2, 34, 37, (23, 26), 3, 1, 1),
            (1, 48, 40, (17, 71), 3, 1, 1),
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
            // The same with weights of bf16. Each of a sum's terms is of size 0.5 and rounded to 8 bits, on this way once
            // or, transformed, twice.
            let rounded = weight.to_dtype(DType::BF16).unwrap();
            let mut conv = Conv2d::new(rounded.clone(), bias.clone(), stride, padding).unwrap();
            let expected = x.conv2d(&rounded.to_dtype(DType::F32).unwrap(), padding, stride, 1, 1).unwrap();
            let expected = expected.broadcast_add(&bias.reshape((1, (), 1, 1)).unwrap()).unwrap();
            let difference = (conv.forward(&x).unwrap() - &expected).unwrap().abs().unwrap().flatten_all().unwrap();
            let difference = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
            let expected_size = 0.5 * ((channels_in * kernel * kernel) as f32).sqrt();
            assert!(difference < 0.03 * expected_size, "bf16, {side:?} kernel {kernel} stride {stride}: {difference}");
            conv.quantise().unwrap();
            let difference = (conv.forward(&x).unwrap() - &expected).unwrap().abs().unwrap().flatten_all().unwrap();
            let difference = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
            assert!(difference < 0.06 * expected_size, "int8, {side:?} kernel {kernel} stride {stride}: {difference}");
        }
    }

    #[test]
    fn what_comes_before_and_after_is_what_it_is_alone() {
        for channels in [8, 32] {
            let (x, beside) = (wave(&[2, channels, 24, 25], 0.37), wave(&[2, channels / 2, 24, 25], 0.21));
            let all = channels * 3 / 2;
            let conv = Conv2d::new(wave(&[6, all, 3, 3], 0.71), wave(&[6], 1.3), 1, 1).unwrap();
            let norm = GroupNorm::new(4, 1e-5, wave(&[all], 0.3), wave(&[all], 0.7)).unwrap();
            let (of_channels, values) = (wave(&[2, 6], 0.9), wave(&[2, 6, 48, 50], 0.05));
            let input = Input::joined(&x, &beside).after(Before::NormSilu(&norm)).enlarged(48, 50);
            let addends = Addends { channels: Some(&of_channels), values: Some(&values) };
            let found = conv.apply(input, addends).unwrap();
            let plain = norm.forward_silu(&Tensor::cat(&[&x, &beside], 1).unwrap()).unwrap();
            let plain = conv.forward(&plain.upsample_nearest2d(48, 50).unwrap()).unwrap();
            let plain = plain.broadcast_add(&of_channels.reshape((2, 6, 1, 1)).unwrap()).unwrap();
            let difference = (found - (plain + &values).unwrap()).unwrap().abs().unwrap().flatten_all().unwrap();
            assert!(difference.max(0).unwrap().to_scalar::<f32>().unwrap() < 1e-4);
        }
    }

    #[test]
    fn a_picture_with_other_channels_is_an_error() {
        let conv = Conv2d::new(wave(&[2, 3, 3, 3], 0.1), wave(&[2], 0.1), 1, 1).unwrap();
        assert!(conv.forward(&wave(&[1, 4, 8, 8], 0.1)).is_err());
    }
}
