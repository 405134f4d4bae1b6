//! The recipe that travels inside a picture: our own lossless record, and what is read out of any picture.

use serde::{Deserialize, Serialize};

use crate::request::{GenerationRequest, GuidanceScale, ImageSize, SamplerKind, ScheduleKind, Seed, Steps, Strength};

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

/// What could be read out of a picture's texts: each part may be missing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReadRecipe {
    /// What to draw.
    pub prompt: String,
    /// What to stay away from.
    pub negative_prompt: String,
    /// Number of steps.
    pub steps: Option<Steps>,
    /// Classifier-free guidance.
    pub guidance: Option<GuidanceScale>,
    /// The solver.
    pub sampler: Option<SamplerKind>,
    /// The noise levels.
    pub schedule: Option<ScheduleKind>,
    /// The seed of the noise.
    pub seed: Option<Seed>,
    /// Width and height.
    pub size: Option<ImageSize>,
    /// How much of a start image was given up to noise.
    pub strength: Option<Strength>,
    /// Parts that stood in the file but have no place here, for people.
    pub not_understood: Vec<String>,
}
