//! The innermost product: up to six rows of weights by a panel of up to 64 columns, kept in registers.
//!
//! Both operands are made of 32-bit words: a value of f32, or two values of bf16 that follow each other along the inner
//! length. A row of weights is used as it lies in the model's own tensor, a word at a time for all columns; so weights
//! need no second arrangement in memory, and an adapter can change them where they are. A panel holds, word after word,
//! that word of each of its columns: `panel[word * COLUMNS + column]`.

#![expect(unsafe_code, reason = "registers are addressed through intrinsics and pointers")]
#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use half::bf16;

use super::processor::Instructions;

/// The most rows of weights of one tile.
pub(super) const ROWS: usize = 6;
/// Columns of a panel.
pub(super) const COLUMNS: usize = 64;
/// Columns that are computed together; a panel is filled up to a multiple of it.
pub(super) const LANES: usize = 16;

/// Weights `[rows, inner]`, row after row. Two of bf16 make a word, so that their inner length is even.
#[derive(Debug, Clone, Copy)]
pub(super) enum Weights<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
}

impl Weights<'_> {
    /// Values in a word.
    pub fn values_of_a_word(self) -> usize {
        match self {
            Self::F32(_) => 1,
            Self::Bf16(_) => 2,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    fn as_bytes(self) -> *const u8 {
        match self {
            Self::F32(values) => values.as_ptr().cast(),
            Self::Bf16(values) => values.as_ptr().cast(),
        }
    }
}

/// What one tile is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile<'a> {
    pub weights: Weights<'a>,
    /// Words from one row of weights to the next.
    pub row_words: usize,
    /// The first of the rows.
    pub row: usize,
    /// How many, 1 to [`ROWS`].
    pub rows: usize,
    /// The first word of each row that takes part.
    pub word: usize,
    /// As many words as there are, `[words, COLUMNS]`.
    pub panel: &'a [u32],
    /// How many times [`LANES`] columns are computed, 1 to 4.
    pub vectors: usize,
}

/// `sums[row * COLUMNS + column]` becomes the product, or has it added where `adds`.
///
/// # Panics
/// When the tile reaches beyond its slices: a fault of the caller.
#[inline]
pub(super) fn multiply(instructions: Instructions, tile: Tile, sums: &mut [f32], adds: bool) {
    let words = tile.panel.len() / COLUMNS;
    let values = tile.weights.values_of_a_word();
    assert!((1..=ROWS).contains(&tile.rows) && (1..=COLUMNS / LANES).contains(&tile.vectors), "a tile's size");
    assert!(sums.len() >= tile.rows * COLUMNS, "the sums of a tile");
    let last_row = (tile.row + tile.rows - 1) * tile.row_words;
    assert!(tile.word + words <= tile.row_words && (last_row + tile.word + words) * values <= tile.weights.len());
    // SAFETY: all rows of weights, the panel and the sums lie inside their slices, as just asserted; the instructions are
    // those that were found on this processor.
    unsafe {
        let first = tile.weights.as_bytes().add((tile.row * tile.row_words + tile.word) * 4);
        let of = Pointers { words, weights: first, stride: tile.row_words * 4, panel: tile.panel.as_ptr() };
        let sums = sums.as_mut_ptr();
        match tile.weights {
            Weights::F32(_) => run::<false>(instructions, of, (tile.rows, tile.vectors), sums, adds),
            Weights::Bf16(_) => run::<true>(instructions, of, (tile.rows, tile.vectors), sums, adds),
        }
    }
}

/// A tile whose bounds have been looked at.
#[derive(Clone, Copy)]
struct Pointers {
    words: usize,
    weights: *const u8,
    /// Bytes from row to row.
    stride: usize,
    panel: *const u32,
}

impl Pointers {
    #[inline(always)]
    unsafe fn weight(self, row: usize, word: usize) -> u32 {
        // SAFETY: the caller's.
        unsafe { self.weights.add(row * self.stride + word * 4).cast::<u32>().read_unaligned() }
    }
}

/// Calls `$name::<rows, vectors>` for the sizes known only now.
macro_rules! by_size {
    ($size:expr, $name:ident, [$($generic:tt)*], $args:tt) => {
        by_size!(@rows $size, $name, [$($generic)*], $args, 1 2 3 4 5 6)
    };
    (@rows $size:expr, $name:ident, $generic:tt, $args:tt, $($rows:literal)*) => {
        match $size {
            $(
                ($rows, 1) => by_size!(@call $name, $rows, 1, $generic, $args),
                ($rows, 2) => by_size!(@call $name, $rows, 2, $generic, $args),
                ($rows, 3) => by_size!(@call $name, $rows, 3, $generic, $args),
                ($rows, _) => by_size!(@call $name, $rows, 4, $generic, $args),
            )*
            _ => {}
        }
    };
    (@call $name:ident, $rows:literal, $vectors:literal, [$($generic:tt)*], ($($arg:expr),*)) => {
        $name::<$rows, $vectors, $($generic)*>($($arg),*)
    };
}

#[inline]
unsafe fn run<const BF16: bool>(
    instructions: Instructions,
    of: Pointers,
    size: (usize, usize),
    sums: *mut f32,
    adds: bool,
) {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        match instructions {
            Instructions::Avx512Bf16 if BF16 => return by_size!(size, bf16_pairs, [], (of, sums, adds)),
            Instructions::Avx512Bf16 | Instructions::Avx512 if !BF16 => {
                return by_size!(size, avx512, [], (of, sums, adds));
            }
            Instructions::Avx512Bf16 | Instructions::Avx512 => {
                return by_size!(size, plain_avx512, [BF16], (of, sums, adds));
            }
            Instructions::Avx2 => return by_size!(size, plain_avx2, [BF16], (of, sums, adds)),
            Instructions::Portable => {}
        }
        by_size!(size, plain, [BF16, { cfg!(target_arch = "aarch64") }], (of, sums, adds));
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    use super::{COLUMNS, LANES, Pointers};

    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn begin<const ROWS: usize, const VECTORS: usize>(
        sums: *const f32,
        adds: bool,
    ) -> [[__m512; VECTORS]; ROWS] {
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
}

#[cfg(target_arch = "x86_64")]
use x86::{avx512, bf16_pairs, plain_avx2, plain_avx512};

/// Sixteen columns at a time as an array that the compiler puts into registers; `FUSED` where a multiplication and an
/// addition are one instruction.
#[inline(always)]
unsafe fn plain<const ROWS: usize, const VECTORS: usize, const BF16: bool, const FUSED: bool>(
    of: Pointers,
    sums: *mut f32,
    adds: bool,
) {
    let add = |sum: f32, a: f32, b: f32| if FUSED { a.mul_add(b, sum) } else { sum + a * b };
    // SAFETY: the caller's.
    unsafe {
        for vector in 0..VECTORS {
            let at = |row: usize| sums.add(row * COLUMNS + vector * LANES).cast::<[f32; LANES]>();
            let mut acc = [[0.0_f32; LANES]; ROWS];
            if adds {
                for (row, acc) in acc.iter_mut().enumerate() {
                    *acc = at(row).read();
                }
            }
            for word in 0..of.words {
                let columns = of.panel.add(word * COLUMNS + vector * LANES).cast::<[u32; LANES]>().read();
                for (row, acc) in acc.iter_mut().enumerate() {
                    let weight = of.weight(row, word);
                    for (acc, column) in acc.iter_mut().zip(columns) {
                        if BF16 {
                            // The first of a pair is the low half; a bf16 is the high half of its f32.
                            *acc = add(*acc, f32::from_bits(column << 16), f32::from_bits(weight << 16));
                            *acc = add(*acc, high(column), high(weight));
                        } else {
                            *acc = add(*acc, f32::from_bits(column), f32::from_bits(weight));
                        }
                    }
                }
            }
            for (row, acc) in acc.iter().enumerate() {
                at(row).write(*acc);
            }
        }
    }
}

/// The second value of a pair.
#[inline(always)]
fn high(pair: u32) -> f32 {
    f32::from_bits(pair & 0xffff_0000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::processor::instructions;

    const ALL: [Instructions; 4] =
        [Instructions::Portable, Instructions::Avx2, Instructions::Avx512, Instructions::Avx512Bf16];

    fn number(i: usize) -> f32 {
        (i as f32 * 0.37).sin()
    }

    /// Every size of tile, with every set of instructions that this processor has, against sums in f64.
    #[test]
    fn every_tile_is_the_sum_of_its_products() {
        let (words, row_words) = (7, 11);
        let numbers: Vec<f32> = (0..(ROWS + 1) * row_words * 2).map(number).collect();
        let rounded: Vec<bf16> = numbers.iter().map(|v| bf16::from_f32(*v)).collect();
        for kind in [Weights::F32(&numbers), Weights::Bf16(&rounded)] {
            let of_word = kind.values_of_a_word();
            let value = |row: usize, i: usize| match kind {
                Weights::F32(values) => f64::from(values[row * row_words * of_word + i]),
                Weights::Bf16(values) => values[row * row_words * of_word + i].to_f64(),
            };
            // Value i of a column, and the word that it stands in.
            let column = |column: usize, i: usize| bf16::from_f32(number(column * 31 + i * 7));
            let panel: Vec<u32> = (0..words * COLUMNS)
                .map(|at| match kind {
                    Weights::F32(_) => column(at % COLUMNS, at / COLUMNS).to_f32().to_bits(),
                    Weights::Bf16(_) => {
                        let half = |i| u32::from(column(at % COLUMNS, at / COLUMNS * 2 + i).to_bits());
                        half(0) | half(1) << 16
                    }
                })
                .collect();
            for set in ALL.into_iter().filter(|set| *set <= instructions()) {
                for (rows, vectors, adds) in
                    (1..=ROWS).flat_map(|rows| (1..=4).flat_map(move |v| [(rows, v, false), (rows, v, true)]))
                {
                    let (row, word) = (1, 3);
                    let tile = Tile { weights: kind, row_words, row, rows, word, panel: &panel, vectors };
                    let mut sums = vec![0.5_f32; ROWS * COLUMNS];
                    multiply(set, tile, &mut sums, adds);
                    for (at, found) in sums.iter().enumerate() {
                        let (r, c) = (at / COLUMNS, at % COLUMNS);
                        let is_inside = r < rows && c < vectors * LANES;
                        let product = |i: usize| value(row + r, word * of_word + i) * column(c, i).to_f64();
                        let sum: f64 = if is_inside { (0..words * of_word).map(product).sum() } else { 0.0 };
                        let expected = if is_inside && !adds { sum } else { sum + 0.5 };
                        let difference = (f64::from(*found) - expected).abs();
                        assert!(difference < 3e-6, "{set:?} {rows}x{vectors} ({r}, {c}): {found} {expected}");
                    }
                }
            }
        }
    }
}
