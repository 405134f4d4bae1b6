//! Latent diffusion in pure numerics: text encoder, U-Net, VAE, noise schedules, samplers and the pipeline over them.

pub mod brownian;
pub mod conditioning;
pub mod config;
pub mod deep_cache;
pub mod denoiser;
mod error;
pub mod first_noise;
mod interrupt;
mod layers;
pub mod noise;
pub mod noise_schedule;
mod philox;
pub mod pipeline;
pub mod pixels;
pub mod prediction;
pub mod preview;
mod resnet;
pub mod sampler;
pub mod schedule;
mod sigmas;
pub mod text_encoder;
pub mod text_encoders;
pub mod tiny_decoder;
pub mod unet;
pub mod vae;
mod weighting;

pub use error::DiffusionError;
pub use interrupt::Interrupt;
