//! What the user's actions change.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::action::{Action, Effect, Question};
use super::canvas::ShownPicture;
use super::form::{PlannedPicture, StartImage};
use super::gallery::Purpose;
use super::model::ModelStatus;
use super::previews::PreviewChoice;
use super::queue::Stopped;
use super::{Moment, RememberedPress, Studio};
use crate::gallery::message::{Caption, Command, SaveId};
use crate::gallery::record::ReadRecipe;
use crate::inference::message::ModelSource;
use crate::library::message::Command as LibraryCommand;
use crate::prompt::called_adapters;
use crate::prompt::wildcards::{Stream, draw};
use crate::request::{DeviceChoice, Dialect, Precision, PrecisionChoice};

impl Studio {
    /// Takes in an action of the user.
    pub fn apply(&mut self, action: Action, moment: Moment) -> Vec<Effect> {
        match action {
            Action::Generate => return self.generate(moment),
            Action::TryPrompt(prompt) => return self.try_prompt(prompt, moment),
            Action::RollPrompt => _ = self.roll_prompt(moment),
            Action::TryRandomPrompt => return self.try_random_prompt(moment),
            Action::Stop => return self.stop(),
            Action::DrawSeed => {
                self.form.seed = moment.random_seed.to_string();
                self.form.is_seed_locked = true;
            }
            Action::UseModelDefaults => {
                self.form.forget_model_choices();
                if let Some(facts) = self.model.facts() {
                    self.form.follow(&facts.defaults.clone());
                }
            }
            Action::LoadModel(source) => return self.load_model(source),
            Action::StopLoading => return self.stop_loading(),
            Action::SetPrecision(choice) => return self.set_precision(choice),
            Action::SetDevice(choice) => return self.set_device(choice),
            Action::SetCompanions(model, companions) => return self.set_companions(model, companions),
            Action::AddModelFolder(folder) => return self.tell_library(LibraryCommand::AddFolder(folder)),
            Action::RemoveModelFolder(folder) => return self.tell_library(LibraryCommand::RemoveFolder(folder)),
            Action::ReadModelsAgain => return self.tell_library(LibraryCommand::Rescan),
            Action::Download(what) => return self.download(what, moment.now_secs),
            Action::CancelDownload(id) => return vec![Effect::CancelDownload(id)],
            Action::DownloadAgain(id) => return self.download_again(id),
            Action::DismissDownload(id) => self.dismiss_download(id),
            Action::InsertIntoPrompt(path) => self.insert_into_prompt(&path, moment.now_secs),
            Action::RestartEngine => return self.restart_engine(),
            Action::DismissFailure => self.failure = None,
            Action::ShowProgress => self.canvas.show_progress(),
            Action::CloseCanvas => {
                self.canvas.clear();
                self.gallery.selected = None;
            }
            Action::SetTheme(theme) => self.settings.theme = theme,
            Action::SetScale(scale) => {
                self.settings.ui_scale = scale;
                self.settings.repair();
            }
            Action::SetPreviews(choice) => self.set_previews(choice, moment.now_secs),
            Action::SetThreads(count) => self.settings.threads = count,
            Action::SetJpegQuality(quality) => self.settings.jpeg_quality = quality,
            Action::DismissNotice(id) => self.notices.dismiss(id),
            Action::UseSettings => return self.use_settings(moment.now_secs),
            Action::CompareWith(path) => return self.compare_with(&path, moment.now_secs),
            Action::StopComparing => self.comparison = None,
            Action::UseAsStartImage => self.use_as_start_image(),
            Action::ClearStartImage => self.form.start_image = None,
            Action::CopyText(text) => {
                self.notices.tell("Text copied", moment.now_secs);
                return vec![Effect::CopyText(text)];
            }
            Action::CopyPicture => return self.copy_picture(moment.now_secs),
            Action::ShowInFolder(path) => return vec![Effect::ShowInFolder(path)],
            Action::Ask(question) => return vec![Effect::Ask(question)],
            files => return self.apply_to_files(files, moment.now_secs),
        }
        Vec::new()
    }

    /// The actions that end at the gallery thread.
    fn apply_to_files(&mut self, action: Action, now_secs: f64) -> Vec<Effect> {
        match action {
            Action::Open(path, purpose) => self.open(&path, purpose),
            Action::Select(path) => {
                self.gallery.selected = Some(path.clone());
                self.open(&path, Purpose::View)
            }
            Action::AskToDelete(path) => {
                self.gallery.to_delete = Some(path);
                Vec::new()
            }
            Action::KeepPicture => {
                self.gallery.to_delete = None;
                Vec::new()
            }
            Action::Delete => {
                self.gallery.to_delete.take().map(|path| Effect::Gallery(Command::Delete(path))).into_iter().collect()
            }
            Action::ReadGalleryAgain => vec![Effect::Gallery(Command::List)],
            Action::WantThumbnail(path) => vec![Effect::Gallery(Command::Thumbnail(path))],
            Action::UseUsualGallery => {
                self.settings.gallery_folder = None;
                vec![Effect::UseUsualGallery]
            }
            Action::SaveShownAs => self.save_shown_as(now_secs),
            Action::SaveAgain(id) => self.save_again(id),
            Action::SaveUnsavedAs(id) => vec![Effect::Ask(Question::SaveAs { id, name: "picture.png".to_owned() })],
            Action::ShowUnsaved(id) => {
                self.show_unsaved(id);
                Vec::new()
            }
            Action::GiveUpUnsaved(id) => {
                self.canvas.give_up(id);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Takes in the answer to a file dialog.
    pub fn on_answer(&mut self, question: &Question, path: PathBuf, now_secs: f64) -> Vec<Effect> {
        match question {
            Question::ModelFolder | Question::ModelFile => self.load_model(ModelSource::OnDisk(path)),
            Question::Vae(model) => self.choose_vae(model, path),
            Question::TextEncoder(model) => self.choose_text_encoder(model, path),
            Question::LibraryFolder => self.tell_library(LibraryCommand::AddFolder(path)),
            Question::PreviewDecoder => {
                self.set_previews(PreviewChoice::File(path), now_secs);
                Vec::new()
            }
            Question::Picture => self.open(&path, Purpose::View),
            Question::StartImage => self.open(&path, Purpose::StartImage),
            Question::OtherPicture => self.compare_with(&path, now_secs),
            Question::GalleryFolder => {
                self.settings.gallery_folder = Some(path.clone());
                vec![Effect::Gallery(Command::SetFolder(path))]
            }
            Question::SaveAs { id, .. } => self.save_as(*id, &path),
        }
    }

    /// The user closed a file dialog without a choice.
    pub fn on_no_answer(&mut self, question: &Question) {
        if let Question::SaveAs { id, .. } = question {
            self.canvas.save_dialog_cancelled(*id);
        }
    }

    fn try_prompt(&mut self, prompt: String, moment: Moment) -> Vec<Effect> {
        self.replace_prompt(prompt);
        self.generate(moment)
    }

    fn try_random_prompt(&mut self, moment: Moment) -> Vec<Effect> {
        if self.roll_prompt(moment) { self.generate(moment) } else { Vec::new() }
    }

    /// What the user wrote there before can be found among the earlier prompts.
    fn replace_prompt(&mut self, prompt: String) {
        if self.form.prompt != self.rolled_prompt {
            self.history.remember(&self.form.prompt);
        }
        self.form.prompt = prompt;
    }

    /// Draws a prompt from the model's own template; false when it has none, or none can be drawn.
    fn roll_prompt(&mut self, moment: Moment) -> bool {
        let Some(template) = self.model.facts().and_then(|facts| facts.random_prompt.clone()) else { return false };
        match draw(&template, Dialect::A1111, moment.random_seed, Stream::Prompt, &self.wildcards) {
            Ok(prompt) => {
                self.replace_prompt(prompt.clone());
                self.rolled_prompt = prompt;
                true
            }
            Err(error) => {
                self.notices.tell(format!("No prompt can be drawn for this model: {error}"), moment.now_secs);
                false
            }
        }
    }

    fn generate(&mut self, moment: Moment) -> Vec<Effect> {
        let errors = self.form.errors();
        if !errors.is_empty() {
            let words = errors.into_iter().map(|error| error.message).collect::<Vec<_>>().join("\n");
            // The fields say it too, for as long as it is so.
            self.notices.tell(words, moment.now_secs);
            return Vec::new();
        }
        if !self.form.is_seed_locked {
            self.form.seed = moment.random_seed.to_string();
        }
        self.notices.forget_refusals();
        self.history.remember(&self.form.prompt);
        self.canvas.follow();
        self.failure = None;
        if matches!(self.model, ModelStatus::Asked(_)) {
            let wildcards = self.wildcards.clone();
            self.remembered.push(RememberedPress { form: self.form.clone(), seed: moment.random_seed, wildcards });
            return Vec::new();
        }
        match self.form.plan(moment.random_seed, &self.wildcards) {
            Ok(pictures) => self.line_up(pictures, moment.now_secs),
            Err(errors) => {
                for error in errors {
                    self.notices.refuse(error.message, moment.now_secs);
                }
            }
        }
        self.hand_over()
    }

    /// Puts pictures into the queue and says what of them will not be done.
    pub(super) fn line_up(&mut self, pictures: Vec<PlannedPicture>, now_secs: f64) {
        let missing = pictures.iter().find_map(|picture| {
            let request = &picture.request;
            called_adapters(&request.prompt, request.dialect, &self.library.files.loras).missing.into_iter().next()
        });
        if let Some(missing) = missing {
            self.notices.refuse(missing, now_secs);
        }
        for picture in pictures {
            self.queue.push(picture);
        }
    }

    fn stop(&mut self) -> Vec<Effect> {
        self.remembered.clear();
        match self.queue.stop() {
            Stopped::Running(id) | Stopped::Emptied(Some(id)) => vec![Effect::Cancel(id)],
            Stopped::Emptied(None) | Stopped::Nothing => Vec::new(),
        }
    }

    fn load_model(&mut self, source: ModelSource) -> Vec<Effect> {
        self.form.forget_model_choices();
        self.settings.model = source.clone();
        self.model = ModelStatus::Asked(source);
        vec![self.load_effect()]
    }

    /// A picture that waits for the model in the engine's inbox ends with it; the rest of the queue waits for another.
    fn stop_loading(&mut self) -> Vec<Effect> {
        if self.model.waiting_for().is_none() {
            return Vec::new();
        }
        self.remembered.clear();
        self.model = ModelStatus::Stopped(self.model.source().clone());
        let mut effects = vec![Effect::StopLoading];
        if let Some(job) = self.queue.stop_running() {
            effects.push(Effect::Cancel(job));
        }
        effects
    }

    fn set_precision(&mut self, choice: PrecisionChoice) -> Vec<Effect> {
        let is_other = std::mem::replace(&mut self.settings.precision, choice) != choice;
        if !is_other || !self.is_engine_alive || self.model.is_missing() {
            return Vec::new();
        }
        self.load_again()
    }

    /// Also where no model is loaded because its device was not to be had.
    fn set_device(&mut self, choice: DeviceChoice) -> Vec<Effect> {
        let is_other = std::mem::replace(&mut self.settings.device, choice) != choice;
        if !is_other || !self.is_engine_alive || matches!(self.model, ModelStatus::Stopped(_)) {
            return Vec::new();
        }
        self.load_again()
    }

    fn load_again(&mut self) -> Vec<Effect> {
        self.model = ModelStatus::Asked(self.settings.model.clone());
        vec![self.load_effect()]
    }

    fn restart_engine(&mut self) -> Vec<Effect> {
        self.is_engine_alive = true;
        self.model = ModelStatus::Asked(self.settings.model.clone());
        vec![Effect::RestartEngine, self.load_effect()]
    }

    /// Has the engine load the model of the settings.
    pub(super) fn load_effect(&self) -> Effect {
        let source = self.settings.model.clone();
        let companions = self.settings.companions_of(&source);
        let (precision, device) = (self.settings.precision, self.settings.device);
        Effect::LoadModel { source, companions, precision, device }
    }

    fn use_settings(&mut self, now_secs: f64) -> Vec<Effect> {
        let recipe = self.canvas.shown_picture().and_then(|picture| picture.recipe.clone());
        let Some(recipe) = recipe else { return Vec::new() };
        self.form.use_recipe(&recipe);
        let mut left = self.left_behind(&recipe);
        let (without, effects) = self.use_parts_of(&recipe);
        left.extend(without);
        if left.is_empty() {
            self.notices.tell("Settings taken over", now_secs);
        } else {
            self.notices.refuse(format!("Settings taken over, but: {}", left.join("; ")), now_secs);
        }
        effects
    }

    /// What of a recipe the form could not take over.
    fn left_behind(&self, recipe: &ReadRecipe) -> Vec<String> {
        const MOST_NAMED: usize = 4;
        let mut left = Vec::new();
        if recipe.strength.is_some() && self.form.start_image.is_none() {
            left.push("the start image has to be chosen again".to_owned());
        }
        let loaded = self.model.facts().map(|facts| facts.name.as_str());
        if let Some((wanted, loaded)) = recipe
            .model
            .as_deref()
            .zip(loaded)
            .filter(|(wanted, loaded)| wanted != loaded && !self.has_model_of(recipe))
        {
            let offer = self.offered_model().map_or("", |_| " (\"Load its model\" loads it)");
            left.push(format!("it was made with the model {wanted}{offer}, and {loaded} is loaded"));
        }
        if let Some((made, here)) = self.other_precision(recipe) {
            left.push(format!("it was made in {made}, and this window computes in {here} (Settings, Precision)"));
        }
        let card = self.model.facts().map(|facts| facts.card.as_deref());
        if let Some((made, here)) = card.and_then(|card| recipe.other_card(card)) {
            left.push(format!("it was computed on {made}, and this window computes on {here}: details may differ"));
        }
        let mut parts: Vec<&str> = recipe
            .not_understood
            .iter()
            .map(|part| part.split_once(": ").map_or(part.as_str(), |(key, _)| key))
            .collect();
        parts.dedup();
        if !parts.is_empty() {
            let more = if parts.len() > MOST_NAMED { ", …" } else { "" };
            left.push(format!("not understood: {}{more}", parts[..parts.len().min(MOST_NAMED)].join(", ")));
        }
        left
    }

    /// The precision of a picture of ours and that of the model at hand, where they differ.
    fn other_precision<'a>(&self, recipe: &'a ReadRecipe) -> Option<(&'a str, &'static str)> {
        let here = self.model.facts()?.precision.label();
        let made = recipe.precision.as_deref().unwrap_or(Precision::F32.label());
        (recipe.tool.as_deref() == Some("Calotype") && made != here).then_some((made, here))
    }

    fn use_as_start_image(&mut self) {
        if let Some(picture) = self.canvas.shown_picture() {
            self.form.start_image = Some(StartImage {
                name: picture.name(),
                path: picture.path.clone(),
                pixels: Arc::clone(&picture.image),
            });
        }
    }

    fn copy_picture(&mut self, now_secs: f64) -> Vec<Effect> {
        let Some(picture) = self.canvas.shown_picture() else { return Vec::new() };
        self.notices.tell("Picture copied", now_secs);
        vec![Effect::CopyPicture(Arc::clone(&picture.image))]
    }

    fn save_shown_as(&mut self, now_secs: f64) -> Vec<Effect> {
        let Some(picture) = self.canvas.shown_picture() else { return Vec::new() };
        let name = picture.path.as_deref().map_or_else(|| "picture.png".to_owned(), name_of_copy);
        let caption = Caption::of(picture.record.clone(), picture.infotext.clone());
        if let (Caption::Nothing, Some(recipe)) = (&caption, &picture.recipe) {
            let tool = recipe.tool.as_deref().unwrap_or("the other program");
            self.notices.tell(format!("The copy will hold no recipe: that of {tool} stays in its file"), now_secs);
        }
        let image = Arc::clone(&picture.image);
        let id = self.canvas.keep_unsaved(image, caption);
        vec![Effect::Ask(Question::SaveAs { id, name })]
    }

    fn save_as(&mut self, id: SaveId, path: &Path) -> Vec<Effect> {
        let Some(unsaved) = self.canvas.retry(id) else { return Vec::new() };
        let path = if path.extension().is_some() { path.to_owned() } else { path.with_extension("png") };
        let (image, caption) = (Arc::clone(&unsaved.image), unsaved.caption.clone());
        let quality = self.settings.jpeg_quality;
        vec![Effect::Gallery(Command::SaveAs { id, path, image, caption, quality })]
    }

    fn save_again(&mut self, id: SaveId) -> Vec<Effect> {
        let Some(unsaved) = self.canvas.retry(id) else { return Vec::new() };
        let image = Arc::clone(&unsaved.image);
        match unsaved.caption.record().cloned().map(Box::new) {
            Some(record) => vec![Effect::Gallery(Command::Save { id, image, record })],
            // Only pictures that were opened from elsewhere have no record: they can be saved under a name only.
            None => vec![Effect::Ask(Question::SaveAs { id, name: "picture.png".to_owned() })],
        }
    }

    fn show_unsaved(&mut self, id: SaveId) {
        let Some(unsaved) = self.canvas.unsaved(id) else { return };
        let shown = ShownPicture {
            image: Arc::clone(&unsaved.image),
            recipe: unsaved.caption.record().map(ReadRecipe::from),
            record: unsaved.caption.record().cloned(),
            infotext: None,
            unread: None,
            warning: None,
            save: Some(id),
            path: None,
        };
        self.canvas.show_opened(shown);
    }
}

/// The name of a picture's file, with an ending that can be written.
fn name_of_copy(path: &Path) -> String {
    let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
    let can_be_written = ending.is_some_and(|ending| ["png", "jpg", "jpeg", "webp"].contains(&ending.as_str()));
    let path = if can_be_written { path.to_owned() } else { path.with_extension("png") };
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
