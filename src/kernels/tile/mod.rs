//! The innermost product: up to six rows of weights by a panel of up to 64 columns, kept in registers.
//!
//! Both operands are made of 32-bit words: a value of f32, or two of bf16 or four bytes that follow each other along the
//! inner length. A row of f32 or bf16 is used as it lies in the model's own tensor, a word at a time for all columns; so
//! weights need no second arrangement in memory, and an adapter can change them where they are. A panel holds, word after
//! word, that word of each of its columns: `panel[word * COLUMNS + column]`, and for bytes the columns' scales behind them.

#![expect(unsafe_code, reason = "registers are addressed through intrinsics and pointers")]
#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

use half::bf16;

use super::int8::{BLOCK_WORDS, Int8};
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
    Int8(&'a Int8),
}

impl Weights<'_> {
    /// Values in a word.
    pub fn values_of_a_word(self) -> usize {
        match self {
            Self::F32(_) => 1,
            Self::Bf16(_) => 2,
            Self::Int8(_) => 4,
        }
    }

    pub fn len(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
            Self::Int8(int8) => int8.values().len(),
        }
    }

    fn as_bytes(self) -> *const u8 {
        match self {
            Self::F32(values) => values.as_ptr().cast(),
            Self::Bf16(values) => values.as_ptr().cast(),
            Self::Int8(int8) => int8.values().as_ptr().cast(),
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
    /// As many words as there are, `[words, COLUMNS]`; for [`Weights::Int8`] of one block, and behind them one line more:
    /// the columns' scales, as the bits of f32.
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
    let lines = tile.panel.len() / COLUMNS;
    let words = if matches!(tile.weights, Weights::Int8(_)) { lines - 1 } else { lines };
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
            Weights::Int8(int8) => {
                let (blocks, block) = (int8.blocks(), tile.word / BLOCK_WORDS);
                assert!(tile.word.is_multiple_of(BLOCK_WORDS) && words <= BLOCK_WORDS, "a tile of one block");
                let first = tile.row * blocks + block;
                assert!(first + (tile.rows - 1) * blocks < int8.scales().len(), "the scales of a tile");
                let scales = int8.scales().as_ptr().add(first);
                let offsets = int8.offsets().as_ptr().add(first);
                let of = Bytes { of, scales, offsets, blocks };
                run_bytes(instructions, of, (tile.rows, tile.vectors), sums, adds);
            }
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

/// The same of bytes; scales and offsets are those of the first row, `blocks` from row to row.
#[derive(Clone, Copy)]
struct Bytes {
    of: Pointers,
    scales: *const f32,
    offsets: *const i32,
    blocks: usize,
}

impl Bytes {
    /// A row's scale and offset.
    #[inline(always)]
    unsafe fn of_row(self, row: usize) -> (f32, i32) {
        // SAFETY: the caller's.
        unsafe { (*self.scales.add(row * self.blocks), *self.offsets.add(row * self.blocks)) }
    }

    /// The columns' scales.
    #[inline(always)]
    unsafe fn column_scales(self) -> *const f32 {
        // SAFETY: they are behind the words.
        unsafe { self.of.panel.add(self.of.words * COLUMNS).cast() }
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
        #[cfg(target_arch = "aarch64")]
        match instructions {
            Instructions::NeonBf16 if BF16 => return by_size!(size, neon_bf16_pairs, [], (of, sums, adds)),
            Instructions::NeonBf16 | Instructions::Neon if !BF16 => {
                return by_size!(size, neon, [], (of, sums, adds));
            }
            _ => {}
        }
        by_size!(size, plain, [BF16, { cfg!(target_arch = "aarch64") }], (of, sums, adds));
    }
}

#[inline]
unsafe fn run_bytes(instructions: Instructions, of: Bytes, size: (usize, usize), sums: *mut f32, adds: bool) {
    // SAFETY: the caller's.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        match instructions {
            Instructions::Avx512Bf16 | Instructions::Avx512 if is_x86_feature_detected!("avx512vnni") => {
                return by_size!(size, byte_quads, [], (of, sums, adds));
            }
            Instructions::Avx512Bf16 | Instructions::Avx512 | Instructions::Avx2 => {
                return by_size!(size, plain_bytes_avx2, [], (of, sums, adds));
            }
            Instructions::Portable => {}
        }
        #[cfg(target_arch = "aarch64")]
        if instructions != Instructions::Portable && std::arch::is_aarch64_feature_detected!("dotprod") {
            return by_size!(size, neon_byte_quads, [], (of, sums, adds));
        }
        by_size!(size, plain_bytes, [], (of, sums, adds));
    }
}

#[cfg(target_arch = "aarch64")]
use self::neon::{neon, neon_bf16_pairs, neon_byte_quads};
#[cfg(target_arch = "x86_64")]
use self::x86::{avx512, bf16_pairs, byte_quads, plain_avx2, plain_avx512, plain_bytes_avx2};

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

/// As [`plain`], for bytes.
#[inline(always)]
unsafe fn plain_bytes<const ROWS: usize, const VECTORS: usize>(bytes: Bytes, sums: *mut f32, adds: bool) {
    let of = bytes.of;
    // SAFETY: the caller's.
    unsafe {
        for vector in 0..VECTORS {
            let mut acc = [[0_i32; LANES]; ROWS];
            for (row, acc) in acc.iter_mut().enumerate() {
                acc.fill(-bytes.of_row(row).1);
            }
            for word in 0..of.words {
                let columns = of.panel.add(word * COLUMNS + vector * LANES).cast::<[u32; LANES]>().read();
                for (row, acc) in acc.iter_mut().enumerate() {
                    let weight = of.weight(row, word).to_le_bytes().map(|byte| i32::from(byte.cast_signed()));
                    for (acc, column) in acc.iter_mut().zip(columns) {
                        for (byte, weight) in weight.iter().enumerate() {
                            *acc += (column >> (8 * byte) & 0xff).cast_signed() * weight;
                        }
                    }
                }
            }
            let scales = bytes.column_scales().add(vector * LANES).cast::<[f32; LANES]>().read();
            for (row, acc) in acc.iter().enumerate() {
                let at = sums.add(row * COLUMNS + vector * LANES).cast::<[f32; LANES]>();
                let (scale, sums) = (bytes.of_row(row).0, if adds { at.read() } else { [0.0; LANES] });
                at.write(std::array::from_fn(|i| sums[i] + acc[i] as f32 * (scale * scales[i])));
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
                Weights::Int8(_) => panic!("has a test of its own"),
            };
            // Value i of a column, and the word that it stands in.
            let column = |column: usize, i: usize| bf16::from_f32(number(column * 31 + i * 7));
            let panel: Vec<u32> = (0..words * COLUMNS)
                .map(|at| {
                    if matches!(kind, Weights::F32(_)) {
                        return column(at % COLUMNS, at / COLUMNS).to_f32().to_bits();
                    }
                    let half = |i| u32::from(column(at % COLUMNS, at / COLUMNS * 2 + i).to_bits());
                    half(0) | half(1) << 16
                })
                .collect();
            for set in Instructions::ALL.into_iter().filter(|set| *set <= instructions()) {
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

    /// As above, for both blocks of rows of bytes; integers are exact, so that only the scales round.
    #[test]
    fn every_tile_of_bytes_is_the_sum_of_its_products() {
        let row_words = BLOCK_WORDS + 3;
        let weights: Vec<f32> = (0..(ROWS + 1) * row_words * 4).map(number).collect();
        let int8 = Int8::of(Weights::F32(&weights), row_words * 4);
        for word in [0, BLOCK_WORDS] {
            let words = (row_words - word).min(BLOCK_WORDS);
            let byte = |column: usize, i: usize| ((column * 31 + i * 77) % 255 + 1) as u32;
            let scale = |column: usize| 0.01 + column as f32 * 1e-3;
            let mut panel: Vec<u32> = (0..words * COLUMNS)
                .map(|at| (0..4).map(|i| byte(at % COLUMNS, at / COLUMNS * 4 + i) << (8 * i)).sum())
                .collect();
            panel.extend((0..COLUMNS).map(|column| scale(column).to_bits()));
            for set in Instructions::ALL.into_iter().filter(|set| *set <= instructions()) {
                for (rows, vectors, adds) in
                    (1..=ROWS).flat_map(|rows| (1..=4).flat_map(move |v| [(rows, v, false), (rows, v, true)]))
                {
                    let weights = Weights::Int8(&int8);
                    let tile = Tile { weights, row_words, row: 1, rows, word, panel: &panel, vectors };
                    let mut sums = vec![0.5_f32; ROWS * COLUMNS];
                    multiply(set, tile, &mut sums, adds);
                    for (at, found) in sums.iter().enumerate() {
                        let (r, c) = (at / COLUMNS, at % COLUMNS);
                        let is_inside = r < rows && c < vectors * LANES;
                        let weight = |i: usize| i64::from(int8.values()[((1 + r) * row_words + word) * 4 + i]);
                        let sum: i64 = (0..words * 4).map(|i| weight(i) * (i64::from(byte(c, i)) - 128)).sum();
                        let of_row = int8.scales()[(1 + r) * int8.blocks() + word / BLOCK_WORDS];
                        let sum = sum as f64 * f64::from(of_row) * f64::from(scale(c));
                        let expected = match (is_inside, adds) {
                            (true, true) => sum + 0.5,
                            (true, false) => sum,
                            (false, _) => 0.5,
                        };
                        let difference = (f64::from(*found) - expected).abs();
                        assert!(difference < 1e-6 * sum.abs().max(1.0), "{set:?} {rows}x{vectors}: {found} {expected}");
                    }
                }
            }
        }
    }
}
