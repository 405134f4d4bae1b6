//! What the window and the command line say to the inference thread, and what it answers: plain data only.

use std::path::PathBuf;
use std::sync::Arc;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::inference::cancel::CancelToken;
use crate::latent_image::{LatentColours, LatentImage};
use crate::prompt::Tokenizer;
use crate::request::{
    AdapterUse, Companions, DeviceChoice, EmbeddingUse, GenerationRequest, GuidanceScale, ImageSize, Precision,
    PrecisionChoice, RecordedAdapter, RecordedEmbedding, RecordedVae, SamplerKind, ScheduleKind, Steps,
};

/// Names one job; never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// Where a model is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ModelSource {
    /// The model inside the binary.
    #[default]
    BuiltIn,
    /// A model folder in the diffusers layout, or a single file. Settings of before single files say `Folder`.
    #[serde(alias = "Folder")]
    OnDisk(PathBuf),
}

impl std::fmt::Display for ModelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built-in model"),
            Self::OnDisk(path) => path.display().fmt(f),
        }
    }
}

/// Orders to the inference thread, carried out one after the other.
#[derive(Debug)]
pub enum Command {
    /// Load this model in place of the one at hand, which is freed first. Answered by `ModelFound` as soon as its
    /// configuration is read, then by `ModelReady`; or by `ModelFailed` or `ModelStopped`. `ModelFound` comes a second time
    /// where a card has no room for all of it.
    Load(ModelOrder),
    /// Make a picture. Answered by `Started`, `Sampling`, `Step`s, `Decoding`, then exactly one of `Finished`, `Cancelled`,
    /// `Failed`. Where a card's memory was too small, parts of the model leave it, which is told by `ModelReady`,
    /// `ModelFailed` or `ModelStopped`, and everything from `Sampling` on comes once more.
    Generate(Box<Job>),
}

/// A model to load.
#[derive(Debug, Clone, Default)]
pub struct ModelOrder {
    /// Where it is to be had.
    pub source: ModelSource,
    /// What it takes from elsewhere.
    pub companions: Companions,
    /// What its weights are kept in.
    pub precision: PrecisionChoice,
    /// On what it computes; left open, on what was named when the thread was started.
    pub device: DeviceChoice,
    /// Ends the loading early.
    pub cancel: CancelToken,
}

/// One picture to make.
#[derive(Debug)]
pub struct Job {
    /// Its name in every event.
    pub id: JobId,
    /// What to make.
    pub request: GenerationRequest,
    /// The pixels of the start image, when the request is image-to-image; resized to the request's size by the engine.
    pub start_image: Option<Arc<RgbImage>>,
    /// The LoRAs and their relatives that act on this picture, and no others.
    pub adapters: Vec<AdapterUse>,
    /// The embeddings whose words are known in this picture's prompts, and no others.
    pub embeddings: Vec<EmbeddingUse>,
    /// What becomes of previews that the reader is too slow for.
    pub previews: Previews,
    /// The TAESD that decodes them: of those that are sent each, of others as many as cost little time. Without one, or
    /// where it cannot be used, they are latents only.
    pub preview_decoder: Option<PathBuf>,
    /// Ends the job early.
    pub cancel: CancelToken,
}

/// What becomes of `Step` events when the reader is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Previews {
    /// They are dropped: a newer one follows.
    #[default]
    Offered,
    /// They wait, and the job with them: each is wanted.
    Sent,
}

/// What a model is and likes; known before its weights are loaded.
#[derive(Debug, Clone)]
pub struct ModelFacts {
    /// For people: the name of the folder or file, or "Calotype starter".
    pub name: String,
    /// Where it came from.
    pub source: ModelSource,
    /// What it was to take from elsewhere, as it was asked for.
    pub companions: Companions,
    /// The VAE that it uses, where that is not its own: as asked for, or as found beside it. Its hash is known once
    /// the model is ready.
    pub vae: Option<RecordedVae>,
    /// On what and in what precision it computes, for people: "CPU, 8 threads, f32"; with a card's memory as it was when
    /// this was said.
    pub computes_on: String,
    /// Which kernels compute, as `CALOTYPE_KERNELS` names them.
    pub kernels: &'static str,
    /// Why it, or some of its parts, computes on the processor, where a card was hoped for.
    pub device_notice: Option<String>,
    /// What its U-Net's weights are kept in, and, where they lie with it, those of the other parts.
    pub precision: Precision,
    /// The card that computes it, by its maker's name; none for the processor.
    pub card: Option<String>,
    /// Whether its latents are those of Stable Diffusion XL: decoders for previews are made for one or the other.
    pub has_xl_latents: bool,
    /// The settings that suit it, which a fresh form takes.
    pub defaults: ModelDefaults,
    /// Prompts that it draws well, for the empty canvas; may be empty.
    pub example_prompts: Vec<String>,
    /// A template with wildcards, from which prompts are drawn that it draws well.
    pub random_prompt: Option<String>,
    /// Counts tokens as the model will see them.
    pub tokenizer: Option<Arc<Tokenizer>>,
}

/// The settings that suit a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelDefaults {
    /// The size that it was trained on.
    pub size: ImageSize,
    /// Steps that are enough.
    pub steps: Steps,
    /// Guidance that suits it.
    pub guidance: GuidanceScale,
    /// Sampler that suits it.
    pub sampler: SamplerKind,
    /// Schedule that suits it.
    pub schedule: ScheduleKind,
}

/// News from the inference thread. Those of a job that the reader no longer knows are to be ignored.
#[derive(Debug)]
pub enum Event {
    /// The model's configuration is read; its weights are being loaded.
    ModelFound(Box<ModelFacts>),
    /// Offered: how far the loading is, 0 to 1.
    ModelLoading {
        /// Share of the weights that are in memory, 0 to 1.
        fraction: f32,
    },
    /// The model can be used.
    ModelReady {
        /// What it is.
        facts: Box<ModelFacts>,
        /// How its latents look.
        colours: LatentColours,
        /// How long loading took, in seconds.
        seconds: f64,
    },
    /// Another amount of the card's memory is in use; only while a model is ready.
    MemoryChanged {
        /// On what and in what precision it computes, for people.
        computes_on: String,
    },
    /// The model could not be loaded; none is loaded now.
    ModelFailed {
        /// Which.
        source: ModelSource,
        /// What it was to take from elsewhere.
        companions: Companions,
        /// Why, for people.
        error: String,
    },
    /// The loading ended because it was asked to; no model is loaded now.
    ModelStopped {
        /// Which.
        source: ModelSource,
        /// What it was to take from elsewhere.
        companions: Companions,
    },
    /// The job is at work.
    Started {
        /// Which job.
        job: JobId,
    },
    /// The job is done otherwise than asked in some part.
    Warned {
        /// Which job.
        job: JobId,
        /// What is not done, for people.
        text: String,
    },
    /// The prompt is read; the steps begin.
    Sampling {
        /// Which job.
        job: JobId,
        /// How many there are.
        steps: u32,
        /// What of LoRAs acts on it, for its recipe.
        adapters: Vec<RecordedAdapter>,
        /// The same of embeddings.
        embeddings: Vec<RecordedEmbedding>,
        /// The VAE that decodes it, where that is not the model's own.
        vae: Option<RecordedVae>,
    },
    /// Offered, or sent if the job says so: a step is done.
    Step {
        /// Which job.
        job: JobId,
        /// 1 to `steps`.
        step: u32,
        /// How many there are.
        steps: u32,
        /// The clean latents as predicted at this step.
        preview: LatentImage,
        /// The same as a picture, where they were decoded.
        picture: Option<Arc<RgbImage>>,
    },
    /// All steps are done, the picture is being decoded. Comes a second time where a card's memory was too small for the
    /// whole of it.
    Decoding {
        /// Which job.
        job: JobId,
        /// Whether tile by tile, which belongs to the recipe.
        in_tiles: bool,
    },
    /// The picture is done.
    Finished {
        /// Which job.
        job: JobId,
        /// The picture.
        image: Arc<RgbImage>,
        /// How long the job took, in seconds.
        seconds: f64,
    },
    /// The job ended because it was asked to.
    Cancelled {
        /// Which job.
        job: JobId,
    },
    /// The job ended with an error; the thread is ready for the next.
    Failed {
        /// Which job.
        job: JobId,
        /// Why, for people.
        error: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_from_before_single_files_still_name_their_model() {
        let source: ModelSource = serde_json::from_str(r#"{"Folder":"/models/mine"}"#).unwrap();
        assert_eq!(source, ModelSource::OnDisk("/models/mine".into()));
    }
}
