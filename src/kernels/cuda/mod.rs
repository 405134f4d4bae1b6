//! NVIDIA cards: what their driver answers, and our kernels for them.

mod memory;
pub(super) mod own;
pub(super) mod readback;
pub(super) mod replay;

use std::os::raw::c_int;

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, result, sys};

pub(super) use self::memory::{memory, release};
use super::card::{Card, CardProblem, KeptKernels, cuda_version, suits};

pub(super) fn open(number: u16, kept: &KeptKernels) -> Result<Card, CardProblem> {
    check_driver()?;
    let count = count();
    if count == 0 {
        return Err(CardProblem::NoCard);
    }
    if number >= count {
        return Err(CardProblem::NoSuchCard { asked: number, count });
    }
    // One stream for all threads: the one that reads a weight copies it, the one that computes uses it.
    let device = Device::new_cuda_with_stream(usize::from(number)).map_err(|error| refused(&error))?;
    let Device::Cuda(card) = &device else { return Err(CardProblem::NoCard) };
    let stream = card.cuda_stream();
    let context = stream.context();
    let name = context.name().map_err(problem)?;
    #[expect(unsafe_code, reason = "what lies on a card is not waited for any more")]
    // SAFETY: all is computed on this one stream; the copies on another one (readback.rs) wait for it, and are waited for.
    unsafe {
        context.disable_event_tracking();
    }
    if let Err(error) = memory::keep_freed(context) {
        tracing::debug!(%error, "the card's memory is given back at each step");
    }
    let (major, minor) = context.compute_capability().map_err(problem)?;
    own::load(card, (major, minor), kept);
    Ok(Card { name, suits: suits(u32::try_from(major).unwrap_or(0)), device })
}

pub(super) fn count() -> u16 {
    CudaContext::device_count().ok().and_then(|count| u16::try_from(count).ok()).unwrap_or(0)
}

/// Whether there is a driver, and whether it is new enough.
fn check_driver() -> Result<(), CardProblem> {
    result::init().map_err(problem)?;
    let mut found: c_int = 0;
    #[expect(unsafe_code, reason = "the driver is C")]
    // SAFETY: writes one number.
    let answer = unsafe { sys::cuDriverGetVersion(&raw mut found) };
    let (found, needed) = (u32::try_from(found).unwrap_or(0), sys::CUDA_VERSION);
    // A driver serves every CUDA of its major version.
    if answer == sys::CUresult::CUDA_SUCCESS && found / 1000 < needed / 1000 {
        return Err(CardProblem::OldDriver { found: cuda_version(found), needed: cuda_version(needed) });
    }
    Ok(())
}

fn problem(error: DriverError) -> CardProblem {
    match error.0 {
        // What stands in for the driver where there is none, see tests/gpu.
        sys::CUresult::CUDA_ERROR_STUB_LIBRARY => CardProblem::NoDriver,
        sys::CUresult::CUDA_ERROR_NO_DEVICE => CardProblem::NoCard,
        _ => refused(&error),
    }
}

fn refused(error: &dyn std::fmt::Display) -> CardProblem {
    CardProblem::Refused { problem: error.to_string() }
}
