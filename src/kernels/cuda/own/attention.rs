//! Attention without its scores in memory on NVIDIA cards; of 16 bits, on tensor cores.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{CudaStorage, DType, Result, Shape, Tensor, bail};

use super::{OnCard, Three, grid, kernel, on_cards, takes, values};
use crate::kernels::attention::Sight;

/// As [`crate::kernels::attention`], if it is done here.
pub(in crate::kernels) fn attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    heads: usize,
    sight: Sight,
) -> Result<Option<Tensor>> {
    let width = q.dim(1)? / heads.max(1);
    let same = k.dtype() == q.dtype() && v.dtype() == q.dtype() && k.dims() == v.dims();
    let fits = k.dim(0)? == q.dim(0)? && k.dim(1)? == q.dim(1)? && q.dim(1)? == heads * width;
    if !(takes(q) && same && fits && blocks(width, q.dtype()).is_some() && k.elem_count() > 0) {
        return Ok(None);
    }
    let op = Attention { heads, width, is_backwards: sight == Sight::Backwards };
    q.contiguous()?.apply_op3_no_bwd(&k.contiguous()?, &v.contiguous()?, &op).map(Some)
}

/// How many queries a block takes, and how many threads it has.
struct Blocks {
    queries: u32,
    threads: u32,
}

/// The blocks for a head width, as the source has them: tensor cores multiply 16 bits.
fn blocks(width: usize, dtype: DType) -> Option<Blocks> {
    let (queries, threads) = match (width, dtype) {
        (40 | 64, DType::F32) => (64, 128),
        (80, DType::F32) => (64, 64),
        (160, DType::F32) => (32, 32),
        (40 | 64 | 80, _) => (128, 128),
        (160, _) => (64, 128),
        _ => return None,
    };
    Some(Blocks { queries, threads })
}

struct Attention {
    heads: usize,
    width: usize,
    is_backwards: bool,
}

impl Attention {
    fn run<T: OnCard>(&self, [(q, layout), k, v]: Three) -> Result<(CudaStorage, Shape)> {
        let Some(blocks) = blocks(self.width, q.dtype()) else { bail!("no kernel for heads of {}", self.width) };
        let card = q.device().clone();
        let stream = card.cuda_stream();
        let (queries, keys) = (u32::try_from(layout.dims()[2])?, u32::try_from(k.1.dims()[2])?);
        let heads = u32::try_from(layout.dims()[0] * self.heads)?;
        let scale = 1.0 / (self.width as f32).sqrt();
        let is_backwards = i32::from(self.is_backwards);
        let (of_q, of_k, of_v) = (values::<T>(q, layout)?, values::<T>(k.0, k.1)?, values::<T>(v.0, v.1)?);
        #[expect(unsafe_code, reason = "the kernel writes every value")]
        // SAFETY: nothing is read before.
        let out = unsafe { card.alloc::<T>(layout.shape().elem_count())? };
        let kernel = kernel::<T>(&card, &format!("attention_{}", self.width))?;
        let mut call = stream.launch_builder(&kernel);
        call.arg(&of_q).arg(&of_k).arg(&of_v).arg(&out).arg(&queries).arg(&keys).arg(&scale).arg(&is_backwards);
        let config = grid((queries.div_ceil(blocks.queries), heads), blocks.threads);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; q and the result are `heads * width * queries` values, k and v
        // `heads * width * keys`, as `attention` has checked.
        unsafe { call.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), layout.shape().clone()))
    }
}

on_cards!(Attention, "attention");
