//! What a model takes from other files, as it is typed.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::models;
use crate::library::message::KindGroup;
use crate::request::{Companions, PredictionOverride};

/// Stand-ins for parts of the model.
#[derive(Debug, Args)]
#[command(next_help_heading = "Parts from other files")]
pub struct CompanionOptions {
    /// Take the VAE from here: a VAE, a folder with one, a whole model, or a name or hash of the library [default: the
    /// model's own, or FILE.vae.safetensors beside it]
    #[arg(long, value_name = "FILE|FOLDER|NAME|HASH", requires = "model")]
    pub vae: Option<PathBuf>,
    /// Take a text encoder from here; may be given several times: SDXL has two
    #[arg(long, value_name = "FILE|FOLDER|NAME|HASH", requires = "model")]
    pub text_encoder: Vec<PathBuf>,
    /// What the model predicts, epsilon or v [default: what its files say]
    #[arg(long, value_name = "NAME", requires = "model")]
    pub prediction: Option<PredictionOverride>,
}

impl CompanionOptions {
    /// The files that are meant.
    pub fn resolve(&self) -> Result<Companions, Failure> {
        let text_encoders = self.text_encoder.iter().map(|asked| models::resolve_part(asked, KindGroup::TextEncoder));
        Ok(Companions {
            vae: self.vae.as_deref().map(|asked| models::resolve_part(asked, KindGroup::Vae)).transpose()?,
            text_encoders: text_encoders.collect::<Result<_, _>>()?,
            prediction: self.prediction,
        })
    }
}
