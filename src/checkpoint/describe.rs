//! A model's files to its configuration, which is quick: what it brings itself, and what it takes from companions.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::companion_files::{text_encoders_at, text_encoders_in, vae_at, vae_beside};
use super::files::ModelFiles;
use super::part_source::PartSource;
use super::single_file::unet::{Family, FileUNet};
use super::single_file::{self, vae};
use super::towers::{FoundTower, Role, TowerConfig, TowerForm, choose};
use super::{CheckpointError, ModelHints, clip_vocabulary};
use crate::diffusion::DiffusionError;
use crate::diffusion::noise_schedule::{NoiseSchedule, SchedulerConfig};
use crate::diffusion::text_encoder::TextEncoderConfig;
use crate::diffusion::unet::UNetConfig;
use crate::diffusion::vae::VaeConfig;
use crate::prompt::{SpecialTokens, Tokenizer};
use crate::request::Companions;

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

/// How diffusers names the weights of U-Nets and VAEs.
const DIFFUSERS_STEM: &str = "diffusion_pytorch_model";

/// All that is known of a model before its weights are read.
#[derive(Debug)]
pub struct Description {
    /// Width and height in pixels that it was trained on.
    pub native_size_px: (u32, u32),
    /// What the folder says about itself.
    pub hints: ModelHints,
    /// Counts and cuts prompts.
    pub tokenizer: Arc<Tokenizer>,
    /// The VAE's file or folder, where it is not the model's own.
    pub other_vae: Option<PathBuf>,
    pub(super) towers: Vec<TowerConfig>,
    pub(super) zeroes_empty_negative: bool,
    pub(super) unet: UNetConfig,
    pub(super) unet_source: PartSource,
    pub(super) vae: VaeConfig,
    pub(super) vae_source: PartSource,
    pub(super) noise_schedule: NoiseSchedule,
    /// The model's own, for messages.
    pub(super) path: PathBuf,
}

impl Description {
    /// True for Stable Diffusion XL, its refiner and what is made from them: their U-Net is told more than the text.
    #[must_use]
    pub fn is_xl(&self) -> bool {
        self.unet.added_widths().is_some()
    }
}

#[derive(Deserialize)]
struct ModelIndex {
    #[serde(rename = "_class_name")]
    class_name: String,
    /// Written for Stable Diffusion XL alone.
    #[serde(default)]
    force_zeros_for_empty_prompt: bool,
}

/// What a model brings itself, as a folder's files say it or as a single file shows it.
struct Own {
    family: Family,
    unet: UNetConfig,
    unet_source: PartSource,
    scheduler: SchedulerConfig,
    vae: Option<(VaeConfig, PartSource)>,
    scaling_factor: f64,
    towers: Vec<FoundTower>,
    /// The first text encoder's.
    tokenizer: Option<Tokenizer>,
    /// None where it follows from the text encoders.
    zeroes_empty_negative: Option<bool>,
}

/// Reads what the files of a model and of its companions say, or show, about it, and the tokenizer.
///
/// # Errors
/// When the files are no model, one that is not understood, or lack a part that no companion has.
pub fn describe(files: &ModelFiles, companions: &Companions) -> Result<Description, CheckpointError> {
    let beside = || match files {
        ModelFiles::Single(path) => vae_beside(path),
        ModelFiles::Folder(_) | ModelFiles::Starter => None,
    };
    // Its own file means its own VAE, whatever lies beside it.
    let other_vae = companions.vae.clone().or_else(beside).filter(|vae| *vae != files.path(""));
    // What stands in for a part of the model may be there because that part is damaged.
    let wants_vae = other_vae.is_none();
    let own = match files {
        ModelFiles::Single(_) => single(files, companions, wants_vae)?,
        ModelFiles::Folder(_) | ModelFiles::Starter => folder(files, companions, wants_vae)?,
    };
    let (vae, vae_source) = match (&other_vae, own.vae) {
        (Some(path), _) => vae_at(path, own.scaling_factor)?,
        (None, Some(own)) => own,
        (None, None) => {
            let (part, path) = ("VAE (first_stage_model)", files.path(""));
            return Err(CheckpointError::MissingPart { part, option: "--vae", path });
        }
    };
    let found = with_companions(own.towers, companions, (&own.unet, own.family), files)?;
    let roles: &[Role] = match (own.family, found.len()) {
        (Family::First, _) => &[Role::First],
        (Family::Second, _) => &[Role::Second],
        (Family::Xl, 1) => &[Role::XlLast],
        (Family::Xl, _) => &[Role::XlFirst, Role::XlLast],
    };
    let towers = found.into_iter().zip(roles).map(|(tower, role)| tower.take(*role)).collect::<Result<Vec<_>, _>>()?;
    let tokenizer = match (own.tokenizer, towers.first(), roles.first()) {
        (Some(tokenizer), ..) => tokenizer,
        (None, Some(tower), Some(role)) => role
            .tokenizer(tower.config.max_position_embeddings)
            .map_err(|source| CheckpointError::Tokenizer { source, path: tower.source.path() })?,
        _ => return Err(CheckpointError::NotAModel { missing: "text_encoder/config.json", path: files.path("") }),
    };
    let scheduler = match companions.prediction {
        Some(prediction) => own.scheduler.with_prediction(prediction),
        None => own.scheduler,
    };
    let noise_schedule = NoiseSchedule::new(&scheduler).map_err(|source| model_error(files, "scheduler", source))?;
    Ok(Description {
        native_size_px: native_size_px(files, &own.unet, &vae)?,
        hints: files.json_if_present("calotype.json")?.unwrap_or_default(),
        tokenizer: Arc::new(tokenizer),
        other_vae,
        zeroes_empty_negative: own.zeroes_empty_negative.unwrap_or(own.family == Family::Xl && towers.len() > 1),
        towers,
        unet: own.unet,
        unet_source: own.unet_source,
        vae,
        vae_source,
        noise_schedule,
        path: files.path(""),
    })
}

/// The text encoders of the model, those of its companions before its own. A folder that says itself how it is put
/// together is not doubted.
fn with_companions(
    own: Vec<FoundTower>,
    companions: &Companions,
    (unet, family): (&UNetConfig, Family),
    files: &ModelFiles,
) -> Result<Vec<FoundTower>, CheckpointError> {
    if companions.text_encoders.is_empty() && !matches!(files, ModelFiles::Single(_)) && !own.is_empty() {
        return Ok(own);
    }
    let mut found = Vec::new();
    for path in &companions.text_encoders {
        found.extend(text_encoders_at(path)?);
    }
    found.extend(own);
    choose(found, (unet.context_width(), family == Family::Xl), &files.path(""))
}

/// What is in a single file.
fn single(files: &ModelFiles, companions: &Companions, wants_vae: bool) -> Result<Own, CheckpointError> {
    let file = single_file::open(&files.path(""))?;
    let unet = FileUNet::find(&file, companions.prediction)?;
    let scaling_factor = unet.scaling_factor();
    let vae = match vae::find(&file) {
        Some(part) if wants_vae => Some((vae::config(&part, scaling_factor)?, part.source())),
        _ => None,
    };
    Ok(Own {
        family: unet.family,
        unet: unet.config()?,
        unet_source: unet.part.source(),
        scheduler: unet.scheduler()?,
        vae,
        scaling_factor,
        towers: text_encoders_in(&file, None)?,
        tokenizer: None,
        zeroes_empty_negative: None,
    })
}

/// What is in a folder.
fn folder(files: &ModelFiles, companions: &Companions, wants_vae: bool) -> Result<Own, CheckpointError> {
    let index = read_index(files)?;
    let needed = ["unet/config.json", "vae/config.json"];
    for part in needed.iter().take(if wants_vae { 2 } else { 1 }) {
        if !files.has(part) {
            return Err(CheckpointError::NotAModel { missing: part, path: files.path("") });
        }
    }
    let unet: UNetConfig = files.json("unet/config.json")?;
    let is_xl = unet.added_widths().is_some();
    let vae: Option<VaeConfig> = files.json_if_present("vae/config.json")?;
    let scaling_factor = vae.as_ref().map_or(if is_xl { 0.13025 } else { 0.18215 }, |vae| vae.scaling_factor);
    let in_folder = |folder| PartSource::Folder { files: files.clone(), folder, stem: DIFFUSERS_STEM };
    let (towers, tokenizer) = folder_towers(files, is_xl, companions)?;
    let family = match unet.context_width() {
        _ if is_xl => Family::Xl,
        1024 => Family::Second,
        _ => Family::First,
    };
    Ok(Own {
        family,
        unet,
        unet_source: in_folder("unet"),
        scheduler: files.json("scheduler/scheduler_config.json")?,
        vae: vae.map(|config| (config, in_folder("vae"))),
        scaling_factor,
        towers,
        tokenizer,
        zeroes_empty_negative: Some(index.is_some_and(|index| index.force_zeros_for_empty_prompt)),
    })
}

/// The text encoders of a folder, and the first one's tokenizer, which cuts the prompts.
fn folder_towers(
    files: &ModelFiles,
    is_xl: bool,
    companions: &Companions,
) -> Result<(Vec<FoundTower>, Option<Tokenizer>), CheckpointError> {
    let mut towers = Vec::new();
    let mut first: Option<Tokenizer> = None;
    for (folder, config_file, tokenizer_folder) in TOWERS.into_iter().take(if is_xl { 2 } else { 1 }) {
        if !files.has(config_file) {
            continue;
        }
        let config: TextEncoderConfig = files.json(config_file)?;
        let tokenizer = load_tokenizer(files, tokenizer_folder, &config)?;
        let form = TowerForm::Configured(Box::new(config), Some(tokenizer.marks().padding));
        let source = PartSource::Folder { files: files.clone(), folder, stem: "model" };
        towers.push(FoundTower { form, source, companion: None });
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
    if first.is_none() && companions.text_encoders.is_empty() {
        return Err(CheckpointError::NotAModel { missing, path: files.path("") });
    }
    Ok((towers, first))
}

fn native_size_px(files: &ModelFiles, unet: &UNetConfig, vae: &VaeConfig) -> Result<(u32, u32), CheckpointError> {
    // diffusers' own default where a configuration is silent.
    let (height, width) = unet.sample_size().unwrap_or((64, 64));
    let px = |latent: usize| {
        let side = latent.checked_mul(vae.factor()).and_then(|px| u32::try_from(px).ok());
        side.filter(|px| (1..=MOST_NATIVE_PX).contains(px)).ok_or_else(|| CheckpointError::Json {
            problem: format!("sample_size {latent} is no size of latents"),
            path: files.path("unet/config.json"),
        })
    };
    Ok((px(width)?, px(height)?))
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
