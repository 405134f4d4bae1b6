//! The transforms of Winograd's convolution in one dimension, sixteen at a time: for the points 0, 1, -1 and infinity
//! (N = 4, two outputs), and with 2 and -2 beside them (N = 6, four outputs), as in Lavin & Gray 2015, arXiv:1509.09308.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use std::ops::{Add, Mul, Sub};

use crate::kernels::tile::LANES;

/// Sixteen numbers that the same is done to.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Lanes(pub [f32; LANES]);

impl Lanes {
    pub const ZERO: Self = Self([0.0; LANES]);

    /// The first sixteen of a slice.
    #[inline(always)]
    pub fn of(values: &[f32]) -> Self {
        let mut lanes = [0.0; LANES];
        lanes.copy_from_slice(&values[..LANES]);
        Self(lanes)
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a += b;
        }
        self
    }
}

impl Sub for Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(mut self, other: Self) -> Self {
        for (a, b) in self.0.iter_mut().zip(other.0) {
            *a -= b;
        }
        self
    }
}

impl Mul<f32> for Lanes {
    type Output = Self;

    #[inline(always)]
    fn mul(mut self, factor: f32) -> Self {
        for a in &mut self.0 {
            *a *= factor;
        }
        self
    }
}

/// Of a picture's values.
#[inline(always)]
fn picture<const N: usize>(d: [Lanes; N]) -> [Lanes; N] {
    let mut v = [Lanes::ZERO; N];
    if N == 4 {
        v[0] = d[0] - d[2];
        v[1] = d[1] + d[2];
        v[2] = d[2] - d[1];
        v[3] = d[1] - d[3];
    } else {
        let (even, odd) = (d[4] - d[2] * 4.0, d[3] - d[1] * 4.0);
        let (outer, inner) = (d[4] - d[2], (d[3] - d[1]) * 2.0);
        v[0] = d[0] * 4.0 - d[2] * 5.0 + d[4];
        v[1] = even + odd;
        v[2] = even - odd;
        v[3] = outer + inner;
        v[4] = outer - inner;
        v[5] = d[1] * 4.0 - d[3] * 5.0 + d[5];
    }
    v
}

/// Of three weights.
#[inline(always)]
fn weights<const N: usize>(g: [Lanes; 3]) -> [Lanes; N] {
    let mut u = [Lanes::ZERO; N];
    if N == 4 {
        let sum = (g[0] + g[2]) * 0.5;
        u[0] = g[0];
        u[1] = sum + g[1] * 0.5;
        u[2] = sum - g[1] * 0.5;
        u[3] = g[2];
    } else {
        let (near, far) = ((g[0] + g[2]) * (-1.0 / 6.0), g[0] * (1.0 / 24.0) + g[2] * (1.0 / 6.0));
        u[0] = g[0] * 0.25;
        u[1] = near - g[1] * (1.0 / 6.0);
        u[2] = near + g[1] * (1.0 / 6.0);
        u[3] = far + g[1] * (1.0 / 12.0);
        u[4] = far - g[1] * (1.0 / 12.0);
        u[5] = g[2];
    }
    u
}

/// Of products, to output pixels; those beyond the N - 2 that there are stay 0.
#[inline(always)]
fn back<const N: usize>(m: [Lanes; N]) -> [Lanes; N] {
    let mut y = [Lanes::ZERO; N];
    let (sum, difference) = (m[1] + m[2], m[1] - m[2]);
    if N == 4 {
        y[0] = m[0] + sum;
        y[1] = difference - m[3];
    } else {
        let (far_sum, far_difference) = (m[3] + m[4], m[3] - m[4]);
        y[0] = m[0] + sum + far_sum;
        y[1] = difference + far_difference * 2.0;
        y[2] = sum + far_sum * 4.0;
        y[3] = difference + far_difference * 8.0 + m[5];
    }
    y
}

/// Values of a tile, row after row.
pub(super) type Grid<const N: usize> = [[Lanes; N]; N];

/// `along` every column.
#[inline(always)]
fn down<const N: usize>(tile: &mut Grid<N>, along: impl Fn([Lanes; N]) -> [Lanes; N]) {
    for j in 0..N {
        let mut column = [Lanes::ZERO; N];
        for (lanes, row) in column.iter_mut().zip(tile.iter()) {
            *lanes = row[j];
        }
        for (lanes, row) in along(column).into_iter().zip(tile.iter_mut()) {
            row[j] = lanes;
        }
    }
}

/// Of `N` x `N` values of a picture, in both dimensions.
#[inline(always)]
pub(super) fn picture_tile<const N: usize>(tile: &mut Grid<N>) {
    for row in tile.iter_mut() {
        *row = picture(*row);
    }
    down(tile, picture);
}

/// Of 3x3 weights, in both dimensions.
#[inline(always)]
pub(super) fn weight_tile<const N: usize>(g: &[[Lanes; 3]; 3]) -> Grid<N> {
    let mut tile = [[Lanes::ZERO; N]; N];
    let rows: [[Lanes; N]; 3] = [weights(g[0]), weights(g[1]), weights(g[2])];
    for j in 0..N {
        let column: [Lanes; N] = weights([rows[0][j], rows[1][j], rows[2][j]]);
        for (lanes, row) in column.into_iter().zip(tile.iter_mut()) {
            row[j] = lanes;
        }
    }
    tile
}

/// Of products, in both dimensions; the output pixels are the first N - 2 of the first N - 2 rows.
#[inline(always)]
pub(super) fn back_tile<const N: usize>(tile: &mut Grid<N>) {
    down(tile, back);
    for row in &mut tile[..N - 2] {
        *row = back(*row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The transforms give what a 3x3 convolution gives.
    fn check<const N: usize>() {
        let value = |i: usize, j: usize| ((i * 7 + j * 3) as f32 * 0.37).sin();
        let weight = |i: usize, j: usize| ((i * 5 + j * 11) as f32 * 0.73).cos();
        let d: [[Lanes; N]; N] = std::array::from_fn(|i| std::array::from_fn(|j| Lanes([value(i, j); LANES])));
        let g: [[Lanes; 3]; 3] = std::array::from_fn(|i| std::array::from_fn(|j| Lanes([weight(i, j); LANES])));
        let (mut products, g) = (d, weight_tile::<N>(&g));
        picture_tile(&mut products);
        for (row, of_weights) in products.iter_mut().zip(g) {
            for (product, weight) in row.iter_mut().zip(of_weights) {
                for (product, weight) in product.0.iter_mut().zip(weight.0) {
                    *product *= weight;
                }
            }
        }
        let mut found = products;
        back_tile(&mut found);
        for (y, row) in found[..N - 2].iter().enumerate() {
            for (x, lanes) in row[..N - 2].iter().enumerate() {
                let expected: f32 = (0..9).map(|t| value(y + t / 3, x + t % 3) * weight(t / 3, t % 3)).sum();
                assert!((lanes.0[0] - expected).abs() < 1e-5, "{N} {y} {x}: {} {expected}", lanes.0[0]);
            }
        }
    }

    #[test]
    fn a_tile_of_products_is_a_convolution() {
        check::<4>();
        check::<6>();
    }
}
