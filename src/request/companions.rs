//! What a model takes from other files than its own, and what its user knows better than it says.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::PredictionOverride;

/// The files that stand in for parts of a model. A part that is named here is taken instead of the model's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Companions {
    /// A VAE: a file, a folder with its configuration and weights, or a whole model of which only the VAE is used.
    pub vae: Option<PathBuf>,
    /// Text encoders, in any order: which is which shows by their shapes.
    pub text_encoders: Vec<PathBuf>,
    /// What the U-Net predicts; none for what the files say.
    pub prediction: Option<PredictionOverride>,
}

impl Companions {
    /// True when nothing stands in for anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names of the text encoders' files, for recipes.
    #[must_use]
    pub fn text_encoder_names(&self) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        self.text_encoders.iter().map(name).collect()
    }
}

/// What a recipe keeps of a VAE that was not the model's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedVae {
    /// The name of its file or folder, with its ending.
    pub name: String,
    /// The first 10 digits of the file's SHA-256; none for a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}
