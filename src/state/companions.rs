//! What models take from other files: chosen by the user, or as a recipe asks for it.

use std::path::{Path, PathBuf};

use super::Studio;
use super::action::Effect;
use super::model::{ModelSource, ModelStatus};
use crate::gallery::record::ReadRecipe;
use crate::request::{Companions, RecordedVae};

impl Studio {
    /// Remembers what a model takes from other files; the model at hand is loaded again.
    pub(super) fn set_companions(&mut self, model: PathBuf, companions: Companions) -> Vec<Effect> {
        let source = ModelSource::OnDisk(model);
        if self.settings.companions_of(&source) == companions {
            return Vec::new();
        }
        self.settings.set_companions(&source, companions);
        if self.settings.model != source || !self.is_engine_alive {
            return Vec::new();
        }
        self.model = ModelStatus::Asked(source);
        vec![self.load_effect()]
    }

    /// Takes a file that was chosen as the VAE of a model.
    pub(super) fn choose_vae(&mut self, model: &Path, vae: PathBuf) -> Vec<Effect> {
        let now = self.settings.companions_of(&ModelSource::OnDisk(model.to_owned()));
        self.set_companions(model.to_owned(), Companions { vae: Some(vae), ..now })
    }

    /// Takes a file that was chosen as one more text encoder of a model.
    pub(super) fn choose_text_encoder(&mut self, model: &Path, text_encoder: PathBuf) -> Vec<Effect> {
        let mut now = self.settings.companions_of(&ModelSource::OnDisk(model.to_owned()));
        if !now.text_encoders.contains(&text_encoder) {
            now.text_encoders.push(text_encoder);
        }
        self.set_companions(model.to_owned(), now)
    }

    /// Brings the VAE of the model at hand to the one of a recipe. Says what could not be done.
    pub(super) fn use_vae_of(&mut self, recipe: &ReadRecipe) -> (Option<String>, Vec<Effect>) {
        let Some(facts) = self.model.facts() else { return (None, Vec::new()) };
        let (used, source) = (facts.vae.clone(), facts.source.clone());
        let is_of_model = recipe.model.as_deref() == Some(facts.name.as_str()) || self.has_model_of(recipe);
        let Some(named) = &recipe.vae else {
            // Only of our own pictures is it known that they were made without another.
            let is_ours = recipe.tool.as_deref() == Some("Calotype") && is_of_model;
            let left = used
                .filter(|_| is_ours)
                .map(|used| format!("it was made with the model's own VAE, and {} is used", used.name));
            return (left, Vec::new());
        };
        if used.as_ref().is_some_and(|used| is_the_same(used, named)) {
            return (None, Vec::new());
        }
        let found = self.library.index.find_vae(&named.name, named.hash.as_deref()).first();
        match (found.map(|entry| entry.path.clone()), source) {
            (Some(path), ModelSource::OnDisk(model)) if is_of_model => (None, self.choose_vae(&model, path)),
            (Some(_), _) => (Some(format!("it was made with the VAE {}", named.name)), Vec::new()),
            (None, _) => {
                (Some(format!("it was made with the VAE {}, which is not in the library", named.name)), Vec::new())
            }
        }
    }
}

/// By the hashes where both are known, else by the names.
fn is_the_same(used: &RecordedVae, named: &RecordedVae) -> bool {
    match (&used.hash, &named.hash) {
        (Some(used), Some(named)) => used.eq_ignore_ascii_case(named),
        _ => used.name.eq_ignore_ascii_case(&named.name),
    }
}
