//! The gated GELU on NVIDIA cards.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use half::{bf16, f16};

use super::{OnCard, THREADS, grid, kernel, takes, values};

/// As [`crate::kernels::geglu`] along `axis`, if it is done here.
pub(in crate::kernels) fn geglu(x: &Tensor, axis: usize) -> Result<Option<Tensor>> {
    if !takes(x) || !x.dim(axis)?.is_multiple_of(2) {
        return Ok(None);
    }
    x.contiguous()?.apply_op1_no_bwd(&Geglu { axis }).map(Some)
}

struct Geglu {
    axis: usize,
}

impl Geglu {
    fn run<T: OnCard>(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let card = x.device().clone();
        let stream = card.cuda_stream();
        let mut dims = layout.dims().to_vec();
        dims[self.axis] /= 2;
        let (count, half) = (dims.iter().product::<usize>(), dims[self.axis..].iter().product::<usize>());
        let (of_kernel_count, of_kernel_half) = (count as u64, half as u64);
        let input = values::<T>(x, layout)?;
        #[expect(unsafe_code, reason = "the kernel writes every value")]
        // SAFETY: nothing is read before.
        let out = unsafe { card.alloc::<T>(count)? };
        let kernel = kernel::<T>(&card, "geglu")?;
        let mut call = stream.launch_builder(&kernel);
        call.arg(&input).arg(&out).arg(&of_kernel_count).arg(&of_kernel_half);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; each thread below `count` writes one value, and reads two of
        // twice as many.
        unsafe { call.launch(grid((u32::try_from(count.div_ceil(THREADS as usize))?, 1), THREADS)) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), Shape::from(dims)))
    }
}

impl CustomOp1 for Geglu {
    fn name(&self) -> &'static str {
        "geglu"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("this kernel is a card's")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match x.dtype() {
            DType::F32 => self.run::<f32>(x, layout),
            DType::F16 => self.run::<f16>(x, layout),
            DType::BF16 => self.run::<bf16>(x, layout),
            other => bail!("this kernel does not know {other:?}"),
        }
    }
}
