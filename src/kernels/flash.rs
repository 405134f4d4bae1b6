//! Attention over channels with a running softmax (Milakov & Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022,
//! arXiv:2205.14135): 64 queries of a head at a time see the keys in blocks, so that no more scores exist at once than fit
//! a core's cache. Queries are columns, so that the softmax runs down the columns without a sum across a register.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use std::cell::RefCell;
use std::ops::Range;

use candle_core::{Result, Tensor, bail};
use half::bf16;
use rayon::prelude::*;

use super::attention::Sight;
use super::maths::{Maths, exp2_of_negative};
use super::panel::{Before, Channels, Parts, Value, Words, fill};
use super::processor::{Instructions, instructions};
use super::tile::{COLUMNS, LANES, ROWS, Tile, Weights, multiply};
use super::values::{Shared, Stored, Values, tensor, written};
use super::vector::widest;

/// Keys of a block: their scores for 64 queries take 32 KiB.
const KEYS: usize = 128;
/// Rows of keys of a tile: with few words to sum, four rows begin and end faster than six.
const KEY_ROWS: usize = 4;
/// Tasks for each thread that are aimed at.
const TASKS_OF_A_THREAD: usize = 4;

/// A number that attention computes with.
pub(super) trait Operand: Stored {
    const WORDS: Words;
    const OF_A_WORD: usize;
    fn of<'a>(values: &'a Values) -> Result<&'a [Self]>;
    fn weights(values: &[Self]) -> Weights<'_>;
    fn with_scratch(run: impl FnOnce(&mut Scratch<Self>));
}

impl Operand for f32 {
    const WORDS: Words = Words::F32;
    const OF_A_WORD: usize = 1;

    fn of<'a>(values: &'a Values) -> Result<&'a [Self]> {
        values.f32()
    }

    fn weights(values: &[Self]) -> Weights<'_> {
        Weights::F32(values)
    }

    fn with_scratch(run: impl FnOnce(&mut Scratch<Self>)) {
        SCRATCH_F32.with_borrow_mut(run);
    }
}

impl Operand for bf16 {
    const WORDS: Words = Words::Bf16Pairs;
    const OF_A_WORD: usize = 2;

    fn of<'a>(values: &'a Values) -> Result<&'a [Self]> {
        values.bf16()
    }

    fn weights(values: &[Self]) -> Weights<'_> {
        Weights::Bf16(values)
    }

    fn with_scratch(run: impl FnOnce(&mut Scratch<Self>)) {
        SCRATCH_BF16.with_borrow_mut(run);
    }
}

/// `softmax(k^T q / sqrt(d)) v` for each head: `q` is `[B, heads * d, Tq]`, `k` and `v` are `[B, heads * d, Tk]`, all of
/// the same type; `[B, heads * d, Tq]` comes back in it.
pub(super) fn flash<T: Operand>(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, sight: Sight) -> Result<Tensor> {
    let (batch, width, queries) = q.dims3()?;
    let (k_batch, k_width, keys) = k.dims3()?;
    if k.dims() != v.dims() || (k_batch, k_width) != (batch, width) || keys == 0 {
        bail!("attention: q {:?}, k {:?}, v {:?}", q.dims(), k.dims(), v.dims());
    }
    if heads == 0 || !width.is_multiple_of(heads) {
        bail!("attention: width {width} does not fit {heads} heads");
    }
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let (q, k, v) = (Values::of(&q)?, Values::of(&k)?, Values::of(&v)?);
    let (q, k, v) = (T::of(&q)?, T::of(&k)?, T::of(&v)?);
    let head_width = width / heads;
    let panels = queries.div_ceil(COLUMNS);
    let chunks = (TASKS_OF_A_THREAD * rayon::current_num_threads()).div_ceil(batch * heads).min(panels).max(1);
    let share = panels.div_ceil(chunks) * COLUMNS;
    let tasks: Vec<(usize, Range<usize>)> = (0..batch * heads)
        .flat_map(|head| (0..queries).step_by(share).map(move |first| (head, first..(first + share).min(queries))))
        .collect();
    #[expect(unsafe_code, reason = "the result is written once")]
    // SAFETY: the tasks cover all heads and queries.
    let values = unsafe {
        written::<T>(batch * width * queries, |room| {
            tasks.into_par_iter().with_max_len(1).for_each(|(index, queries_of_it)| {
                let head = Head {
                    q: &q[index * head_width * queries..][..head_width * queries],
                    k: &k[index * head_width * keys..][..head_width * keys],
                    v: &v[index * head_width * keys..][..head_width * keys],
                    width: head_width,
                    queries,
                    keys,
                    sight,
                    instructions: instructions(),
                };
                T::with_scratch(|scratch| head.attend(queries_of_it, index * head_width * queries, scratch, room));
            });
        })
    };
    tensor(values, (batch, width, queries))
}

/// One head of one picture, `[d, T]`.
struct Head<'a, T> {
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    width: usize,
    queries: usize,
    keys: usize,
    sight: Sight,
    instructions: Instructions,
}

/// What a thread computes in, kept from call to call.
#[derive(Default)]
pub(super) struct Scratch<T> {
    /// `[keys, d]`.
    keys: Vec<T>,
    /// `[d, keys]`, with an even number of keys.
    values: Vec<T>,
    /// `[d in words, COLUMNS]`.
    queries: Vec<u32>,
    /// `[KEYS, COLUMNS]`.
    scores: Vec<f32>,
    /// The scores' exponentials as words.
    weights: Vec<u32>,
    /// `[d to whole tiles, COLUMNS]`.
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH_F32: RefCell<Scratch<f32>> = RefCell::default();
    static SCRATCH_BF16: RefCell<Scratch<bf16>> = RefCell::default();
}

impl<T: Operand> Head<'_, T> {
    /// Attends from some of the queries; the head's results begin at `start` of `out`.
    fn attend(&self, queries: Range<usize>, start: usize, scratch: &mut Scratch<T>, out: &Shared<T>) {
        let words = self.width.div_ceil(T::OF_A_WORD);
        let even_width = words * T::OF_A_WORD;
        let even_keys = self.keys.next_multiple_of(T::OF_A_WORD);
        self.arrange(even_width, even_keys, scratch);
        scratch.queries.resize(words * COLUMNS, 0);
        scratch.scores.resize(KEYS * COLUMNS, 0.0);
        scratch.weights.resize(KEYS / T::OF_A_WORD * COLUMNS, 0);
        scratch.sums.resize(self.width.next_multiple_of(ROWS) * COLUMNS, 0.0);
        let parts =
            Parts { first: self.q, first_channels: self.width, second: &[], second_channels: 0, area: self.queries };
        let source = Channels { parts, before: Before::Nothing };
        for first in queries.clone().step_by(COLUMNS) {
            let columns = first..(first + COLUMNS).min(queries.end);
            fill(&source, T::WORDS, 0..words, columns.clone(), &mut scratch.queries);
            let totals = self.attend_panel((words, even_keys), &columns, scratch);
            for channel in 0..self.width {
                let at = start + channel * self.queries + columns.start;
                #[expect(unsafe_code, reason = "tasks write from many threads")]
                // SAFETY: tasks have different heads or queries.
                let out = unsafe { out.part(at, columns.len()) };
                let sums = &scratch.sums[channel * COLUMNS..][..columns.len()];
                for ((out, sum), total) in out.iter_mut().zip(sums).zip(&totals) {
                    out.write(T::from_f32(sum / total));
                }
            }
        }
    }

    /// Keys with their widths side by side, values with an even number of keys.
    fn arrange(&self, even_width: usize, even_keys: usize, scratch: &mut Scratch<T>) {
        scratch.keys.clear();
        scratch.keys.resize(self.keys * even_width, T::default());
        for (channel, row) in self.k.chunks_exact(self.keys).enumerate() {
            for (key, value) in scratch.keys.chunks_exact_mut(even_width).zip(row) {
                key[channel] = *value;
            }
        }
        scratch.values.clear();
        scratch.values.resize(self.width * even_keys, T::default());
        for (out, row) in scratch.values.chunks_exact_mut(even_keys).zip(self.v.chunks_exact(self.keys)) {
            out[..self.keys].copy_from_slice(row);
        }
    }

    /// Sums of the values for a panel of queries, and what they are to be divided by.
    fn attend_panel(
        &self,
        (words, even_keys): (usize, usize),
        columns: &Range<usize>,
        scratch: &mut Scratch<T>,
    ) -> [f32; COLUMNS] {
        let scale = std::f32::consts::LOG2_E / (self.width as f32).sqrt();
        let mut running =
            Running { tops: [f32::NEG_INFINITY; COLUMNS], totals: [0.0; COLUMNS], factors: [1.0; COLUMNS] };
        let vectors = columns.len().div_ceil(LANES);
        // What no query of the panel sees is not computed.
        let seen = if self.sight == Sight::Backwards { columns.end.min(self.keys) } else { self.keys };
        for first in (0..seen).step_by(KEYS) {
            let count = KEYS.min(seen - first);
            for row in (0..count).step_by(KEY_ROWS) {
                let tile = Tile {
                    weights: T::weights(&scratch.keys),
                    row_words: words,
                    row: first + row,
                    rows: KEY_ROWS.min(count - row),
                    word: 0,
                    panel: &scratch.queries,
                    vectors,
                };
                multiply(self.instructions, tile, &mut scratch.scores[row * COLUMNS..], false);
            }
            if self.sight == Sight::Backwards {
                hide_later_keys(first..first + count, columns, &mut scratch.scores);
            }
            let of_block = count.div_ceil(T::OF_A_WORD) * COLUMNS;
            let scores = &scratch.scores[..count * COLUMNS];
            soften::<T>(scores, scale, &mut running, &mut scratch.weights[..of_block]);
            if first > 0 && running.factors.iter().any(|factor| *factor != 1.0) {
                rescale(&mut scratch.sums, &running.factors);
            }
            for row in (0..self.width).step_by(ROWS) {
                let tile = Tile {
                    weights: T::weights(&scratch.values),
                    row_words: even_keys / T::OF_A_WORD,
                    row,
                    rows: ROWS.min(self.width - row),
                    word: first / T::OF_A_WORD,
                    panel: &scratch.weights[..of_block],
                    vectors,
                };
                multiply(self.instructions, tile, &mut scratch.sums[row * COLUMNS..], first > 0);
            }
        }
        running.totals
    }
}

/// Takes the scores of keys out of the softmax that come after a column's query.
fn hide_later_keys(keys: Range<usize>, columns: &Range<usize>, scores: &mut [f32]) {
    for (key, row) in keys.zip(scores.chunks_exact_mut(COLUMNS)) {
        let hidden = key.saturating_sub(columns.start).min(columns.len());
        row[..hidden].fill(f32::NEG_INFINITY);
    }
}

/// What is known of each query after some of the keys.
pub(super) struct Running {
    /// The largest score, scaled.
    tops: [f32; COLUMNS],
    /// The sum of the exponentials under that largest score.
    totals: [f32; COLUMNS],
    /// What the sums of before are to be multiplied by.
    factors: [f32; COLUMNS],
}

widest! {
    /// Takes a block of scores in, `[keys, COLUMNS]`: their exponentials as words, the rest in `running`.
    soften, soften_body, maths M, <T: Operand>, (scores: &[f32], scale: f32, running: &mut Running, words: &mut [u32])
}

widest! {
    /// Multiplies every column of `sums` by its factor.
    rescale, rescale_body, (sums: &mut [f32], factors: &[f32; COLUMNS])
}

#[inline(always)]
fn rescale_body(sums: &mut [f32], factors: &[f32; COLUMNS]) {
    let (rows, _) = sums.as_chunks_mut::<COLUMNS>();
    for row in rows {
        for (sum, factor) in row.iter_mut().zip(factors) {
            *sum *= factor;
        }
    }
}

#[inline(always)]
fn soften_body<M: Maths, T: Operand>(scores: &[f32], scale: f32, running: &mut Running, words: &mut [u32]) {
    let (rows, _) = scores.as_chunks::<COLUMNS>();
    let (words, _) = words.as_chunks_mut::<COLUMNS>();
    // A column of registers at a time.
    for lane in (0..COLUMNS).step_by(LANES) {
        let part = |row: &[f32; COLUMNS]| -> [f32; LANES] { std::array::from_fn(|i| row[lane + i]) };
        let mut tops = [f32::NEG_INFINITY; LANES];
        for row in rows {
            for (top, v) in tops.iter_mut().zip(part(row)) {
                *top = if v > *top { v } else { *top };
            }
        }
        let mut totals = [0.0_f32; LANES];
        for (i, top) in tops.iter_mut().enumerate() {
            let (old, new) = (running.tops[lane + i], *top * scale);
            *top = if new > old { new } else { old };
            running.tops[lane + i] = *top;
            let factor = exp2_of_negative::<M>(old - *top);
            running.factors[lane + i] = factor;
            totals[i] = running.totals[lane + i] * factor;
        }
        let soft = |row: &[f32; COLUMNS], totals: &mut [f32; LANES]| -> [f32; LANES] {
            let mut values = part(row);
            for ((value, top), total) in values.iter_mut().zip(&tops).zip(totals) {
                *value = exp2_of_negative::<M>(M::fused(*value, scale, -top));
                *total += *value;
            }
            values
        };
        if T::OF_A_WORD == 1 {
            for (row, word) in rows.iter().zip(words.iter_mut()) {
                let values = soft(row, &mut totals);
                for (i, value) in values.iter().enumerate() {
                    word[lane + i] = value.to_bits();
                }
            }
        } else {
            let (pairs, rest) = rows.as_chunks::<2>();
            for ([low, high], word) in pairs.iter().zip(words.iter_mut()) {
                let (low, high) = (soft(low, &mut totals), soft(high, &mut totals));
                word[lane..lane + LANES].copy_from_slice(&M::pairs(low, high));
            }
            if let ([row], Some(word)) = (rest, words.last_mut()) {
                let values = soft(row, &mut totals);
                for (i, value) in values.iter().enumerate() {
                    word[lane + i] = value.to_bf16_bits();
                }
            }
        }
        running.totals[lane..lane + LANES].copy_from_slice(&totals);
    }
}
