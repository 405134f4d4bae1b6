//! The folders of other programs, recognised when their root is added: which of them hold what.

use std::path::{Path, PathBuf};

use crate::library::extra_paths;
use crate::library::message::KindGroup;

/// What a root consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Whose it is.
    pub program: Option<&'static str>,
    /// Folders to list, with what their unread files are taken for.
    pub parts: Vec<(PathBuf, Option<KindGroup>)>,
}

/// Folders below `models` and what they hold.
type Shelves = &'static [(&'static str, KindGroup)];

const A1111: Shelves = &[
    ("Stable-diffusion", KindGroup::Checkpoint),
    ("Lora", KindGroup::Lora),
    ("LyCORIS", KindGroup::Lora),
    ("VAE", KindGroup::Vae),
    ("VAE-approx", KindGroup::Taesd),
    ("text_encoder", KindGroup::TextEncoder),
    ("diffusers", KindGroup::Checkpoint),
    ("ControlNet", KindGroup::Other),
];

const COMFYUI: Shelves = &[
    ("checkpoints", KindGroup::Checkpoint),
    ("diffusers", KindGroup::Checkpoint),
    ("loras", KindGroup::Lora),
    ("embeddings", KindGroup::Embedding),
    ("vae", KindGroup::Vae),
    ("diffusion_models", KindGroup::UNet),
    ("unet", KindGroup::UNet),
    ("text_encoders", KindGroup::TextEncoder),
    ("clip", KindGroup::TextEncoder),
    ("vae_approx", KindGroup::Taesd),
    ("controlnet", KindGroup::Other),
];

/// Looks at the names of the folders in a root.
pub fn recognise(root: &Path) -> Layout {
    let models = root.join("models");
    if models.join("Stable-diffusion").is_dir() {
        let mut parts = shelves(&models, A1111);
        let embeddings = root.join("embeddings");
        if embeddings.is_dir() {
            parts.push((embeddings, Some(KindGroup::Embedding)));
        }
        // Forge keeps its own modules beside A1111's.
        let is_forge = root.join("modules_forge").is_dir();
        return Layout { program: Some(if is_forge { "Forge" } else { "AUTOMATIC1111" }), parts };
    }
    if models.join("checkpoints").is_dir() {
        let is_fooocus = root.join("fooocus_version.py").is_file() || models.join("prompt_expansion").is_dir();
        let program = if is_fooocus { "Fooocus" } else { "ComfyUI" };
        let mut parts = shelves(&models, COMFYUI);
        parts.extend(elsewhere(root));
        return Layout { program: Some(program), parts };
    }
    if root.join("Stable-diffusion").is_dir() {
        return Layout { program: Some("AUTOMATIC1111"), parts: shelves(root, A1111) };
    }
    if root.join("checkpoints").is_dir() && (root.join("loras").is_dir() || root.join("vae").is_dir()) {
        return Layout { program: Some("ComfyUI"), parts: shelves(root, COMFYUI) };
    }
    // Its names lie in a database; what lies in its folders is listed as it is.
    let is_invoke = root.join("databases").is_dir() && models.is_dir();
    if is_invoke {
        return Layout { program: Some("InvokeAI"), parts: vec![(models, None)] };
    }
    Layout { program: None, parts: vec![(root.to_owned(), None)] }
}

/// What ComfyUI is told to find elsewhere.
fn elsewhere(root: &Path) -> Vec<(PathBuf, Option<KindGroup>)> {
    let group = |kind: &str| COMFYUI.iter().find(|(name, _)| *name == kind).map(|(_, group)| *group);
    let named = extra_paths::read(root).into_iter().filter_map(|(kind, folder)| Some((folder, Some(group(&kind)?))));
    named.filter(|(folder, _)| folder.is_dir()).collect()
}

fn shelves(models: &Path, shelves: Shelves) -> Vec<(PathBuf, Option<KindGroup>)> {
    let parts = shelves.iter().map(|(name, group)| (models.join(name), Some(*group)));
    parts.filter(|(folder, _)| folder.is_dir()).collect()
}
