//! Copies from a card beside what it computes: on a stream of their own, into memory that the system may not move.

use std::sync::Arc;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, PinnedHostSlice};
use candle_core::{CudaDevice, Result, Storage, Tensor, bail};

/// The stream of the copies, and memory from earlier ones: to reserve such memory may make the card wait.
#[derive(Debug, Default)]
pub(in crate::kernels) struct Lane {
    stream: Option<Arc<CudaStream>>,
    free: Vec<PinnedHostSlice<f32>>,
}

/// Values that a copy was begun of. What they are copied from, and to, lives until they are here.
#[derive(Debug)]
pub(in crate::kernels) struct Coming {
    copied: Copied,
    values: PinnedHostSlice<f32>,
    _source: Tensor,
}

/// The end of a copy, which is waited for before its memory is given up.
#[derive(Debug)]
struct Copied(CudaEvent);

impl Drop for Copied {
    fn drop(&mut self) {
        if let Err(error) = self.0.synchronize() {
            tracing::warn!(%error, "a copy from the card did not come to its end");
        }
    }
}

impl Lane {
    /// Begins to copy a tensor of f32, once it is computed.
    pub fn begin(&mut self, x: &Tensor, card: &CudaDevice) -> Result<Coming> {
        let source = x.contiguous()?;
        let computing = card.cuda_stream();
        let stream = match &self.stream {
            Some(stream) => stream,
            None => self.stream.insert(computing.context().new_stream().w()?),
        };
        let kept = self.free.pop().filter(|free| free.len() == source.elem_count());
        let mut values = kept.map_or_else(|| reserved(&computing, source.elem_count()), Ok)?;
        let copied = {
            let (storage, layout) = source.storage_and_layout();
            let (Storage::Cuda(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
                bail!("not in order on a card: {layout:?}")
            };
            stream.join(&computing).w()?;
            stream.memcpy_dtoh(&storage.as_cuda_slice::<f32>()?.slice(start..end), &mut values).w()?;
            Copied(stream.record_event(None).w()?)
        };
        Ok(Coming { copied, values, _source: source })
    }

    /// Waits for the values.
    pub fn finish(&mut self, coming: Coming) -> Result<Vec<f32>> {
        coming.copied.0.synchronize().w()?;
        let values = coming.values.as_slice().w()?.to_vec();
        self.free.push(coming.values);
        Ok(values)
    }
}

/// Memory for a copy.
fn reserved(stream: &CudaStream, count: usize) -> Result<PinnedHostSlice<f32>> {
    #[expect(unsafe_code, reason = "the driver does not fill it")]
    // SAFETY: `begin` writes it as a whole before anything reads it.
    let reserved = unsafe { stream.context().alloc_pinned_with_flags::<f32>(count, 0) };
    reserved.w()
}
