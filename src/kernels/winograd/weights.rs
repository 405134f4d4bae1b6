//! The weights' side: what they become after their transform.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use rayon::prelude::*;

use super::transform::{Lanes, weight_tile};
use super::{Kind, LANES};
use crate::kernels::int8::Int8;
use crate::kernels::scratch::with_room;
use crate::kernels::tile::Weights;
use crate::kernels::values::Shared;
use crate::kernels::vector::widest;

/// Products of a tile of 2x2 output pixels.
const POINTS: usize = 16;

/// What tiles are multiplied by.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) enum Factors<'a, T> {
    /// Weights `[channels_out, C, 3, 3]`, to be transformed.
    Weights(&'a [T]),
    /// Of [`in_bytes`].
    Bytes(&'a [Int8]),
}

/// The transformed weights of each product of a tile.
#[derive(Debug, Clone, Copy)]
pub(super) enum Matrices<'a, T> {
    /// `[points, channels_out, C]`, and how long one of them is.
    Values(&'a [T], usize),
    Bytes(&'a [Int8]),
}

impl<'a, T: Kind> Matrices<'a, T> {
    pub fn at(self, point: usize) -> Weights<'a> {
        match self {
            Self::Values(all, len) => T::weights(&all[point * len..][..len]),
            Self::Bytes(all) => Weights::Int8(&all[point]),
        }
    }
}

impl<T: Kind> Factors<'_, T> {
    /// Runs with the matrices `rows` x `channels`.
    pub(super) fn with_matrices(self, (rows, channels): (usize, usize), run: impl FnOnce(Matrices<T>)) {
        match self {
            Self::Bytes(points) => run(Matrices::Bytes(points)),
            Self::Weights(weights) => with_room((T::M + 2) * (T::M + 2) * rows * channels, |matrices| {
                transform_matrices(weights, (rows, channels), matrices);
                run(Matrices::Values(matrices, rows * channels));
            }),
        }
    }
}

/// The transformed weights of each product of a tile, for weights `[rows, channels, 3, 3]`.
pub(in crate::kernels) fn in_bytes(weights: Weights, rows: usize, channels: usize) -> Vec<Int8> {
    let mut matrices = vec![0.0_f32; POINTS * rows * channels];
    let room = Shared::of(&mut matrices);
    (0..rows).into_par_iter().for_each_init(
        || (vec![0.0; channels * 9], vec![0.0; POINTS * channels]),
        |(of_row, out), row| {
            let range = row * channels * 9..(row + 1) * channels * 9;
            match weights {
                Weights::F32(all) => of_row.copy_from_slice(&all[range]),
                Weights::Bf16(all) => of_row.iter_mut().zip(&all[range]).for_each(|(out, v)| *out = v.to_f32()),
                Weights::Int8(_) => {}
            }
            transform_in_f32(of_row, out);
            for (point, values) in out.chunks_exact(channels).enumerate() {
                #[expect(unsafe_code, reason = "tasks write from many threads")]
                // SAFETY: rows are different.
                let part = unsafe { room.part((point * rows + row) * channels, channels) };
                for (out, value) in part.iter_mut().zip(values) {
                    out.write(*value);
                }
            }
        },
    );
    matrices.chunks_exact(rows * channels).map(|matrix| Int8::of(Weights::F32(matrix), channels)).collect()
}

/// Fills the weights' matrices, `[points, rows, channels]`.
fn transform_matrices<T: Kind>(weights: &[T], (rows, channels): (usize, usize), matrices: &mut [T]) {
    let points = matrices.len() / (rows * channels).max(1);
    let room = Shared::of(matrices);
    weights.par_chunks_exact(channels * 9).enumerate().with_min_len(4).for_each(|(row, weights)| {
        with_room(points * channels, |out| {
            transform_weights(weights, out);
            for (point, values) in out.chunks_exact(channels).enumerate() {
                #[expect(unsafe_code, reason = "tasks write from many threads")]
                // SAFETY: rows are different.
                let part = unsafe { room.part((point * rows + row) * channels, channels) };
                for (out, value) in part.iter_mut().zip(values) {
                    out.write(*value);
                }
            }
        });
    });
}

widest! {
    /// Transforms one row of weights `[C, 3, 3]` into `[points, C]`.
    transform_weights, transform_weights_body, <T: Kind>, (weights: &[T], out: &mut [T])
}

widest! {
    /// As [`transform_weights`], in f32 for tiles of 2x2 output pixels.
    transform_in_f32, transform_in_f32_body, (weights: &[f32], out: &mut [f32])
}

#[inline(always)]
fn transform_in_f32_body(weights: &[f32], out: &mut [f32]) {
    weight_lanes::<f32, 4>(weights, out);
}

#[inline(always)]
fn transform_weights_body<T: Kind>(weights: &[T], out: &mut [T]) {
    if T::M == 2 { weight_lanes::<T, 4>(weights, out) } else { weight_lanes::<T, 6>(weights, out) }
}

#[inline(always)]
fn weight_lanes<T: Kind, const N: usize>(weights: &[T], out: &mut [T]) {
    let channels = weights.len() / 9;
    for first in (0..channels).step_by(LANES) {
        let count = LANES.min(channels - first);
        let mut g = [[Lanes::ZERO; 3]; 3];
        for (tap, lanes) in g.iter_mut().flatten().enumerate() {
            for (lane, weight) in lanes.0[..count].iter_mut().zip(weights[first * 9 + tap..].iter().step_by(9)) {
                *lane = weight.to_f32();
            }
        }
        for (point, lanes) in weight_tile::<N>(&g).iter().flatten().enumerate() {
            for (out, value) in out[point * channels + first..][..count].iter_mut().zip(lanes.0) {
                *out = T::from_f32(value);
            }
        }
    }
}
