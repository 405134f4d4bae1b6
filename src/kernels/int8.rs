//! Weights in 8 bits: a quarter of f32's products in the same time, where the processor multiplies bytes.
//!
//! A row of weights is divided into blocks of [`BLOCK_VALUES`]; each has its own scale, so that its largest weight is 127.
//! The columns of a product are quantised where they are filled, block by block and column by column, to bytes without sign
//! (the processor multiplies those with and those without): 128 stands for zero. What that adds to a sum is the same for
//! all columns and is kept beside the weights.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::tile::Weights;
use super::values::Values;

/// Words of four values that share a scale.
pub(super) const BLOCK_WORDS: usize = 128;
/// Values of them.
pub(super) const BLOCK_VALUES: usize = 4 * BLOCK_WORDS;
/// The largest quantised weight.
const MOST: f32 = 127.0;
/// The byte that stands for a column's zero.
pub(super) const ZERO: i32 = 128;
/// Added to a number below 2^22 in size, it leaves the number, rounded, in the lowest bits.
pub(super) const ROUNDING: f32 = 12_582_912.0;

/// Weights `[rows, inner]` in 8 bits.
#[derive(Clone, PartialEq)]
pub(super) struct Int8 {
    /// `[rows, row_words * 4]`; rows end with zeros.
    values: Vec<i8>,
    row_words: usize,
    /// `[rows, blocks]`.
    scales: Vec<f32>,
    /// [`ZERO`] times the sum of each block's weights, `[rows, blocks]`.
    offsets: Vec<i32>,
}

impl std::fmt::Debug for Int8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Int8({} values)", self.values.len())
    }
}

impl Int8 {
    /// Quantises `weights` `[rows, inner]`.
    pub fn of(weights: Weights, inner: usize) -> Self {
        let rows = weights.len() / inner.max(1);
        let row_words = inner.div_ceil(4);
        let blocks = row_words.div_ceil(BLOCK_WORDS);
        let mut values = vec![0_i8; rows * row_words * 4];
        let mut scales = vec![0.0; rows * blocks];
        let mut offsets = vec![0; rows * blocks];
        let rows = values.par_chunks_exact_mut((row_words * 4).max(1)).zip(scales.par_chunks_exact_mut(blocks.max(1)));
        let rows = rows.zip(offsets.par_chunks_exact_mut(blocks.max(1))).enumerate();
        rows.for_each_init(Vec::new, |from, (row, ((values, scales), offsets))| {
            from.clear();
            match weights {
                Weights::F32(all) => from.extend_from_slice(&all[row * inner..][..inner]),
                Weights::Bf16(all) => from.extend(all[row * inner..][..inner].iter().map(|v| v.to_f32())),
                Weights::Int8(_) => {}
            }
            let blocks = values.chunks_mut(BLOCK_VALUES).zip(from.chunks(BLOCK_VALUES));
            for ((values, from), (scale, offset)) in blocks.zip(scales.iter_mut().zip(offsets)) {
                (*scale, *offset) = quantise(from, values);
            }
        });
        Self { values, row_words, scales, offsets }
    }

    /// Of a layer, whose first axis is its outputs; nothing where its weights are not in the processor's memory.
    pub fn of_layer(weight: &Tensor) -> Result<Option<Self>> {
        if !weight.device().is_cpu() {
            return Ok(None);
        }
        let weight = weight.contiguous()?;
        let inner = weight.elem_count() / weight.dim(0)?.max(1);
        let values = Values::of(&weight)?;
        Ok(Some(Self::of(values.weights()?, inner)))
    }

    /// `[rows, row_words * 4]`.
    pub fn values(&self) -> &[i8] {
        &self.values
    }

    /// Blocks of a row.
    pub fn blocks(&self) -> usize {
        self.row_words.div_ceil(BLOCK_WORDS)
    }

    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    pub fn offsets(&self) -> &[i32] {
        &self.offsets
    }
}

/// Fills `values` and gives back their scale and their offset.
fn quantise(from: &[f32], values: &mut [i8]) -> (f32, i32) {
    let most = from.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
    let scale = most / MOST;
    if !from.iter().all(|v| v.is_finite()) {
        // Seen in the picture, as in f32.
        return (f32::NAN, 0);
    }
    if scale < f32::MIN_POSITIVE {
        return (0.0, 0);
    }
    let mut sum = 0;
    let inverse = MOST / most;
    for (value, from) in values.iter_mut().zip(from) {
        *value = (from * inverse + ROUNDING).to_bits() as i8;
        sum += i32::from(*value);
    }
    (scale, ZERO * sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_blocks_largest_weight_is_127_and_the_rest_is_near() {
        let inner = BLOCK_VALUES + 3;
        let weights: Vec<f32> = (0..2 * inner)
            .map(|i| (i as f32 * 0.37).sin() * if i % inner < BLOCK_VALUES { 1.0 } else { 1e-3 })
            .collect();
        let int8 = Int8::of(Weights::F32(&weights), inner);
        assert_eq!((int8.row_words, int8.blocks()), (BLOCK_WORDS + 1, 2));
        for (row, of_row) in int8.values().chunks_exact(int8.row_words * 4).enumerate() {
            for (block, values) in of_row.chunks(BLOCK_VALUES).enumerate() {
                let at = row * 2 + block;
                assert_eq!(values.iter().map(|v| v.unsigned_abs()).max(), Some(127));
                let sum: i32 = values.iter().map(|v| i32::from(*v)).sum();
                assert_eq!(int8.offsets()[at], ZERO * sum);
                for (value, weight) in values.iter().zip(&weights[row * inner + block * BLOCK_VALUES..]) {
                    let near = f32::from(*value) * int8.scales()[at];
                    assert!((near - weight).abs() <= int8.scales()[at] * 0.501 || block == 1, "{near} {weight}");
                }
            }
            assert_eq!(of_row[inner..], [0], "rows end with zeros");
        }
    }

    #[test]
    fn zeros_are_zeros_and_what_is_no_number_is_seen() {
        let zeros = Int8::of(Weights::F32(&[0.0; 8]), 4);
        assert_eq!((zeros.scales(), zeros.offsets()), (&[0.0; 2][..], &[0; 2][..]));
        assert!(Int8::of(Weights::F32(&[1.0, f32::INFINITY]), 2).scales()[0].is_nan());
    }
}
