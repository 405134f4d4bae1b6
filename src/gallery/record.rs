//! The recipe that travels inside a picture: our own lossless record, and what is read out of any picture.

use serde::{Deserialize, Serialize};

use crate::request::GenerationRequest;

/// Everything needed to make the picture again. Holds no clock, so that the same request gives the same file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureRecord {
    /// Version of this layout, [`PictureRecord::VERSION`].
    pub version: u32,
    /// The program that made the picture, "Calotype 0.1.0".
    pub software: String,
    /// The name of the model that made the picture.
    pub model: String,
    /// What was asked.
    pub request: GenerationRequest,
}

impl PictureRecord {
    /// The version that this build writes.
    pub const VERSION: u32 = 1;

    /// The record of a picture that this build made.
    #[must_use]
    pub fn new(model: String, request: GenerationRequest) -> Self {
        Self { version: Self::VERSION, software: concat!("Calotype ", env!("CARGO_PKG_VERSION")).to_owned(), model, request }
    }
}
