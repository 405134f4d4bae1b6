//! Weights times columns, over all threads: the loops around [`super::tile`].
//!
//! A task takes 128 columns (or all, where they are at most 192), which stay in its core's cache, and some or all rows of
//! the weights, which stream past. What a sum is made of, and in which order, does not depend on how the work is divided:
//! the same request gives the same bytes on any number of threads.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::int8::BLOCK_WORDS;
use super::panel::{Source, Words, fill};
use super::processor::{Instructions, instructions};
use super::scratch::with_room;
use super::tile::{COLUMNS, LANES, ROWS, Tile, Weights, multiply};

/// Panels of a task.
const PANELS: usize = 2;
/// Panels of a task where there are no more, so that the weights are read once: both prompts' tokens are 154 columns.
const FEW_PANELS: usize = 3;
/// The most words of the inner length that are filled at once: two panels of them take half a megabyte.
const MAX_WORDS: usize = 1024;
/// Tasks for each thread that are aimed at, so that the last ones end together.
const TASKS_OF_A_THREAD: usize = 4;
/// Words of a panel that one task fills, where it is filled for many.
const WORDS_OF_A_FILLING: usize = BLOCK_WORDS;
/// The fewest rows of weights that are worth a task.
const LEAST_ROWS: usize = 16 * ROWS;

/// A block of sums: [`ROWS`] rows or fewer of a task's columns.
pub(super) struct Block<'a> {
    pub first_row: usize,
    pub rows: usize,
    pub columns: Range<usize>,
    /// `[panels][ROWS][COLUMNS]`.
    values: &'a [f32],
    /// The same of the rows that belong to them, where the weights have such.
    partners: &'a [f32],
}

impl Block<'_> {
    /// The sums of a row of the block, for columns `within` the block that lie in one panel.
    #[inline]
    pub fn row(&self, row: usize, within: &Range<usize>) -> &[f32] {
        part(self.values, row, within)
    }

    /// The sums of the row that belongs to a row of the block.
    #[inline]
    pub fn partner(&self, row: usize, within: &Range<usize>) -> &[f32] {
        part(self.partners, row, within)
    }

    /// The sum of a row and a column of the block.
    #[inline]
    pub fn value(&self, row: usize, column: usize) -> f32 {
        self.values[(column / COLUMNS * ROWS + row) * COLUMNS + column % COLUMNS]
    }

    /// The block's panels, as columns within the block.
    pub fn panels(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.columns.len();
        (0..count).step_by(COLUMNS).map(move |start| start..(start + COLUMNS).min(count))
    }
}

fn part<'a>(values: &'a [f32], row: usize, within: &Range<usize>) -> &'a [f32] {
    let (panel, start) = (within.start / COLUMNS, within.start % COLUMNS);
    &values[(panel * ROWS + row) * COLUMNS + start..][..within.len()]
}

/// What is multiplied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product<'a> {
    pub weights: Weights<'a>,
    /// Rows of the result.
    pub rows: usize,
    /// How far behind each row of weights the one lies that belongs to it, if any.
    pub partner: Option<usize>,
    pub columns: usize,
}

impl Product<'_> {
    /// Hands every block of the product to `finish`, from many threads.
    ///
    /// # Panics
    /// When the weights are shorter than their rows times the source's inner length: a fault of the caller.
    pub fn run<S: Source>(self, source: &S, finish: &(impl Fn(&Block) + Sync)) {
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        let walk = Walk::new(self, source.inner());
        let task_columns = walk.panels * COLUMNS;
        let groups = self.columns.div_ceil(task_columns);
        let wanted = (TASKS_OF_A_THREAD * rayon::current_num_threads()).div_ceil(groups);
        let shares = wanted.min(self.rows.div_ceil(LEAST_ROWS)).max(1);
        let share = self.rows.div_ceil(shares).next_multiple_of(ROWS);
        let tasks: Vec<(usize, Range<usize>)> = (0..groups)
            .flat_map(|group| {
                (0..self.rows).step_by(share).map(move |first| (group, first..(first + share).min(self.rows)))
            })
            .collect();
        let run = |filled: Option<&[u32]>| {
            tasks.into_par_iter().with_max_len(1).for_each(|(group, rows)| {
                let columns = group * task_columns..((group + 1) * task_columns).min(self.columns);
                BUFFERS.with_borrow_mut(|buffers| walk.task((source, filled), columns, rows, buffers, finish));
            });
        };
        if shares == 1 {
            return run(None);
        }
        // Columns that several tasks need are filled once, for all.
        let of_panel = COLUMNS * walk.kind.lines(walk.row_words);
        let of_part = COLUMNS * walk.kind.lines(WORDS_OF_A_FILLING);
        with_room(self.columns.div_ceil(COLUMNS) * of_panel, |filled: &mut [u32]| {
            let parts = filled
                .par_chunks_mut(of_panel)
                .enumerate()
                .flat_map(|(panel, filled)| filled.par_chunks_mut(of_part).enumerate().map(move |part| (panel, part)));
            parts.for_each(|(panel, (part, filled))| {
                let first = part * WORDS_OF_A_FILLING;
                let words = first..(first + WORDS_OF_A_FILLING).min(walk.row_words);
                let columns = panel * COLUMNS..((panel + 1) * COLUMNS).min(self.columns);
                fill(source, walk.kind, words, columns, filled);
            });
            run(Some(filled));
        });
    }
}

/// What a thread computes in, kept from product to product.
#[derive(Default)]
struct Buffers {
    panels: Vec<u32>,
    sums: Vec<f32>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// A product with what its tasks share.
#[derive(Clone, Copy)]
struct Walk<'a> {
    product: Product<'a>,
    instructions: Instructions,
    kind: Words,
    row_words: usize,
    /// Panels of a task.
    panels: usize,
}

impl<'a> Walk<'a> {
    fn new(product: Product<'a>, inner: usize) -> Self {
        let kind = match product.weights {
            Weights::F32(_) => Words::F32,
            Weights::Bf16(_) => Words::Bf16Pairs,
            Weights::Int8(_) => Words::Bytes,
        };
        let row_words = inner.div_ceil(product.weights.values_of_a_word());
        let panels = if product.columns <= FEW_PANELS * COLUMNS { FEW_PANELS } else { PANELS };
        Self { product, instructions: instructions(), kind, row_words, panels }
    }

    /// `filled` are all panels, where they have been filled already.
    fn task<S: Source>(
        self,
        (source, filled): (&S, Option<&[u32]>),
        columns: Range<usize>,
        rows: Range<usize>,
        buffers: &mut Buffers,
        finish: &impl Fn(&Block),
    ) {
        let panels = columns.len().div_ceil(COLUMNS);
        // Where one filling holds the whole inner length, a block's sums are done at once and their place is used again.
        let is_whole = self.row_words <= MAX_WORDS;
        let of_block = self.panels * ROWS * COLUMNS;
        let sides = 1 + usize::from(self.product.partner.is_some());
        let kept = if is_whole { 1 } else { rows.len().div_ceil(ROWS) };
        if filled.is_none() {
            let lines = self.kind.lines(self.row_words.min(MAX_WORDS));
            buffers.panels.resize(buffers.panels.len().max(self.panels * COLUMNS * lines), 0);
        }
        buffers.sums.resize(buffers.sums.len().max(kept * sides * of_block), 0.0);
        let mut at_once = self.row_words.div_ceil(self.row_words.div_ceil(MAX_WORDS));
        if self.kind == Words::Bytes {
            at_once = at_once.next_multiple_of(BLOCK_WORDS);
        }
        for first_word in (0..self.row_words).step_by(at_once) {
            let words = first_word..(first_word + at_once).min(self.row_words);
            let (is_first, is_last) = (first_word == 0, words.end == self.row_words);
            let of_panel = COLUMNS * self.kind.lines(words.len());
            for panel in (0..panels).filter(|_| filled.is_none()) {
                let start = columns.start + panel * COLUMNS;
                let of_it = start..(start + COLUMNS).min(columns.end);
                fill(source, self.kind, words.clone(), of_it, &mut buffers.panels[panel * of_panel..][..of_panel]);
            }
            for (index, row) in rows.clone().step_by(ROWS).enumerate() {
                let count = ROWS.min(rows.end - row);
                let place = if is_whole { 0 } else { index * sides * of_block };
                let sums = &mut buffers.sums[place..][..sides * of_block];
                for (side, sums) in sums.chunks_exact_mut(of_block).enumerate() {
                    let row = row + side * self.product.partner.unwrap_or(0);
                    for (panel, sums) in sums.chunks_exact_mut(ROWS * COLUMNS).take(panels).enumerate() {
                        let lines = match filled {
                            Some(filled) => {
                                let start = (columns.start / COLUMNS + panel) * self.kind.lines(self.row_words);
                                &filled[(start + self.kind.lines(words.start)) * COLUMNS..][..of_panel]
                            }
                            None => &buffers.panels[panel * of_panel..][..of_panel],
                        };
                        let left = columns.len() - panel * COLUMNS;
                        let tile = |piece: &Range<usize>| Tile {
                            weights: self.product.weights,
                            row_words: self.row_words,
                            row,
                            rows: count,
                            word: piece.start,
                            panel: &lines[self.kind.lines(piece.start - words.start) * COLUMNS..]
                                [..self.kind.lines(piece.len()) * COLUMNS],
                            vectors: left.min(COLUMNS).div_ceil(LANES),
                        };
                        for piece in self.kind.pieces(words.clone()) {
                            let adds = !is_first || piece.start > words.start;
                            multiply(self.instructions, tile(&piece), sums, adds);
                        }
                    }
                }
                if is_last {
                    let (values, partners) = sums.split_at(of_block);
                    finish(&Block { first_row: row, rows: count, columns: columns.clone(), values, partners });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use half::bf16;

    use super::*;
    use crate::kernels::int8::Int8;
    use crate::kernels::panel::{Before, Channels, Parts};

    /// Rows, columns and inner lengths on both sides of what a task and a filling take, over two pictures.
    #[test]
    fn every_block_is_handed_over_once_and_is_right() {
        for (rows, inner, area) in [(1, 1, 1), (7, 6, 65), (13, 40, 64), (100, 30, 131), (6, 2 * MAX_WORDS + 6, 33)] {
            let weights: Vec<f32> = (0..2 * rows * inner).map(|i| (i as f32 * 0.71).sin()).collect();
            let rounded: Vec<bf16> = weights.iter().map(|v| bf16::from_f32(*v)).collect();
            let x: Vec<f32> = (0..2 * inner * area).map(|i| (i as f32 * 0.37).cos()).collect();
            let parts = Parts { first: &x, first_channels: inner, second: &[], second_channels: 0, area };
            let source = Channels { parts, before: Before::Nothing };
            let int8 = Int8::of(Weights::F32(&weights), inner);
            let kinds = [(Weights::F32(&weights), 1e-5), (Weights::Bf16(&rounded), 5e-3), (Weights::Int8(&int8), 1e-2)];
            for (kind, tolerance) in kinds {
                if matches!(kind, Weights::Bf16(_)) && inner % 2 == 1 {
                    continue;
                }
                let found = Mutex::new(vec![Vec::new(); 2 * rows * 2 * area]);
                let product = Product { weights: kind, rows, partner: Some(rows), columns: 2 * area };
                product.run(&source, &|block| {
                    let mut found = found.lock().unwrap();
                    for panel in block.panels() {
                        for row in 0..block.rows {
                            for (side, values) in
                                [block.row(row, &panel), block.partner(row, &panel)].iter().enumerate()
                            {
                                for (value, column) in values.iter().zip(block.columns.start + panel.start..) {
                                    found[(side * rows + block.first_row + row) * 2 * area + column].push(*value);
                                }
                            }
                        }
                    }
                });
                let weight = |row: usize, i: usize| match kind {
                    Weights::Bf16(values) => values[row * inner + i].to_f64(),
                    _ => f64::from(weights[row * inner + i]),
                };
                for (at, found) in found.into_inner().unwrap().iter().enumerate() {
                    let (row, column) = (at / (2 * area), at % (2 * area));
                    let value = |i: usize| f64::from(x[(column / area * inner + i) * area + column % area]);
                    let expected: f64 = (0..inner).map(|i| weight(row, i) * value(i)).sum();
                    let [found] = found[..] else { panic!("{row} {column} came {} times", found.len()) };
                    let size = (inner as f64).sqrt();
                    assert!(
                        (f64::from(found) - expected).abs() < tolerance * size,
                        "{rows} {inner} {area}: {row} {column}"
                    );
                }
            }
        }
    }
}
