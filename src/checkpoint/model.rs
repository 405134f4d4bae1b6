//! A model's files to a model: first its configuration, which is quick, then its weights.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{DType, Device};
use serde::Deserialize;

use super::clip_vocabulary;
use super::files::ModelFiles;
use super::live_weights::{AdaptedPart, LiveWeights};
use super::meter::{LoadProgress, Meter};
use super::single_file::{Part, SingleFile};
use super::weights::Weights;
use super::{CheckpointError, ModelHints};
use crate::diffusion::DiffusionError;
use crate::diffusion::noise_schedule::{NoiseSchedule, SchedulerConfig};
use crate::diffusion::pipeline::StableDiffusion;
use crate::diffusion::text_encoder::{TextEncoder, TextEncoderConfig};
use crate::diffusion::unet::{UNet, UNetConfig};
use crate::diffusion::vae::{Vae, VaeConfig};
use crate::prompt::{SpecialTokens, Tokenizer};

/// Larger than any model is trained on.
const MOST_NATIVE_PX: u32 = 4096;

/// The parts of a pipeline that this build puts together.
const PIPELINES: [&str; 2] = ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"];

/// All that is known of a model before its weights are read.
#[derive(Debug)]
pub struct Description {
    /// Width and height in pixels that it was trained on.
    pub native_size_px: (u32, u32),
    /// What the folder says about itself.
    pub hints: ModelHints,
    /// Counts and cuts prompts.
    pub tokenizer: Arc<Tokenizer>,
    text_encoder: TextEncoderConfig,
    unet: UNetConfig,
    vae: VaeConfig,
    noise_schedule: NoiseSchedule,
}

#[derive(Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
}

/// The configurations of the parts, as a folder's files say them or as a single file shows them.
struct Configs {
    text_encoder: TextEncoderConfig,
    unet: UNetConfig,
    vae: VaeConfig,
    scheduler: SchedulerConfig,
}

/// Reads what the model's files say, or show, about it, and the tokenizer.
///
/// # Errors
/// When the files are no model, or one that is not understood.
pub fn describe(files: &ModelFiles) -> Result<Description, CheckpointError> {
    if matches!(files, ModelFiles::Single(_)) {
        let single = SingleFile::open(files)?;
        let (text_encoder, unet, vae) = (single.text_encoder()?, single.unet()?, single.vae()?);
        let configs = Configs { text_encoder, unet, vae, scheduler: single.scheduler()? };
        return describe_parts(files, configs, single.tokenizer()?);
    }
    for part in ["unet/config.json", "vae/config.json", "text_encoder/config.json"] {
        if !files.has(part) {
            check_pipeline(files)?;
            return Err(CheckpointError::NotAModel { missing: part, path: files.path("") });
        }
    }
    check_pipeline(files)?;
    let text_encoder: TextEncoderConfig = files.json("text_encoder/config.json")?;
    let unet: UNetConfig = files.json("unet/config.json")?;
    let vae: VaeConfig = files.json("vae/config.json")?;
    let scheduler: SchedulerConfig = files.json("scheduler/scheduler_config.json")?;
    let tokenizer = load_tokenizer(files, &text_encoder)?;
    describe_parts(files, Configs { text_encoder, unet, vae, scheduler }, tokenizer)
}

fn describe_parts(files: &ModelFiles, configs: Configs, tokenizer: Tokenizer) -> Result<Description, CheckpointError> {
    let Configs { text_encoder, unet, vae, scheduler } = configs;
    let noise_schedule = NoiseSchedule::new(&scheduler).map_err(|source| model_error(files, "scheduler", source))?;
    // diffusers' own default where a configuration is silent.
    let (height, width) = unet.sample_size().unwrap_or((64, 64));
    let px = |latent: usize| {
        let side = latent.checked_mul(vae.factor()).and_then(|px| u32::try_from(px).ok());
        side.filter(|px| (1..=MOST_NATIVE_PX).contains(px)).ok_or_else(|| CheckpointError::Json {
            problem: format!("sample_size {latent} is no size of latents"),
            path: files.path("unet/config.json"),
        })
    };
    let native_size_px = (px(width)?, px(height)?);
    Ok(Description {
        native_size_px,
        hints: files.json_if_present("calotype.json")?.unwrap_or_default(),
        tokenizer: Arc::new(tokenizer),
        text_encoder,
        unet,
        vae,
        noise_schedule,
    })
}

/// Reads the weights of a described model into `dtype` on `device`, one tensor at a time.
///
/// # Errors
/// When a file is damaged, a tensor is missing or has another shape, or `progress` says stop.
pub fn load(
    files: &ModelFiles,
    description: &Description,
    dtype: DType,
    device: &Device,
    progress: LoadProgress,
) -> Result<StableDiffusion, CheckpointError> {
    Ok(load_live(files, description, dtype, device, progress)?.0)
}

/// As [`load`], with a handle on the weights that adapters change.
///
/// # Errors
/// As [`load`].
pub fn load_live(
    files: &ModelFiles,
    description: &Description,
    dtype: DType,
    device: &Device,
    progress: LoadProgress,
) -> Result<(StableDiffusion, LiveWeights), CheckpointError> {
    let mut live = LiveWeights::default();
    let meter = Arc::new(Meter::new(progress));
    let open = |part: Part, folder: &str, stem: &str| -> Result<Weights, CheckpointError> {
        let meter = Arc::clone(&meter);
        match files {
            ModelFiles::Single(_) => SingleFile::open(files)?.into_weights(part, meter),
            ModelFiles::Folder(_) | ModelFiles::Starter => Weights::open(files, folder, stem, meter),
        }
    };
    // All headers are read before the first weight, so that a missing file is known at once.
    let text_weights = open(Part::TextEncoder, "text_encoder", "model")?;
    let unet_weights = open(Part::UNet, "unet", "diffusion_pytorch_model")?;
    let vae_weights = open(Part::Vae, "vae", "diffusion_pytorch_model")?;
    let text_weights = live.builder(AdaptedPart::Text(0), text_weights, dtype, device);
    let unet_weights = live.builder(AdaptedPart::UNet, unet_weights, dtype, device);
    let vae_weights = vae_weights.into_builder(dtype, device);
    let fail = |folder: &'static str| {
        let meter = Arc::clone(&meter);
        move |source: DiffusionError| {
            if meter.is_stopped() { CheckpointError::Cancelled } else { model_error(files, folder, source) }
        }
    };
    let model = StableDiffusion {
        tokenizer: Arc::clone(&description.tokenizer),
        text_encoder: TextEncoder::load(&text_weights, &description.text_encoder).map_err(fail("text_encoder"))?,
        unet: UNet::load(&unet_weights, &description.unet).map_err(fail("unet"))?,
        vae: Vae::load(&vae_weights, &description.vae).map_err(fail("vae"))?,
        noise_schedule: description.noise_schedule.clone(),
        device: device.clone(),
        dtype,
    };
    model.check().map_err(fail(""))?;
    Ok((model, live))
}

/// A folder without model_index.json is taken for what its parts are.
fn check_pipeline(files: &ModelFiles) -> Result<(), CheckpointError> {
    let index: Option<ModelIndex> = files.json_if_present("model_index.json")?;
    match index {
        Some(index) if !PIPELINES.contains(&index.class_name.as_str()) => {
            Err(CheckpointError::UnknownPipeline { found: index.class_name, path: files.path("model_index.json") })
        }
        _ => Ok(()),
    }
}

fn model_error(files: &ModelFiles, folder: &str, source: DiffusionError) -> CheckpointError {
    CheckpointError::Model { source, path: files.path(folder) }
}

fn load_tokenizer(files: &ModelFiles, encoder: &TextEncoderConfig) -> Result<Tokenizer, CheckpointError> {
    let length = encoder.max_position_embeddings;
    let special =
        |name: &str| -> Result<SpecialTokens, CheckpointError> { Ok(files.json_if_present(name)?.unwrap_or_default()) };
    let special = special("tokenizer/tokenizer_config.json")?.or(special("tokenizer/special_tokens_map.json")?);
    let made = if files.has("tokenizer/tokenizer.json") {
        Tokenizer::from_json(&files.read("tokenizer/tokenizer.json")?, &special, length)
    } else if files.has("tokenizer/vocab.json") && files.has("tokenizer/merges.txt") {
        let (vocab, merges) = (files.text("tokenizer/vocab.json")?, files.text("tokenizer/merges.txt")?);
        Tokenizer::from_vocab_and_merges(&vocab, &merges, &special, length)
    } else if encoder.vocab_size == clip_vocabulary::SIZE {
        clip_vocabulary::tokenizer(length, &special)
    } else {
        return Err(CheckpointError::NotAModel { missing: "tokenizer/tokenizer.json", path: files.path("") });
    };
    let path: PathBuf = files.path("tokenizer");
    made.map_err(|source| CheckpointError::Tokenizer { source, path })
}
