//! Convolution without its patches in memory on NVIDIA cards.

use std::sync::atomic::Ordering;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{CudaStorage, DType, Device, Result, Shape, Tensor, bail};

use super::finish::{Added, give, view};
use super::{ARE_LOADED, OnCard, Three, grid, kernel, on_cards, values};
use crate::kernels::Addends;

/// Results and channels of a block of the convolution, and channels that are multiplied at a time, as the source has them.
const CONV_PIXELS: u32 = 128;
const CONV_ROWS: u32 = 64;
const CONV_DEPTH: usize = 16;

/// True for values and weights that [`convolve`] knows: it multiplies 16 bits, on tensor cores.
pub(in crate::kernels) fn convolves(device: &Device, dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16) && device.is_cuda() && ARE_LOADED.load(Ordering::Acquire)
}

/// As [`crate::kernels::Conv2d::apply`] without what comes before, if it is done here.
pub(in crate::kernels) fn convolve(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    (stride, padding): (usize, usize),
    added: Addends,
) -> Result<Option<Tensor>> {
    let ((pictures, channels, height, width), (channels_out, channels_in, rows, columns)) =
        (x.dims4()?, weight.dims4()?);
    let is_known = convolves(x.device(), x.dtype()) && weight.dtype() == x.dtype() && x.elem_count() > 0;
    let is_square3 = (rows, columns) == (3, 3) && height + 2 * padding >= 3 && width + 2 * padding >= 3;
    if !(is_known && is_square3 && channels == channels_in && channels.is_multiple_of(CONV_DEPTH)) {
        return Ok(None);
    }
    let side = |side: usize| (side + 2 * padding - 3) / stride + 1;
    let dims = [pictures, channels_out, side(height), side(width)];
    let op = Convolution { stride, padding, dims, added: Added::new(added, &dims, x.dtype())? };
    let bias = bias.to_dtype(x.dtype())?.contiguous()?;
    x.contiguous()?.apply_op3_no_bwd(&weight.contiguous()?, &bias, &op).map(Some)
}

struct Convolution {
    stride: usize,
    padding: usize,
    /// The result's.
    dims: [usize; 4],
    added: Added,
}

impl Convolution {
    fn run<T: OnCard>(&self, [(x, layout), weight, bias]: Three) -> Result<(CudaStorage, Shape)> {
        let card = x.device().clone();
        let stream = card.cuda_stream();
        let (_, channels, height, width) = layout.shape().dims4()?;
        let dims @ [pictures, channels_out, out_height, out_width] = self.dims;
        if bias.1.dims() != [channels_out] {
            bail!("convolution: bias {:?}, weight {:?}", bias.1.dims(), weight.1.dims());
        }
        let (of_x, of_weight) = (values::<T>(x, layout)?, values::<T>(weight.0, weight.1)?);
        let of_bias = values::<T>(bias.0, bias.1)?;
        let held = [&self.added.channels, &self.added.values];
        let held = held.map(|tensor| tensor.as_ref().map(Tensor::storage_and_layout));
        let (of_channels, of_values) = (view::<T>(held[0].as_ref())?, view::<T>(held[1].as_ref())?);
        #[expect(unsafe_code, reason = "the kernel writes every value")]
        // SAFETY: nothing is read before.
        let out = unsafe { card.alloc::<T>(dims.iter().product())? };
        let pixels = u32::try_from(pictures * out_height * out_width)?;
        let config =
            grid((pixels.div_ceil(CONV_PIXELS), u32::try_from(channels_out)?.div_ceil(CONV_ROWS)), CONV_PIXELS);
        let numbers =
            [pictures, channels, height, width, channels_out, out_height, out_width, self.stride, self.padding];
        let numbers = numbers.map(u32::try_from).into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
        let kernel = kernel::<T>(&card, "convolve3x3")?;
        let mut call = stream.launch_builder(&kernel);
        call.arg(&of_x).arg(&of_weight).arg(&of_bias);
        give(&mut call, of_channels.as_ref());
        give(&mut call, of_values.as_ref());
        call.arg(&out);
        for number in &numbers {
            call.arg(number);
        }
        call.arg(&self.added.apart);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; the blocks cover the results, once each, what is added fits them, as
        // `convolve` has checked, and places outside of `x` and of `weight` are not read.
        unsafe { call.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), Shape::from(dims.to_vec())))
    }
}

on_cards!(Convolution, "convolution");
