//! A card's memory: what is freed is kept for what comes next, and given back when told so.

use std::sync::Arc;

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, result, sys};

use crate::kernels::card::CardMemory;

/// Has freed memory kept from now on. By the driver's usual all of it goes back to the system whenever somebody waits for the
/// card, which is at every step, and would be fetched again at the next.
pub(super) fn keep_freed(context: &Arc<CudaContext>) -> Result<(), DriverError> {
    let mut all = u64::MAX;
    let pool = pool(context)?;
    #[expect(unsafe_code, reason = "the driver is C")]
    // SAFETY: the attribute is a u64, which is read.
    unsafe {
        sys::cuMemPoolSetAttribute(
            pool,
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            (&raw mut all).cast(),
        )
    }
    .result()
}

/// Gives back what is kept and not in use.
pub(in crate::kernels) fn release(card: &CudaDevice) {
    let stream = card.cuda_stream();
    if let Err(error) = stream.synchronize().and_then(|()| trimmed(stream.context())) {
        tracing::debug!(%error, "the card's memory was not given back");
    }
}

fn trimmed(context: &Arc<CudaContext>) -> Result<(), DriverError> {
    let pool = pool(context)?;
    #[expect(unsafe_code, reason = "the driver is C")]
    // SAFETY: the pool is the device's own; what is in use stays.
    unsafe { sys::cuMemPoolTrimTo(pool, 0) }.result()?;
    trim_graphs(context)
}

/// Gives back what graphs took and none uses any more.
pub(super) fn trim_graphs(context: &Arc<CudaContext>) -> Result<(), DriverError> {
    context.bind_to_thread()?;
    let device = device(context)?;
    #[expect(unsafe_code, reason = "the driver is C")]
    // SAFETY: the device is the context's; what graphs use stays.
    unsafe { sys::cuDeviceGraphMemTrim(device) }.result()
}

/// How much memory there is, and how much of it is free: what is kept and not in use counts as free.
pub(in crate::kernels) fn memory(card: &CudaDevice) -> Option<CardMemory> {
    let stream = card.cuda_stream();
    let context = stream.context();
    let (free, total) = context.mem_get_info().ok()?;
    let kept = kept(context).unwrap_or(0);
    Some(CardMemory { free: (free as u64).saturating_add(kept).min(total as u64), total: total as u64 })
}

fn kept(context: &Arc<CudaContext>) -> Result<u64, DriverError> {
    use sys::CUmemPool_attribute::{CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, CU_MEMPOOL_ATTR_USED_MEM_CURRENT};
    let pool = pool(context)?;
    let asked = |attribute| {
        let mut bytes = 0_u64;
        #[expect(unsafe_code, reason = "the driver is C")]
        // SAFETY: both attributes are a u64, which is written.
        unsafe { sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut bytes).cast()) }.result().map(|()| bytes)
    };
    Ok(asked(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?.saturating_sub(asked(CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?))
}

/// The pool that the device's memory comes from.
fn pool(context: &Arc<CudaContext>) -> Result<sys::CUmemoryPool, DriverError> {
    context.bind_to_thread()?;
    let device = device(context)?;
    #[expect(unsafe_code, reason = "the driver is C")]
    // SAFETY: the device is the context's.
    unsafe {
        result::device::get_mem_pool(device)
    }
}

fn device(context: &CudaContext) -> Result<sys::CUdevice, DriverError> {
    result::device::get(i32::try_from(context.ordinal()).unwrap_or_default())
}
