//! What is known about the model: asked for, found, loading, ready or failed.

use crate::inference::message::ModelFacts;
pub use crate::inference::message::ModelSource;

/// Where the model stands.
#[derive(Debug, Clone)]
pub enum ModelStatus {
    /// Asked for; its configuration is not read yet.
    Asked(ModelSource),
    /// Described; its weights are on their way.
    Loading {
        /// What it is.
        facts: Box<ModelFacts>,
        /// Share of the weights in memory, 0 to 1.
        fraction: f32,
    },
    /// Ready to draw.
    Ready {
        /// What it is.
        facts: Box<ModelFacts>,
    },
    /// Its loading was stopped; none is loaded.
    Stopped(ModelSource),
    /// Could not be loaded; none is loaded.
    Failed {
        /// Which.
        source: ModelSource,
        /// Why.
        error: String,
    },
}

impl ModelStatus {
    /// What it is, once that is known.
    #[must_use]
    pub fn facts(&self) -> Option<&ModelFacts> {
        match self {
            Self::Loading { facts, .. } | Self::Ready { facts, .. } => Some(facts),
            Self::Asked(_) | Self::Stopped(_) | Self::Failed { .. } => None,
        }
    }

    /// Where it comes from.
    #[must_use]
    pub fn source(&self) -> &ModelSource {
        match self {
            Self::Asked(source) | Self::Stopped(source) | Self::Failed { source, .. } => source,
            Self::Loading { facts, .. } | Self::Ready { facts, .. } => &facts.source,
        }
    }

    /// True where no model is loaded, and none will be unless one is asked for.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Stopped(_) | Self::Failed { .. })
    }

    /// The name for the model line.
    #[must_use]
    pub fn name(&self) -> String {
        self.facts().map_or_else(|| short_name(self.source()), |facts| facts.name.clone())
    }

    /// What is being waited for, if anything.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        match self {
            Self::Asked(_) => Some(format!("Reading model {}…", self.name())),
            Self::Loading { fraction, .. } => {
                Some(format!("Loading model {}… {:.0} %", self.name(), fraction.clamp(0.0, 1.0) * 100.0))
            }
            Self::Ready { .. } | Self::Stopped(_) | Self::Failed { .. } => None,
        }
    }
}

/// The path's last part, or "Built-in model".
#[must_use]
pub fn short_name(source: &ModelSource) -> String {
    match source {
        ModelSource::BuiltIn => "Built-in model".to_owned(),
        ModelSource::OnDisk(path) => {
            path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
        }
    }
}
