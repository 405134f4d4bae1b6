//! What is told of a model as soon as its configuration is read.

use std::path::Path;
use std::sync::Arc;

use super::device::Place;
use super::memory::{APART, Parts};
use super::message::{Job, ModelDefaults, ModelFacts, ModelSource};
use crate::checkpoint::{Description, STARTER_NAME};
use crate::diffusion::pipeline::StableDiffusion;
use crate::kernels::kernels_of;
use crate::request::{
    Companions, GuidanceScale, ImageSize, Precision, RecordedVae, SamplerKind, ScheduleKind, Steps, TokenMerging,
};

/// What is to be said of token merging that changes nothing.
pub(super) fn idle_merging(model: &StableDiffusion, job: &Job) -> Option<String> {
    let is_asked = job.request.accelerations.token_merging != TokenMerging::default();
    (is_asked && !model.unet.attends_on_finest_level())
        .then(|| "token merging changes nothing here: this model has no attention on its finest level".to_owned())
}

pub(super) fn facts(
    (source, companions): (&ModelSource, &Companions),
    (place, precision, parts): (&Place, Precision, Parts),
    description: &Description,
) -> ModelFacts {
    let hints = &description.hints;
    let named = match source {
        ModelSource::BuiltIn => STARTER_NAME.to_owned(),
        ModelSource::OnDisk(path) => model_name(path),
    };
    ModelFacts {
        name: hints.name.clone().unwrap_or(named),
        source: source.clone(),
        companions: companions.clone(),
        vae: description.other_vae.as_deref().map(recorded_vae),
        computes_on: computes_on(place, precision, parts),
        kernels: kernels_of(&place.device()),
        device_notice: if parts == Parts::Apart { Some(APART.to_owned()) } else { place.notice.clone() },
        precision,
        card: place.card_name().map(str::to_owned),
        has_xl_latents: description.is_xl(),
        defaults: defaults(description),
        example_prompts: hints.example_prompts.clone(),
        random_prompt: hints.random_prompt(),
        tokenizer: Some(Arc::clone(&description.tokenizer)),
    }
}

/// On what and in what precision a model computes, for people.
pub(super) fn computes_on(place: &Place, precision: Precision, parts: Parts) -> String {
    let told = format!("{}, {}", place.label(), precision.label());
    if parts == Parts::Apart { told + "; text and VAE on the CPU" } else { told }
}

/// A VAE by the name of its file or folder, as A1111 names it.
fn recorded_vae(path: &Path) -> RecordedVae {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    RecordedVae { name, hash: None }
}

/// What the folder hints at, else what suits most Stable Diffusion models.
fn defaults(description: &Description) -> ModelDefaults {
    let hints = &description.hints;
    let (width, height) = description.native_size_px;
    let size = ImageSize::nearest(width, height);
    ModelDefaults {
        size,
        steps: hints.steps.unwrap_or(Steps::USUAL),
        guidance: hints.guidance.unwrap_or(GuidanceScale::USUAL),
        sampler: hints.sampler.unwrap_or(SamplerKind::DpmPlusPlus2M),
        schedule: hints.schedule.unwrap_or(ScheduleKind::Karras),
    }
}

fn model_name(path: &Path) -> String {
    let Some(name) = path.file_name() else { return path.display().to_string() };
    let name = name.to_string_lossy();
    // As the web UIs write it into recipes; a folder's name may have a dot in it.
    name.strip_suffix(".safetensors").unwrap_or(&name).to_owned()
}
