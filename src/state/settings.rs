//! What the user set once and wants to find again: look, folders, model.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::gallery::message::JpegQuality;
use crate::inference::message::ModelSource;
use crate::request::{Companions, DeviceChoice, PrecisionChoice, ThreadCount};
use crate::state::previews::PreviewChoice;

/// Which look the window has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ThemeChoice {
    /// As the desktop has it; dark where it does not say.
    #[default]
    System,
    /// Dark.
    Dark,
    /// Light.
    Light,
}

impl ThemeChoice {
    /// All, in menu order.
    pub const ALL: [Self; 3] = [Self::System, Self::Dark, Self::Light];

    /// The name in the window.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::Dark => "Dark",
            Self::Light => "Light",
        }
    }
}

/// Survives a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The look.
    pub theme: ThemeChoice,
    /// Times the display's own scale, [`Settings::SCALES`].
    pub ui_scale: f32,
    /// The gallery's folder; none means the usual place.
    pub gallery_folder: Option<PathBuf>,
    /// The model to load at the start.
    pub model: ModelSource,
    /// What models from disk take from other files, each named once; those that take nothing are left out.
    pub companions: Vec<(PathBuf, Companions)>,
    /// Model folders and files used before, the latest first.
    pub recent_models: Vec<PathBuf>,
    /// The start image's file, to be opened again.
    pub start_image: Option<PathBuf>,
    /// What weights are kept in.
    pub precision: PrecisionChoice,
    /// On what pictures are computed.
    pub device: DeviceChoice,
    /// How many threads compute, from the next start on.
    pub threads: ThreadCount,
    /// How pictures in progress are shown.
    pub previews: PreviewChoice,
    /// How much of a picture an exported JPEG keeps.
    pub jpeg_quality: JpegQuality,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: ThemeChoice::default(),
            ui_scale: 1.0,
            gallery_folder: None,
            model: ModelSource::default(),
            companions: Vec::new(),
            recent_models: Vec::new(),
            start_image: None,
            precision: PrecisionChoice::default(),
            device: DeviceChoice::default(),
            threads: ThreadCount::default(),
            previews: PreviewChoice::default(),
            jpeg_quality: JpegQuality::default(),
        }
    }
}

impl Settings {
    /// The scales that the settings offer.
    pub const SCALES: [f32; 6] = [0.75, 0.9, 1.0, 1.25, 1.5, 2.0];
    /// How many models are remembered.
    const RECENT: usize = 8;

    /// Puts a model from disk at the front of the recent ones.
    pub fn remember_model(&mut self, source: &ModelSource) {
        if let ModelSource::OnDisk(path) = source {
            self.recent_models.retain(|known| known != path);
            self.recent_models.insert(0, path.clone());
            self.recent_models.truncate(Self::RECENT);
        }
    }

    /// What a model takes from other files.
    #[must_use]
    pub fn companions_of(&self, source: &ModelSource) -> Companions {
        let ModelSource::OnDisk(path) = source else { return Companions::default() };
        let known = self.companions.iter().find(|(model, _)| model == path);
        known.map(|(_, companions)| companions.clone()).unwrap_or_default()
    }

    /// Changes what a model takes from other files.
    pub fn set_companions(&mut self, source: &ModelSource, companions: Companions) {
        let ModelSource::OnDisk(path) = source else { return };
        self.companions.retain(|(model, _)| model != path);
        if !companions.is_empty() {
            self.companions.push((path.clone(), companions));
        }
    }

    /// Brings a scale from a damaged file back into range.
    pub fn repair(&mut self) {
        if !self.ui_scale.is_finite() {
            self.ui_scale = 1.0;
        }
        self.ui_scale = self.ui_scale.clamp(Self::SCALES[0], Self::SCALES[Self::SCALES.len() - 1]);
    }
}
