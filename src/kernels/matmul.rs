//! Matrix multiplication of f32 slices with strides, on one thread: the piece that the CPU paths are built from.

/// A matrix inside a slice: element (i, j) is at `start + i * row_stride + j * column_stride`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub start: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

impl Place {
    /// Row after row without gaps, `columns` wide.
    pub fn rows(start: usize, columns: usize) -> Self {
        Self { start, row_stride: columns, column_stride: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { start: self.start, row_stride: self.column_stride, column_stride: self.row_stride }
    }

    /// One more than the index of the last element of `rows` x `columns`.
    fn end(self, rows: usize, columns: usize) -> usize {
        if rows == 0 || columns == 0 {
            return self.start;
        }
        self.start + (rows - 1) * self.row_stride + (columns - 1) * self.column_stride + 1
    }
}

/// Rows, columns and inner length of a product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub rows: usize,
    pub columns: usize,
    pub inner: usize,
}

/// Whether the product replaces what stands in the result or is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    Replace,
    Add,
}

/// `out = a b` or `out += a b`, `a` being `rows` x `inner` and `b` `inner` x `columns`.
///
/// # Panics
/// When a matrix reaches beyond its slice, or the result's places overlap: a fault of the caller.
#[expect(unsafe_code, reason = "the gemm crate works on pointers")]
pub(super) fn matmul(
    extent: Extent,
    (out, out_place): (&mut [f32], Place),
    (a, a_place): (&[f32], Place),
    (b, b_place): (&[f32], Place),
    into: Into,
) {
    let Extent { rows, columns, inner } = extent;
    assert!(out_place.end(rows, columns) <= out.len(), "the result reaches beyond its slice");
    assert!(a_place.end(rows, inner) <= a.len(), "the left matrix reaches beyond its slice");
    assert!(b_place.end(inner, columns) <= b.len(), "the right matrix reaches beyond its slice");
    let (long, short) =
        (out_place.row_stride.max(out_place.column_stride), out_place.row_stride.min(out_place.column_stride));
    let along_short = if out_place.row_stride < out_place.column_stride { rows } else { columns };
    assert!(short >= 1 && (rows <= 1 || columns <= 1 || long >= short * along_short), "the result overlaps itself");
    // SAFETY: each matrix lies inside its slice and the result's elements are distinct, as just asserted; `out` is
    // borrowed exclusively, so that no operand aliases it.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr().add(out_place.start),
            out_place.column_stride as isize,
            out_place.row_stride as isize,
            into == Into::Add,
            a.as_ptr().add(a_place.start),
            a_place.column_stride as isize,
            a_place.row_stride as isize,
            b.as_ptr().add(b_place.start),
            b_place.column_stride as isize,
            b_place.row_stride as isize,
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `out += a b` for matrices without gaps, row after row: `a` is `[rows, inner]`, `b` `[inner, columns]`, on one thread.
///
/// # Panics
/// When a slice is shorter than its matrix: a fault of the caller.
pub fn add_product(out: &mut [f32], a: &[f32], b: &[f32], [rows, inner, columns]: [usize; 3]) {
    let extent = Extent { rows, columns, inner };
    let place = |columns| Place::rows(0, columns);
    matmul(extent, (out, place(columns)), (a, place(inner)), (b, place(columns)), Into::Add);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_products_are_those_of_three_loops() {
        for (rows, columns, inner) in [(1, 1, 1), (3, 5, 7), (17, 33, 9), (64, 40, 100)] {
            let extent = Extent { rows, columns, inner };
            let a: Vec<f32> = (0..rows * inner + 3).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..columns * (inner + 2)).map(|i| (i as f32 * 0.73).cos()).collect();
            let mut out = vec![1.0; rows * (columns + 1)];
            // b is stored transposed with a gap.
            let b_place = Place::rows(0, inner + 2).transposed();
            matmul(
                extent,
                (&mut out, Place::rows(0, columns + 1)),
                (&a, Place::rows(3, inner)),
                (&b, b_place),
                Into::Add,
            );
            for i in 0..rows {
                for j in 0..columns {
                    let expected: f32 = (0..inner).map(|l| a[3 + i * inner + l] * b[j * (inner + 2) + l]).sum();
                    assert!((out[i * (columns + 1) + j] - 1.0 - expected).abs() < 1e-4);
                }
                assert_eq!(out[i * (columns + 1) + columns], 1.0, "the gap is untouched");
            }
        }
    }

    #[test]
    #[should_panic(expected = "beyond its slice")]
    fn a_matrix_beyond_its_slice_is_caught() {
        let extent = Extent { rows: 2, columns: 2, inner: 2 };
        let square = Place::rows(0, 2);
        matmul(extent, (&mut [0.0; 4], square), (&[0.0; 4], square), (&[0.0; 3], square), Into::Replace);
    }
}
