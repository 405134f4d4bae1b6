//! The window: takes in the threads' events, lets the panels draw the state, and carries out what they ask for.

mod desktop;
mod downloading;
mod options;
mod outgoing;
mod stored;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use egui::{ColorImage, Context, ThemePreference, Ui};

use crate::folders;
use crate::gallery::message as gallery;
use crate::inference::cancel::CancelToken;
use crate::inference::message as engine;
use crate::inference::{device, threads};
use crate::library::message as library;
use crate::request::Seed;
use crate::state::action::{Action, Effect};
use crate::state::gallery::Purpose;
use crate::state::model::ModelSource;
use crate::state::settings::ThemeChoice;
use crate::state::{Moment, Persisted, Studio};
use crate::ui::{self, Panels};
use crate::worker::Wake;
pub use desktop::{Errand, Report};
use downloading::Downloading;
pub use options::{Crew, Desktop, Downloader, Engine, Gallery, Library, StudioOptions};
use outgoing::Outgoing;
pub use stored::read_stored;

/// Where the form and the settings are stored.
const STORAGE_KEY: &str = "calotype";
/// How often they are stored.
const AUTO_SAVE_INTERVAL: Duration = Duration::from_secs(5);
/// How many events one frame takes in, so that the window stays alive whatever the threads do.
const MOST_EVENTS_A_FRAME: usize = 256;
/// How long a closed window waits for the engine's thread.
const PATIENCE_AT_CLOSE: Duration = Duration::from_millis(300);
/// How often a gallery's or a library's thread that ended is started again.
const RESTARTS: u32 = 3;

/// Opens the window and returns when it is closed.
///
/// # Errors
/// When the system gives no window.
pub fn run(options: StudioOptions, crew: Crew) -> eframe::Result<()> {
    let viewport = egui::ViewportBuilder::default()
        .with_title("Calotype")
        .with_app_id("calotype")
        .with_icon(ui::window_icon(64))
        .with_inner_size([1280.0, 800.0])
        .with_min_inner_size([900.0, 600.0]);
    let native = eframe::NativeOptions {
        viewport,
        persistence_path: options.storage_file.clone(),
        ..eframe::NativeOptions::default()
    };
    eframe::run_native(
        "Calotype",
        native,
        Box::new(move |creation| {
            let stored = creation.storage.and_then(|storage| storage.get_string(STORAGE_KEY));
            let persisted = stored.map(|text| read_stored(&text)).unwrap_or_default();
            Ok(Box::new(App::new(&creation.egui_ctx, options, crew, persisted)?))
        }),
    )
}

/// The window's application.
pub struct App {
    studio: Studio,
    panels: Panels,
    crew: Crew,
    wake: Wake,
    options: StudioOptions,
    engine: Outgoing<engine::Command, engine::Event>,
    gallery: Outgoing<gallery::Command, gallery::Event>,
    library: Outgoing<library::Command, library::Event>,
    downloading: Downloading,
    desktop: Outgoing<Errand, Report>,
    /// What the library was told last about hashing.
    may_hash: bool,
    running: Option<(engine::JobId, CancelToken)>,
    /// Ends the last loading that was asked for.
    loading: CancelToken,
    gallery_restarts_left: u32,
    library_restarts_left: u32,
    opened_at: Instant,
    applied_look: Option<(ThemeChoice, f32)>,
    /// The chosen gallery folder as it was last written down for the command line.
    written_gallery_folder: Option<PathBuf>,
    /// True while a file dialog is open: it cannot be closed from here.
    is_asking: bool,
}

impl App {
    /// Starts the threads and has them load the model and read the gallery.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(ctx: &Context, options: StudioOptions, mut crew: Crew, persisted: Persisted) -> std::io::Result<Self> {
        ui::theme::install(ctx);
        ctx.options_mut(|options| options.zoom_with_keyboard = false);
        let waker = ctx.clone();
        let wake: Wake = Arc::new(move || waker.request_repaint());
        let studio = Studio::new(persisted);
        threads::start(studio.settings.threads);
        let mut app = Self {
            engine: Outgoing::new((crew.start_engine)(Arc::clone(&wake))?),
            gallery: Outgoing::new((crew.start_gallery)(Arc::clone(&wake))?),
            library: Outgoing::new((crew.start_library)(Arc::clone(&wake))?),
            downloading: Downloading::default(),
            may_hash: false,
            desktop: Outgoing::new((crew.start_desktop)(Arc::clone(&wake))?),
            studio,
            panels: Panels::default(),
            crew,
            wake,
            options,
            running: None,
            loading: CancelToken::new(),
            gallery_restarts_left: RESTARTS,
            library_restarts_left: RESTARTS,
            opened_at: Instant::now(),
            applied_look: None,
            written_gallery_folder: None,
            is_asking: false,
        };
        if let Some(model) = app.options.model.take() {
            app.studio.settings.model = model.clone();
            app.studio = Studio::new(app.studio.persisted());
        }
        app.studio.devices = device::offered_devices();
        let effects = app.studio.start();
        app.perform(ctx, effects);
        app.apply_look(ctx);
        Ok(app)
    }

    /// What is true now.
    #[must_use]
    pub fn studio(&self) -> &Studio {
        &self.studio
    }

    /// What is to be stored, as JSON.
    #[must_use]
    pub fn stored(&self) -> String {
        stored::to_store(&self.studio.persisted())
    }

    /// Takes in what the threads report and does what follows from it. Never waits.
    pub fn tick(&mut self, ctx: &Context) {
        let now_secs = self.now_secs();
        self.take_in_engine(ctx, now_secs);
        self.take_in_gallery(ctx, now_secs);
        self.take_in_library(ctx, now_secs);
        self.take_in_downloads(ctx, now_secs);
        self.take_in_desktop(ctx, now_secs);
        self.downloading.flush();
        self.library.flush();
        self.engine.flush();
        self.gallery.flush();
        self.desktop.flush();
        if let Some(seconds) = self.studio.notices.expire(now_secs) {
            ctx.request_repaint_after(Duration::from_secs_f64(seconds.max(0.05)));
        }
        if self.downloading.has_waiting()
            || self.library.has_waiting()
            || self.engine.has_waiting()
            || self.gallery.has_waiting()
            || self.desktop.has_waiting()
        {
            ctx.request_repaint_after(Duration::from_millis(50));
        }
        self.apply_look(ctx);
    }

    /// Draws the window and does what the user asked for.
    pub fn draw(&mut self, ui: &mut Ui) {
        let actions = ui::show(ui, &mut self.studio, &mut self.panels);
        self.studio.refresh();
        let has_news = !actions.is_empty();
        for action in actions {
            if action == Action::Generate {
                self.read_wildcards();
            }
            let effects = self.studio.apply(model_from_drop(action), self.moment());
            self.perform(ui, effects);
        }
        if has_news {
            self.studio.refresh();
            ui.request_repaint();
        }
    }

    /// Reads the text files that the prompts name: few and small, and nothing of them is kept between two presses, so
    /// that a file that was edited meanwhile counts.
    fn read_wildcards(&mut self) {
        let folder = folders::wildcard_folder();
        let read = |name: &str| folders::wildcard_lines(&folder, name);
        self.studio.wildcards = self.studio.form.typed().wildcard_files(folder.clone(), read);
    }

    fn take_in_engine(&mut self, ctx: &Context, now_secs: f64) {
        for _ in 0..MOST_EVENTS_A_FRAME {
            let Some(event) = self.engine.next() else { break };
            if let engine::Event::ModelFailed { source, error, .. } = &event {
                tracing::warn!("the model {source} could not be loaded: {error}");
            }
            let effects = self.studio.on_engine(event, now_secs);
            self.perform(ctx, effects);
        }
        if self.engine.is_over() {
            self.studio.on_engine_ended();
        }
    }

    fn take_in_gallery(&mut self, ctx: &Context, now_secs: f64) {
        for _ in 0..MOST_EVENTS_A_FRAME {
            let Some(event) = self.gallery.next() else { break };
            match event {
                gallery::Event::Thumbnail { path, image } => self.panels.textures.thumbnail_arrived(ctx, path, &image),
                gallery::Event::ThumbnailFailed { path, error } => self.panels.textures.thumbnail_failed(path, error),
                event => {
                    let effects = self.studio.on_gallery(event, now_secs);
                    self.perform(ctx, effects);
                }
            }
        }
        if self.gallery.is_over() {
            self.studio.on_gallery_ended();
            self.panels.textures.forget_awaited();
            if self.gallery_restarts_left > 0 {
                self.gallery_restarts_left -= 1;
                self.restart_gallery(ctx, now_secs);
            }
        }
    }

    fn restart_gallery(&mut self, ctx: &Context, now_secs: f64) {
        tracing::error!("the gallery's thread has ended; starting it again");
        match (self.crew.start_gallery)(Arc::clone(&self.wake)) {
            Ok(worker) => {
                self.gallery.replace(worker);
                let folder = self.studio.gallery.folder.clone().unwrap_or_else(|| self.options.gallery_folder.clone());
                self.perform(ctx, vec![Effect::Gallery(gallery::Command::SetFolder(folder))]);
            }
            Err(error) => self.studio.notices.complain(format!("The gallery cannot be started: {error}"), now_secs),
        }
    }

    fn take_in_library(&mut self, ctx: &Context, now_secs: f64) {
        for _ in 0..MOST_EVENTS_A_FRAME {
            let Some(event) = self.library.next() else { break };
            self.studio.on_library(event, now_secs);
        }
        if self.library.is_over() {
            self.studio.on_library_ended();
            if self.library_restarts_left == 0 {
                return;
            }
            self.library_restarts_left -= 1;
            self.restart_library(now_secs);
        }
        let may_hash = self.studio.is_free_for_hashing();
        if may_hash != self.may_hash {
            self.may_hash = may_hash;
            self.library.send(library::Command::Hash(may_hash));
        }
        // What changed in folders that nobody watches shows when the user comes back.
        let is_back = ctx.input(|input| input.events.contains(&egui::Event::WindowFocused(true)));
        let folders = &self.studio.library.index.folders;
        if is_back && folders.iter().any(|folder| !folder.is_watched) {
            self.library.send(library::Command::Rescan);
        }
    }

    fn restart_library(&mut self, now_secs: f64) {
        tracing::error!("the library's thread has ended; starting it again");
        match (self.crew.start_library)(Arc::clone(&self.wake)) {
            Ok(worker) => {
                self.library.replace(worker);
                // A new thread hashes nothing until it is told so.
                self.may_hash = false;
                self.studio.library.has_ended = false;
            }
            Err(error) => self.studio.notices.complain(format!("The library cannot be started: {error}"), now_secs),
        }
    }

    fn take_in_downloads(&mut self, ctx: &Context, now_secs: f64) {
        for _ in 0..MOST_EVENTS_A_FRAME {
            let Some(event) = self.downloading.next() else { break };
            let effects = self.studio.on_download(event, now_secs);
            self.perform(ctx, effects);
        }
        if self.downloading.has_ended() {
            self.studio.on_downloads_ended("the downloading thread has ended unexpectedly; what has come is kept");
        }
    }

    fn take_in_desktop(&mut self, ctx: &Context, now_secs: f64) {
        while let Some(report) = self.desktop.next() {
            match report {
                Report::Chosen(question, path) => {
                    self.is_asking = false;
                    let effects = self.studio.on_answer(&question, path, now_secs);
                    self.perform(ctx, effects);
                }
                Report::NotChosen(question) => {
                    self.is_asking = false;
                    self.studio.on_no_answer(&question);
                }
                Report::Failed(error) => self.studio.notices.complain(error, now_secs),
            }
        }
    }

    fn perform(&mut self, ctx: &Context, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::LoadModel { source, companions, precision, device } => {
                    // Whatever is being loaded is no longer wanted.
                    self.loading.cancel();
                    self.loading = CancelToken::new();
                    let cancel = self.loading.clone();
                    let order = engine::ModelOrder { source, companions, precision, device, cancel };
                    self.engine.send(engine::Command::Load(order));
                }
                Effect::StopLoading => self.loading.cancel(),
                Effect::Generate { job, request, start_image, networks, preview_decoder } => {
                    let cancel = CancelToken::new();
                    self.running = Some((job, cancel.clone()));
                    let previews = engine::Previews::Offered;
                    let job = engine::Job {
                        id: job,
                        request: *request,
                        start_image,
                        adapters: networks.adapters,
                        embeddings: networks.embeddings,
                        previews,
                        preview_decoder,
                        cancel,
                    };
                    self.engine.send(engine::Command::Generate(Box::new(job)));
                }
                Effect::Cancel(job) => {
                    if let Some((_, cancel)) = self.running.as_ref().filter(|(running, _)| *running == job) {
                        cancel.cancel();
                    }
                }
                Effect::RestartEngine => self.restart_engine(),
                Effect::Gallery(command) => self.gallery.send(command),
                Effect::Library(command) => self.library.send(command),
                Effect::Download { id, what } => {
                    let (spawn, folder) = (&mut self.crew.start_downloads, &self.options.models_folder);
                    if let Err(error) = self.downloading.start((id, what), folder, (spawn, &self.wake)) {
                        self.studio.on_downloads_ended(&format!("the downloading thread cannot be started: {error}"));
                    }
                }
                Effect::CancelDownload(id) => self.downloading.cancel(id),
                Effect::UseUsualGallery => {
                    self.gallery.send(gallery::Command::SetFolder(self.options.gallery_folder.clone()));
                }
                Effect::Ask(question) if self.is_asking => {
                    self.studio.on_no_answer(&question);
                    self.studio.notices.complain("A file dialog is open already", self.now_secs());
                }
                Effect::Ask(question) => {
                    self.is_asking = true;
                    self.desktop.send(Errand::Ask(question));
                }
                Effect::ShowInFolder(path) => self.desktop.send(Errand::ShowInFolder(path)),
                Effect::CopyText(text) => ctx.copy_text(text),
                Effect::CopyPicture(image) => {
                    let size = [image.width() as usize, image.height() as usize];
                    ctx.copy_image(ColorImage::from_rgb(size, image.as_raw()));
                }
            }
        }
    }

    fn restart_engine(&mut self) {
        match (self.crew.start_engine)(Arc::clone(&self.wake)) {
            Ok(worker) => self.engine.replace(worker),
            Err(error) => {
                self.studio.notices.complain(format!("The engine cannot be started: {error}"), self.now_secs());
            }
        }
    }

    fn apply_look(&mut self, ctx: &Context) {
        let look = (self.studio.settings.theme, self.studio.settings.ui_scale);
        if self.applied_look != Some(look) {
            self.applied_look = Some(look);
            ctx.set_theme(match look.0 {
                ThemeChoice::System => ThemePreference::System,
                ThemeChoice::Dark => ThemePreference::Dark,
                ThemeChoice::Light => ThemePreference::Light,
            });
            ctx.set_zoom_factor(look.1);
        }
    }

    /// Tells the command line which gallery folder is in use.
    fn write_gallery_folder(&mut self) {
        let chosen = &self.studio.settings.gallery_folder;
        let data = self.options.storage_file.as_ref().and_then(|file| file.parent());
        let Some(data) = data.filter(|_| self.written_gallery_folder != *chosen) else { return };
        if let Err(error) = folders::remember_gallery_folder(data, chosen.as_deref()) {
            tracing::warn!(%error, "the command line will not know the chosen gallery folder");
        }
        self.written_gallery_folder.clone_from(chosen);
    }

    fn moment(&self) -> Moment {
        Moment { now_secs: self.now_secs(), random_seed: random_seed() }
    }

    fn now_secs(&self) -> f64 {
        self.opened_at.elapsed().as_secs_f64()
    }

    /// Cancels what runs, and hands over to the gallery what must not be lost.
    fn close(&mut self, ctx: &Context) {
        if let Some((_, cancel)) = self.running.take() {
            cancel.cancel();
        }
        self.take_in_engine(ctx, self.now_secs());
        self.gallery.send_to_the_last();
        // A large picture's step can take many seconds, and an open dialog cannot be closed from here: both threads have
        // nothing to lose and end with the process.
        self.engine.abandon(PATIENCE_AT_CLOSE);
        self.library.abandon(PATIENCE_AT_CLOSE);
        self.downloading.abandon(PATIENCE_AT_CLOSE);
        if self.is_asking {
            self.desktop.abandon(Duration::ZERO);
        }
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        self.tick(ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.draw(ui);
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        storage.set_string(STORAGE_KEY, self.stored());
        self.write_gallery_folder();
    }

    fn auto_save_interval(&self) -> Duration {
        AUTO_SAVE_INTERVAL
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        // Nothing is drawn any more: a fresh context serves the last events.
        self.close(&Context::default());
    }
}

/// A folder or a file of tensors that is dropped on the window is a model, not a picture.
fn model_from_drop(action: Action) -> Action {
    let is_checkpoint = |path: &Path| {
        path.extension().is_some_and(|e| desktop::MODEL_ENDINGS.iter().any(|ending| e.eq_ignore_ascii_case(ending)))
    };
    match action {
        Action::Open(path, Purpose::View) if path.is_dir() || is_checkpoint(&path) => {
            Action::LoadModel(ModelSource::OnDisk(path))
        }
        other => other,
    }
}

/// 32 random bits: std's hasher is keyed by the operating system's generator.
fn random_seed() -> Seed {
    Seed(RandomState::new().build_hasher().finish() >> 32)
}
