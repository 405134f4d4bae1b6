//! The small matrices of an adapter's file, and the products that they stand for.

use crate::kernels::add_product;

/// A tensor of a file as f32.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stored {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// Rows without gaps.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub values: Vec<f32>,
}

impl Stored {
    /// Rows and columns of [`Stored::into_matrix`].
    pub fn sides(&self) -> (usize, usize) {
        let rows = self.shape.first().copied().unwrap_or(1);
        (rows, self.values.len() / rows.max(1))
    }

    /// Values for each pair of an output and an input, of a convolution or of the core of one.
    pub fn taps(&self) -> usize {
        self.shape.iter().skip(2).product()
    }

    /// `[first side, all others]`.
    pub fn into_matrix(self) -> Result<Matrix, String> {
        let (rows, columns) = self.sides();
        if rows == 0 || self.values.is_empty() {
            return Err(format!("shape {:?} holds nothing", self.shape));
        }
        Ok(Matrix { rows, columns, values: self.values })
    }

    /// The number that it holds; files write it as `[]` or `[1]`.
    pub fn number(&self) -> Result<f32, String> {
        match self.values.as_slice() {
            [number] => Ok(*number),
            _ => Err(format!("shape {:?} is no single number", self.shape)),
        }
    }
}

impl Matrix {
    pub fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }

    pub fn transposed(&self) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for column in 0..self.columns {
            values.extend((0..self.rows).map(|row| self.values[row * self.columns + column]));
        }
        Self { rows: self.columns, columns: self.rows, values }
    }

    /// `out += factor * self * right`.
    pub fn add_times(&self, right: &Self, factor: f32, out: &mut [f32]) {
        let left: Vec<f32> = self.values.iter().map(|value| value * factor).collect();
        add_product(out, &left, &right.values, [self.rows, self.columns, right.columns]);
    }

    /// `self * right`; the two fit.
    pub fn times(&self, right: &Self) -> Self {
        let mut values = vec![0.0; self.rows * right.columns];
        self.add_times(right, 1.0, &mut values);
        Self { rows: self.rows, columns: right.columns, values }
    }

    /// Checks that `self * right` is a product.
    pub fn meets(&self, right: &Self) -> Result<(), String> {
        if self.columns == right.rows {
            return Ok(());
        }
        let (left, right) = ((self.rows, self.columns), (right.rows, right.columns));
        Err(format!("its ranks differ: {left:?} times {right:?}"))
    }
}

/// What stands between a small matrix and a weight may be larger than a small weight, up to this: 16 MiB.
const SMALL_VALUES: usize = 1 << 22;

/// A step of a product has no more values than the weight that it is made for has, `most`.
fn check_size(rows: usize, columns: usize, most: usize) -> Result<(), String> {
    match rows.checked_mul(columns) {
        Some(values) if values <= most.max(SMALL_VALUES) => Ok(()),
        _ => Err(format!("{rows} x {columns} is larger than the layer that it is for")),
    }
}

/// `a * b`, if it is a product, for a weight of `most` values.
pub(super) fn checked_product(a: &Matrix, b: &Matrix, most: usize) -> Result<Matrix, String> {
    a.meets(b)?;
    check_size(a.rows, b.columns, most)?;
    Ok(a.times(b))
}

/// Tucker's form of a convolution: `core` `[m, n, ...]` between rows of `right` `[n, inputs]` gives `[m, inputs * ...]`, for a
/// weight of `most` values.
pub(super) fn with_core(core: &Stored, right: &Matrix, most: usize) -> Result<Matrix, String> {
    let [outer, inner] = match core.shape.as_slice() {
        [outer, inner, ..] if *outer > 0 && *inner == right.rows && !core.values.is_empty() => [*outer, *inner],
        shape => return Err(format!("its core {shape:?} does not fit {:?}", (right.rows, right.columns))),
    };
    let taps = core.values.len() / outer / inner;
    let turned = right.transposed();
    let columns = right.columns.saturating_mul(taps);
    check_size(outer, columns, most)?;
    let mut values = Vec::with_capacity(outer * columns);
    for slice in core.values.chunks_exact(inner * taps) {
        // [inputs, n] x [n, taps]
        let slice = Matrix { rows: inner, columns: taps, values: slice.to_vec() };
        values.extend(turned.times(&slice).values);
    }
    Ok(Matrix { rows: outer, columns, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(rows: usize, columns: usize) -> Matrix {
        Matrix { rows, columns, values: (0..rows * columns).map(|i| (i as f32 * 0.7).sin()).collect() }
    }

    #[test]
    fn a_core_is_summed_over_as_its_formula_says() {
        let (outer, inner, inputs, taps) = (2, 3, 4, 9);
        let right = wave(inner, inputs);
        let core = Stored { shape: vec![outer, inner, 3, 3], values: wave(outer * inner, taps).values };
        let found = with_core(&core, &right, 0).unwrap();
        for m in 0..outer {
            for i in 0..inputs {
                for t in 0..taps {
                    let expected: f32 = (0..inner)
                        .map(|n| core.values[(m * inner + n) * taps + t] * right.values[n * inputs + i])
                        .sum();
                    assert!((found.values[(m * inputs + i) * taps + t] - expected).abs() < 1e-6);
                }
            }
        }
        assert!(with_core(&core, &wave(4, 4), 0).is_err());
    }

    #[test]
    fn nothing_is_multiplied_to_more_than_the_weight_has_or_little() {
        let (tall, wide) = (wave(8192, 1), wave(1, 16384));
        assert!(checked_product(&tall, &wide, 320 * 768).unwrap_err().contains("larger than the layer"));
        let core = Stored { shape: vec![8192, 1, 1, 1], values: tall.values };
        assert!(with_core(&core, &wide, 320 * 768).unwrap_err().contains("larger than the layer"));
    }

    #[test]
    fn what_turned_twice_is_the_same() {
        assert_eq!(wave(3, 5).transposed().transposed(), wave(3, 5));
    }
}
