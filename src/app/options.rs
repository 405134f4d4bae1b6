//! What the window is opened with: folders, a model, and the threads that work for it.

use std::path::PathBuf;

use super::desktop::{self, Errand, Report};
use crate::downloads::message as downloads;
use crate::folders;
use crate::gallery::message as gallery;
use crate::inference::message as engine;
use crate::library::message as library;
use crate::state::model::ModelSource;
use crate::worker::{Wake, Worker};

/// The inference thread.
pub type Engine = Worker<engine::Command, engine::Event>;
/// The gallery thread.
pub type Gallery = Worker<gallery::Command, gallery::Event>;
/// The library's thread.
pub type Library = Worker<library::Command, library::Event>;
/// The downloading thread.
pub type Downloader = Worker<downloads::Command, downloads::Event>;
/// The thread for dialogs.
pub type Desktop = Worker<Errand, Report>;

/// Starts a worker that wakes the window after each event.
pub(super) type Start<W> = Box<dyn FnMut(Wake) -> std::io::Result<W>>;

/// How the window's threads are started; again, when one has ended.
pub struct Crew {
    /// Starts the inference thread.
    pub start_engine: Start<Engine>,
    /// Starts the gallery thread.
    pub start_gallery: Start<Gallery>,
    /// Starts the library's thread.
    pub start_library: Start<Library>,
    /// Starts the downloading thread, not before something is to be downloaded.
    pub start_downloads: Start<Downloader>,
    /// Starts the thread for dialogs.
    pub start_desktop: Start<Desktop>,
}

impl Crew {
    /// A crew with these workers and the real desktop.
    #[must_use]
    pub fn new(
        start_engine: impl FnMut(Wake) -> std::io::Result<Engine> + 'static,
        start_gallery: impl FnMut(Wake) -> std::io::Result<Gallery> + 'static,
        start_library: impl FnMut(Wake) -> std::io::Result<Library> + 'static,
        start_downloads: impl FnMut(Wake) -> std::io::Result<Downloader> + 'static,
    ) -> Self {
        Self {
            start_engine: Box::new(start_engine),
            start_gallery: Box::new(start_gallery),
            start_library: Box::new(start_library),
            start_downloads: Box::new(start_downloads),
            start_desktop: Box::new(desktop::spawn),
        }
    }
}

/// What a window is opened with.
#[derive(Debug, Clone)]
pub struct StudioOptions {
    /// Where pictures are kept unless the user says otherwise.
    pub gallery_folder: PathBuf,
    /// Where downloaded models go.
    pub models_folder: PathBuf,
    /// Where form, settings and window size are stored; none means the usual place.
    pub storage_file: Option<PathBuf>,
    /// The model to load instead of the last one.
    pub model: Option<ModelSource>,
}

impl StudioOptions {
    /// The usual folders of this user.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            gallery_folder: folders::usual_gallery_folder(),
            models_folder: folders::models(),
            storage_file: folders::data_folder().map(|folder| folder.join("window.ron")),
            model: None,
        }
    }
}
