//! What may be typed for the commands that work on a picture's file.

use std::path::PathBuf;

use clap::Args;

use super::companions::CompanionOptions;
use super::networks::NetworkOptions;
use crate::gallery::message::JpegQuality;
use crate::inference::device::{DeviceChoice, known_device};
use crate::request::{Precision, ThreadCount};

/// `calotype export`.
#[derive(Debug, Args)]
pub struct ExportOptions {
    /// The picture
    pub image: PathBuf,
    /// The copy; its ending says the format: .png, .jpg, .webp. An existing file is replaced
    pub output: PathBuf,
    /// How much a JPEG keeps, 1 to 100
    #[arg(long, value_name = "N", value_parser = quality, default_value = "92")]
    pub quality: JpegQuality,
}

/// `calotype verify`.
#[derive(Debug, Args)]
pub struct VerifyOptions {
    /// The picture
    pub image: PathBuf,
    /// The model that made it [default: the library's that the recipe names, else the built-in model]
    #[arg(long, value_name = "FOLDER|FILE|NAME|HASH")]
    pub model: Option<PathBuf>,
    /// What stands in for parts of it
    #[command(flatten)]
    pub companions: CompanionOptions,
    /// Where LoRAs and embeddings lie
    #[command(flatten)]
    pub networks: NetworkOptions,
    /// The picture that it started from, if it did
    #[arg(long, value_name = "IMAGE")]
    pub init: Option<PathBuf>,
    /// auto, cpu or, in builds that know cards, cuda, cuda:N or metal; auto is the first card that can be used, else the
    /// processor
    #[arg(long, value_name = "NAME", value_parser = known_device, default_value = "auto")]
    pub device: DeviceChoice,
    /// How many threads compute; auto is one for each core
    #[arg(long, value_name = "N", default_value = "auto")]
    pub threads: ThreadCount,
    /// What is computed in: f32, bf16 or int8 [default: as the file says, else f32]
    #[arg(long, value_name = "NAME")]
    pub precision: Option<Precision>,
    /// Report as one JSON object a line on stdout
    #[arg(long)]
    pub json: bool,
}

/// A JPEG's quality.
pub fn quality(text: &str) -> Result<JpegQuality, String> {
    JpegQuality::new(text.parse().map_err(|_| format!("\"{text}\" is not a number that fits here"))?)
}
