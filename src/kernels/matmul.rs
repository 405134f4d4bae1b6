//! Products of small f32 matrices, on one thread.

/// `out += a b` for matrices without gaps, row after row: `a` is `[rows, inner]`, `b` `[inner, columns]`.
///
/// # Panics
/// When a slice is shorter than its matrix: a fault of the caller.
#[expect(unsafe_code, reason = "the gemm crate works on pointers")]
pub fn add_product(out: &mut [f32], a: &[f32], b: &[f32], [rows, inner, columns]: [usize; 3]) {
    assert!(rows * columns <= out.len(), "the result reaches beyond its slice");
    assert!(rows * inner <= a.len(), "the left matrix reaches beyond its slice");
    assert!(inner * columns <= b.len(), "the right matrix reaches beyond its slice");
    let stride = |columns: usize| columns as isize;
    // SAFETY: each matrix lies inside its slice, as just asserted; `out` is borrowed exclusively, so that no operand
    // aliases it.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            stride(columns),
            true,
            a.as_ptr(),
            1,
            stride(inner),
            b.as_ptr(),
            1,
            stride(columns),
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_three_loops() {
        for (rows, columns, inner) in [(1, 1, 1), (3, 5, 7), (17, 33, 9), (64, 40, 100)] {
            let a: Vec<f32> = (0..rows * inner).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..columns * inner).map(|i| (i as f32 * 0.73).cos()).collect();
            let mut out = vec![1.0; rows * columns];
            add_product(&mut out, &a, &b, [rows, inner, columns]);
            for i in 0..rows {
                for j in 0..columns {
                    let expected: f32 = (0..inner).map(|l| a[i * inner + l] * b[l * columns + j]).sum();
                    assert!((out[i * columns + j] - 1.0 - expected).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "beyond its slice")]
    fn a_matrix_beyond_its_slice_is_caught() {
        add_product(&mut [0.0; 4], &[0.0; 4], &[0.0; 3], [2, 2, 2]);
    }
}
