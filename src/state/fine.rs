//! The settings that most pictures want as they are: the solver's numbers, and how noise grows out of the seed.

use serde::{Deserialize, Serialize};

use crate::gallery::record::ReadRecipe;
use crate::request::{
    Accelerations, GuidanceRescale, MicroConditioning, RequestError, SamplerOptions, SeedOptions, Sigmas,
};

/// A part of the form.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FineSettings {
    /// The solver's numbers.
    pub sampler_options: SamplerOptions,
    /// How far guidance is kept from changing the prediction's deviation.
    pub guidance_rescale: GuidanceRescale,
    /// What makes a picture sooner and another one.
    pub accelerations: Accelerations,
    /// How the noise grows out of the seed.
    pub seed_options: SeedOptions,
    /// What Stable Diffusion XL is told of the size.
    pub micro_conditioning: MicroConditioning,
    /// The sigmas as typed; nothing for the schedule's.
    pub sigmas: String,
}

impl FineSettings {
    /// What a recipe says; what it does not say is the usual.
    #[must_use]
    pub fn of(recipe: &ReadRecipe) -> Self {
        Self {
            sampler_options: recipe.sampler_options,
            guidance_rescale: recipe.guidance_rescale.unwrap_or_default(),
            accelerations: recipe.accelerations,
            seed_options: recipe.seed_options(),
            micro_conditioning: recipe.micro_conditioning,
            sigmas: recipe.sigmas.as_ref().map(Sigmas::to_string).unwrap_or_default(),
        }
    }

    /// The sigmas, if some are typed.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn sigmas(&self) -> Result<Option<Sigmas>, RequestError> {
        if self.sigmas.trim().is_empty() { Ok(None) } else { self.sigmas.parse().map(Some) }
    }
}
