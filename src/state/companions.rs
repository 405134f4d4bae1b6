//! What models take from other files: chosen by the user, or as a recipe asks for it.

use std::path::{Path, PathBuf};

use super::Studio;
use super::action::Effect;
use super::model::{ModelSource, ModelStatus};
use crate::gallery::record::ReadRecipe;
use crate::library::message::KindGroup;
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

    /// Brings what the model at hand takes from other files to what a recipe says, as far as the library has it. Says
    /// what could not be done.
    pub(super) fn use_parts_of(&mut self, recipe: &ReadRecipe) -> (Vec<String>, Vec<Effect>) {
        let Some(facts) = self.model.facts() else { return (Vec::new(), Vec::new()) };
        let is_of_model = recipe.model.as_deref() == Some(facts.name.as_str()) || self.has_model_of(recipe);
        let ModelSource::OnDisk(model) = facts.source.clone() else { return (Vec::new(), Vec::new()) };
        if !is_of_model {
            let other = recipe.vae.as_ref().map(|vae| format!("it was made with the VAE {}", vae.name));
            return (other.into_iter().collect(), Vec::new());
        }
        let mut left = Vec::new();
        let mut wanted = facts.companions.clone();
        let used = facts.vae.as_ref();
        match (&recipe.vae, used) {
            (Some(named), Some(used)) if is_the_same(used, named) => {}
            (Some(named), _) => match self.library.index.find_vae(&named.name, named.hash.as_deref()).first() {
                Some(entry) => wanted.vae = Some(entry.path.clone()),
                None => left.push(format!("it was made with the VAE {}, which is not in the library", named.name)),
            },
            // Only of our own pictures is it known that they were made without another.
            (None, Some(_)) if is_ours(recipe) => wanted.vae = Some(model.clone()),
            (None, _) => {}
        }
        if is_ours(recipe) {
            wanted.prediction = recipe.prediction;
            if recipe.text_encoders != wanted.text_encoder_names() {
                wanted.text_encoders = self.text_encoders_called(&recipe.text_encoders, &mut left);
            }
        }
        (left, self.set_companions(model, wanted))
    }

    fn text_encoders_called(&self, names: &[String], left: &mut Vec<String>) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for name in names {
            match self.library.index.find_part(name, KindGroup::TextEncoder).first() {
                Some(entry) => found.push(entry.path.clone()),
                None => left.push(format!("it was made with the text encoder {name}, which is not in the library")),
            }
        }
        found
    }
}

fn is_ours(recipe: &ReadRecipe) -> bool {
    recipe.tool.as_deref() == Some("Calotype")
}

/// By the hashes where both are known, else by the names.
fn is_the_same(used: &RecordedVae, named: &RecordedVae) -> bool {
    match (&used.hash, &named.hash) {
        (Some(used), Some(named)) => used.eq_ignore_ascii_case(named),
        _ => used.name.eq_ignore_ascii_case(&named.name),
    }
}
