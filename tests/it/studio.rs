//! A window whose threads do what the test says, and short words for what its user does and sees.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use calotype::app::{App, Crew, Errand, Report, StudioOptions};
use calotype::downloads::message as downloads;
use calotype::gallery::message::{self as gallery, OpenedPicture};
use calotype::gallery::record::{PictureRecord, ReadRecipe};
use calotype::inference::message::{self as engine, JobId, ModelDefaults, ModelFacts, ModelSource};
use calotype::latent_image::{LatentColours, LatentImage};
use calotype::library::message as library;
use calotype::request::{Companions, GuidanceScale, ImageSize, Precision, SamplerKind, ScheduleKind, Seed, Steps};
use calotype::state::Persisted;
use calotype::worker::{Wake, Worker};
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use image::RgbImage;

use crate::fakes::Script;

type EngineScript = Script<engine::Command, engine::Event>;
type GalleryScript = Script<gallery::Command, gallery::Event>;
type LibraryScript = Script<library::Command, library::Event>;
type DownloadScript = Script<downloads::Command, downloads::Event>;
type DesktopScript = Script<Errand, Report>;

/// How a thread is started and started again.
type Start<C, E> = Box<dyn FnMut(Wake) -> std::io::Result<Worker<C, E>>>;

/// Starts a worker that does what its script says, and leaves the script where the test finds it.
fn scripted<C: Send + 'static, E: Send + 'static>(
    name: &'static str,
    place: &Rc<RefCell<Option<Script<C, E>>>>,
) -> Start<C, E> {
    let place = Rc::clone(place);
    Box::new(move |wake| {
        let (worker, script) = Script::spawn(name, wake);
        *place.borrow_mut() = Some(script);
        Ok(worker)
    })
}

/// The window and the ends of its threads.
pub struct Studio {
    pub harness: Harness<'static, App>,
    pub engine: EngineScript,
    pub gallery: GalleryScript,
    pub library: LibraryScript,
    pub desktop: DesktopScript,
    /// The script of an engine that was started again.
    pub next_engine: Rc<RefCell<Option<EngineScript>>>,
    /// The script of a gallery that was started again.
    pub next_gallery: Rc<RefCell<Option<GalleryScript>>>,
    /// The script of a library that was started again.
    pub next_library: Rc<RefCell<Option<LibraryScript>>>,
    /// The script of the downloading thread, once it is started.
    pub next_downloads: Rc<RefCell<Option<DownloadScript>>>,
}

impl Studio {
    pub fn open() -> Self {
        Self::open_with(Persisted::default(), [1280.0, 800.0])
    }

    pub fn open_with(persisted: Persisted, size: [f32; 2]) -> Self {
        let next_engine: Rc<RefCell<Option<EngineScript>>> = Rc::default();
        let next_gallery: Rc<RefCell<Option<GalleryScript>>> = Rc::default();
        let desktop: Rc<RefCell<Option<DesktopScript>>> = Rc::default();
        let library: Rc<RefCell<Option<LibraryScript>>> = Rc::default();
        let next_downloads: Rc<RefCell<Option<DownloadScript>>> = Rc::default();
        let crew = Crew {
            start_engine: scripted("fake engine", &next_engine),
            start_gallery: scripted("fake gallery", &next_gallery),
            start_library: scripted("fake library", &library),
            start_downloads: scripted("fake downloads", &next_downloads),
            start_desktop: scripted("fake desktop", &desktop),
        };
        let options = StudioOptions {
            gallery_folder: "/usual".into(),
            models_folder: "/own".into(),
            storage_file: None,
            model: None,
        };
        let ctx = egui::Context::default();
        let app = App::new(&ctx, options, crew, persisted).unwrap();
        let harness = Harness::builder()
            .with_size(size)
            .with_max_steps(16)
            .with_context_setup(calotype::ui::theme::install)
            .build_ui_state(
                |ui, app: &mut App| {
                    app.tick(&ui.ctx().clone());
                    app.draw(ui);
                },
                app,
            );
        let engine = next_engine.take().unwrap();
        Self {
            harness,
            engine,
            gallery: next_gallery.take().unwrap(),
            library: library.take().unwrap(),
            desktop: desktop.take().unwrap(),
            next_engine,
            next_gallery,
            next_library: library,
            next_downloads,
        }
    }

    pub fn window(&mut self) -> &mut Harness<'static, App> {
        &mut self.harness
    }

    pub fn engine(&self) -> &EngineScript {
        &self.engine
    }

    pub fn gallery(&self) -> &GalleryScript {
        &self.gallery
    }

    /// With the model loaded and all first orders taken.
    pub fn open_ready() -> Self {
        let mut studio = Self::open();
        studio.ready();
        studio
    }

    pub fn ready(&mut self) {
        self.engine().take_all();
        self.gallery().take_all();
        self.engine().say(found());
        self.engine().say(ready_event());
        self.gallery().say(gallery::Event::Listed { folder: "/usual".into(), entries: Vec::new() });
        self.window().run();
    }

    pub fn type_prompt(&mut self, text: &str) {
        self.type_into("Prompt", text);
    }

    pub fn type_into(&mut self, field: &str, text: &str) {
        self.window().get_by_role_and_label(Role::MultilineTextInput, field).focus();
        self.window().run();
        self.window().get_by_role_and_label(Role::MultilineTextInput, field).type_text(text);
        self.window().run();
    }

    pub fn press_generate(&mut self) {
        self.window().key_press_modifiers(Modifiers::COMMAND, Key::Enter);
        self.window().run();
    }

    pub fn press(&mut self, key: Key) {
        self.window().key_press(key);
        self.window().run();
    }

    pub fn click(&mut self, label: &str) {
        self.window().get_by_role_and_label(Role::Button, label).click();
        self.window().run();
    }

    pub fn sees(&mut self, text: &str) -> bool {
        self.window().query_all_by_label_contains(text).next().is_some()
    }

    #[track_caller]
    pub fn assert_sees(&mut self, text: &str) {
        assert!(self.sees(text), "\"{text}\" is not on the window");
    }

    #[track_caller]
    pub fn assert_sees_not(&mut self, text: &str) {
        assert!(!self.sees(text), "\"{text}\" is on the window");
    }

    /// The jobs that the engine was given.
    pub fn jobs(&self) -> Vec<engine::Job> {
        let jobs = self.engine().take_all().into_iter().filter_map(|command| match command {
            engine::Command::Generate(job) => Some(*job),
            engine::Command::Load(_) => None,
        });
        jobs.collect()
    }

    #[track_caller]
    pub fn one_job(&self) -> engine::Job {
        let mut jobs = self.jobs();
        assert_eq!(jobs.len(), 1, "the engine has not one job but {}", jobs.len());
        jobs.remove(0)
    }

    pub fn engine_says(&mut self, event: engine::Event) {
        self.engine().say(event);
        self.window().run();
    }

    pub fn library_says(&mut self, event: library::Event) {
        self.library.say(event);
        self.window().run();
    }

    pub fn gallery_says(&mut self, event: gallery::Event) {
        self.gallery().say(event);
        self.window().run();
    }

    /// Runs a job to its picture; gives back what the gallery was told to save.
    #[track_caller]
    pub fn finish(&mut self, job: JobId) -> (gallery::SaveId, PictureRecord) {
        self.engine_says(engine::Event::Finished { job, image: picture(), seconds: 1.0 });
        let saves = self.gallery().take_all().into_iter().filter_map(|command| match command {
            gallery::Command::Save { id, record, .. } => Some((id, *record)),
            _ => None,
        });
        saves.last().expect("nothing was saved")
    }
}

pub fn defaults() -> ModelDefaults {
    ModelDefaults {
        size: ImageSize::new(128, 128).unwrap(),
        steps: Steps::new(20).unwrap(),
        guidance: GuidanceScale::new(4.0).unwrap(),
        sampler: SamplerKind::DpmPlusPlus2M,
        schedule: ScheduleKind::Model,
    }
}

pub fn facts(source: ModelSource) -> ModelFacts {
    ModelFacts {
        name: "Calotype starter".into(),
        source,
        has_xl_latents: false,
        companions: Companions::default(),
        vae: None,
        computes_on: "CPU, 2 threads, f32".into(),
        kernels: "portable",
        device_notice: None,
        precision: Precision::F32,
        card: None,
        defaults: defaults(),
        example_prompts: vec!["a glossy fox on a blue background".into(), "a flat lemon".into()],
        random_prompt: Some("a {glossy|flat} {fox|lemon}".into()),
        tokenizer: None,
    }
}

pub fn found() -> engine::Event {
    engine::Event::ModelFound(Box::new(facts(ModelSource::BuiltIn)))
}

pub fn ready_event() -> engine::Event {
    let colours = LatentColours { weights: vec![[0.3, 0.1, -0.2]; 4], bias: [0.0; 3] };
    engine::Event::ModelReady { facts: Box::new(facts(ModelSource::BuiltIn)), colours, seconds: 0.2 }
}

pub fn latents() -> LatentImage {
    LatentImage { channels: 4, height: 16, width: 16, values: vec![0.25; 4 * 16 * 16] }
}

pub fn picture() -> Arc<RgbImage> {
    Arc::new(RgbImage::from_pixel(128, 128, image::Rgb([200, 120, 40])))
}

pub fn step(job: JobId, step: u32) -> engine::Event {
    engine::Event::Step { job, step, steps: 20, preview: latents(), picture: None }
}

pub fn opened(path: &str) -> OpenedPicture {
    let recipe = ReadRecipe {
        prompt: "a quiet lake".into(),
        seed: Some(Seed(77)),
        steps: Some(Steps::new(31).unwrap()),
        ..ReadRecipe::default()
    };
    OpenedPicture {
        path: path.into(),
        image: picture(),
        is_lossy: false,
        record: None,
        infotext: Some("a quiet lake\nSteps: 31".into()),
        recipe: Some(recipe),
        unread: None,
        warning: None,
    }
}
