//! Calotype.

pub mod app;
pub mod gallery;
pub mod inference;
pub mod latent_image;
pub mod prompt;
pub mod request;
pub mod state;
pub mod ui;
pub mod worker;
