//! Decoding in overlapping tiles, each of which fades into its neighbours: memory is that of one tile however large the
//! picture is. A tile's norms see its own pixels only, so colours may differ a little from those of the whole.

use candle_core::{DType, Device, Tensor};

use crate::diffusion::DiffusionError;

/// The side of a tile in latents: 512 pixels in Stable Diffusion.
pub(super) const TILE: usize = 64;
/// Latents, at least, in which neighbours fade into each other: a quarter, as diffusers has it.
const OVERLAP: usize = TILE / 4;

/// Where tiles stand along one side: all of the same length, evenly spread.
#[derive(Debug, PartialEq, Eq)]
struct Spread {
    len: usize,
    starts: Vec<usize>,
}

impl Spread {
    fn of(side: usize) -> Self {
        if side <= TILE {
            return Self { len: side, starts: vec![0] };
        }
        let gaps = (side - TILE).div_ceil(TILE - OVERLAP);
        Self { len: TILE, starts: (0..=gaps).map(|index| index * (side - TILE) / gaps).collect() }
    }

    /// How much the pixel `at` of a tile counts, `factor` pixels being a latent: less towards the tile's ends.
    fn weight(&self, at: usize, factor: usize) -> f32 {
        (at.min(self.len * factor - 1 - at) as f32) + 0.5
    }

    /// The sum of the weights at each pixel of the side.
    fn totals(&self, side: usize, factor: usize) -> Vec<f32> {
        let mut totals = vec![0.0; side * factor];
        for start in &self.starts {
            for at in 0..self.len * factor {
                totals[start * factor + at] += self.weight(at, factor);
            }
        }
        totals
    }
}

/// `[B, C, h, w]` to `[B, 3, h * factor, w * factor]` in f32, by a `decode` that sees at most [`TILE`] x [`TILE`] latents.
pub(super) fn decode_in_tiles(
    latents: &Tensor,
    factor: usize,
    decode: impl Fn(&Tensor) -> Result<Tensor, DiffusionError>,
) -> Result<Tensor, DiffusionError> {
    let (batch, _, height, width) = latents.dims4()?;
    let (down, across) = (Spread::of(height), Spread::of(width));
    let (rows, columns) = (height * factor, width * factor);
    let (of_row, of_column) = (down.totals(height, factor), across.totals(width, factor));
    let mut picture = vec![0.0_f32; batch * 3 * rows * columns];
    for top in &down.starts {
        for left in &across.starts {
            let seen = latents.narrow(2, *top, down.len)?.narrow(3, *left, across.len)?.contiguous()?;
            let tile = decode(&seen)?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            let (tile_rows, tile_columns) = (down.len * factor, across.len * factor);
            for (line, values) in tile.chunks_exact(tile_columns).enumerate() {
                let (plane, y) = (line / tile_rows, line % tile_rows);
                let (row, column) = (top * factor + y, left * factor);
                let share = down.weight(y, factor) / of_row[row];
                let out = &mut picture[(plane * rows + row) * columns + column..][..tile_columns];
                for (x, (out, value)) in out.iter_mut().zip(values).enumerate() {
                    *out += value * share * across.weight(x, factor) / of_column[column + x];
                }
            }
        }
    }
    Ok(Tensor::from_vec(picture, (batch, 3, rows, columns), latents.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_of_one_size_cover_the_side_and_overlap_by_a_quarter() {
        assert_eq!(Spread::of(24), Spread { len: 24, starts: vec![0] });
        assert_eq!(Spread::of(64), Spread { len: 64, starts: vec![0] });
        assert_eq!(Spread::of(65), Spread { len: 64, starts: vec![0, 1] });
        assert_eq!(Spread::of(128), Spread { len: 64, starts: vec![0, 32, 64] });
        for side in 65..400 {
            let spread = Spread::of(side);
            assert_eq!((spread.starts[0], spread.starts[spread.starts.len() - 1] + spread.len), (0, side));
            assert!(spread.starts.windows(2).all(|pair| pair[0] < pair[1] && pair[1] + OVERLAP <= pair[0] + TILE));
            assert!(spread.totals(side, 2).iter().all(|total| *total > 0.0));
        }
    }

    /// Where what is seen does not depend on where the tile ends, tiles are the whole.
    #[test]
    fn a_decoder_that_sees_single_pixels_gives_the_same_in_tiles() {
        let values: Vec<f32> = (0..2 * 4 * 70 * 131).map(|i| (i as f32 * 0.37).sin()).collect();
        let latents = Tensor::from_vec(values, (2, 4, 70, 131), &Device::Cpu).unwrap();
        let decode = |z: &Tensor| -> Result<Tensor, DiffusionError> {
            let (_, _, height, width) = z.dims4()?;
            assert!(height <= TILE && width <= TILE);
            Ok(z.narrow(1, 0, 3)?.contiguous()?.upsample_nearest2d(2 * height, 2 * width)?)
        };
        let whole = latents.narrow(1, 0, 3).unwrap().contiguous().unwrap().upsample_nearest2d(140, 262).unwrap();
        let tiled = decode_in_tiles(&latents, 2, decode).unwrap();
        assert_eq!(tiled.dims(), whole.dims());
        let difference = (tiled - whole).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() < 1e-6);
    }
}
