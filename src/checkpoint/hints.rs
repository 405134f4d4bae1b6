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
