//! Plain f32 latents and the rough colours in which they are shown while a picture develops.

use image::{Rgb, RgbImage};

/// Latents of one picture, row-major `[channels, height, width]`, in the scale that the U-Net sees.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentImage {
    /// Number of channels, 4 for Stable Diffusion 1.
    pub channels: usize,
    /// Height in latent pixels.
    pub height: usize,
    /// Width in latent pixels.
    pub width: usize,
    /// `channels * height * width` values.
    pub values: Vec<f32>,
}

/// A linear map from latents to colours, fitted to one VAE.
#[derive(Debug, Clone, PartialEq)]
pub struct LatentColours {
    /// Per latent channel its weight in red, green and blue, for colours in -1..1.
    pub weights: Vec<[f32; 3]>,
    /// Added to the weighted sum.
    pub bias: [f32; 3],
}

impl LatentColours {
    /// Fits the map to samples by least squares: `latents` is `[samples][channels]`, `colours` are -1..1.
    ///
    /// A ridge far below any real variance keeps the system solvable when channels do not vary.
    #[must_use]
    pub fn fit(latents: &[Vec<f32>], colours: &[[f32; 3]]) -> Self {
        let channels = latents.first().map_or(0, Vec::len);
        let unknowns = channels + 1;
        let mut normal = vec![vec![0.0_f64; unknowns + 3]; unknowns];
        for (latent, colour) in latents.iter().zip(colours) {
            let row: Vec<f64> = latent.iter().map(|&v| f64::from(v)).chain([1.0]).collect();
            for i in 0..unknowns {
                for j in 0..unknowns {
                    normal[i][j] += row[i] * row[j];
                }
                for (c, &value) in colour.iter().enumerate() {
                    normal[i][unknowns + c] += row[i] * f64::from(value);
                }
            }
        }
        let ridge = 1e-6 * latents.len().max(1) as f64;
        for (i, row) in normal.iter_mut().enumerate() {
            row[i] += ridge;
        }
        solve_in_place(&mut normal);
        let row = |i: usize| [0, 1, 2].map(|c| normal[i][unknowns + c] as f32);
        Self { weights: (0..channels).map(row).collect(), bias: row(channels) }
    }

    /// The rough picture, one pixel per latent pixel. Channels beyond the map's are ignored.
    #[must_use]
    pub fn paint(&self, latents: &LatentImage) -> RgbImage {
        let area = latents.width * latents.height;
        let (Ok(width), Ok(height)) = (u32::try_from(latents.width), u32::try_from(latents.height)) else {
            return RgbImage::new(0, 0);
        };
        RgbImage::from_fn(width, height, |x, y| {
            let at = y as usize * latents.width + x as usize;
            let mut colour = self.bias;
            for (plane, weight) in latents.values.chunks_exact(area).zip(&self.weights) {
                for (sum, w) in colour.iter_mut().zip(weight) {
                    *sum += w * plane[at];
                }
            }
            Rgb(colour.map(|v| ((v + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8))
        })
    }
}

/// Gauss-Jordan elimination with row pivoting of `[A | B]`; B's columns end as the solution.
fn solve_in_place(rows: &mut [Vec<f64>]) {
    let n = rows.len();
    for column in 0..n {
        let pivot =
            (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs())).unwrap_or(column);
        rows.swap(column, pivot);
        let divisor = rows[column][column];
        if divisor == 0.0 {
            continue;
        }
        for value in &mut rows[column] {
            *value /= divisor;
        }
        let pivot_row = rows[column].clone();
        for (index, row) in rows.iter_mut().enumerate() {
            if index != column {
                let factor = row[column];
                for (value, pivot) in row.iter_mut().zip(&pivot_row) {
                    *value -= factor * pivot;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_recovers_a_linear_map() {
        let truth = LatentColours { weights: vec![[0.5, -0.25, 0.125], [0.1, 0.2, -0.3]], bias: [0.05, -0.1, 0.0] };
        let latents: Vec<Vec<f32>> =
            (0..50_u8).map(|i| vec![(f32::from(i) * 0.7).sin(), (f32::from(i) * 1.3).cos()]).collect();
        let colours: Vec<[f32; 3]> = latents
            .iter()
            .map(|l| [0, 1, 2].map(|c| truth.bias[c] + l[0] * truth.weights[0][c] + l[1] * truth.weights[1][c]))
            .collect();
        let fitted = LatentColours::fit(&latents, &colours);
        for (a, b) in fitted.weights.iter().zip(&truth.weights) {
            for (a, b) in a.iter().zip(b) {
                assert!((a - b).abs() < 1e-4, "{a} {b}");
            }
        }
    }

    #[test]
    fn constant_latents_do_not_break_the_fit() {
        let fitted = LatentColours::fit(&[vec![1.0], vec![1.0]], &[[0.5; 3], [0.5; 3]]);
        assert!(fitted.weights[0][0].is_finite());
        let picture = fitted.paint(&LatentImage { channels: 1, height: 1, width: 2, values: vec![1.0, 1.0] });
        assert_eq!(picture.get_pixel(1, 0).0, [191; 3]);
    }
}
