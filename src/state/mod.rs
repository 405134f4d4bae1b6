//! What is true in the studio, and how it changes: pure data, told of the clock and of chance by its caller.
//!
//! The user's [`action::Action`]s and the threads' events go in, [`action::Effect`]s come out; the app carries them out.

pub mod action;
mod actions;
pub mod canvas;
mod companions;
pub mod comparison;
pub mod downloads;
mod engine_events;
pub mod fine;
pub mod form;
pub mod gallery;
mod gallery_events;
pub mod history;
pub mod job;
pub mod library;
pub mod model;
pub mod networks;
pub mod notice;
pub mod previews;
pub mod queue;
pub mod recipe;
pub mod settings;
pub mod tokens;
pub mod word_difference;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::gallery::message::Command;
use crate::latent_image::LatentColours;
use crate::prompt::wildcards::WildcardFiles;
use crate::request::{DeviceChoice, Seed};
use action::Effect;
use form::{Form, PlannedPicture};
use gallery::Purpose;
use history::PromptHistory;
use model::ModelStatus;
use settings::Settings;

/// What the state cannot know by itself.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The window's clock, in seconds.
    pub now_secs: f64,
    /// A fresh random seed.
    pub random_seed: Seed,
}

/// What survives a restart.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Persisted {
    /// The left panel.
    pub form: Form,
    /// Look, folders, model.
    pub settings: Settings,
    /// Earlier prompts.
    pub history: PromptHistory,
}

/// Why the last job ended without a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, for people.
    pub message: String,
}

/// The studio.
#[derive(Debug)]
pub struct Studio {
    /// The left panel.
    pub form: Form,
    /// Look, folders, model.
    pub settings: Settings,
    /// Where the model stands.
    pub model: ModelStatus,
    /// How latents are to be coloured: the last model's that was ready, also while another one is being loaded.
    pub colours: Option<LatentColours>,
    /// The jobs.
    pub queue: queue::Queue,
    /// The middle.
    pub canvas: canvas::Canvas,
    /// The right panel.
    pub gallery: gallery::Gallery,
    /// The models of the library.
    pub library: library::Library,
    /// Models on their way from the network.
    pub downloads: downloads::Downloads,
    /// Short messages.
    pub notices: notice::Notices,
    /// Why the last job ended without a picture.
    pub failure: Option<Failure>,
    /// Earlier prompts.
    pub history: PromptHistory,
    /// What stands behind the wildcards of the form, as it was read at the last press of Generate.
    pub wildcards: WildcardFiles,
    /// What pictures can be computed on here; without cards nothing is to be chosen.
    pub devices: Vec<DeviceChoice>,
    /// False once the engine's thread is gone.
    pub is_engine_alive: bool,
    /// Tokens of the prompt.
    pub prompt_tokens: tokens::CountedText,
    /// Tokens of the negative prompt.
    pub negative_tokens: tokens::CountedText,
    /// Another picture's recipe beside that of the picture on the canvas.
    comparison: Option<comparison::Comparison>,
    /// The prompt that the die put into the form last.
    rolled_prompt: String,
    /// Presses of Generate before the model was known.
    remembered: Vec<RememberedPress>,
    /// What was said last of a card that cannot be used.
    told_device_notice: Option<String>,
}

/// A press of Generate, to be taken up later.
#[derive(Debug)]
struct RememberedPress {
    /// The form as it was.
    form: Form,
    /// The seed drawn then.
    seed: Seed,
    /// What stood behind its wildcards.
    wildcards: WildcardFiles,
}

impl Studio {
    /// The studio as it was left.
    #[must_use]
    pub fn new(persisted: Persisted) -> Self {
        let Persisted { form, settings, history } = persisted;
        let model = ModelStatus::Asked(settings.model.clone());
        Self {
            form,
            settings,
            model,
            colours: None,
            queue: queue::Queue::default(),
            canvas: canvas::Canvas::default(),
            gallery: gallery::Gallery::default(),
            library: library::Library::default(),
            downloads: downloads::Downloads::default(),
            notices: notice::Notices::default(),
            failure: None,
            history,
            wildcards: WildcardFiles::default(),
            devices: vec![DeviceChoice::Auto, DeviceChoice::Cpu],
            is_engine_alive: true,
            prompt_tokens: tokens::CountedText::prompt(),
            negative_tokens: tokens::CountedText::negative_prompt(),
            comparison: None,
            rolled_prompt: String::new(),
            remembered: Vec::new(),
            told_device_notice: None,
        }
    }

    /// What is to be done when the window opens.
    pub fn start(&mut self) -> Vec<Effect> {
        let folder = self.settings.gallery_folder.clone();
        let gallery = folder.map_or(Effect::UseUsualGallery, |folder| Effect::Gallery(Command::SetFolder(folder)));
        let mut effects = vec![self.load_effect(), gallery];
        if let Some(path) = self.settings.start_image.clone() {
            effects.extend(self.open(&path, Purpose::StartImage));
        }
        effects
    }

    /// What is to be stored.
    #[must_use]
    pub fn persisted(&self) -> Persisted {
        let mut form = self.form.clone();
        form.repair();
        let start_image = self.form.start_image.as_ref().and_then(|start| start.path.clone());
        let history = self.history.clone();
        Persisted { form, settings: Settings { start_image, ..self.settings.clone() }, history }
    }

    /// Brings what is derived from the form up to date; called after the panels have edited it.
    pub fn refresh(&mut self) {
        self.refresh_offered_model();
        let tokenizer = self.model.facts().and_then(|facts| facts.tokenizer.as_ref());
        let (steps, dialect) = (self.form.steps.value, self.form.dialect);
        let files = &self.library.files;
        self.prompt_tokens.update(&self.form.prompt, steps, dialect, (tokenizer, files));
        self.negative_tokens.update(&self.form.negative_prompt, steps, dialect, (tokenizer, files));
    }

    /// How many pictures are still to come after the running one.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        let remembered: usize = self.remembered.iter().map(|press| press.form.count as usize).sum();
        self.queue.waiting_count() + remembered
    }

    /// True when Stop has something to do.
    #[must_use]
    pub fn can_stop(&self) -> bool {
        !self.queue.is_idle() || !self.remembered.is_empty()
    }

    /// Hands the next job to the engine, when there is one and the engine can take it.
    fn hand_over(&mut self) -> Vec<Effect> {
        let Some(facts) = self.model.facts().filter(|_| self.is_engine_alive) else { return Vec::new() };
        let model_hash = self.library.short_hash(&facts.source);
        let Some(next) = self.queue.hand_over(&facts.name, model_hash) else { return Vec::new() };
        if let Some(job) = self.queue.running_mut(next.id) {
            job.companions.clone_from(&facts.companions);
            job.precision = facts.precision;
            job.card.clone_from(&facts.card);
        }
        let PlannedPicture { request, start_image } = next.picture;
        self.canvas.begin(next.id, request.size);
        let networks = Box::new(self.library.files.called_by(&request, facts.tokenizer.as_deref()));
        let preview_decoder = self.preview_decoder().map(Path::to_owned);
        vec![Effect::Generate { job: next.id, request: Box::new(request), start_image, networks, preview_decoder }]
    }
}
