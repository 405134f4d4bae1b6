//! The tile with the registers of x86 processors.

#![expect(unsafe_code, reason = "registers are addressed through intrinsics and pointers")]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_add_ps, _mm512_cvtepi32_ps, _mm512_dpbf16_ps, _mm512_dpbusd_epi32,
    _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};

use super::{Bytes, COLUMNS, LANES, Pointers};

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn begin<const ROWS: usize, const VECTORS: usize>(sums: *const f32, adds: bool) -> [[__m512; VECTORS]; ROWS] {
    let mut acc = [[_mm512_setzero_ps(); VECTORS]; ROWS];
    if adds {
        for (row, acc) in acc.iter_mut().enumerate() {
            for (vector, acc) in acc.iter_mut().enumerate() {
                // SAFETY: inside the sums.
                *acc = unsafe { _mm512_loadu_ps(sums.add(row * COLUMNS + vector * LANES)) };
            }
        }
    }
    acc
}

#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn end<const ROWS: usize, const VECTORS: usize>(acc: [[__m512; VECTORS]; ROWS], sums: *mut f32) {
    for (row, acc) in acc.iter().enumerate() {
        for (vector, acc) in acc.iter().enumerate() {
            // SAFETY: inside the sums.
            unsafe { _mm512_storeu_ps(sums.add(row * COLUMNS + vector * LANES), *acc) };
        }
    }
}

/// f32 with AVX-512.
#[target_feature(enable = "avx512f")]
pub unsafe fn avx512<const ROWS: usize, const VECTORS: usize>(of: Pointers, sums: *mut f32, adds: bool) {
    // SAFETY: the caller's.
    unsafe {
        let mut acc = begin::<ROWS, VECTORS>(sums, adds);
        for word in 0..of.words {
            let mut columns = [_mm512_setzero_ps(); VECTORS];
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = _mm512_loadu_ps(of.panel.add(word * COLUMNS + vector * LANES).cast());
            }
            for (row, acc) in acc.iter_mut().enumerate() {
                let weight = _mm512_set1_ps(f32::from_bits(of.weight(row, word)));
                for (acc, columns) in acc.iter_mut().zip(columns) {
                    *acc = _mm512_fmadd_ps(columns, weight, *acc);
                }
            }
        }
        end(acc, sums);
    }
}

/// Pairs of bf16 with AVX-512's own instruction for them.
#[target_feature(enable = "avx512f,avx512bf16")]
pub unsafe fn bf16_pairs<const ROWS: usize, const VECTORS: usize>(of: Pointers, sums: *mut f32, adds: bool) {
    let pairs = |words: __m512i| {
        // SAFETY: both are 512 bits of any value.
        unsafe { std::mem::transmute::<__m512i, __m512bh>(words) }
    };
    // SAFETY: the caller's.
    unsafe {
        let mut acc = begin::<ROWS, VECTORS>(sums, adds);
        for word in 0..of.words {
            let mut columns = [pairs(_mm512_set1_epi32(0)); VECTORS];
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = pairs(_mm512_loadu_si512(of.panel.add(word * COLUMNS + vector * LANES).cast()));
            }
            for (row, acc) in acc.iter_mut().enumerate() {
                let weight = pairs(_mm512_set1_epi32(of.weight(row, word).cast_signed()));
                for (acc, columns) in acc.iter_mut().zip(columns) {
                    *acc = _mm512_dpbf16_ps(*acc, columns, weight);
                }
            }
        }
        end(acc, sums);
    }
}

/// Fours of bytes with AVX-512's own instruction for them (VNNI).
#[target_feature(enable = "avx512f,avx512vnni")]
pub unsafe fn byte_quads<const ROWS: usize, const VECTORS: usize>(bytes: Bytes, sums: *mut f32, adds: bool) {
    let of = bytes.of;
    // SAFETY: the caller's.
    unsafe {
        let mut acc = [[_mm512_setzero_si512(); VECTORS]; ROWS];
        for (row, acc) in acc.iter_mut().enumerate() {
            *acc = [_mm512_set1_epi32(-bytes.of_row(row).1); VECTORS];
        }
        for word in 0..of.words {
            let mut columns = [_mm512_setzero_si512(); VECTORS];
            for (vector, columns) in columns.iter_mut().enumerate() {
                *columns = _mm512_loadu_si512(of.panel.add(word * COLUMNS + vector * LANES).cast());
            }
            for (row, acc) in acc.iter_mut().enumerate() {
                let weight = _mm512_set1_epi32(of.weight(row, word).cast_signed());
                for (acc, columns) in acc.iter_mut().zip(columns) {
                    *acc = _mm512_dpbusd_epi32(*acc, columns, weight);
                }
            }
        }
        for (row, acc) in acc.iter().enumerate() {
            let scale = _mm512_set1_ps(bytes.of_row(row).0);
            for (vector, acc) in acc.iter().enumerate() {
                let scales = _mm512_mul_ps(scale, _mm512_loadu_ps(bytes.column_scales().add(vector * LANES)));
                let product = _mm512_mul_ps(_mm512_cvtepi32_ps(*acc), scales);
                let at = sums.add(row * COLUMNS + vector * LANES);
                let sum = if adds { _mm512_add_ps(_mm512_loadu_ps(at), product) } else { product };
                _mm512_storeu_ps(at, sum);
            }
        }
    }
}

/// The plain form for bytes, with AVX2's registers.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn plain_bytes_avx2<const ROWS: usize, const VECTORS: usize>(bytes: Bytes, sums: *mut f32, adds: bool) {
    // SAFETY: the caller's.
    unsafe { super::plain_bytes::<ROWS, VECTORS>(bytes, sums, adds) }
}

/// The plain form, with AVX-512's registers.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
pub unsafe fn plain_avx512<const ROWS: usize, const VECTORS: usize, const BF16: bool>(
    of: Pointers,
    sums: *mut f32,
    adds: bool,
) {
    // SAFETY: the caller's.
    unsafe { super::plain::<ROWS, VECTORS, BF16, true>(of, sums, adds) }
}

/// The plain form, with AVX2's registers.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn plain_avx2<const ROWS: usize, const VECTORS: usize, const BF16: bool>(
    of: Pointers,
    sums: *mut f32,
    adds: bool,
) {
    // SAFETY: the caller's.
    unsafe { super::plain::<ROWS, VECTORS, BF16, true>(of, sums, adds) }
}
