//! From lines of pixels to what tiles are multiplied as, and from their sums to lines.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use super::transform::{Grid, Lanes, back_tile, picture_tile};
use super::{Kind, Picture, Run};
use crate::kernels::maths::Maths;
use crate::kernels::tile::{COLUMNS, LANES};
use crate::kernels::values::Shared;
use crate::kernels::vector::widest;

/// Where a word of every point of a panel goes.
pub(super) struct Place<'a> {
    pub start: usize,
    /// From a point to the next.
    pub of_point: usize,
    pub room: &'a Shared<'a, u32>,
}

widest! {
    /// Transforms what the tiles of some runs see in the channels of a word; `values` is room to work in.
    pub(super) transform_word, transform_word_body, maths A, <T: Kind>,
    (picture: &Picture<T>, runs: &[Run], word: usize, values: &mut Vec<f32>, place: &Place)
}

widest! {
    /// Transforms sums, a point's `of_point` behind the last one's, into lines `[M, COLUMNS * M]`.
    pub(super) transform_sums, transform_sums_body, <T: Kind>, (sums: &[f32], of_point: usize, lines: &mut [f32])
}

#[inline(always)]
fn transform_word_body<A: Maths, T: Kind>(
    picture: &Picture<T>,
    runs: &[Run],
    word: usize,
    values: &mut Vec<f32>,
    place: &Place,
) {
    if T::M == 2 {
        word_of_tiles::<A, T, 4, 2>(picture, runs, word, values, place);
    } else {
        word_of_tiles::<A, T, 6, 4>(picture, runs, word, values, place);
    }
}

#[inline(always)]
fn word_of_tiles<A: Maths, T: Kind, const N: usize, const M: usize>(
    picture: &Picture<T>,
    runs: &[Run],
    word: usize,
    values: &mut Vec<f32>,
    place: &Place,
) {
    let of_channel = N * N * COLUMNS;
    values.resize(T::OF_A_WORD * of_channel, 0.0);
    let mut is_gathered = false;
    for lane in (0..COLUMNS).step_by(LANES) {
        let mut tiles = [[[Lanes::ZERO; N]; N]; 2];
        // Sixteen tiles side by side are read where they lie.
        let run = runs.iter().find(|run| run.at <= lane && lane + LANES <= run.at + run.len);
        if let Some(run) = run {
            for (half, tile) in tiles[..T::OF_A_WORD].iter_mut().enumerate() {
                *tile = seen::<T, N, M>(picture, run, word * T::OF_A_WORD + half, lane - run.at);
            }
        } else {
            for (half, tile) in tiles[..T::OF_A_WORD].iter_mut().enumerate() {
                let values = &mut values[half * of_channel..][..of_channel];
                if !is_gathered {
                    gather::<T, N, M>(picture, runs, word * T::OF_A_WORD + half, values);
                }
                *tile = load::<N>(values, lane);
            }
            is_gathered = true;
        }
        for tile in &mut tiles[..T::OF_A_WORD] {
            picture_tile(tile);
        }
        let [low, high] = &tiles;
        for (i, (low, high)) in low.iter().zip(high).enumerate() {
            for (j, (low, high)) in low.iter().zip(high).enumerate() {
                let start = place.start + (i * N + j) * place.of_point + lane;
                #[expect(unsafe_code, reason = "tasks write from many threads")]
                // SAFETY: tasks have different panels or words.
                let out = unsafe { place.room.part(start, LANES) };
                let words = if T::OF_A_WORD == 1 { low.0.map(f32::to_bits) } else { A::pairs(low.0, high.0) };
                for (out, word) in out.iter_mut().zip(words) {
                    out.write(word);
                }
            }
        }
    }
}

/// Value (i, j) of what the plane's pixels show to sixteen tiles from the `first` of a run on; M is N - 2.
#[inline(always)]
fn seen<T: Kind, const N: usize, const M: usize>(
    picture: &Picture<T>,
    run: &Run,
    channel: usize,
    first: usize,
) -> Grid<N> {
    let plane = (run.picture * picture.channels + channel) * picture.height;
    let mut tile = [[Lanes::ZERO; N]; N];
    for (i, tile) in tile.iter_mut().enumerate() {
        let line = (plane + run.row * M + i) * picture.width + (run.column + first) * M;
        // A tile sees its own columns and the first of the next one's.
        let line = &picture.planes[line..][..(LANES + 1) * M];
        *tile = T::seen::<N, M>(line);
    }
    tile
}

/// What [`seen`] gives, of all tiles, at `out[(i * N + j) * COLUMNS..]`.
#[inline(always)]
fn gather<T: Kind, const N: usize, const M: usize>(
    picture: &Picture<T>,
    runs: &[Run],
    channel: usize,
    out: &mut [f32],
) {
    for run in runs {
        let plane = (run.picture * picture.channels + channel) * picture.height;
        for i in 0..N {
            let line = (plane + run.row * M + i) * picture.width + run.column * M;
            let (columns, _) = picture.planes[line..][..(run.len + 1) * M].as_chunks::<M>();
            for j in 0..N {
                let out = &mut out[(i * N + j) * COLUMNS + run.at..][..run.len];
                for (out, values) in out.iter_mut().zip(&columns[j / M..]) {
                    *out = values[j % M].to_f32();
                }
            }
        }
    }
}

#[inline(always)]
fn load<const N: usize>(values: &[f32], lane: usize) -> Grid<N> {
    let mut tile = [[Lanes::ZERO; N]; N];
    for i in 0..N {
        for j in 0..N {
            tile[i][j] = Lanes::of(&values[(i * N + j) * COLUMNS + lane..]);
        }
    }
    tile
}

#[inline(always)]
fn transform_sums_body<T: Kind>(sums: &[f32], of_point: usize, lines: &mut [f32]) {
    if T::M == 2 { sum_lanes::<4>(sums, of_point, lines) } else { sum_lanes::<6>(sums, of_point, lines) }
}

#[inline(always)]
fn sum_lanes<const N: usize>(sums: &[f32], of_point: usize, lines: &mut [f32]) {
    let m = N - 2;
    for lane in (0..COLUMNS).step_by(LANES) {
        let mut tile = [[Lanes::ZERO; N]; N];
        for i in 0..N {
            for j in 0..N {
                tile[i][j] = Lanes::of(&sums[(i * N + j) * of_point + lane..]);
            }
        }
        back_tile(&mut tile);
        for i in 0..m {
            let out = &mut lines[i * COLUMNS * m + lane * m..][..LANES * m];
            for t in 0..LANES {
                for j in 0..m {
                    out[t * m + j] = tile[i][j].0[t];
                }
            }
        }
    }
}
