//! How pictures in progress are shown: in rough colours, or as pictures that a TAESD decodes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Studio;
use crate::inference::message::ModelFacts;
use crate::library::message::{Entry, ModelKind};
use crate::state::model::ModelSource;

/// What the user chose.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PreviewChoice {
    /// By a TAESD of the library that is made for the model, where there is one.
    #[default]
    Automatic,
    /// In rough colours, which cost nothing.
    Quick,
    /// By this TAESD.
    File(PathBuf),
}

impl Studio {
    /// Takes in the choice; it counts from the next picture on.
    pub(super) fn set_previews(&mut self, choice: PreviewChoice, now_secs: f64) {
        if let PreviewChoice::File(path) = &choice {
            self.notices
                .tell(format!("Pictures in progress are decoded by {} from the next one on", name(path)), now_secs);
        }
        self.settings.previews = choice;
    }

    /// The TAESD that shows the next picture's steps; none for rough colours.
    #[must_use]
    pub fn preview_decoder(&self) -> Option<&Path> {
        let facts = self.model.facts()?;
        // Its latents are its own.
        if facts.source == ModelSource::BuiltIn {
            return None;
        }
        match &self.settings.previews {
            PreviewChoice::Quick => None,
            PreviewChoice::File(path) => Some(path),
            PreviewChoice::Automatic => {
                let mut entries = self.library.index.entries.iter();
                entries.find(|entry| is_made_for(entry, facts)).map(|entry| entry.path.as_path())
            }
        }
    }

    /// What the previews are like now, for the settings.
    #[must_use]
    pub fn previews_in_words(&self) -> String {
        match (self.preview_decoder(), self.model.facts().map(|facts| &facts.source), &self.settings.previews) {
            (Some(path), ..) => format!("Sharp, by {}", name(path)),
            (None, _, PreviewChoice::Quick) => "Rough, at no cost".to_owned(),
            (None, Some(ModelSource::BuiltIn), _) => "Rough: no TAESD knows the built-in model".to_owned(),
            (None, _, PreviewChoice::File(path)) => format!("Sharp, by {}, once a model is loaded", name(path)),
            (None, ..) => "Rough: the model folders hold no TAESD for the model".to_owned(),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The two kinds have the same shapes: which it is shows in its name alone, "taesdxl_decoder" or "taesd_decoder".
fn is_made_for(entry: &Entry, facts: &ModelFacts) -> bool {
    let is_taesd = entry.known().is_some_and(|card| card.kind == ModelKind::Taesd);
    let names = entry.path.iter().rev().map(|part| part.to_string_lossy().to_ascii_lowercase());
    // In a folder of diffusers' it is the folder that has the name.
    let name =
        names.into_iter().find(|name| name.contains("taesd")).unwrap_or_else(|| entry.stem().to_ascii_lowercase());
    is_taesd && name.contains("xl") == facts.has_xl_latents
}
