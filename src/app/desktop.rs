//! What the desktop does for us, on a thread of its own because it may take minutes: file dialogs, showing a file.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rfd::FileDialog;

use super::options::Desktop;
use crate::state::action::Question;
use crate::worker::{Inbox, Outbox, Wake, Worker};

/// How the files of checkpoints end.
pub(super) const MODEL_ENDINGS: [&str; 6] = ["safetensors", "sft", "ckpt", "gguf", "pt", "pth"];

/// How the files of VAEs and text encoders end.
const PART_ENDINGS: [&str; 7] = ["safetensors", "sft", "ckpt", "gguf", "pt", "pth", "bin"];

/// Something that the desktop is to do.
#[derive(Debug)]
pub enum Errand {
    /// Let the user choose a file or a folder. Answered by `Chosen` or `NotChosen`.
    Ask(Question),
    /// Show a file in the file manager. Answered only by `Failed`.
    ShowInFolder(PathBuf),
}

/// What came of it.
#[derive(Debug)]
pub enum Report {
    /// The user chose this.
    Chosen(Question, PathBuf),
    /// The user chose nothing.
    NotChosen(Question),
    /// The desktop could not do it, for people.
    Failed(String),
}

/// Starts the thread.
///
/// # Errors
/// When the system gives no thread.
pub fn spawn(wake: Wake) -> std::io::Result<Desktop> {
    Worker::spawn("desktop", wake, |inbox: &Inbox<Errand>, outbox: &Outbox<Report>| {
        while let Some(errand) = inbox.next() {
            match errand {
                Errand::Ask(question) => answer(question, outbox),
                Errand::ShowInFolder(path) => {
                    let folder = path.parent().unwrap_or(&path);
                    if let Err(error) = opener::open(folder) {
                        outbox.send(Report::Failed(format!("{} could not be shown: {error}", folder.display())));
                    }
                }
            }
        }
    })
}

/// No one closes a dialog this fast: when none was chosen, none was shown.
const FASTER_THAN_ANYONE: Duration = Duration::from_millis(200);

fn answer(question: Question, outbox: &Outbox<Report>) {
    let asked_at = Instant::now();
    if let Some(path) = ask(&question) {
        outbox.send(Report::Chosen(question, path));
        return;
    }
    outbox.send(Report::NotChosen(question));
    if asked_at.elapsed() < FASTER_THAN_ANYONE {
        let what_helps = "install xdg-desktop-portal or zenity; pictures and models can also be dropped on the window";
        outbox.send(Report::Failed(format!("The desktop shows no file dialog: {what_helps}")));
    }
}

fn ask(question: &Question) -> Option<PathBuf> {
    let pictures =
        |dialog: FileDialog| dialog.add_filter("Pictures", &["png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff"]);
    let dialog = FileDialog::new();
    match question {
        Question::LibraryFolder => dialog.set_title("Add a folder of models").pick_folder(),
        Question::ModelFolder => dialog.set_title("Open model folder").pick_folder(),
        Question::ModelFile => {
            dialog.add_filter("Checkpoints", &MODEL_ENDINGS).set_title("Open a model file").pick_file()
        }
        Question::PreviewDecoder => {
            dialog.add_filter("TAESD", &MODEL_ENDINGS).set_title("Choose a TAESD for previews").pick_file()
        }
        Question::Vae(_) => dialog.add_filter("VAEs", &PART_ENDINGS).set_title("Choose a VAE").pick_file(),
        Question::TextEncoder(_) => {
            dialog.add_filter("Text encoders", &PART_ENDINGS).set_title("Choose a text encoder").pick_file()
        }
        Question::GalleryFolder => dialog.set_title("Choose the gallery folder").pick_folder(),
        Question::Picture => pictures(dialog).set_title("Open a picture").pick_file(),
        Question::OtherPicture => pictures(dialog).set_title("Compare with a picture").pick_file(),
        Question::StartImage => pictures(dialog).set_title("Choose a start image").pick_file(),
        Question::SaveAs { name, .. } => {
            let dialog = dialog.add_filter("PNG, JPEG and WebP, as the name ends", &["png", "jpg", "jpeg", "webp"]);
            dialog.set_file_name(name).set_title("Export the picture").save_file()
        }
    }
}
