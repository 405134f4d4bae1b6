//! Linear maps of the last axis or over the channels, with or without bias.

use std::sync::Arc;

use candle_core::{D, DType, Result, Tensor, bail};
use half::bf16;

use super::activation::geglu;
use super::conv::even;
use super::finish::{Finish, Form};
use super::input::{Addends, Before, Input, InputValues};
use super::int8::Int8;
use super::on_card;
use super::panel::{self, Channels, Rows, Source};
use super::product::{Block, Product};
use super::tile::Weights;
use super::values::{Shared, Stored, Values, is_ours, optional, tensor, written};

/// `y = x W^T + b`.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    quantised: Option<Arc<Int8>>,
}

/// In what a result is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In f32 on the CPU: it is added to.
    Full,
    /// As the next product takes it.
    ForProduct,
}

impl Linear {
    /// `weight` is `[out, in]`, `bias` `[out]`.
    ///
    /// # Errors
    /// When the two do not fit.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        let (out, _) = weight.dims2()?;
        if let Some(bias) = bias.as_ref().filter(|bias| bias.dims() != [out]) {
            bail!("linear: weight {:?}, bias {:?}", weight.dims(), bias.dims());
        }
        Ok(Self { weight, bias, quantised: None })
    }

    /// Has products computed in 8 bits from now on, with the weights as they are now; to be called again when they change.
    /// On the processor only.
    ///
    /// # Errors
    /// When the weights are of another type.
    pub fn quantise(&mut self) -> Result<()> {
        self.quantised = Int8::of_layer(&self.weight)?.map(Arc::new);
        Ok(())
    }

    /// `x` is `[..., in]`; `[..., out]` comes back.
    ///
    /// # Errors
    /// When `x` has another width or the device fails.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut dims = x.dims().to_vec();
        let (outputs, inputs) = self.weight.dims2()?;
        let Some(width) = dims.last_mut().filter(|width| **width == inputs && inputs > 0) else {
            bail!("linear: input {:?}, weight {:?}", x.dims(), self.weight.dims());
        };
        *width = outputs;
        if is_ours(x, &self.weight) && x.dtype() == DType::F32 {
            let x = x.contiguous()?;
            let values = Values::of(&x)?;
            let source = Rows { values: values.f32()?, inner: inputs };
            let write = |finish: &Finish, block: &Block, room: &Shared<f32>| finish.write_rows(outputs, block, room);
            return self.run(&source, outputs, Finish::default(), write, dims);
        }
        let y = x.reshape(((), inputs))?.matmul(&self.weight.t()?)?.reshape(dims)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(&bias.to_dtype(y.dtype())?),
            None => Ok(y),
        }
    }

    /// Maps the channels of an input `[B, in, ...]`; `[B, out, ...]` comes back.
    ///
    /// # Errors
    /// When the shapes do not fit or the device fails.
    pub fn over_channels(&self, input: Input, added: Addends, kept: Kept) -> Result<Tensor> {
        let dims = self.mapped(input, 1)?;
        if self.takes(input) {
            added.check(&dims)?;
            let held = added.contiguous()?;
            let (of_channels, of_values) = (optional(held.0.as_ref())?, optional(held.1.as_ref())?);
            let finish = Finish {
                bias: None,
                rows: of_channels.as_ref().map(Values::f32).transpose()?,
                values: of_values.as_ref().map(Values::f32).transpose()?,
            };
            let form = Form::whole(dims[1], dims[2..].iter().product());
            return if kept == Kept::ForProduct && self.weight.dtype() == DType::BF16 {
                self.map::<bf16>(input, finish, dims, |finish, block, room| finish.write(form, block, room))
            } else {
                self.map::<f32>(input, finish, dims, |finish, block, room| finish.write(form, block, room))
            };
        }
        self.plain(input, added, &dims)
    }

    /// As [`Linear::over_channels`]; then the gated GELU: the first half of the outputs times the GELU of the second.
    ///
    /// # Errors
    /// When the outputs are odd, the shapes do not fit or the device fails.
    pub fn geglu_over_channels(&self, input: Input) -> Result<Tensor> {
        let dims = self.mapped(input, 2)?;
        if self.takes(input) {
            let form = Form::whole(dims[1], dims[2..].iter().product());
            let finish = Finish::default();
            return if self.weight.dtype() == DType::BF16 {
                self.map::<bf16>(input, finish, dims, |finish, block, room| {
                    finish.write_gated(form, block, room);
                })
            } else {
                self.map::<f32>(input, finish, dims, |finish, block, room| {
                    finish.write_gated(form, block, room);
                })
            };
        }
        let mut all = dims;
        all[1] *= 2;
        let y = self.plain(input, Addends::NONE, &all)?;
        if let Some(y) = on_card::geglu(&y, 1)? {
            return Ok(y);
        }
        // [B, 2C, ...] -> [B, ..., 2C] and back
        geglu(&y.transpose(1, D::Minus1)?)?.transpose(1, D::Minus1)?.contiguous()
    }

    fn takes(&self, input: Input) -> bool {
        let is_plain = matches!(input.before(), Before::Nothing);
        is_ours(input.tensor(), &self.weight) && (input.tensor().dtype() == DType::F32 || is_plain)
    }

    /// The result's sizes, with the outputs divided by `share`.
    fn mapped(&self, input: Input, share: usize) -> Result<Vec<usize>> {
        let (outputs, inputs) = self.weight.dims2()?;
        let mut dims = input.dims()?;
        let fits_norm = !matches!(input.before(), Before::NormSilu(_)) && input.size().is_none();
        if dims[1] != inputs || inputs == 0 || !outputs.is_multiple_of(share) || !fits_norm {
            bail!("linear over channels: input {dims:?}, weight {:?}", self.weight.dims());
        }
        dims[1] = outputs / share;
        Ok(dims)
    }

    /// By candle's matrix product.
    fn plain(&self, input: Input, added: Addends, dims: &[usize]) -> Result<Tensor> {
        let x = input.plain()?.flatten_from(2)?;
        // [out, in] x [B, in, area]; cuBLAS multiplies the same weights by each of the batch, where `broadcast_matmul` would
        // copy them for each.
        let y = if x.device().is_cuda() {
            self.weight.contiguous()?.broadcast_left(x.dim(0)?)?.matmul(&x)?
        } else {
            self.weight.broadcast_matmul(&x)?
        };
        added.plain(y.reshape(dims)?, self.bias.as_ref())
    }

    fn map<T: Stored>(
        &self,
        input: Input,
        finish: Finish,
        dims: Vec<usize>,
        write: impl Fn(&Finish, &Block, &Shared<T>) + Sync,
    ) -> Result<Tensor> {
        let batch = dims[0];
        let area: usize = dims[2..].iter().product();
        let products = batch * area * self.weight.elem_count();
        let _span = tracing::trace_span!("linear", area, products).entered();
        let tensors = input.contiguous()?;
        let values = InputValues::of(&tensors)?;
        if input.tensor().dtype() == DType::BF16 {
            let source = Channels { parts: values.bf16()?, before: panel::Before::Nothing };
            return self.run(&source, dims[1], finish, write, dims);
        }
        let parts = values.f32()?;
        match input.before() {
            Before::LayerNorm(norm) => {
                let (weight, bias) = norm.weight_and_bias()?;
                let (weight, bias) = (Values::of(&weight)?, Values::of(&bias)?);
                let (weight, bias) = (weight.f32()?, bias.f32()?);
                if weight.len() != parts.channels() || bias.len() != weight.len() {
                    bail!("layer-norm has {} channels, its input {}", weight.len(), parts.channels());
                }
                let statistics = &norm.statistics(parts, batch);
                let source = Channels { parts, before: panel::Before::LayerNorm { statistics, weight, bias } };
                self.run(&source, dims[1], finish, write, dims)
            }
            Before::Norm(norm) | Before::NormSilu(norm) => {
                let pairs = norm.affine(parts, batch)?;
                let source = Channels { parts, before: panel::Before::Affine(&pairs) };
                self.run(&source, dims[1], finish, write, dims)
            }
            Before::Nothing => {
                let source = Channels { parts, before: panel::Before::Nothing };
                self.run(&source, dims[1], finish, write, dims)
            }
        }
    }

    /// A result of `rows` for each column; where the weights have twice as many, the second half belongs to the first.
    fn run<T: Stored>(
        &self,
        source: &impl Source,
        rows: usize,
        finish: Finish,
        write: impl Fn(&Finish, &Block, &Shared<T>) + Sync,
        dims: Vec<usize>,
    ) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|bias| bias.to_dtype(DType::F32)?.contiguous()).transpose()?;
        let bias = optional(bias.as_ref())?;
        let finish = Finish { bias: bias.as_ref().map(Values::f32).transpose()?, ..finish };
        let weight = self.weight.contiguous()?;
        let weight = Values::of(&weight)?;
        let even = match weight.weights()? {
            Weights::Bf16(values) if self.quantised.is_none() => even(values, source.inner()),
            _ => None,
        };
        let weights = match (&self.quantised, &even) {
            (Some(int8), _) => Weights::Int8(int8),
            (None, Some(values)) => Weights::Bf16(values),
            (None, None) => weight.weights()?,
        };
        let partner = (rows < self.weight.dim(0)?).then_some(rows);
        let columns = dims.iter().product::<usize>() / rows.max(1);
        let product = Product { weights, rows, partner, columns };
        #[expect(unsafe_code, reason = "the result is written once")]
        // SAFETY: the blocks of a product cover all of its rows and columns.
        let values = unsafe {
            written::<T>(rows * columns, |room| {
                product.run(source, &|block| write(&finish, block, room));
            })
        };
        tensor(values, dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::samples::wave;

    #[test]
    fn every_shape_is_candles_matrix_product() {
        for (dims, inputs, outputs) in [
            (&[1][..], 1, 1),
            (&[2, 3], 5, 7),
            (&[1, 77], 24, 33),
            (&[161], 8, 48),
            (&[2, 200], 16, 5),
            (&[3, 1, 64], 40, 320),
        ] {
            let x = wave(&[dims, &[inputs]].concat(), 0.37);
            let (weight, bias) = (wave(&[outputs, inputs], 0.71), wave(&[outputs], 1.3));
            for bias in [None, Some(bias)] {
                let mut linear = Linear::new(weight.clone(), bias.clone()).unwrap();
                let found = linear.forward(&x).unwrap();
                let expected = candle_nn::Linear::new(weight.clone(), bias);
                let expected = candle_nn::Module::forward(&expected, &x.reshape(((), inputs)).unwrap()).unwrap();
                assert_eq!(found.dims(), [dims, &[outputs]].concat());
                let most = |found: Tensor| {
                    let difference = (found.reshape(((), outputs)).unwrap() - &expected).unwrap().abs().unwrap();
                    difference.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap()
                };
                let difference = most(found);
                assert!(difference < 1e-5, "{dims:?} {inputs} {outputs}: {difference}");
                linear.quantise().unwrap();
                let (difference, size) = (most(linear.forward(&x).unwrap()), 0.5 * (inputs as f32).sqrt());
                assert!(difference < 0.03 * size, "int8, {dims:?} {inputs} {outputs}: {difference}");
            }
        }
    }

    #[test]
    fn widths_that_do_not_fit_are_errors() {
        assert!(Linear::new(wave(&[2, 3], 0.1), Some(wave(&[3], 0.1))).is_err());
        let linear = Linear::new(wave(&[2, 3], 0.1), None).unwrap();
        assert!(linear.forward(&wave(&[4, 5], 0.1)).is_err());
    }
}
