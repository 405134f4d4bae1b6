//! Calotype.

pub mod checkpoint;
pub mod cli;
pub mod diffusion;
pub mod gallery;
pub mod inference;
pub mod kernels;
pub mod latent_image;
pub mod prompt;
pub mod request;
pub mod worker;
