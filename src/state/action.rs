//! What the user can ask for, and what then has to be done outside: words between the panels, the state and the app.

use std::path::PathBuf;
use std::sync::Arc;

use image::RgbImage;

use crate::downloads::message::{DownloadId, Wanted};
use crate::gallery::message::{Command, JpegQuality, SaveId};
use crate::inference::message::{JobId, ModelSource};
use crate::library::message::Command as LibraryCommand;
use crate::request::{Companions, DeviceChoice, GenerationRequest, PrecisionChoice, ThreadCount};
use crate::state::gallery::Purpose;
use crate::state::networks::CalledNetworks;
use crate::state::previews::PreviewChoice;
use crate::state::settings::ThemeChoice;

/// Something with consequences that the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make the pictures of the form.
    Generate,
    /// Put this prompt into the form and make its pictures.
    TryPrompt(String),
    /// Put a prompt into the form that the model draws well.
    RollPrompt,
    /// The same, and make its pictures.
    TryRandomPrompt,
    /// Cancel the running job; pressed again, empty the queue.
    Stop,
    /// Put a fresh seed into the form and lock it.
    DrawSeed,
    /// Give up the user's own settings for those of the model.
    UseModelDefaults,
    /// Load another model.
    LoadModel(ModelSource),
    /// End the loading of the model.
    StopLoading,
    /// Keep the weights in another precision from now on; the model at hand is loaded again.
    SetPrecision(PrecisionChoice),
    /// Compute on something else from now on; the model at hand is loaded again.
    SetDevice(DeviceChoice),
    /// Compute with so many threads from the next start on.
    SetThreads(ThreadCount),
    /// Change what a model takes from other files.
    SetCompanions(PathBuf, Companions),
    /// Put a folder of models on the library's list.
    AddModelFolder(PathBuf),
    /// Take a folder of models off the list; no file is touched.
    RemoveModelFolder(PathBuf),
    /// Look at the folders of models again.
    ReadModelsAgain,
    /// Fetch a model from the network.
    Download(Wanted),
    /// End a download; what is there stays.
    CancelDownload(DownloadId),
    /// Go on with a download that ended early.
    DownloadAgain(DownloadId),
    /// Take a download that ended off the list; no file is touched.
    DismissDownload(DownloadId),
    /// Put this LoRA or embedding of the library into the prompt.
    InsertIntoPrompt(PathBuf),
    /// Start the engine again after it ended.
    RestartEngine,
    /// Take the failure's banner away.
    DismissFailure,
    /// Show the picture in progress.
    ShowProgress,
    /// Take the picture off the canvas.
    CloseCanvas,
    /// Read a picture and its recipe from a file.
    Open(PathBuf, Purpose),
    /// Select a gallery picture and show it.
    Select(PathBuf),
    /// Compare the recipe of the picture on the canvas with this picture's; once more, no longer.
    CompareWith(PathBuf),
    /// Show the recipe of the picture on the canvas alone.
    StopComparing,
    /// Take over the recipe of the picture on the canvas.
    UseSettings,
    /// Start from the picture on the canvas.
    UseAsStartImage,
    /// Start from noise alone.
    ClearStartImage,
    /// Put the picture on the canvas into the clipboard.
    CopyPicture,
    /// Put a text into the clipboard.
    CopyText(String),
    /// Show a file in the desktop's file manager.
    ShowInFolder(PathBuf),
    /// Ask whether to delete a picture.
    AskToDelete(PathBuf),
    /// Do not delete it.
    KeepPicture,
    /// Move the picture that was asked about to the trash.
    Delete,
    /// Read the gallery's folder again.
    ReadGalleryAgain,
    /// Save the picture on the canvas under a name of the user's choice.
    SaveShownAs,
    /// Try again to save a picture in the gallery.
    SaveAgain(SaveId),
    /// Save a picture elsewhere that could not be saved.
    SaveUnsavedAs(SaveId),
    /// Show a picture that could not be saved.
    ShowUnsaved(SaveId),
    /// Let a picture go that could not be saved.
    GiveUpUnsaved(SaveId),
    /// Make a small picture of this file.
    WantThumbnail(PathBuf),
    /// Open a dialog.
    Ask(Question),
    /// Use the usual gallery folder.
    UseUsualGallery,
    /// Change the look.
    SetTheme(ThemeChoice),
    /// Change the size of everything.
    SetScale(f32),
    /// Change how pictures in progress are shown.
    SetPreviews(PreviewChoice),
    /// Change how much of a picture a JPEG keeps.
    SetJpegQuality(JpegQuality),
    /// Take a message away.
    DismissNotice(u64),
}

/// What a file dialog is opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// A model's folder.
    ModelFolder,
    /// A model in a single file.
    ModelFile,
    /// A VAE for this model.
    Vae(PathBuf),
    /// One more text encoder for this model.
    TextEncoder(PathBuf),
    /// A folder of models for the library.
    LibraryFolder,
    /// A picture to look at.
    Picture,
    /// A picture to start from.
    StartImage,
    /// A picture to compare with.
    OtherPicture,
    /// A TAESD for previews.
    PreviewDecoder,
    /// The gallery's folder.
    GalleryFolder,
    /// Where to save a picture.
    SaveAs {
        /// Which.
        id: SaveId,
        /// A name to begin with.
        name: String,
    },
}

/// Work outside the state, which the app does.
#[derive(Debug)]
pub enum Effect {
    /// Have the engine load a model.
    LoadModel {
        /// Which.
        source: ModelSource,
        /// What it takes from elsewhere.
        companions: Companions,
        /// What its weights are kept in.
        precision: PrecisionChoice,
        /// On what it computes.
        device: DeviceChoice,
    },
    /// Have the engine end the loading of a model.
    StopLoading,
    /// Have the engine make a picture.
    Generate {
        /// Its name.
        job: JobId,
        /// What to make.
        request: Box<GenerationRequest>,
        /// The pixels that it starts from.
        start_image: Option<Arc<RgbImage>>,
        /// The LoRAs and embeddings that its prompts call.
        networks: Box<CalledNetworks>,
        /// The TAESD that shows its steps.
        preview_decoder: Option<PathBuf>,
    },
    /// Cancel a job.
    Cancel(JobId),
    /// Start the engine again.
    RestartEngine,
    /// Tell the gallery.
    Gallery(Command),
    /// Tell the library.
    Library(LibraryCommand),
    /// Have a model fetched.
    Download {
        /// Its name.
        id: DownloadId,
        /// What to fetch.
        what: Wanted,
    },
    /// End a download.
    CancelDownload(DownloadId),
    /// Use the usual gallery folder, which only the app knows.
    UseUsualGallery,
    /// Open a dialog.
    Ask(Question),
    /// Put a text into the clipboard.
    CopyText(String),
    /// Put a picture into the clipboard.
    CopyPicture(Arc<RgbImage>),
    /// Show a file in the desktop's file manager.
    ShowInFolder(PathBuf),
}
