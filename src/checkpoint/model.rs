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
use crate::diffusion::text_encoder::{HiddenStates, TextEncoder, TextEncoderConfig};
use crate::diffusion::text_encoders::{TextEncoders, Tower};
use crate::diffusion::unet::{UNet, UNetConfig};
use crate::diffusion::vae::{Vae, VaeConfig};
use crate::kernels::activations;
use crate::prompt::{SpecialTokens, Tokenizer};

/// Larger than any model is trained on.
const MOST_NATIVE_PX: u32 = 4096;

/// The parts of a pipeline that this build puts together.
const PIPELINES: [&str; 6] = [
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionXLPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionXLInpaintPipeline",
];

/// Where a folder keeps its text encoders and their tokenizers. The refiner of Stable Diffusion XL has the second alone.
const TOWERS: [(&str, &str, &str); 2] = [
    ("text_encoder", "text_encoder/config.json", "tokenizer"),
    ("text_encoder_2", "text_encoder_2/config.json", "tokenizer_2"),
];

/// All that is known of a model before its weights are read.
#[derive(Debug)]
pub struct Description {
    /// Width and height in pixels that it was trained on.
    pub native_size_px: (u32, u32),
    /// What the folder says about itself.
    pub hints: ModelHints,
    /// Counts and cuts prompts.
    pub tokenizer: Arc<Tokenizer>,
    towers: Vec<TowerConfig>,
    zeroes_empty_negative: bool,
    unet: UNetConfig,
    vae: VaeConfig,
    noise_schedule: NoiseSchedule,
}

/// One text encoder before its weights are read.
#[derive(Debug)]
struct TowerConfig {
    config: TextEncoderConfig,
    hidden_states: HiddenStates,
    /// The id that fills its chunks.
    padding: u32,
    /// Where a folder keeps it.
    folder: &'static str,
}

#[derive(Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
    /// Written for Stable Diffusion XL alone.
    #[serde(default)]
    force_zeros_for_empty_prompt: bool,
}

/// The configurations of the parts, as a folder's files say them or as a single file shows them.
struct Configs {
    towers: Vec<TowerConfig>,
    zeroes_empty_negative: bool,
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
        let mut towers = Vec::new();
        for index in 0..single.text_encoders() {
            let padding = single.tokenizer(index)?.marks().padding;
            let (config, hidden_states) = (single.text_encoder(index)?, single.hidden_states());
            towers.push(TowerConfig { config, hidden_states, padding, folder: "" });
        }
        let (unet, vae, scheduler) = (single.unet()?, single.vae()?, single.scheduler()?);
        let zeroes_empty_negative = single.zeroes_empty_negative();
        let configs = Configs { towers, zeroes_empty_negative, unet, vae, scheduler };
        return describe_parts(files, configs, single.tokenizer(0)?);
    }
    let index = read_index(files)?;
    for part in ["unet/config.json", "vae/config.json"] {
        if !files.has(part) {
            return Err(CheckpointError::NotAModel { missing: part, path: files.path("") });
        }
    }
    let unet: UNetConfig = files.json("unet/config.json")?;
    let vae: VaeConfig = files.json("vae/config.json")?;
    let scheduler: SchedulerConfig = files.json("scheduler/scheduler_config.json")?;
    let (towers, tokenizer) = folder_towers(files, &unet)?;
    let zeroes_empty_negative = index.is_some_and(|index| index.force_zeros_for_empty_prompt);
    describe_parts(files, Configs { towers, zeroes_empty_negative, unet, vae, scheduler }, tokenizer)
}

/// The text encoders of a folder, and the first one's tokenizer, which cuts the prompts.
fn folder_towers(files: &ModelFiles, unet: &UNetConfig) -> Result<(Vec<TowerConfig>, Tokenizer), CheckpointError> {
    let is_xl = unet.added_widths().is_some();
    let hidden_states = if is_xl { HiddenStates::LayerBeforeLast } else { HiddenStates::Last };
    let mut towers = Vec::new();
    let mut first = None;
    for (folder, config_file, tokenizer_folder) in TOWERS.into_iter().take(if is_xl { 2 } else { 1 }) {
        if !files.has(config_file) {
            continue;
        }
        let config: TextEncoderConfig = files.json(config_file)?;
        let tokenizer = load_tokenizer(files, tokenizer_folder, &config)?;
        towers.push(TowerConfig { config, hidden_states, padding: tokenizer.marks().padding, folder });
        match &first {
            None => first = Some(tokenizer),
            Some(known) if known.vocabulary_size() != tokenizer.vocabulary_size() => {
                let problem = "its two tokenizers do not have the same vocabulary".to_owned();
                return Err(CheckpointError::Json { problem, path: files.path(tokenizer_folder) });
            }
            Some(_) => {}
        }
    }
    let missing = if is_xl { "text_encoder_2/config.json" } else { "text_encoder/config.json" };
    match first {
        Some(tokenizer) => Ok((towers, tokenizer)),
        None => Err(CheckpointError::NotAModel { missing, path: files.path("") }),
    }
}

fn describe_parts(files: &ModelFiles, configs: Configs, tokenizer: Tokenizer) -> Result<Description, CheckpointError> {
    let Configs { towers, zeroes_empty_negative, unet, vae, scheduler } = configs;
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
        towers,
        zeroes_empty_negative,
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
    let mut text_weights = Vec::new();
    for (index, tower) in description.towers.iter().enumerate() {
        text_weights.push(open(Part::TextEncoder(index), tower.folder, "model")?);
    }
    let unet_weights = open(Part::UNet, "unet", "diffusion_pytorch_model")?;
    let vae_weights = open(Part::Vae, "vae", "diffusion_pytorch_model")?;
    let text_weights: Vec<_> = text_weights
        .into_iter()
        .enumerate()
        .map(|(index, weights)| live.builder(AdaptedPart::Text(index), weights, dtype, device))
        .collect();
    let unet_weights = live.builder(AdaptedPart::UNet, unet_weights, dtype, device);
    let vae_weights = vae_weights.into_builder(dtype, device);
    let fail = |folder: &'static str| {
        let meter = Arc::clone(&meter);
        move |source: DiffusionError| {
            if meter.is_stopped() { CheckpointError::Cancelled } else { model_error(files, folder, source) }
        }
    };
    let mut towers = Vec::new();
    for (tower, weights) in description.towers.iter().zip(&text_weights) {
        let encoder = TextEncoder::load(weights, &tower.config, tower.hidden_states).map_err(fail(tower.folder))?;
        towers.push(Tower { encoder, padding: tower.padding });
    }
    let model = StableDiffusion {
        tokenizer: Arc::clone(&description.tokenizer),
        text_encoders: TextEncoders::new(towers).map_err(fail(""))?,
        zeroes_empty_negative: description.zeroes_empty_negative,
        unet: UNet::load(&unet_weights, &description.unet).map_err(fail("unet"))?,
        vae: Vae::load(&vae_weights, &description.vae).map_err(fail("vae"))?,
        noise_schedule: description.noise_schedule.clone(),
        device: device.clone(),
        dtype: activations(dtype, device),
    };
    model.check().map_err(fail(""))?;
    Ok((model, live))
}

/// A folder without model_index.json is taken for what its parts are.
fn read_index(files: &ModelFiles) -> Result<Option<ModelIndex>, CheckpointError> {
    let index: Option<ModelIndex> = files.json_if_present("model_index.json")?;
    match index {
        Some(index) if !PIPELINES.contains(&index.class_name.as_str()) => {
            Err(CheckpointError::UnknownPipeline { found: index.class_name, path: files.path("model_index.json") })
        }
        index => Ok(index),
    }
}

fn model_error(files: &ModelFiles, folder: &str, source: DiffusionError) -> CheckpointError {
    CheckpointError::Model { source, path: files.path(folder) }
}

fn load_tokenizer(files: &ModelFiles, folder: &str, encoder: &TextEncoderConfig) -> Result<Tokenizer, CheckpointError> {
    let length = encoder.max_position_embeddings;
    let inner = |name: &str| format!("{folder}/{name}");
    let special = |name: &str| -> Result<SpecialTokens, CheckpointError> {
        Ok(files.json_if_present(&inner(name))?.unwrap_or_default())
    };
    let special = special("tokenizer_config.json")?.or(special("special_tokens_map.json")?);
    let made = if files.has(&inner("tokenizer.json")) {
        Tokenizer::from_json(&files.read(&inner("tokenizer.json"))?, &special, length)
    } else if files.has(&inner("vocab.json")) && files.has(&inner("merges.txt")) {
        let (vocab, merges) = (files.text(&inner("vocab.json"))?, files.text(&inner("merges.txt"))?);
        Tokenizer::from_vocab_and_merges(&vocab, &merges, &special, length)
    } else if encoder.vocab_size == clip_vocabulary::SIZE {
        clip_vocabulary::tokenizer(length, &special)
    } else {
        return Err(CheckpointError::NotAModel { missing: "tokenizer/tokenizer.json", path: files.path("") });
    };
    let path: PathBuf = files.path(folder);
    made.map_err(|source| CheckpointError::Tokenizer { source, path })
}
