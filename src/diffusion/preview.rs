//! Fits the rough colours of latents to the VAE at hand, once, so that previews cost nothing and are right for every
//! model.

use candle_core::{DType, Tensor};

use super::pixels::check_finite;
use super::vae::Vae;
use super::{DiffusionError, Interrupt};
use crate::latent_image::LatentColours;

/// Side of the test picture in latent pixels: 64 samples for the few numbers of the map. A larger one makes loading slower
/// and the colours hardly better.
const SIDE: usize = 8;

/// Shows the VAE a picture of many colours, lets it encode and decode it, and fits the linear map from each latent pixel
/// to the mean colour that it decodes to.
///
/// # Errors
/// When the VAE fails on the picture or `interrupt` says stop.
pub fn fit_colours(vae: &Vae, interrupt: Interrupt) -> Result<LatentColours, DiffusionError> {
    let factor = vae.config().factor();
    let pixels = Tensor::from_vec(test_picture(SIDE * factor), (1, 3, SIDE * factor, SIDE * factor), vae.device())?;
    let own = vae.encode(&pixels, interrupt)?.mean;
    let decoded = vae.decode(&own, interrupt)?;
    // [1, C, h, w] -> [h*w][C]
    let rows = |t: &Tensor| -> Result<Vec<Vec<f32>>, DiffusionError> {
        Ok(t.to_dtype(DType::F32)?.squeeze(0)?.flatten_from(1)?.t()?.to_vec2::<f32>()?)
    };
    let latents = rows(&vae.scale(&own)?)?;
    let colours = rows(&decoded.avg_pool2d(factor)?)?;
    for row in latents.iter().chain(&colours) {
        check_finite(row, || "the VAE's answers to the test picture".to_owned())?;
    }
    let colours: Vec<[f32; 3]> = colours.iter().map(|c| [c[0], c[1], c[2]].map(|v| v.clamp(-1.0, 1.0))).collect();
    Ok(LatentColours::fit(&latents, &colours))
}

/// `[3, side, side]` in -1..1: slow waves of different length in each channel, below them flat patches of two latent
/// pixels' side, so that colours occur both in gradients and in areas.
fn test_picture(side: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(3 * side * side);
    for channel in 0..3_u8 {
        let (fx, fy) = ([1.0, 2.0, 1.5][usize::from(channel)], [1.5, 1.0, 2.0][usize::from(channel)]);
        for y in 0..side {
            for x in 0..side {
                let (u, v) = (x as f32 / side as f32, y as f32 / side as f32);
                let value = if 2 * y >= side {
                    // One of 27 colours by the patch's place, far from its neighbours'.
                    let patch = (x * 4 / side + (y * 4 / side - 2) * 4) * 7;
                    (patch / 3_usize.pow(u32::from(channel)) % 3) as f32 - 1.0
                } else {
                    (std::f32::consts::TAU * (fx * u + fy * v + 0.3 * f32::from(channel))).sin()
                };
                values.push(value);
            }
        }
    }
    values
}
