//! What changes the model for a picture: LoRAs and their relatives, and embeddings, by name and file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A file that can be called by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// The file's name without folder and ending.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
}

impl NamedFile {
    /// Under the name that its path gives it.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self { name, path: path.to_owned() }
    }
}

/// A LoRA or one of its relatives, and how strongly it acts.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterUse {
    /// As it was called.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// On the U-Net: 1 is as it was trained, 0 is not at all, negative steers away.
    pub unet_weight: f64,
    /// On the text encoders.
    pub text_weight: f64,
}

/// A textual-inversion embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingUse {
    /// What stands for it in the prompt.
    pub word: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// What a recipe keeps of an adapter: enough to find the file again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedAdapter {
    /// As it was called.
    pub name: String,
    /// The first 12 digits of the SHA-256 of what stands behind the file's header.
    pub hash: String,
    /// On the U-Net.
    pub unet_weight: f64,
    /// On the text encoders.
    pub text_weight: f64,
}

/// What a recipe keeps of an embedding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEmbedding {
    /// What stands for it in the prompt.
    pub word: String,
    /// The first 12 digits of the file's SHA-256.
    pub hash: String,
}
