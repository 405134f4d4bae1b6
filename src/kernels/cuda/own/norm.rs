//! Normalisation of groups, with activation, and of tokens on NVIDIA cards.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{CudaStorage, Result, Shape, Tensor, bail};

use super::{OnCard, THREADS, Three, grid, kernel, on_cards, takes, values};

/// Values of a group that one block of threads normalises, and the most blocks of a group.
const NORM_VALUES: usize = 1 << 14;
const NORM_PARTS: usize = 64;
/// Tokens of a block of the layer normalisation, and its threads, as the source has them.
const LAYER_TOKENS: usize = 32;
const LAYER_THREADS: u32 = 512;

/// As [`crate::kernels::GroupNorm`], if it is done here.
pub(in crate::kernels) fn group_norm(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    (groups, eps): (usize, f64),
    is_activated: bool,
) -> Result<Option<Tensor>> {
    if !takes(x) {
        return Ok(None);
    }
    let like = |t: &Tensor| t.to_dtype(x.dtype())?.contiguous();
    let norm = Norm { groups, eps: eps as f32, is_activated };
    x.contiguous()?.apply_op3_no_bwd(&like(weight)?, &like(bias)?, &norm).map(Some)
}

struct Norm {
    groups: usize,
    eps: f32,
    is_activated: bool,
}

impl Norm {
    fn run<T: OnCard>(&self, [(x, layout), weight, bias]: Three) -> Result<(CudaStorage, Shape)> {
        let card = x.device().clone();
        let stream = card.cuda_stream();
        let dims = layout.dims();
        let area: usize = dims[2..].iter().product();
        let (all, length) = (dims[0] * self.groups, dims[1] / self.groups * area);
        if weight.1.dims() != [dims[1]] || bias.1.dims() != [dims[1]] {
            bail!("group-norm has {:?} weights, its input {dims:?}", weight.1.dims());
        }
        let parts = u32::try_from(length.div_ceil(NORM_VALUES).clamp(1, NORM_PARTS))?;
        let config = grid((parts, u32::try_from(all)?), THREADS);
        let (input, weight, bias) =
            (values::<T>(x, layout)?, values::<T>(weight.0, weight.1)?, values::<T>(bias.0, bias.1)?);
        #[expect(unsafe_code, reason = "the kernels write every value")]
        // SAFETY: nothing is read before.
        let (statistics, out) =
            unsafe { (card.alloc::<f32>(2 * parts as usize * all)?, card.alloc::<T>(layout.shape().elem_count())?) };
        let (length, area, groups) = (length as u64, area as u64, u32::try_from(self.groups)?);
        let is_activated = i32::from(self.is_activated);
        let measure = kernel::<T>(&card, "group_statistics")?;
        let mut call = stream.launch_builder(&measure);
        call.arg(&input).arg(&statistics).arg(&length);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; a block writes two numbers of `parts * all * 2`.
        unsafe { call.launch(config) }.w()?;
        let apply = kernel::<T>(&card, "group_apply")?;
        let mut call = stream.launch_builder(&apply);
        call.arg(&input).arg(&weight).arg(&bias).arg(&statistics).arg(&out);
        call.arg(&length).arg(&area).arg(&groups).arg(&self.eps).arg(&is_activated);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; the blocks cover `length * all` values, once each, and as many
        // channels as there are weights.
        unsafe { call.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), layout.shape().clone()))
    }
}

on_cards!(Norm, "group-norm");

/// As [`crate::kernels::LayerNorm`] for the channels of `[B, C, ...]`, if it is done here.
pub(in crate::kernels) fn layer_norm(
    x: &Tensor,
    (weight, bias): (&Tensor, &Tensor),
    eps: f64,
) -> Result<Option<Tensor>> {
    if !takes(x) || x.rank() < 2 {
        return Ok(None);
    }
    let like = |t: &Tensor| t.to_dtype(x.dtype())?.contiguous();
    x.contiguous()?.apply_op3_no_bwd(&like(weight)?, &like(bias)?, &TokenNorm { eps: eps as f32 }).map(Some)
}

struct TokenNorm {
    eps: f32,
}

impl TokenNorm {
    fn run<T: OnCard>(&self, [(x, layout), weight, bias]: Three) -> Result<(CudaStorage, Shape)> {
        let card = x.device().clone();
        let stream = card.cuda_stream();
        let dims = layout.dims();
        let tokens: usize = dims[2..].iter().product();
        if weight.1.dims() != [dims[1]] || bias.1.dims() != [dims[1]] {
            bail!("layer-norm has {:?} weights, its input {dims:?}", weight.1.dims());
        }
        let config = grid((u32::try_from(tokens.div_ceil(LAYER_TOKENS))?, u32::try_from(dims[0])?), LAYER_THREADS);
        let (input, weight, bias) =
            (values::<T>(x, layout)?, values::<T>(weight.0, weight.1)?, values::<T>(bias.0, bias.1)?);
        #[expect(unsafe_code, reason = "the kernel writes every value")]
        // SAFETY: nothing is read before.
        let out = unsafe { card.alloc::<T>(layout.shape().elem_count())? };
        let (channels, tokens) = (u32::try_from(dims[1])?, u32::try_from(tokens)?);
        let kernel = kernel::<T>(&card, "layer_norm")?;
        let mut call = stream.launch_builder(&kernel);
        call.arg(&input).arg(&weight).arg(&bias).arg(&out).arg(&channels).arg(&tokens).arg(&self.eps);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; the blocks cover the tokens, once each, and there are as many
        // weights as channels.
        unsafe { call.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), layout.shape().clone()))
    }
}

on_cards!(TokenNorm, "layer-norm");
