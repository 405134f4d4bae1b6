//! Fills panels: the columns that weights are multiplied by, from pixels as they lie in memory, normalised on the way
//! where a norm comes first.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use std::ops::Range;

use half::bf16;

use super::int8::{BLOCK_WORDS, ROUNDING, ZERO};
use super::maths::Maths;
use super::scratch::with_room;
use super::tile::{COLUMNS, LANES};
use super::vector::widest;

/// Where the columns of products come from.
pub(super) trait Source: Sync {
    /// f32 or bf16.
    type Value: Value;
    /// What is worked out once for a panel's columns.
    type Place;

    /// For at most [`COLUMNS`] columns.
    fn place(&self, columns: Range<usize>) -> Self::Place;

    /// The `index`-th value of the inner length of each of the columns, in `buffer` or where they lie.
    fn row<'a>(&'a self, index: usize, place: &Self::Place, buffer: &'a mut Row<Self::Value>) -> &'a [Self::Value];

    /// The inner length.
    fn inner(&self) -> usize;
}

/// One row of a panel, before it becomes words.
pub(super) type Row<T> = [T; COLUMNS];

/// A number in memory.
pub(super) trait Value: Copy + Send + Sync + Default + 'static {
    /// As f32.
    fn to_f32(self) -> f32;
    /// Rounded to the nearest.
    fn from_f32(value: f32) -> Self;
    /// As the bits of a bf16.
    fn to_bf16_bits(self) -> u32;
    /// Pairs of bf16, `low` in the low halves.
    fn pairs<M: Maths>(low: [Self; LANES], high: [Self; LANES]) -> [u32; LANES];
}

impl Value for f32 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }

    /// To the nearest, halves to even. Not-a-number may become an infinity, which is as visible.
    #[inline(always)]
    fn to_bf16_bits(self) -> u32 {
        let bits = self.to_bits();
        bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16
    }

    #[inline(always)]
    fn pairs<M: Maths>(low: [Self; LANES], high: [Self; LANES]) -> [u32; LANES] {
        M::pairs(low, high)
    }
}

impl Value for bf16 {
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        Self::from_bits(value.to_bf16_bits() as u16)
    }

    #[inline(always)]
    fn to_bf16_bits(self) -> u32 {
        u32::from(self.to_bits())
    }

    #[inline(always)]
    fn pairs<M: Maths>(low: [Self; LANES], high: [Self; LANES]) -> [u32; LANES] {
        std::array::from_fn(|i| low[i].to_bf16_bits() | high[i].to_bf16_bits() << 16)
    }
}

/// What the words of a panel are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// A value of f32 each.
    F32,
    /// Two values of bf16, the earlier in the low half.
    Bf16Pairs,
    /// Four bytes, the earliest in the lowest, of blocks with a line of scales behind each.
    Bytes,
}

impl Words {
    /// Lines of [`COLUMNS`] that so many words take, from the beginning of a block on.
    pub fn lines(self, words: usize) -> usize {
        words + if self == Self::Bytes { words.div_ceil(BLOCK_WORDS) } else { 0 }
    }

    /// Divides words into what one tile takes.
    pub fn pieces(self, words: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let len = if self == Self::Bytes { BLOCK_WORDS } else { words.len().max(1) };
        words.clone().step_by(len).map(move |start| start..(start + len).min(words.end))
    }
}

/// Fills `panel` with `words` of the columns, [`Words::lines`] of them; what is left to the next multiple of [`LANES`]
/// columns becomes 0.
pub(super) fn fill<S: Source>(source: &S, kind: Words, words: Range<usize>, columns: Range<usize>, panel: &mut [u32]) {
    if kind != Words::Bytes {
        return fill_words(source, kind, words, columns, panel);
    }
    // By way of pairs of bf16, a block at a time: the source is read once.
    with_room(2 * BLOCK_WORDS * COLUMNS, |pairs: &mut [u32]| {
        let mut panel = panel;
        for words in kind.pieces(words) {
            let (block, rest) = panel.split_at_mut((words.len() + 1) * COLUMNS);
            let pairs = &mut pairs[..2 * words.len() * COLUMNS];
            let there = 2 * words.start..(2 * words.end).min(source.inner().div_ceil(2));
            let (filled, missing) = pairs.split_at_mut(there.len() * COLUMNS);
            fill_words(source, Words::Bf16Pairs, there, columns.clone(), filled);
            missing.fill(0);
            quantise(pairs, block);
            panel = rest;
        }
    });
}

widest! {
    fill_words, fill_body, maths M, <S: Source>,
    (source: &S, kind: Words, words: Range<usize>, columns: Range<usize>, panel: &mut [u32])
}

widest! {
    /// Pairs of bf16 `[2 * words, COLUMNS]` to a block of bytes: words, and behind them the columns' scales.
    pub(super) quantise, quantise_body, (pairs: &[u32], block: &mut [u32])
}

#[inline(always)]
fn fill_body<M: Maths, S: Source>(
    source: &S,
    kind: Words,
    words: Range<usize>,
    columns: Range<usize>,
    panel: &mut [u32],
) {
    let count = columns.len();
    let filled = count.next_multiple_of(LANES);
    let place = source.place(columns);
    let (mut first, mut second) = ([S::Value::default(); COLUMNS], [S::Value::default(); COLUMNS]);
    let zeros = [S::Value::default(); COLUMNS];
    for (word, out) in words.zip(panel.chunks_exact_mut(COLUMNS)) {
        match kind {
            Words::F32 => {
                let row = source.row(word, &place, &mut first);
                for (out, value) in out.iter_mut().zip(&row[..count]) {
                    *out = value.to_f32().to_bits();
                }
            }
            Words::Bf16Pairs | Words::Bytes => {
                let low = source.row(2 * word, &place, &mut first);
                let has_second = 2 * word + 1 < source.inner();
                let high = if has_second { source.row(2 * word + 1, &place, &mut second) } else { &zeros };
                let (low, high) = (low[..count].as_chunks::<LANES>(), high[..count].as_chunks::<LANES>());
                let (outs, rest) = out[..count].as_chunks_mut::<LANES>();
                for ((out, low), high) in outs.iter_mut().zip(low.0).zip(high.0) {
                    *out = S::Value::pairs::<M>(*low, *high);
                }
                for ((out, low), high) in rest.iter_mut().zip(low.1).zip(high.1) {
                    *out = low.to_bf16_bits() | high.to_bf16_bits() << 16;
                }
            }
        }
        out[count..filled].fill(0);
    }
}

#[inline(always)]
fn quantise_body(pairs: &[u32], block: &mut [u32]) {
    let (pairs, _) = pairs.as_chunks::<COLUMNS>();
    let (lines, _) = block.as_chunks_mut::<COLUMNS>();
    let Some((scales, words)) = lines.split_last_mut() else { return };
    // The bits of numbers without sign are ordered as the numbers are.
    let mut most = [0_u32; COLUMNS];
    for line in pairs {
        for (most, pair) in most.iter_mut().zip(line) {
            *most = (*most).max(pair & 0x7fff).max(pair >> 16 & 0x7fff);
        }
    }
    let mut inverse = [0.0_f32; COLUMNS];
    for ((scale, inverse), most) in scales.iter_mut().zip(&mut inverse).zip(most) {
        let most = f32::from_bits(most << 16);
        *scale = (most / 127.0).to_bits();
        *inverse = if most == 0.0 { 0.0 } else { 127.0 / most };
    }
    for (word, [first, second]) in words.iter_mut().zip(pairs.as_chunks::<2>().0) {
        for i in 0..COLUMNS {
            let byte = |bits: u32| quantised(f32::from_bits(bits), inverse[i]);
            let low = byte(first[i] << 16) | byte(first[i] & 0xffff_0000) << 8;
            word[i] = low | byte(second[i] << 16) << 16 | byte(second[i] & 0xffff_0000) << 24;
        }
    }
}

/// The byte that a value becomes.
#[inline(always)]
fn quantised(value: f32, inverse: f32) -> u32 {
    (value * inverse + (ROUNDING + ZERO as f32)).to_bits() & 0xff
}

/// What is done to a value of [`Channels`] on its way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Before<'a> {
    Nothing,
    /// `a * x + b`, a pair for each channel of each picture.
    Affine(&'a [(f32, f32)]),
    /// A normalisation of each column over its channels.
    LayerNorm {
        /// Mean and reciprocal deviation, for each column.
        statistics: &'a [(f32, f32)],
        weight: &'a [f32],
        bias: &'a [f32],
    },
}

/// Pixels or tokens with their channels, `[B, C, area]`, from one tensor or two that are joined along the channels.
#[derive(Debug, Clone)]
pub(super) struct Channels<'a, T> {
    pub parts: Parts<'a, T>,
    pub before: Before<'a>,
}

/// One tensor `[B, C, area]`, or two joined along the channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a, T> {
    pub first: &'a [T],
    pub first_channels: usize,
    pub second: &'a [T],
    pub second_channels: usize,
    pub area: usize,
}

impl<T> Parts<'_, T> {
    pub fn channels(&self) -> usize {
        self.first_channels + self.second_channels
    }

    /// All values of a channel of a picture.
    #[inline(always)]
    pub fn plane(&self, picture: usize, channel: usize) -> &[T] {
        let (part, channels, channel) = if channel < self.first_channels {
            (self.first, self.first_channels, channel)
        } else {
            (self.second, self.second_channels, channel - self.first_channels)
        };
        &part[(picture * channels + channel) * self.area..][..self.area]
    }
}

/// A run of columns that lies together in one picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Its first column within the panel.
    at: usize,
    len: usize,
    picture: usize,
    pixel: usize,
}

/// Divides columns of pictures of `area` pixels into runs.
pub(super) fn runs(columns: Range<usize>, area: usize) -> impl Iterator<Item = Run> {
    let (start, end) = (columns.start, columns.end);
    let mut column = start;
    std::iter::from_fn(move || {
        if column >= end {
            return None;
        }
        let (picture, pixel) = (column / area, column % area);
        let len = (area - pixel).min(end - column);
        let run = Run { at: column - start, len, picture, pixel };
        column += len;
        Some(run)
    })
}

impl Run {
    /// Its columns within the panel.
    pub fn columns(self) -> Range<usize> {
        self.at..self.at + self.len
    }

    pub fn picture(self) -> usize {
        self.picture
    }

    /// Its pixels within the picture.
    pub fn pixels(self) -> Range<usize> {
        self.pixel..self.pixel + self.len
    }
}

impl<T: Value> Source for Channels<'_, T> {
    type Value = T;
    type Place = (Vec<Run>, Range<usize>);

    fn place(&self, columns: Range<usize>) -> Self::Place {
        (runs(columns.clone(), self.parts.area).collect(), columns)
    }

    #[inline(always)]
    fn row<'a>(&'a self, index: usize, (runs, columns): &Self::Place, buffer: &'a mut Row<T>) -> &'a [T] {
        if let ([run], Before::Nothing) = (&runs[..], self.before) {
            return &self.parts.plane(run.picture, index)[run.pixels()];
        }
        for run in runs {
            let values = &self.parts.plane(run.picture, index)[run.pixels()];
            let out = &mut buffer[run.columns()];
            match self.before {
                Before::Nothing => out.copy_from_slice(values),
                Before::Affine(pairs) => {
                    let (a, b) = pairs[run.picture * self.parts.channels() + index];
                    for (out, value) in out.iter_mut().zip(values) {
                        *out = T::from_f32(value.to_f32() * a + b);
                    }
                }
                Before::LayerNorm { statistics, weight, bias } => {
                    let (weight, bias) = (weight[index], bias[index]);
                    let statistics = &statistics[columns.start + run.at..][..run.len];
                    for ((out, value), (mean, scale)) in out.iter_mut().zip(values).zip(statistics) {
                        *out = T::from_f32((value.to_f32() - mean) * scale * weight + bias);
                    }
                }
            }
        }
        &buffer[..]
    }

    fn inner(&self) -> usize {
        self.parts.channels()
    }
}

/// What a convolution's output pixels see, over planes `[B, C, height, width]` that have their padding already.
#[derive(Debug, Clone)]
pub(super) struct Patches<'a, T> {
    pub planes: &'a [T],
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub kernel: usize,
    pub stride: usize,
    pub out_width: usize,
    pub out_area: usize,
}

/// A run of columns along one line of a picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    at: usize,
    len: usize,
    /// Index of what the first column sees with the kernel's first tap in channel 0.
    start: usize,
}

impl<T: Value> Source for Patches<'_, T> {
    type Value = T;
    type Place = Vec<Line>;

    fn place(&self, columns: Range<usize>) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut column = columns.start;
        while column < columns.end {
            let (picture, pixel) = (column / self.out_area, column % self.out_area);
            let (y, x) = (pixel / self.out_width, pixel % self.out_width);
            let len = (self.out_width - x).min(columns.end - column);
            let start = picture * self.channels * self.height * self.width + (y * self.width + x) * self.stride;
            lines.push(Line { at: column - columns.start, len, start });
            column += len;
        }
        lines
    }

    #[inline(always)]
    fn row<'a>(&'a self, index: usize, lines: &Vec<Line>, buffer: &'a mut Row<T>) -> &'a [T] {
        let taps = self.kernel * self.kernel;
        let (channel, tap) = (index / taps, index % taps);
        let offset = (channel * self.height + tap / self.kernel) * self.width + tap % self.kernel;
        if let ([line], 1) = (&lines[..], self.stride) {
            return &self.planes[offset + line.start..][..line.len];
        }
        for line in lines {
            let out = &mut buffer[line.at..line.at + line.len];
            let from = &self.planes[offset + line.start..];
            if self.stride == 1 {
                out.copy_from_slice(&from[..line.len]);
            } else {
                for (out, value) in out.iter_mut().zip(from.iter().step_by(self.stride)) {
                    *out = *value;
                }
            }
        }
        &buffer[..]
    }

    fn inner(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }
}

/// Rows of values, `[columns, inner]`: tokens with their channels side by side.
#[derive(Debug, Clone)]
pub(super) struct Rows<'a> {
    pub values: &'a [f32],
    pub inner: usize,
}

impl Source for Rows<'_> {
    type Value = f32;
    type Place = Range<usize>;

    fn place(&self, columns: Range<usize>) -> Range<usize> {
        columns
    }

    #[inline(always)]
    fn row<'a>(&'a self, index: usize, columns: &Range<usize>, buffer: &'a mut Row<f32>) -> &'a [f32] {
        let column = self.values[columns.start * self.inner + index..].iter().step_by(self.inner);
        for (out, value) in buffer[..columns.len()].iter_mut().zip(column) {
            *out = *value;
        }
        &buffer[..]
    }

    fn inner(&self) -> usize {
        self.inner
    }
}
