//! Pictures made ready for a convolution: normalised, activated, enlarged and framed with zeros, in one sweep.

use rayon::prelude::*;

use super::panel::{Parts, Value};
use super::scratch::with_room;
use super::vector::{affine, affine_silu};
use super::winograd::SLACK;

/// What is done to the values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preparation<'a> {
    /// `a * x + b`, a pair for each channel of each picture.
    pub affine: Option<&'a [(f32, f32)]>,
    /// Followed by SiLU; only where there is an `affine`.
    pub is_activated: bool,
    /// Height and width that are enlarged to, by the nearest pixel.
    pub size: (usize, usize),
    /// Zeros on each side.
    pub padding: usize,
    /// Lines of zeros more below, columns of zeros more on the right.
    pub filling: (usize, usize),
}

impl Preparation<'_> {
    /// Height and width of what comes out.
    pub fn framed(&self) -> (usize, usize) {
        (self.size.0 + 2 * self.padding + self.filling.0, self.size.1 + 2 * self.padding + self.filling.1)
    }

    /// Runs with `[B, C, framed height, framed width]` of pictures `height` x `width`.
    pub fn with_planes<T: Value, R>(
        &self,
        parts: Parts<f32>,
        batch: usize,
        size: (usize, usize),
        run: impl FnOnce(&[T]) -> R,
    ) -> R {
        let (rows, columns) = self.framed();
        let len = batch * parts.channels() * rows * columns;
        with_room(len + SLACK, |planes| {
            self.fill(parts, size, &mut planes[..len]);
            run(planes)
        })
    }

    fn fill<T: Value>(&self, parts: Parts<f32>, (height, width): (usize, usize), planes: &mut [T]) {
        let (rows, columns) = self.framed();
        let channels = parts.channels();
        planes.par_chunks_exact_mut(rows * columns).enumerate().for_each_init(
            || (vec![T::default(); height * width], vec![T::default(); self.size.1]),
            |(values, line), (index, plane)| {
                self.activate(parts.plane(index / channels, index % channels), index, values);
                for (line_of, out) in plane.chunks_exact_mut(columns).enumerate() {
                    let Some(y) = line_of.checked_sub(self.padding).filter(|y| *y < self.size.0) else {
                        out.fill(T::default());
                        continue;
                    };
                    out[..self.padding].fill(T::default());
                    out[self.padding + self.size.1..].fill(T::default());
                    let out = &mut out[self.padding..][..self.size.1];
                    let from = &values[y * height / self.size.0 * width..][..width];
                    if self.size.1 == width {
                        out.copy_from_slice(from);
                    } else if self.size.1 == 2 * width {
                        for (pair, value) in out.chunks_exact_mut(2).zip(from) {
                            pair.fill(*value);
                        }
                    } else {
                        for (x, out) in line.iter_mut().enumerate() {
                            *out = from[x * width / self.size.1];
                        }
                        out.copy_from_slice(line);
                    }
                }
            },
        );
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
