//! Nearest-neighbour enlargement.

use candle_core::{Result, Tensor};

/// Enlarges `x` `[B, C, H, W]` to `[B, C, height, width]`, each pixel taking its nearest source as torch's `nearest` does.
///
/// # Errors
/// When `x` has not four axes or the device fails.
pub fn upsample_nearest(x: &Tensor, height: usize, width: usize) -> Result<Tensor> {
    x.upsample_nearest2d(height, width)
}
