//! What a convolution or a linear map over channels reads and what is added to its result: so that joining, normalising,
//! activating, enlarging and adding need no sweep of their own.

use candle_core::{DType, Result, Tensor, bail};
use half::bf16;

use super::norm::{GroupNorm, LayerNorm};
use super::on_card;
use super::panel::Parts;
use super::resample::upsample_nearest;
use super::values::{Values, optional};

/// What comes before.
#[derive(Debug, Clone, Copy, Default)]
pub enum Before<'a> {
    /// Nothing.
    #[default]
    Nothing,
    /// A group normalisation.
    Norm(&'a GroupNorm),
    /// A group normalisation and SiLU.
    NormSilu(&'a GroupNorm),
    /// A layer normalisation of each token; for linear maps.
    LayerNorm(&'a LayerNorm),
}

/// An input `[B, C, H, W]` or `[B, C, T]`.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    x: &'a Tensor,
    beside: Option<&'a Tensor>,
    /// What is done to it first.
    before: Before<'a>,
    /// Height and width that it is enlarged to, by the nearest pixel; for convolutions.
    size: Option<(usize, usize)>,
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(x: &'a Tensor) -> Self {
        Self { x, beside: None, before: Before::Nothing, size: None }
    }
}

impl<'a> Input<'a> {
    /// Two tensors as one, joined along the channels.
    #[must_use]
    pub fn joined(x: &'a Tensor, beside: &'a Tensor) -> Self {
        Self { beside: Some(beside), ..Self::from(x) }
    }

    /// The same after a normalisation.
    #[must_use]
    pub fn after(self, before: Before<'a>) -> Self {
        Self { before, ..self }
    }

    /// The same enlarged to `height` x `width`, each pixel taking its nearest source.
    #[must_use]
    pub fn enlarged(self, height: usize, width: usize) -> Self {
        Self { size: Some((height, width)), ..self }
    }

    /// What is done first.
    pub(super) fn before(&self) -> Before<'a> {
        self.before
    }

    /// Sides that it is enlarged to, if it is.
    pub(super) fn size(&self) -> Option<(usize, usize)> {
        self.size
    }

    /// The sizes of all axes, once joined.
    pub(super) fn dims(&self) -> Result<Vec<usize>> {
        let mut dims = self.x.dims().to_vec();
        if dims.len() < 3 {
            bail!("[B, C, ...] is needed, not {dims:?}");
        }
        if let Some(beside) = self.beside {
            let rest = |t: &Tensor| (t.dims()[0], t.dims()[2..].to_vec());
            if beside.rank() != dims.len() || rest(beside) != rest(self.x) || beside.dtype() != self.x.dtype() {
                bail!("{:?} cannot be joined to {dims:?}", beside.dims());
            }
            dims[1] += beside.dims()[1];
        }
        Ok(dims)
    }

    /// The tensor whose device and type count.
    pub(super) fn tensor(&self) -> &'a Tensor {
        self.x
    }

    /// Both tensors in order.
    pub(super) fn contiguous(&self) -> Result<(Tensor, Option<Tensor>)> {
        Ok((self.x.contiguous()?, self.beside.map(Tensor::contiguous).transpose()?))
    }

    /// Both as one tensor, with nothing done first.
    ///
    /// # Errors
    /// When they cannot be joined.
    pub fn joined_tensor(&self) -> Result<Tensor> {
        match self.beside {
            Some(beside) => Tensor::cat(&[self.x, beside], 1),
            None => Ok(self.x.clone()),
        }
    }

    /// The same as a tensor of its own, by candle's operations.
    pub(super) fn plain(&self) -> Result<Tensor> {
        let x = self.joined_tensor()?;
        let x = match self.before {
            Before::Nothing => x,
            Before::Norm(norm) => norm.forward(&x)?,
            Before::NormSilu(norm) => norm.forward_silu(&x)?,
            Before::LayerNorm(norm) => norm.forward_over_channels(&x)?,
        };
        match self.size {
            Some((height, width)) => upsample_nearest(&x, height, width),
            None => Ok(x),
        }
    }
}

/// The values of an input's tensors, locked for reading.
pub(super) struct InputValues<'a> {
    first: Values<'a>,
    second: Option<Values<'a>>,
    first_channels: usize,
    channels: usize,
    area: usize,
}

impl<'a> InputValues<'a> {
    /// Of what [`Input::contiguous`] gave.
    pub fn of((first, second): &'a (Tensor, Option<Tensor>)) -> Result<Self> {
        let dims = first.dims();
        let channels = dims[1] + second.as_ref().map_or(0, |second| second.dims()[1]);
        Ok(Self {
            first: Values::of(first)?,
            second: optional(second.as_ref())?,
            first_channels: dims[1],
            channels,
            area: dims[2..].iter().product(),
        })
    }

    pub fn f32(&self) -> Result<Parts<'_, f32>> {
        let second = self.second.as_ref().map_or(Ok(&[][..]), Values::f32)?;
        Ok(self.parts(self.first.f32()?, second))
    }

    pub fn bf16(&self) -> Result<Parts<'_, bf16>> {
        let second = self.second.as_ref().map_or(Ok(&[][..]), Values::bf16)?;
        Ok(self.parts(self.first.bf16()?, second))
    }

    fn parts<'b, T>(&self, first: &'b [T], second: &'b [T]) -> Parts<'b, T> {
        let first_channels = self.first_channels;
        Parts { first, first_channels, second, second_channels: self.channels - first_channels, area: self.area }
    }
}

/// What is added to a result `[B, C, ...]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Addends<'a> {
    /// `[1, C]` or `[B, C]`: one for each channel.
    pub channels: Option<&'a Tensor>,
    /// Of the result's shape.
    pub values: Option<&'a Tensor>,
}

impl Addends<'_> {
    /// Nothing.
    pub const NONE: Self = Self { channels: None, values: None };

    /// Adds them and a bias `[C]` to `y`, on a card in one sweep, else by candle's operations.
    pub(super) fn plain(self, y: Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        if let Some(y) = on_card::finish(&y, bias, self)? {
            return Ok(y);
        }
        let mut y = y;
        // [C] -> [1, C]
        let bias = bias.map(|bias| bias.unsqueeze(0)).transpose()?;
        for channels in bias.iter().chain(self.channels) {
            // [1, C] or [B, C] -> [1 or B, C, 1, ...]
            let mut dims = channels.dims().to_vec();
            dims.resize(y.rank(), 1);
            y = y.broadcast_add(&channels.to_dtype(y.dtype())?.reshape(dims)?)?;
        }
        match self.values {
            Some(values) => y + values,
            None => Ok(y),
        }
    }

    /// Refuses what does not fit a result of these sizes.
    pub(super) fn check(&self, dims: &[usize]) -> Result<()> {
        let fits_channels = |t: &Tensor| t.dims() == [dims[0], dims[1]] || t.dims() == [1, dims[1]];
        if self.channels.is_some_and(|t| !fits_channels(t) || t.dtype() != DType::F32) {
            bail!("{:?} cannot be added to the channels of {dims:?}", self.channels);
        }
        if self.values.is_some_and(|t| t.dims() != dims || t.dtype() != DType::F32) {
            bail!("{:?} cannot be added to {dims:?}", self.values);
        }
        Ok(())
    }

    /// As f32 in order.
    pub(super) fn contiguous(&self) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let plain = |t: Option<&Tensor>| t.map(Tensor::contiguous).transpose();
        Ok((plain(self.channels)?, plain(self.values)?))
    }
}
