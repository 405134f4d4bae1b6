//! `calotype.json`: what a model's folder may say about the settings and prompts that suit it. Optional; ours.

use serde::Deserialize;

use crate::request::{GuidanceScale, SamplerKind, ScheduleKind, Steps};

/// Every field may be left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ModelHints {
    /// For people.
    pub name: Option<String>,
    /// Steps that are enough.
    pub steps: Option<Steps>,
    /// Guidance that suits the model.
    pub guidance: Option<GuidanceScale>,
    /// Sampler that suits the model.
    pub sampler: Option<SamplerKind>,
    /// Schedule that suits the model.
    pub schedule: Option<ScheduleKind>,
    /// Prompts that it draws well.
    pub example_prompts: Vec<String>,
    /// A template with wildcards, from which prompts are drawn that it draws well.
    pub random_prompt: Option<String>,
}

impl ModelHints {
    /// The template of prompts, unless it is empty or longer than is drawn in a moment.
    pub fn random_prompt(&self) -> Option<String> {
        const MOST_BYTES: usize = 20_000;
        self.random_prompt.clone().filter(|template| !template.trim().is_empty() && template.len() <= MOST_BYTES)
    }
}
