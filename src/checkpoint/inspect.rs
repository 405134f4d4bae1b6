//! What a file or a model folder is, from headers and configurations alone.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::card::{Card, Container, Family, ModelKind, Parts, PredictionKind, Purpose};
use super::files::ModelFiles;
use super::header::{Header, TensorHead};
use super::taesd::{Taesd, by_latent_channels};
use super::{CheckpointError, foreign, lora_signs, makers_notes};

/// What can stand before a U-Net's names under the original spelling.
const UNET_PREFIXES: [&str; 3] = ["model.diffusion_model.", "diffusion_model.", ""];
/// What can stand before a VAE's names.
const VAE_PREFIXES: [&str; 3] = ["first_stage_model.", "vae.", ""];
/// Tables of tokens, by which text encoders are counted.
const TOKEN_TABLES: [&str; 2] = ["embeddings.token_embedding.weight", "token_embedding.weight"];
/// An embedding has a tensor or two, and its trainer's few numbers.
const MOST_TENSORS_OF_AN_EMBEDDING: usize = 8;

/// Says what is at `path`, reading headers only: of a file of tensors, or of a folder in the diffusers layout.
///
/// # Errors
/// When there is nothing, it cannot be read, its header is damaged, or it is no file of tensors at all.
pub fn inspect(path: &Path) -> Result<Card, CheckpointError> {
    if path.is_dir() {
        return folder(path);
    }
    if !path.exists() {
        return Err(CheckpointError::NotFound { path: path.to_owned() });
    }
    let size_bytes = path.metadata().map_err(|source| CheckpointError::Io { source, path: path.to_owned() })?.len();
    Ok(of_header(&Header::read(path)?, size_bytes))
}

fn of_header(header: &Header, size_bytes: u64) -> Card {
    let mut card = Card {
        kind: ModelKind::Unknown,
        family: None,
        purpose: Purpose::Pictures,
        container: header.container,
        stored: stored(header.tensors.values()),
        parts: Parts::default(),
        size_bytes,
        parameters: header.tensors.values().fold(0, |sum: u64, tensor| sum.saturating_add(tensor.count())),
        prediction: prediction(header),
        notes: makers_notes::read(&header.metadata),
    };
    let names: Vec<&str> = header.tensors.keys().map(String::as_str).collect();
    let is_controlling = |name: &&str| name.starts_with("lora_controlnet") || name.starts_with("lllite_unet");
    if let Some(lora) = lora_signs::read(header).filter(|_| !names.iter().any(is_controlling)) {
        card.kind = ModelKind::Lora { network: lora.network, rank: lora.rank };
        card.family = lora.family;
    } else if let Some(what) = foreign::stranger(&names) {
        card.kind = ModelKind::Foreign(what.to_owned());
    } else {
        classify(header, &names, &mut card);
    }
    card
}

/// Everything that is neither a LoRA nor a stranger.
fn classify(header: &Header, names: &[&str], card: &mut Card) {
    let unet = UNet::find(header);
    card.parts = Parts {
        unet: unet.is_some(),
        text_encoders: text_encoders(names),
        vae: vae(header).is_some(),
        ema: names.iter().filter(|name| name.starts_with("model_ema.diffusion_model")).count() > 0,
    };
    if let Some(unet) = unet {
        let is_whole = card.parts.text_encoders > 0 || card.parts.vae;
        card.kind = if is_whole { ModelKind::Checkpoint } else { ModelKind::UNet };
        (card.family, card.purpose) = (unet.family, unet.purpose);
    } else if let Some(latent_channels) = vae(header) {
        card.kind = match latent_channels {
            4 => ModelKind::Vae,
            16 => ModelKind::Foreign("a VAE of Stable Diffusion 3 or Flux".to_owned()),
            other => ModelKind::Foreign(format!("a VAE with {other} latent channels")),
        };
    } else if let Some(kind) = taesd(header) {
        card.kind = kind;
    } else if card.parts.ema {
        card.kind = ModelKind::Checkpoint;
    } else if card.parts.text_encoders > 0 && !names.iter().any(|name| name.starts_with("vision_model.")) {
        card.kind = ModelKind::TextEncoder;
        card.family = text_family(header);
    } else if let Some((vectors, family)) = embedding(header) {
        card.kind = ModelKind::Embedding { vectors };
        card.family = family;
    } else if let Some(what) = foreign::part(names) {
        card.kind = ModelKind::Foreign(what.to_owned());
    }
}

/// A U-Net under original or diffusers' names.
struct UNet {
    family: Option<Family>,
    purpose: Purpose,
}

impl UNet {
    fn find(header: &Header) -> Option<Self> {
        UNET_PREFIXES.iter().find_map(|prefix| Self::original(header, prefix)).or_else(|| Self::diffusers(header))
    }

    fn original(header: &Header, prefix: &str) -> Option<Self> {
        let dim = |name: &str, axis| dim(header, &format!("{prefix}{name}"), axis);
        let input = dim("input_blocks.0.0.weight", 1)?;
        let context = ["input_blocks.1.1", "input_blocks.4.1", "input_blocks.2.1", "middle_block.1"]
            .iter()
            .find_map(|block| dim(&format!("{block}.transformer_blocks.0.attn2.to_k.weight"), 1));
        let label = dim("label_emb.0.0.weight", 1);
        Some(Self { family: family(context, label), purpose: purpose(input) })
    }

    fn diffusers(header: &Header) -> Option<Self> {
        ["", "unet."].iter().find_map(|prefix| {
            let dim = |name: &str, axis| dim(header, &format!("{prefix}{name}"), axis);
            dim("time_embedding.linear_1.weight", 0)?;
            let input = dim("conv_in.weight", 1)?;
            let context = (0..3).find_map(|block| {
                dim(&format!("down_blocks.{block}.attentions.0.transformer_blocks.0.attn2.to_k.weight"), 1)
            });
            Some(Self { family: family(context, dim("add_embedding.linear_1.weight", 1)), purpose: purpose(input) })
        })
    }
}

/// By the width of the context; SD 2 and the refiner share theirs with nobody, and XL has its label as well.
fn family(context: Option<usize>, label: Option<usize>) -> Option<Family> {
    match label {
        Some(2816) => Some(Family::Sdxl),
        Some(2560) => Some(Family::SdxlRefiner),
        _ => context.and_then(lora_signs::by_context),
    }
}

fn purpose(input_channels: usize) -> Purpose {
    match input_channels {
        5 => Purpose::Depth,
        7 => Purpose::Upscaling,
        8 => Purpose::Editing,
        9 => Purpose::Inpainting,
        _ => Purpose::Pictures,
    }
}

fn dim(header: &Header, name: &str, axis: usize) -> Option<usize> {
    header.tensors.get(name)?.shape.get(axis).copied()
}

/// Channels of the latents of the VAE inside.
fn vae(header: &Header) -> Option<usize> {
    VAE_PREFIXES.iter().find_map(|prefix| {
        let dim = |name: &str, axis| dim(header, &format!("{prefix}{name}"), axis);
        let has_levels = |half: &str, levels: [&str; 2]| {
            levels
                .iter()
                .any(|level| header.tensors.keys().any(|name| name.starts_with(&format!("{prefix}{half}.{level}."))))
        };
        let decoder = dim("decoder.conv_in.weight", 1).filter(|_| has_levels("decoder", ["up", "up_blocks"]));
        let encoder = dim("encoder.conv_out.weight", 0).filter(|_| has_levels("encoder", ["down", "down_blocks"]));
        // The encoder ends in mean and variance.
        decoder.or(encoder.map(|channels| channels / 2))
    })
}

/// TAESD's kind, when the file holds one.
fn taesd(header: &Header) -> Option<ModelKind> {
    let foreign = |what: String| Some(ModelKind::Foreign(what));
    match Taesd::find(&|name| header.tensors.get(name).map(|tensor| tensor.shape.as_slice()))? {
        Taesd::Encoder => foreign("TAESD's encoder, which previews do not need".to_owned()),
        Taesd::Decoder(layers) => {
            by_latent_channels(layers.config.latent_channels).map_or(Some(ModelKind::Taesd), foreign)
        }
    }
}

fn text_encoders(names: &[&str]) -> u8 {
    let is_table =
        |name: &&&str| TOKEN_TABLES.iter().any(|table| **name == *table || name.ends_with(&format!(".{table}")));
    names.iter().filter(is_table).count().min(usize::from(u8::MAX)) as u8
}

/// The family whose text encoder has this width. bigG belongs to XL.
fn text_family(header: &Header) -> Option<Family> {
    let widths: Vec<usize> = header
        .tensors
        .iter()
        .filter(|(name, _)| name.ends_with("token_embedding.weight"))
        .filter_map(|(_, tensor)| tensor.shape.get(1).copied())
        .collect();
    match widths.as_slice() {
        [768] => Some(Family::Sd1),
        [1024] => Some(Family::Sd2),
        widths if widths.contains(&1280) => Some(Family::Sdxl),
        _ => None,
    }
}

/// Vectors and family of a textual-inversion embedding.
fn embedding(header: &Header) -> Option<(u32, Option<Family>)> {
    if header.tensors.len() > MOST_TENSORS_OF_AN_EMBEDDING {
        return None;
    }
    let vectors = |tensor: &TensorHead| match *tensor.shape.as_slice() {
        [width] => Some((1, width)),
        [count, width] => Some((u32::try_from(count).ok()?, width)),
        _ => None,
    };
    let found: Vec<(u32, usize)> = header
        .tensors
        .values()
        .filter_map(vectors)
        .filter(|(count, width)| [768, 1024, 1280].contains(width) && (1..=1024).contains(count))
        .collect();
    let count = found.iter().map(|(count, _)| *count).max()?;
    let has = |wanted: usize| found.iter().any(|(_, width)| *width == wanted);
    let family = match (has(768), has(1024), has(1280)) {
        (_, _, true) => Some(Family::Sdxl),
        (true, false, _) => Some(Family::Sd1),
        (false, true, _) => Some(Family::Sd2),
        _ => None,
    };
    Some((count, family))
}

/// The types, that with the most bytes first; buffers of a few numbers are left out.
fn stored<'a>(tensors: impl Iterator<Item = &'a TensorHead>) -> Vec<String> {
    /// Less than this share of the bytes is no type of the model's.
    const LEAST_SHARE: u64 = 1000;
    let mut bytes: HashMap<&str, u64> = HashMap::new();
    for tensor in tensors {
        let sum = bytes.entry(tensor.stored.as_str()).or_default();
        *sum = sum.saturating_add(tensor.len_bytes);
    }
    let all = bytes.values().fold(0_u64, |sum, len| sum.saturating_add(*len));
    let mut types: Vec<(&str, u64)> = bytes.into_iter().filter(|(_, len)| *len >= all / LEAST_SHARE).collect();
    types.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    types.into_iter().map(|(name, _)| makers_notes::shown(name)).collect()
}

/// By tensors that only say so, then by the metadata.
fn prediction(header: &Header) -> Option<PredictionKind> {
    let has = |name: &str| header.tensors.contains_key(name);
    if has("edm_vpred.sigma_max") || has("edm_mean") {
        return Some(PredictionKind::Edm);
    }
    let v = if has("ztsnr") { PredictionKind::VZeroTerminalSnr } else { PredictionKind::V };
    if has("v_pred") {
        return Some(v);
    }
    match header.metadata.get("modelspec.prediction_type")?.as_str() {
        "epsilon" => Some(PredictionKind::Epsilon),
        said if said.starts_with('v') => Some(v),
        _ => None,
    }
}

#[derive(Deserialize, Default)]
struct ModelIndex {
    #[serde(rename = "_class_name", default)]
    class_name: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct UNetFacts {
    in_channels: Option<usize>,
    cross_attention_dim: Option<serde_json::Value>,
    projection_class_embeddings_input_dim: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SchedulerFacts {
    prediction_type: Option<String>,
    rescale_betas_zero_snr: Option<bool>,
}

/// A folder in the diffusers layout.
fn folder(path: &Path) -> Result<Card, CheckpointError> {
    let files = ModelFiles::Folder(path.to_owned());
    let index: Option<ModelIndex> = files.json_if_present("model_index.json")?;
    let class = index.as_ref().map_or("", |index| index.class_name.as_str());
    if !files.has("unet/config.json") {
        if class.is_empty() {
            return Err(CheckpointError::NotAModel { missing: "model_index.json", path: path.to_owned() });
        }
        return Ok(folder_card(ModelKind::Foreign(format!("a {}", makers_notes::shown(class)))));
    }
    let unet: UNetFacts = files.json("unet/config.json")?;
    let scheduler: SchedulerFacts = files.json_if_present("scheduler/scheduler_config.json")?.unwrap_or_default();
    let mut card = folder_card(ModelKind::Checkpoint);
    let context = unet.cross_attention_dim.and_then(|dim| Some(dim.as_u64()? as usize));
    card.family = family(context, unet.projection_class_embeddings_input_dim);
    card.purpose = purpose(unet.in_channels.unwrap_or(4));
    card.prediction = match (scheduler.prediction_type.as_deref(), scheduler.rescale_betas_zero_snr) {
        (Some("v_prediction"), Some(true)) => Some(PredictionKind::VZeroTerminalSnr),
        (Some("v_prediction"), _) => Some(PredictionKind::V),
        (Some("epsilon"), _) => Some(PredictionKind::Epsilon),
        _ => None,
    };
    if class.contains("ControlNet") || class.contains("Video") {
        card.kind = ModelKind::Foreign(format!("a {}", makers_notes::shown(class)));
    }
    let mut tensors = Vec::new();
    for part in ["unet", "text_encoder", "text_encoder_2", "vae"] {
        let weights = weights(&files, part);
        match part {
            _ if weights.is_empty() => {}
            "unet" => card.parts.unet = true,
            "vae" => card.parts.vae = true,
            _ => card.parts.text_encoders += 1,
        }
        for name in weights {
            let file = path.join(part).join(name);
            card.size_bytes = card.size_bytes.saturating_add(file.metadata().map_or(0, |facts| facts.len()));
            tensors.extend(Header::read(&file)?.tensors.into_values());
        }
    }
    card.stored = stored(tensors.iter());
    card.parameters = tensors.iter().fold(0, |sum: u64, tensor| sum.saturating_add(tensor.count()));
    Ok(card)
}

/// The files of weights of a part: one variant of them, not all.
fn weights(files: &ModelFiles, part: &str) -> Vec<String> {
    let mut names = files.names(part);
    let ending = |name: &str| Path::new(name).extension().map(std::ffi::OsStr::to_ascii_lowercase);
    names.retain(|name| ending(name).is_some_and(|ending| ending == "safetensors" || ending == "bin"));
    prefer(&mut names, |name| name.ends_with(".safetensors"));
    prefer(&mut names, |name| !name.contains(".fp16.") && !name.contains(".non_ema."));
    names
}

/// Leaves only those that are wanted, where there are any.
fn prefer(names: &mut Vec<String>, is_wanted: impl Fn(&str) -> bool) {
    if names.iter().any(|name| is_wanted(name)) {
        names.retain(|name| is_wanted(name));
    }
}

fn folder_card(kind: ModelKind) -> Card {
    Card {
        kind,
        family: None,
        purpose: Purpose::Pictures,
        container: Container::Folder,
        stored: Vec::new(),
        parts: Parts::default(),
        size_bytes: 0,
        parameters: 0,
        prediction: None,
        notes: makers_notes::read(&std::collections::BTreeMap::new()),
    }
}
