//! The tile with the registers of 64-bit ARM processors: sixteen columns at a time, in four registers a row.

#![expect(unsafe_code, reason = "registers are addressed through intrinsics and pointers")]
#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use std::arch::aarch64::{
    float32x4_t, int32x4_t, uint32x4_t, vaddq_f32, vcvtq_f32_s32, vdupq_n_f32, vdupq_n_s32, vdupq_n_u32, veorq_u32,
    vfmaq_n_f32, vld1q_f32, vld1q_u32, vmulq_f32, vmulq_n_f32, vst1q_f32,
};
use std::arch::asm;

use super::{Bytes, COLUMNS, LANES, Pointers};

/// Registers of [`LANES`] columns.
const PARTS: usize = LANES / 4;
/// Numbers of a register.
const OF_A_PART: usize = 4;

type Sums<const ROWS: usize> = [[float32x4_t; PARTS]; ROWS];

#[inline(always)]
unsafe fn begin<const ROWS: usize>(sums: *const f32, adds: bool) -> Sums<ROWS> {
    // SAFETY: inside the sums.
    unsafe {
        let mut acc = [[vdupq_n_f32(0.0); PARTS]; ROWS];
        if adds {
            for (row, acc) in acc.iter_mut().enumerate() {
                for (part, acc) in acc.iter_mut().enumerate() {
                    *acc = vld1q_f32(sums.add(row * COLUMNS + part * OF_A_PART));
                }
            }
        }
        acc
    }
}

#[inline(always)]
unsafe fn end<const ROWS: usize>(acc: &Sums<ROWS>, sums: *mut f32) {
    for (row, acc) in acc.iter().enumerate() {
        for (part, acc) in acc.iter().enumerate() {
            // SAFETY: inside the sums.
            unsafe { vst1q_f32(sums.add(row * COLUMNS + part * OF_A_PART), *acc) };
        }
    }
}

#[inline(always)]
unsafe fn columns_of(of: Pointers, word: usize, vector: usize) -> [uint32x4_t; PARTS] {
    // SAFETY: inside the panel.
    std::array::from_fn(|part| unsafe { vld1q_u32(of.panel.add(word * COLUMNS + vector * LANES + part * OF_A_PART)) })
}

/// f32.
#[target_feature(enable = "neon")]
pub unsafe fn neon<const ROWS: usize, const VECTORS: usize>(of: Pointers, sums: *mut f32, adds: bool) {
    // SAFETY: the caller's.
    unsafe {
        for vector in 0..VECTORS {
            let sums = sums.add(vector * LANES);
            let mut acc = begin::<ROWS>(sums, adds);
            for word in 0..of.words {
                let at = of.panel.add(word * COLUMNS + vector * LANES).cast::<f32>();
                let columns: [float32x4_t; PARTS] = std::array::from_fn(|part| vld1q_f32(at.add(part * OF_A_PART)));
                for (row, acc) in acc.iter_mut().enumerate() {
                    let weight = f32::from_bits(of.weight(row, word));
                    for (acc, columns) in acc.iter_mut().zip(columns) {
                        *acc = vfmaq_n_f32(*acc, columns, weight);
                    }
                }
            }
            end(&acc, sums);
        }
    }
}

/// Pairs of bf16, with the instruction for them (`FEAT_BF16`).
#[target_feature(enable = "neon,bf16")]
pub unsafe fn neon_bf16_pairs<const ROWS: usize, const VECTORS: usize>(of: Pointers, sums: *mut f32, adds: bool) {
    // SAFETY: the caller's.
    unsafe {
        for vector in 0..VECTORS {
            let sums = sums.add(vector * LANES);
            let mut acc = begin::<ROWS>(sums, adds);
            for word in 0..of.words {
                let columns = columns_of(of, word, vector);
                for (row, acc) in acc.iter_mut().enumerate() {
                    let weight = vdupq_n_u32(of.weight(row, word));
                    for (acc, columns) in acc.iter_mut().zip(columns) {
                        asm!(
                            "bfdot {acc:v}.4s, {columns:v}.8h, {weight:v}.8h",
                            acc = inout(vreg) *acc,
                            columns = in(vreg) columns,
                            weight = in(vreg) weight,
                            options(pure, nomem, nostack, preserves_flags),
                        );
                    }
                }
            }
            end(&acc, sums);
        }
    }
}

/// Fours of bytes, with the instruction for those with a sign (`FEAT_DotProd`): 128 is taken off the columns' first.
#[target_feature(enable = "neon,dotprod")]
pub unsafe fn neon_byte_quads<const ROWS: usize, const VECTORS: usize>(bytes: Bytes, sums: *mut f32, adds: bool) {
    let of = bytes.of;
    // SAFETY: the caller's.
    unsafe {
        let sign = vdupq_n_u32(0x8080_8080);
        for vector in 0..VECTORS {
            let mut acc: [[int32x4_t; PARTS]; ROWS] = [[vdupq_n_s32(0); PARTS]; ROWS];
            for word in 0..of.words {
                let columns = columns_of(of, word, vector).map(|columns| veorq_u32(columns, sign));
                for (row, acc) in acc.iter_mut().enumerate() {
                    let weight = vdupq_n_u32(of.weight(row, word));
                    for (acc, columns) in acc.iter_mut().zip(columns) {
                        asm!(
                            "sdot {acc:v}.4s, {columns:v}.16b, {weight:v}.16b",
                            acc = inout(vreg) *acc,
                            columns = in(vreg) columns,
                            weight = in(vreg) weight,
                            options(pure, nomem, nostack, preserves_flags),
                        );
                    }
                }
            }
            for (row, acc) in acc.iter().enumerate() {
                let scale = bytes.of_row(row).0;
                for (part, acc) in acc.iter().enumerate() {
                    let at = vector * LANES + part * OF_A_PART;
                    let scales = vmulq_n_f32(vld1q_f32(bytes.column_scales().add(at)), scale);
                    let product = vmulq_f32(vcvtq_f32_s32(*acc), scales);
                    let place = sums.add(row * COLUMNS + at);
                    let sum = if adds { vaddq_f32(vld1q_f32(place), product) } else { product };
                    vst1q_f32(place, sum);
                }
            }
        }
    }
}
