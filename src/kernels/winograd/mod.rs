//! 3x3 convolutions with fewer multiplications (Winograd 1980; Lavin & Gray 2015, arXiv:1509.09308): pictures and weights
//! are transformed so that a tile of `M` x `M` output pixels needs `(M + 2)^2` products for each pair of channels instead
//! of `9 M^2`.
//!
//! `M` is 4 for weights of f32. For bf16 it is 2: its transforms only add, so that rounding costs little.
//!
//! Tiles are the columns of `(M + 2)^2` products. A band of tiles, of a strip of lines, goes through three sweeps: transform, multiply, transform
//! back. Weights of f32 and bf16 are transformed at each call: that is a small part of the work where pixels are many, and
//! keeps no second copy of them. Those of 8 bits are quantised after their transform, as the tiles are, each product's with
//! scales of its own; they are kept.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

mod tiles;
mod transform;
mod weights;

use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use self::tiles::{Place, transform_sums, transform_word};
use self::transform::Lanes;
use self::weights::Matrices;
pub(super) use self::weights::{Factors, in_bytes};
use super::finish::{Finish, Form, add};
use super::int8::BLOCK_WORDS;
use super::panel::{Words, quantise};
use super::planes::Pictures;
use super::processor::instructions;
use super::scratch::with_room;
use super::tile::{COLUMNS, LANES, ROWS, Tile, Weights, multiply};
use super::values::{Shared, Stored, written};

/// The most bytes of a band's transformed tiles and sums: they are to stay in the third-level cache.
const BAND_BYTES: usize = 12 << 20;
/// The most words of a product's columns, so that two panels of them stay in the second-level cache.
const PANEL_WORDS: usize = 1024;
/// With fewer output pixels than this the weights are the larger part, and the direct way is faster.
const LEAST_PIXELS: usize = 1024;
/// With fewer channels than this the transforms are the larger part.
const LEAST_CHANNELS: usize = 32;

/// Values behind the planes that may be read with the last tile.
pub(super) const SLACK: usize = 4;

/// A number that weights and transformed tiles are kept in.
pub(super) trait Kind: Stored {
    /// Output pixels of a tile's side.
    const M: usize;
    /// Values in a word.
    const OF_A_WORD: usize;
    fn weights(values: &[Self]) -> Weights<'_>;
    /// What sixteen tiles see of a line: value j of each. `line` has the pixels of seventeen.
    fn seen<const N: usize, const M: usize>(line: &[Self]) -> [Lanes; N];
}

impl Kind for f32 {
    const M: usize = 4;
    const OF_A_WORD: usize = 1;

    fn weights(values: &[Self]) -> Weights<'_> {
        Weights::F32(values)
    }

    #[inline(always)]
    fn seen<const N: usize, const M: usize>(line: &[Self]) -> [Lanes; N] {
        let (columns, _) = line.as_chunks::<M>();
        let mut seen = [Lanes::ZERO; N];
        for (j, lanes) in seen.iter_mut().enumerate() {
            for (lane, values) in lanes.0.iter_mut().zip(&columns[j / M..]) {
                *lane = values[j % M];
            }
        }
        seen
    }
}

impl Kind for bf16 {
    const M: usize = 2;
    const OF_A_WORD: usize = 2;

    fn weights(values: &[Self]) -> Weights<'_> {
        Weights::Bf16(values)
    }

    /// Two pixels are a word, whose halves are moved into place.
    #[inline(always)]
    fn seen<const N: usize, const M: usize>(line: &[Self]) -> [Lanes; N] {
        let (pairs, _) = line.as_chunks::<2>();
        let mut seen = [Lanes::ZERO; N];
        for (j, lanes) in seen.iter_mut().enumerate() {
            for (lane, pair) in lanes.0.iter_mut().zip(&pairs[j / 2..]) {
                let word = u32::from(pair[0].to_bits()) | u32::from(pair[1].to_bits()) << 16;
                *lane = f32::from_bits(if j % 2 == 0 { word << 16 } else { word & 0xffff_0000 });
            }
        }
        seen
    }
}

/// Strips of pictures, and what becomes of them.
#[derive(Debug, Clone, Copy)]
struct Picture<'a, T> {
    /// `[B, C, height, width]`: a line more above and below than comes out, and what fills up the last tiles; behind them
    /// [`SLACK`] values that no pixel depends on.
    planes: &'a [T],
    height: usize,
    width: usize,
    batch: usize,
    channels: usize,
    out_height: usize,
    out_width: usize,
}

/// True where this way is the faster one.
pub(super) fn pays(pixels: usize, channels: usize, channels_out: usize) -> bool {
    pixels >= LEAST_PIXELS && channels.min(channels_out) >= LEAST_CHANNELS && channels.is_multiple_of(2)
}

/// Columns that planes need beyond the frame.
pub(super) fn filling<T: Kind>(width: usize) -> usize {
    width.next_multiple_of(T::M) - width
}

/// The convolution `[B, channels_out, height, width]` of pictures that are framed by one line of zeros, and on the right by
/// what fills up the last tiles.
pub(super) fn convolve<T: Kind>(
    pictures: &Pictures,
    (height, width): (usize, usize),
    factors: Factors<T>,
    channels_out: usize,
    finish: Finish,
) -> Vec<f32> {
    let (batch, channels, area) = (pictures.batch, pictures.parts.channels(), height * width);
    #[expect(unsafe_code, reason = "the result is written once")]
    // SAFETY: the strips cover every line, their tiles every pixel, the rows every channel.
    unsafe {
        written::<f32>(batch * channels_out * area, |room| {
            factors.with_matrices((channels_out, channels), |matrices| {
                for lines in pictures.strips::<T>(height, 1) {
                    let form = Form { rows: channels_out, area, first: lines.start * width, len: lines.len() * width };
                    let framed = lines.start..lines.end.next_multiple_of(T::M) + 2;
                    pictures.with_lines(framed.clone(), |planes| {
                        let (height, out_height) = (framed.len(), lines.len());
                        let framed_width = pictures.width();
                        let picture = Picture {
                            planes,
                            height,
                            width: framed_width,
                            batch,
                            channels,
                            out_height,
                            out_width: width,
                        };
                        Walk::new(picture, channels_out).with_bands(matrices, &Target { finish, form, room });
                    });
                }
            });
        })
    }
}

/// Where results go.
struct Target<'a> {
    finish: Finish<'a>,
    form: Form,
    room: &'a Shared<'a, f32>,
}

/// A run of tiles side by side in one picture.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Its first tile within the panel.
    at: usize,
    len: usize,
    picture: usize,
    /// Tiles from the top and from the left.
    row: usize,
    column: usize,
}

/// A convolution with what its tasks share.
struct Walk<'a, T> {
    picture: Picture<'a, T>,
    channels_out: usize,
    /// Products of a tile.
    points: usize,
    words: usize,
    /// Tiles of a picture, down and across.
    rows: usize,
    columns: usize,
    /// Panels of a band.
    panels: usize,
}

impl<'a, T: Kind> Walk<'a, T> {
    fn new(picture: Picture<'a, T>, channels_out: usize) -> Self {
        let points = (T::M + 2) * (T::M + 2);
        let words = picture.channels / T::OF_A_WORD;
        let (rows, columns) = (picture.out_height.div_ceil(T::M), picture.out_width.div_ceil(T::M));
        let all = (picture.batch * rows * columns).div_ceil(COLUMNS);
        let of_panel = points * COLUMNS * 4 * (words + channels_out);
        let panels = (BAND_BYTES / of_panel).clamp(1, (PANEL_WORDS * 2 / words).max(1)).min(all);
        Self { picture, channels_out, points, words, rows, columns, panels }
    }

    fn tiles(&self) -> usize {
        self.picture.batch * self.rows * self.columns
    }

    fn with_bands(&self, matrices: Matrices<T>, target: &Target) {
        let (of_tiles, of_sums) = (self.words * COLUMNS, self.channels_out * COLUMNS);
        with_room(self.points * self.panels * of_tiles, |tiles| {
            with_room(self.points * self.panels * of_sums, |sums| {
                self.run_bands(matrices, tiles, sums, target);
            });
        });
    }

    fn run_bands(&self, matrices: Matrices<T>, tiles: &mut [u32], sums: &mut [f32], target: &Target) {
        for first in (0..self.tiles()).step_by(self.panels * COLUMNS) {
            let band = first..(first + self.panels * COLUMNS).min(self.tiles());
            self.transform(&band, tiles);
            let vectors = |panel: usize| (band.len() - panel * COLUMNS).min(COLUMNS).div_ceil(LANES);
            let panels = band.len().div_ceil(COLUMNS);
            if let Matrices::Bytes(_) = matrices {
                let lines = Words::Bytes.lines(self.words / 2);
                with_room(self.points * self.panels * lines * COLUMNS, |bytes| {
                    self.quantise(tiles, panels, bytes);
                    self.multiply((matrices, Words::Bytes), bytes, sums, panels, &vectors);
                });
            } else {
                // Of these, too, a word is a line.
                self.multiply((matrices, Words::F32), tiles, sums, panels, &vectors);
            }
            self.transform_back(&band, sums, target);
        }
    }

    /// Runs of a panel that begins with tile `first`.
    fn runs(&self, first: usize, count: usize) -> Vec<Run> {
        let mut runs = Vec::new();
        let mut tile = first;
        while tile < first + count {
            let (line, column) = (tile / self.columns, tile % self.columns);
            let len = (self.columns - column).min(first + count - tile);
            runs.push(Run { at: tile - first, len, picture: line / self.rows, row: line % self.rows, column });
            tile += len;
        }
        runs
    }

    /// The panels of a band as their first tile and their number of tiles.
    fn panels_of(band: &Range<usize>) -> impl Iterator<Item = (usize, usize)> + use<T> {
        let end = band.end;
        band.clone().step_by(COLUMNS).map(move |first| (first, COLUMNS.min(end - first)))
    }

    /// Fills `[points, panels, words, COLUMNS]`.
    fn transform(&self, band: &Range<usize>, tiles: &mut [u32]) {
        let room = Shared::of(tiles);
        let panels: Vec<Vec<Run>> = Self::panels_of(band).map(|(first, count)| self.runs(first, count)).collect();
        let tasks = panels.iter().enumerate().flat_map(|(panel, runs)| (0..self.words).map(move |w| (panel, runs, w)));
        let tasks: Vec<_> = tasks.collect();
        tasks.into_par_iter().with_min_len(8).for_each_init(Vec::new, |values, (panel, runs, word)| {
            let place = Place {
                start: (panel * self.words + word) * COLUMNS,
                of_point: self.panels * self.words * COLUMNS,
                room: &room,
            };
            transform_word(&self.picture, runs, word, values, &place);
        });
    }

    /// Pairs of bf16 `[points, panels, words, COLUMNS]` to bytes `[points, panels, lines, COLUMNS]`.
    fn quantise(&self, tiles: &[u32], panels: usize, bytes: &mut [u32]) {
        let words = self.words / 2;
        let of_panel = Words::Bytes.lines(words) * COLUMNS;
        bytes.par_chunks_exact_mut(of_panel).zip(tiles.par_chunks_exact(self.words * COLUMNS)).enumerate().for_each(
            |(place, (bytes, pairs))| {
                if place % self.panels < panels {
                    let blocks = bytes.chunks_mut((BLOCK_WORDS + 1) * COLUMNS);
                    for (block, pairs) in blocks.zip(pairs.chunks(2 * BLOCK_WORDS * COLUMNS)) {
                        quantise(pairs, block);
                    }
                }
            },
        );
    }

    /// Fills `[points, panels, channels_out, COLUMNS]`.
    fn multiply(
        &self,
        (matrices, kind): (Matrices<T>, Words),
        tiles: &[u32],
        sums: &mut [f32],
        panels: usize,
        vectors: &(impl Fn(usize) -> usize + Sync),
    ) {
        let words = if kind == Words::Bytes { self.words / 2 } else { self.words };
        let of_panel = kind.lines(words) * COLUMNS;
        // A task some rows of one matrix, for all panels.
        let share = 16 * ROWS;
        let instructions = instructions();
        let room = Shared::of(sums);
        let tasks: Vec<(usize, usize)> = (0..self.points)
            .flat_map(|point| (0..self.channels_out).step_by(share).map(move |row| (point, row)))
            .collect();
        tasks.into_par_iter().with_max_len(1).for_each(|(point, first)| {
            let weights = matrices.at(point);
            let end = (first + share).min(self.channels_out);
            for row in (first..end).step_by(ROWS) {
                let rows = ROWS.min(end - row);
                for panel in 0..panels {
                    let place = point * self.panels + panel;
                    let lines = &tiles[place * of_panel..][..of_panel];
                    let tile = |piece: &Range<usize>| Tile {
                        weights,
                        row_words: words,
                        row,
                        rows,
                        word: piece.start,
                        panel: &lines[kind.lines(piece.start) * COLUMNS..][..kind.lines(piece.len()) * COLUMNS],
                        vectors: vectors(panel),
                    };
                    #[expect(unsafe_code, reason = "tasks write from many threads")]
                    // SAFETY: tasks have different matrices or rows; what was there are numbers.
                    let out = unsafe {
                        room.part(((place * self.channels_out) + row) * COLUMNS, rows * COLUMNS).assume_init_mut()
                    };
                    for piece in kind.pieces(0..words) {
                        multiply(instructions, tile(&piece), out, piece.start > 0);
                    }
                }
            }
        });
    }

    /// Sums to output pixels, finished.
    fn transform_back(&self, band: &Range<usize>, sums: &[f32], target: &Target) {
        let panels: Vec<Vec<Run>> = Self::panels_of(band).map(|(first, count)| self.runs(first, count)).collect();
        let rows = self.channels_out;
        let tasks: Vec<_> =
            panels.iter().enumerate().flat_map(|(panel, runs)| (0..rows).map(move |row| (panel, runs, row))).collect();
        tasks.into_par_iter().with_min_len(8).for_each_init(
            || vec![0.0_f32; T::M * T::M * COLUMNS],
            |lines, (panel, runs, row)| {
                let of_point = self.panels * rows * COLUMNS;
                transform_sums::<T>(&sums[(panel * rows + row) * COLUMNS..], of_point, lines);
                for run in runs {
                    self.write(run, row, lines, target);
                }
            },
        );
    }

    /// Writes a run of tiles of one channel from lines `[M, COLUMNS * M]`.
    fn write(&self, run: &Run, row: usize, lines: &[f32], target: &Target) {
        let Target { finish, form, room } = target;
        let constant = finish.constant(*form, run.picture, row);
        for (index, line) in lines.chunks_exact(COLUMNS * T::M).enumerate() {
            let (y, x) = (run.row * T::M + index, run.column * T::M);
            if y >= self.picture.out_height {
                break;
            }
            let len = (run.len * T::M).min(self.picture.out_width - x);
            let start = form.place(run.picture, row, y * self.picture.out_width + x);
            #[expect(unsafe_code, reason = "tasks write from many threads")]
            // SAFETY: runs have different tiles, tasks different channels.
            let out = unsafe { room.part(start, len) };
            let values = finish.values.map_or(&[][..], |values| &values[start..start + len]);
            add(out, &line[run.at * T::M..][..len], constant, values);
        }
    }
}
