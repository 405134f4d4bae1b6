//! Files that stand in for parts of a model: a VAE or text encoders, alone in a file or folder, or inside a whole model.

use std::path::{Path, PathBuf};

use super::files::ModelFiles;
use super::part_source::PartSource;
use super::single_file::{self, text, vae};
use super::taesd::Taesd;
use super::tensor_file::TensorFile;
use super::towers::{FoundTower, TowerForm};
use super::{CheckpointError, foreign};
use crate::diffusion::vae::VaeConfig;

/// How diffusers names the weights of its VAEs.
const VAE_STEM: &str = "diffusion_pytorch_model";
/// How transformers names the weights of its text encoders.
const TEXT_STEM: &str = "model";

/// The VAE at `path`, its latents scaled as the model's family wants them.
///
/// # Errors
/// When there is none, or only half of one.
pub(super) fn vae_at(path: &Path, scaling_factor: f64) -> Result<(VaeConfig, PartSource), CheckpointError> {
    let files = ModelFiles::at(path)?;
    if !matches!(files, ModelFiles::Folder(_)) {
        let file = single_file::open(path)?;
        let found = vae::find(&file).ok_or_else(|| no_such(&file, "VAE"))?;
        return Ok((vae::config(&found, scaling_factor)?, found.source()));
    }
    let folder = ["vae", ""].into_iter().find(|folder| files.has(&config_in(folder)));
    let Some(folder) = folder else {
        return Err(CheckpointError::NotAModel { missing: "config.json", path: path.to_owned() });
    };
    let mut config: VaeConfig = files.json(&config_in(folder))?;
    config.scaling_factor = scaling_factor;
    Ok((config, PartSource::Folder { files, folder, stem: VAE_STEM }))
}

/// The text encoders at `path`, at least one.
///
/// # Errors
/// When there is none.
pub(super) fn text_encoders_at(path: &Path) -> Result<Vec<FoundTower>, CheckpointError> {
    let files = ModelFiles::at(path)?;
    if !matches!(files, ModelFiles::Folder(_)) {
        let file = single_file::open(path)?;
        let found = text_encoders_in(&file, Some(path))?;
        return if found.is_empty() { Err(no_such(&file, "text encoder of CLIP")) } else { Ok(found) };
    }
    // A whole model's own configuration is not a text encoder's.
    let is_whole = files.has("model_index.json");
    let folders: &[&str] = if is_whole { &["text_encoder", "text_encoder_2"] } else { &[""] };
    let mut found = Vec::new();
    for folder in folders.iter().filter(|folder| files.has(&config_in(folder))) {
        let form = TowerForm::Configured(Box::new(files.json(&config_in(folder))?), None);
        let source = PartSource::Folder { files: files.clone(), folder, stem: TEXT_STEM };
        found.push(FoundTower { form, source, companion: Some(path.to_owned()) });
    }
    if found.is_empty() {
        return Err(CheckpointError::NotAModel { missing: "config.json", path: path.to_owned() });
    }
    Ok(found)
}

/// The text encoders in an open file, which may be those of a companion.
///
/// # Errors
/// When one is damaged.
pub(super) fn text_encoders_in(
    file: &TensorFile,
    companion: Option<&Path>,
) -> Result<Vec<FoundTower>, CheckpointError> {
    let of_part = |part| {
        let form = TowerForm::Shown(text::shape(&part)?);
        Ok(FoundTower { form, source: part.source(), companion: companion.map(Path::to_owned) })
    };
    text::find(file).into_iter().map(of_part).collect()
}

/// The VAE that lies beside a checkpoint under its name, as A1111 finds it.
#[must_use]
pub fn vae_beside(checkpoint: &Path) -> Option<PathBuf> {
    let endings = ["vae.safetensors", "vae.ckpt", "vae.pt"];
    endings.into_iter().map(|ending| checkpoint.with_extension(ending)).find(|path| path.is_file())
}

fn config_in(folder: &str) -> String {
    if folder.is_empty() { "config.json".to_owned() } else { format!("{folder}/config.json") }
}

fn no_such(file: &TensorFile, wanted: &'static str) -> CheckpointError {
    let names: Vec<&str> = file.tensors().map(|(name, _)| name.as_str()).collect();
    let part = foreign::part(&names).or_else(|| Taesd::name_in(file));
    let what = part.unwrap_or("a file of other tensors");
    CheckpointError::NoSuchPart { wanted, what, path: file.path().clone() }
}
