//! What is added to a result on NVIDIA cards, in one sweep.

use std::ops::Deref;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaView, LaunchArgs, PushKernelArg};
use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, bail};
use half::{bf16, f16};

use super::{OnCard, THREADS, grid, kernel, takes, values};
use crate::kernels::Addends;

/// Values that a thread adds to, where a plane has as many, and the most blocks of a plane: those of a grid's second axis.
const FINISH_VALUES: usize = 4;
const FINISH_BLOCKS: usize = 65_535;

/// As [`Addends`] and a bias `[C]` are added, if it is done here and there is one of them.
pub(in crate::kernels) fn finish(y: &Tensor, bias: Option<&Tensor>, added: Addends) -> Result<Option<Tensor>> {
    let is_bare = bias.is_none() && added.channels.is_none() && added.values.is_none();
    if is_bare || !takes(y) || y.rank() < 2 {
        return Ok(None);
    }
    if let Some(bias) = bias.filter(|bias| bias.dims() != [y.dims()[1]]) {
        bail!("bias {:?} cannot be added to {:?}", bias.dims(), y.dims());
    }
    let bias = bias.map(|bias| bias.to_dtype(y.dtype())?.contiguous()).transpose()?;
    let added = Added::new(added, y.dims(), y.dtype())?;
    y.contiguous()?.apply_op1_no_bwd(&Finish { bias, added }).map(Some)
}

/// [`Addends`] that fit a result, in order and of its type.
pub(super) struct Added {
    pub channels: Option<Tensor>,
    pub values: Option<Tensor>,
    /// How far a picture's of `channels` are from those of the next: not at all, where all have the same.
    pub apart: u32,
}

impl Added {
    /// For a result of these sizes and this type.
    pub fn new(added: Addends, dims: &[usize], dtype: DType) -> Result<Self> {
        let fits_channels = |t: &Tensor| t.dims() == [dims[0], dims[1]] || t.dims() == [1, dims[1]];
        let fits = added.channels.is_none_or(fits_channels) && added.values.is_none_or(|t| t.dims() == dims);
        if !fits {
            bail!("{added:?} cannot be added to {dims:?}");
        }
        let like = |t: Option<&Tensor>| t.map(|t| t.to_dtype(dtype)?.contiguous()).transpose();
        let is_for_each = added.channels.is_some_and(|t| t.dims()[0] > 1);
        let apart = if is_for_each { u32::try_from(dims[1])? } else { 0 };
        Ok(Self { channels: like(added.channels)?, values: like(added.values)?, apart })
    }
}

/// The values of a locked tensor, where there is one.
pub(super) fn view<'a, T: OnCard>(
    held: Option<&'a (impl Deref<Target = Storage>, &Layout)>,
) -> Result<Option<CudaView<'a, T>>> {
    let Some((storage, layout)) = held else { return Ok(None) };
    match &**storage {
        Storage::Cuda(storage) => values(storage, layout).map(Some),
        _ => bail!("this kernel needs its values on a card"),
    }
}

/// Gives a kernel values, or null where there are none.
pub(super) fn give<'a, T>(call: &mut LaunchArgs<'a>, view: Option<&'a CudaView<'_, T>>) {
    const NULL: u64 = 0;
    match view {
        Some(view) => call.arg(view),
        None => call.arg(&NULL),
    };
}

struct Finish {
    bias: Option<Tensor>,
    added: Added,
}

impl Finish {
    fn run<T: OnCard>(&self, y: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let card = y.device().clone();
        let stream = card.cuda_stream();
        let dims = layout.dims();
        let area: usize = dims[2..].iter().product();
        let held = [&self.bias, &self.added.channels, &self.added.values];
        let held = held.map(|tensor| tensor.as_ref().map(Tensor::storage_and_layout));
        let [bias, channels, of_values] = held.each_ref().map(|held| view::<T>(held.as_ref()));
        let (bias, channels, of_values) = (bias?, channels?, of_values?);
        let input = values::<T>(y, layout)?;
        #[expect(unsafe_code, reason = "the kernel writes every value")]
        // SAFETY: nothing is read before.
        let out = unsafe { card.alloc::<T>(layout.shape().elem_count())? };
        let threads = THREADS.min(u32::try_from(area.next_multiple_of(32))?);
        let blocks = area.div_ceil(FINISH_VALUES * threads as usize).min(FINISH_BLOCKS);
        let config = grid((u32::try_from(dims[0] * dims[1])?, u32::try_from(blocks)?), threads);
        let (area, rows) = (u32::try_from(area)?, u32::try_from(dims[1])?);
        let kernel = kernel::<T>(&card, "finish")?;
        let mut call = stream.launch_builder(&kernel);
        call.arg(&input);
        give(&mut call, bias.as_ref());
        give(&mut call, channels.as_ref());
        give(&mut call, of_values.as_ref());
        call.arg(&out).arg(&area).arg(&rows).arg(&self.added.apart);
        #[expect(unsafe_code, reason = "a kernel is C")]
        // SAFETY: the arguments are those of the source; the blocks cover the planes, and what is added fits them, as
        // `finish` has checked.
        unsafe { call.launch(config) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(out, card), layout.shape().clone()))
    }
}

impl CustomOp1 for Finish {
    fn name(&self) -> &'static str {
        "finish"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("this kernel is a card's")
    }

    fn cuda_fwd(&self, y: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match y.dtype() {
            DType::F32 => self.run::<f32>(y, layout),
            DType::F16 => self.run::<f16>(y, layout),
            DType::BF16 => self.run::<bf16>(y, layout),
            other => bail!("this kernel does not know {other:?}"),
        }
    }
}
