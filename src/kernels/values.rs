//! The numbers of tensors in the processor's memory, as slices.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;

use candle_core::{CpuStorage, DType, Device, Result, Shape, Storage, Tensor, bail};
use half::bf16;
use rayon::prelude::*;

use super::panel::Value;
use super::tile::Weights;

/// A tensor's values in order, locked for reading.
pub(super) struct Values<'a> {
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    start: usize,
    end: usize,
}

impl<'a> Values<'a> {
    /// Of a contiguous tensor in the processor's memory.
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        match layout.contiguous_offsets() {
            Some((start, end)) => Ok(Self { storage: Box::new(storage), start, end }),
            None => bail!("this kernel needs its values in order, not {layout:?}"),
        }
    }

    fn storage(&self) -> Result<&CpuStorage> {
        match &**self.storage {
            Storage::Cpu(storage) => Ok(storage),
            _ => bail!("this kernel needs its values in the processor's memory"),
        }
    }

    pub fn f32(&self) -> Result<&[f32]> {
        Ok(&self.storage()?.as_slice::<f32>()?[self.start..self.end])
    }

    pub fn bf16(&self) -> Result<&[bf16]> {
        Ok(&self.storage()?.as_slice::<bf16>()?[self.start..self.end])
    }

    pub fn weights(&self) -> Result<Weights<'_>> {
        Ok(match self.storage()? {
            CpuStorage::BF16(_) => Weights::Bf16(self.bf16()?),
            _ => Weights::F32(self.f32()?),
        })
    }
}

/// The values of a tensor that may be missing.
pub(super) fn optional(tensor: Option<&Tensor>) -> Result<Option<Values<'_>>> {
    tensor.map(Values::of).transpose()
}

/// Room for values that many tasks write, each its own part.
pub(super) struct Shared<'a, T> {
    start: *mut MaybeUninit<T>,
    len: usize,
    room: PhantomData<&'a mut [T]>,
}

#[expect(unsafe_code, reason = "its users promise to write disjoint parts")]
// SAFETY: a part is handed out under the promise that nobody else holds any of it.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T: Copy> Shared<'a, T> {
    /// Over values that are there already.
    pub fn of(values: &'a mut [T]) -> Self {
        Self { start: values.as_mut_ptr().cast(), len: values.len(), room: PhantomData }
    }

    /// The part `start..start + len`.
    ///
    /// # Safety
    /// No two parts that are held at a time overlap.
    ///
    /// # Panics
    /// When the part is not inside.
    #[expect(unsafe_code, clippy::mut_from_ref, reason = "parts are disjoint by the caller's promise")]
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [MaybeUninit<T>] {
        assert!(start <= self.len && len <= self.len - start, "a part of shared room");
        // SAFETY: inside the room, and held by nobody else.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

/// `len` values that `write` writes, every one of them.
///
/// # Safety
/// `write` leaves none unwritten.
#[expect(unsafe_code, reason = "large results are not filled with zeros first")]
pub(super) unsafe fn written<T: Copy>(len: usize, write: impl FnOnce(&Shared<T>)) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    let room: &mut [MaybeUninit<T>] = &mut values.spare_capacity_mut()[..len];
    write(&Shared { start: room.as_mut_ptr(), len, room: PhantomData });
    // SAFETY: all are written, as promised.
    unsafe { values.set_len(len) };
    values
}

/// `len` values that the threads fill in pieces of `piece_len` numbers, each given its number and its part of the values,
/// and what `start` made for its thread.
///
/// # Errors
/// The first of `fill`.
pub fn in_pieces<S, E: Send>(
    len: usize,
    piece_len: usize,
    start: impl Fn() -> S + Send + Sync,
    fill: impl Fn(&mut S, usize, &mut [f32]) -> std::result::Result<(), E> + Send + Sync,
) -> std::result::Result<Vec<f32>, E> {
    let mut values: Vec<f32> = Vec::with_capacity(len);
    // Zeroed piece by piece, by the thread that fills it and just before: the memory is touched once.
    values.spare_capacity_mut()[..len].par_chunks_mut(piece_len.max(1)).enumerate().try_for_each_init(
        start,
        |state, (index, piece)| {
            for value in piece.iter_mut() {
                value.write(0.0);
            }
            #[expect(unsafe_code, reason = "zeros are written in parallel")]
            // SAFETY: all of them were just written.
            fill(state, index, unsafe { piece.assume_init_mut() })
        },
    )?;
    #[expect(unsafe_code, reason = "zeros are written in parallel")]
    // SAFETY: every piece was written, or we had returned.
    unsafe {
        values.set_len(len);
    };
    Ok(values)
}

/// A number that tensors are made of.
pub(super) trait Stored: Value + candle_core::WithDType {}
impl Stored for f32 {}
impl Stored for bf16 {}

/// A tensor of values in the processor's memory.
pub(super) fn tensor<T: Stored>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// True for what the processor's own kernels work on: values of f32 in its memory, with weights of f32 or bf16.
pub(super) fn is_ours(x: &Tensor, weight: &Tensor) -> bool {
    x.device().is_cpu()
        && matches!(x.dtype(), DType::F32 | DType::BF16)
        && matches!(weight.dtype(), DType::F32 | DType::BF16)
}
