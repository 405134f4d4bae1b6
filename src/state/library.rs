//! The models that the library lists, what they mean for the recipe on the canvas, and how a LoRA gets into the prompt.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Studio;
use super::action::Effect;
use super::model::ModelSource;
use super::networks::NetworkFiles;
use crate::gallery::record::ReadRecipe;
use crate::library::index::{Found, LibraryIndex};
use crate::library::message::{Command, Entry, Event, KindGroup};

/// What the window knows of the library.
#[derive(Debug, Default)]
pub struct Library {
    /// As the thread told it last.
    pub index: Arc<LibraryIndex>,
    /// What of it prompts can call.
    pub files: Arc<NetworkFiles>,
    /// False until the folders were read for the first time.
    pub is_listed: bool,
    /// True when the thread is gone.
    pub has_ended: bool,
    /// The model that the recipe on the canvas asks for, when another one is loaded.
    offered: Option<PathBuf>,
    /// For what `offered` was looked up.
    offered_for: Option<(u64, usize, ModelSource)>,
}

impl Library {
    /// The short hash of a model's file, where it is known.
    #[must_use]
    pub fn short_hash(&self, source: &ModelSource) -> Option<String> {
        let ModelSource::OnDisk(path) = source else { return None };
        self.index.at(path)?.short_hash().map(str::to_owned)
    }
}

impl Studio {
    /// Takes in an event of the library's thread.
    pub fn on_library(&mut self, event: Event, now_secs: f64) {
        match event {
            Event::Changed(index) => {
                self.library.files = Arc::new(NetworkFiles::of(&index));
                self.library.index = index;
                self.library.is_listed = true;
                self.library.has_ended = false;
                self.library.offered_for = None;
            }
            Event::Refused { error } => self.notices.complain(error, now_secs),
        }
    }

    /// The library's thread is gone; what it listed stays.
    pub fn on_library_ended(&mut self) {
        self.library.has_ended = true;
    }

    /// True while nothing is loaded or drawn, which hashing would slow down.
    #[must_use]
    pub fn is_free_for_hashing(&self) -> bool {
        self.model.waiting_for().is_none() && !self.can_stop()
    }

    /// The library's model that the recipe on the canvas was made with, when another one is loaded.
    #[must_use]
    pub fn offered_model(&self) -> Option<&Path> {
        self.library.offered.as_deref()
    }

    /// Looks the model of the shown recipe up again, when the picture, the library or the model changed.
    pub(super) fn refresh_offered_model(&mut self) {
        let index = Arc::as_ptr(&self.library.index) as usize;
        let key = (self.canvas.revision(), index, self.model.source().clone());
        if self.library.offered_for.as_ref() == Some(&key) {
            return;
        }
        self.library.offered_for = Some(key);
        let recipe = self.canvas.shown_picture().and_then(|picture| picture.recipe.as_ref());
        let offered = recipe.and_then(|recipe| self.model_of(recipe)).map(|entry| entry.path.clone());
        self.library.offered = offered.filter(|path| !self.is_loaded(path));
    }

    /// The model of a recipe by its hash, whatever it is called here, else by its name.
    fn model_of(&self, recipe: &ReadRecipe) -> Option<&Entry> {
        let by = |asked: &Option<String>| match self.library.index.find_checkpoint(asked.as_deref()?) {
            Found::One(entry) => Some(entry),
            // Which of several it was cannot be known.
            Found::Many(_) | Found::Nothing => None,
        };
        by(&recipe.model_hash).or_else(|| by(&recipe.model))
    }

    /// True when the recipe's model is the one that is loaded, under whatever name.
    pub(super) fn has_model_of(&self, recipe: &ReadRecipe) -> bool {
        self.model_of(recipe).is_some_and(|entry| self.is_loaded(&entry.path))
    }

    fn is_loaded(&self, path: &Path) -> bool {
        matches!(self.model.source(), ModelSource::OnDisk(loaded) if loaded == path)
    }

    /// Puts a LoRA or an embedding at the end of the prompt, as prompts spell it.
    pub(super) fn insert_into_prompt(&mut self, path: &Path, now_secs: f64) {
        let Some(words) = self.library.index.at(path).and_then(|entry| self.spelled(entry)) else { return };
        let prompt = &mut self.form.prompt;
        if !prompt.is_empty() && !prompt.ends_with(char::is_whitespace) {
            prompt.push(' ');
        }
        prompt.push_str(&words);
        self.notices.tell(format!("{words} is in the prompt"), now_secs);
    }

    /// How a prompt names an entry: by its stem where that is enough, else by its path below its folder.
    #[must_use]
    pub fn spelled(&self, entry: &Entry) -> Option<String> {
        match entry.group {
            KindGroup::Lora => {
                let is_enough =
                    matches!(self.library.index.find_lora(entry.stem()), Found::One(found) if found == entry);
                let name = if is_enough { entry.stem() } else { entry.name.as_str() };
                Some(format!("<lora:{name}:1>"))
            }
            KindGroup::Embedding => Some(entry.stem().to_owned()),
            _ => None,
        }
    }

    /// Tells the library's thread; a thread that is gone is not told.
    pub(super) fn tell_library(&self, command: Command) -> Vec<Effect> {
        if self.library.has_ended { Vec::new() } else { vec![Effect::Library(command)] }
    }
}
