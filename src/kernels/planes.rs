//! Pictures made ready for a convolution: normalised, activated, enlarged and framed with zeros, in one sweep; a strip of
//! lines at a time, so that what is made ready stays in the cache, and small beside the picture.

use std::ops::Range;

use rayon::prelude::*;

use super::panel::{Parts, Value};
use super::scratch::with_room;
use super::vector::{affine, affine_silu};
use super::winograd::SLACK;

/// About how many bytes of a strip are made ready at once; fewer in tests, whose pictures are small.
const STRIP_BYTES: usize = if cfg!(test) { 4 << 10 } else { 8 << 20 };
/// Strips, but the last, have a multiple of so many lines of the convolution's: whole tiles of every kind.
const STRIP_LINES: usize = 8;

/// Pictures `[B, C, height, width]` and what is done to them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pictures<'a> {
    pub parts: Parts<'a, f32>,
    pub batch: usize,
    /// Height and width.
    pub size: (usize, usize),
    /// `a * x + b`, a pair for each channel of each picture.
    pub affine: Option<&'a [(f32, f32)]>,
    /// Followed by SiLU; only where there is an `affine`.
    pub is_activated: bool,
    /// Height and width that are enlarged to, by the nearest pixel.
    pub enlarged: (usize, usize),
    /// Zeros on each side.
    pub padding: usize,
    /// Columns of zeros more on the right.
    pub filling: usize,
}

impl Pictures<'_> {
    /// Columns of what comes out.
    pub fn width(&self) -> usize {
        self.enlarged.1 + 2 * self.padding + self.filling
    }

    /// Divides `lines` of a convolution, each of which begins `stride` lines of ours further down, into strips.
    pub fn strips<T>(&self, lines: usize, stride: usize) -> impl Iterator<Item = Range<usize>> + use<T> {
        let of_line = self.batch * self.parts.channels() * self.width() * stride * size_of::<T>();
        let len = (STRIP_BYTES / of_line.max(1)).max(1).next_multiple_of(STRIP_LINES);
        (0..lines).step_by(len).map(move |start| start..(start + len).min(lines))
    }

    /// Runs with some lines of what comes out, `[B, C, lines, width]`; those below the frame are zeros.
    pub fn with_lines<T: Value, R>(&self, lines: Range<usize>, run: impl FnOnce(&[T]) -> R) -> R {
        let len = self.batch * self.parts.channels() * lines.len() * self.width();
        with_room(len + SLACK, |planes| {
            self.fill(&lines, &mut planes[..len]);
            run(planes)
        })
    }

    fn fill<T: Value>(&self, lines: &Range<usize>, planes: &mut [T]) {
        let (columns, channels) = (self.width(), self.parts.channels());
        let ((height, width), (to_height, to_width)) = (self.size, self.enlarged);
        let source = |y: usize| y * height / to_height;
        let inside = |line: usize| line.saturating_sub(self.padding).min(to_height);
        let (first, end) = (inside(lines.start), inside(lines.end));
        // What of the picture is seen.
        let seen = if first < end { source(first)..source(end - 1) + 1 } else { 0..0 };
        planes.par_chunks_exact_mut(lines.len() * columns).enumerate().for_each(|(index, plane)| {
            with_room(seen.len() * width, |values| {
                let from = &self.parts.plane(index / channels, index % channels)[seen.start * width..seen.end * width];
                self.activate(from, index, values);
                for (line, out) in lines.clone().zip(plane.chunks_exact_mut(columns)) {
                    let Some(y) = line.checked_sub(self.padding).filter(|y| *y < to_height) else {
                        out.fill(T::default());
                        continue;
                    };
                    out[..self.padding].fill(T::default());
                    out[self.padding + to_width..].fill(T::default());
                    let out = &mut out[self.padding..][..to_width];
                    let from = &values[(source(y) - seen.start) * width..][..width];
                    if to_width == width {
                        out.copy_from_slice(from);
                    } else if to_width == 2 * width {
                        for (pair, value) in out.chunks_exact_mut(2).zip(from) {
                            pair.fill(*value);
                        }
                    } else {
                        for (x, out) in out.iter_mut().enumerate() {
                            *out = from[x * width / to_width];
                        }
                    }
                }
            });
        });
    }

    fn activate<T: Value>(&self, from: &[f32], index: usize, out: &mut [T]) {
        let (a, b) = self.affine.map_or((1.0, 0.0), |pairs| pairs[index]);
        if self.is_activated {
            affine_silu(out, from, a, b);
        } else {
            affine(out, from, a, b);
        }
    }
}
