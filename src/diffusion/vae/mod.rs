//! The autoencoder between pictures and latents (Kingma & Welling 2013, arXiv:1312.6114; Rombach et al. 2022).

mod blocks;
mod config;
mod decoder;
mod encoder;
mod tiles;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

pub use config::VaeConfig;

use self::decoder::Decoder;
use self::encoder::Encoder;
use super::layers::conv1x1;
use super::{DiffusionError, Interrupt};
use crate::kernels::{Conv2d, activations};

/// The autoencoder with its weights.
#[derive(Debug)]
pub struct Vae {
    encoder: Encoder,
    decoder: Decoder,
    quant: Option<Conv2d>,
    post_quant: Option<Conv2d>,
    config: VaeConfig,
    /// Of what it reads and gives; not always the U-Net's.
    dtype: DType,
    /// Where it computes; not always where the U-Net does.
    device: Device,
}

/// The Gaussian that the encoder gives for a picture, in the VAE's own scale.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// `[B, C, H, W]`.
    pub mean: Tensor,
    /// Logarithm of the variance, clamped to -30..20 as in the reference; the same shape.
    pub log_variance: Tensor,
}

impl Posterior {
    /// `mean + exp(log_variance / 2) * noise`.
    ///
    /// # Errors
    /// When `noise` has another shape.
    pub fn sample(&self, noise: &Tensor) -> candle_core::Result<Tensor> {
        &self.mean + ((&self.log_variance * 0.5)?.exp()? * noise)?
    }
}

impl Vae {
    /// The side of a tile of [`Vae::decode_in_tiles`], in latents.
    pub const TILE: usize = tiles::TILE;

    /// Loads the weights below `vb`.
    ///
    /// # Errors
    /// When the configuration is not understood or a tensor is missing or has another shape.
    pub fn load(vb: &VarBuilder, config: &VaeConfig) -> Result<Self, DiffusionError> {
        config.check()?;
        let latent = config.latent_channels;
        Ok(Self {
            encoder: Encoder::load(&vb.pp("encoder"), config)?,
            decoder: Decoder::load(&vb.pp("decoder"), config)?,
            quant: config.use_quant_conv.then(|| conv1x1(&vb.pp("quant_conv"), 2 * latent, 2 * latent)).transpose()?,
            post_quant: config
                .use_post_quant_conv
                .then(|| conv1x1(&vb.pp("post_quant_conv"), latent, latent))
                .transpose()?,
            config: config.clone(),
            dtype: activations(vb.dtype(), vb.device()),
            device: vb.device().clone(),
        })
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &VaeConfig {
        &self.config
    }

    /// The type of what it reads and gives.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it computes and what it gives lies.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What it is given, from wherever that lies.
    fn bring(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        x.to_device(&self.device)?.to_dtype(self.dtype)
    }

    /// Pictures `[B, 3, H, W]` in -1..1 to the distribution of their latents `[B, C, H / factor, W / factor]`.
    ///
    /// # Errors
    /// When the shape does not fit, the device fails or `interrupt` says stop.
    pub fn encode(&self, pixels: &Tensor, interrupt: Interrupt) -> Result<Posterior, DiffusionError> {
        let mut moments = self.encoder.forward(&self.bring(pixels)?, interrupt)?;
        if let Some(quant) = &self.quant {
            moments = quant.forward(&moments)?;
        }
        // [B, 2C, h, w] -> two of [B, C, h, w]
        let halves = moments.chunk(2, 1)?;
        Ok(Posterior { mean: halves[0].contiguous()?, log_variance: halves[1].contiguous()?.clamp(-30.0, 20.0)? })
    }

    /// Latents in the VAE's own scale `[B, C, h, w]` to pictures `[B, 3, h * factor, w * factor]`, about -1..1.
    ///
    /// # Errors
    /// When the shape does not fit, the device fails or `interrupt` says stop.
    pub fn decode(&self, latents: &Tensor, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        let latents = self.bring(latents)?;
        match &self.post_quant {
            Some(post_quant) => self.decoder.forward(&post_quant.forward(&latents)?, interrupt),
            None => self.decoder.forward(&latents, interrupt),
        }
    }

    /// As [`Vae::decode`], in overlapping tiles of at most [`Vae::TILE`] latents a side: with the memory of one of them, and a slightly
    /// different picture.
    ///
    /// # Errors
    /// As [`Vae::decode`].
    pub fn decode_in_tiles(&self, latents: &Tensor, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        let latents = &latents.to_device(&self.device)?;
        tiles::decode_in_tiles(latents, self.config.factor(), |tile| self.decode(tile, interrupt))
    }

    /// From the VAE's own scale to the U-Net's: `(z - shift) * scale`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn scale(&self, latents: &Tensor) -> candle_core::Result<Tensor> {
        let scale = self.config.scaling_factor;
        latents.affine(scale, -self.config.shift() * scale)
    }

    /// From the U-Net's scale to the VAE's own: `z / scale + shift`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn unscale(&self, latents: &Tensor) -> candle_core::Result<Tensor> {
        latents.affine(1.0 / self.config.scaling_factor, self.config.shift())
    }
}
