//! `calotype models download`: a model from the network onto the disk.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::cli::Failure;
use crate::cli::report::{print_error, print_text};
use crate::downloads::message::{Command, DownloadId, Event, Order, Sha256Hex, Wanted};
use crate::downloads::{self, Surroundings};
use crate::folders;
use crate::inference::cancel::CancelToken;

/// The only order of a run.
const ID: DownloadId = DownloadId(1);

/// `calotype models download`.
#[derive(Debug, Args)]
pub struct DownloadOptions {
    /// A Hugging Face repository (org/name, org/name@revision), a file in one (org/name/file), a page of
    /// huggingface.co, or the address of a file
    #[arg(value_name = "WHAT")]
    what: Wanted,
    /// The folder to put it in [default: the models folder of Calotype's data folder]
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Which of a repository's weights, for example fp16 [default: the plain ones, else those in half precision]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// The checksum that the file must have; for single files
    #[arg(long, value_name = "HEX")]
    sha256: Option<Sha256Hex>,
    /// One JSON object a line: what is happening
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &DownloadOptions) -> Result<(), Failure> {
    let cancel = CancelToken::new();
    let on_interrupt = cancel.clone();
    ctrlc::set_handler(move || on_interrupt.cancel())
        .map_err(|error| Failure::Work(format!("no way to catch Ctrl-C: {error}")))?;
    let worker = downloads::spawn(Surroundings::usual(), Arc::new(|| {}))
        .map_err(|error| Failure::Work(format!("the downloading thread could not be started: {error}")))?;
    let mut teller = Teller::new(options.json);
    let destination = options.to.clone().unwrap_or_else(folders::models);
    let (what, variant, sha256) = (options.what.clone(), options.variant.clone(), options.sha256.clone());
    let order = Order { id: ID, what, destination, variant, sha256, cancel };
    let ended = || Failure::Work("the downloading thread has ended unexpectedly".to_owned());
    worker.send(Command::Start(Box::new(order))).map_err(|_| ended())?;
    loop {
        match worker.next().ok_or_else(ended)? {
            Event::Started { .. } => {}
            Event::Found { name, files, total, .. } => teller.found(&name, files, total),
            Event::Progress { done, bytes_per_second, file, .. } => teller.progress(done, bytes_per_second, &file),
            Event::Verifying { file, .. } => teller.verifying(&file),
            Event::Waiting { seconds, reason, .. } => teller.waiting(seconds, &reason),
            Event::Finished { path, fetched, .. } => {
                teller.finished(&path, fetched);
                return Ok(());
            }
            Event::Cancelled { .. } => {
                teller.ended(&json!({"event": "cancelled"}));
                print_error("what has come is kept: the same command goes on from there");
                return Err(Failure::Interrupted);
            }
            Event::Failed { error, .. } => {
                teller.ended(&json!({"event": "failed", "error": error}));
                return Err(Failure::Work(error));
            }
        }
    }
}

/// Tells of one download: JSON lines for programs, a bar and the finished path for people.
enum Teller {
    Json,
    Text { bar: ProgressBar },
}

impl Teller {
    fn new(is_json: bool) -> Self {
        if is_json {
            return Self::Json;
        }
        let bar = if std::io::stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() };
        Self::Text { bar }
    }

    fn found(&mut self, name: &str, files: usize, total: Option<u64>) {
        match self {
            Self::Json => print_json(&json!({"event": "found", "name": name, "files": files, "total": total})),
            Self::Text { bar } => {
                let template = match total {
                    Some(_) => "{msg} [{wide_bar}] {bytes} / {total_bytes}, {prefix}/s",
                    None => "{msg} {spinner} {bytes}, {prefix}/s",
                };
                let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
                bar.set_style(style.progress_chars("=> "));
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.set_message(name.to_owned());
            }
        }
    }

    fn progress(&mut self, done: u64, bytes_per_second: f64, file: &str) {
        match self {
            Self::Json => print_json(&json!({
                "event": "progress", "done": done, "bytes_per_second": bytes_per_second, "file": file,
            })),
            Self::Text { bar } => {
                bar.set_message(file.to_owned());
                bar.set_prefix(indicatif::HumanBytes(bytes_per_second as u64).to_string());
                bar.set_position(done);
            }
        }
    }

    fn verifying(&mut self, file: &str) {
        match self {
            Self::Json => print_json(&json!({"event": "verifying", "file": file})),
            Self::Text { bar } => bar.set_message(format!("Checking {file}")),
        }
    }

    fn waiting(&mut self, seconds: u64, reason: &str) {
        match self {
            Self::Json => print_json(&json!({"event": "waiting", "seconds": seconds, "reason": reason})),
            Self::Text { bar } => bar.suspend(|| print_error(&format!("{reason}; again in {seconds} s"))),
        }
    }

    fn finished(&mut self, path: &Path, fetched: u64) {
        let path = path.display().to_string();
        self.ended(&json!({"event": "finished", "path": path, "fetched": fetched}));
        if matches!(self, Self::Text { .. }) {
            print_text(&path);
        }
    }

    fn ended(&mut self, value: &Value) {
        match self {
            Self::Json => print_json(value),
            Self::Text { bar } => bar.finish_and_clear(),
        }
    }
}

fn print_json(value: &Value) {
    print_text(&value.to_string());
}
