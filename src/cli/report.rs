//! How the command line says what happens: a progress bar for people, JSON lines for programs.

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::printable;
use crate::request::Seed;

/// Tells of one run.
pub enum Report {
    /// One JSON object a line on stdout.
    Json,
    /// A bar on stderr when it is a terminal, the finished paths on stdout.
    Text {
        /// Present while there is something to wait for.
        bar: Option<ProgressBar>,
        /// What the bar counts now.
        counts: Counting,
    },
}

/// What a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// Percent of a model's weights.
    Loading,
    /// Steps of a picture.
    Steps,
}

impl Report {
    /// For a run with `--json` or without.
    pub fn new(is_json: bool) -> Self {
        if is_json { Self::Json } else { Self::Text { bar: None, counts: Counting::Loading } }
    }

    pub fn loading(&mut self, model: &str, fraction: f32) {
        match self {
            Self::Json => print_line(&json!({"event": "loading", "model": model, "fraction": fraction})),
            Self::Text { .. } => {
                let percent = (fraction * 100.0) as u64;
                self.show(Counting::Loading, 100, percent, &format!("Loading {model}"));
            }
        }
    }

    pub fn step(&mut self, seed: Seed, step: u32, steps: u32) {
        match self {
            Self::Json => print_line(&json!({"event": "step", "seed": seed.0, "step": step, "steps": steps})),
            Self::Text { .. } => {
                self.show(Counting::Steps, u64::from(steps), u64::from(step), &format!("Seed {seed}"));
            }
        }
    }

    pub fn finished(&mut self, path: &Path, seed: Seed, seconds: f64) {
        match self {
            Self::Json => print_line(&json!({
                "event": "finished", "path": path.display().to_string(), "seed": seed.0, "seconds": seconds,
            })),
            Self::Text { .. } => {
                self.clear();
                print_text(&path.display().to_string());
            }
        }
    }

    /// Something is not done as asked; the picture is made all the same.
    pub fn warning(&mut self, text: &str) {
        match self {
            Self::Json => print_line(&json!({"event": "warning", "text": text})),
            Self::Text { .. } => {
                self.clear();
                print_error(text);
            }
        }
    }

    /// The VAE is one that nobody asked for.
    pub fn vae_beside(&mut self, name: &str) {
        match self {
            Self::Json => print_line(&json!({"event": "vae", "name": name})),
            Self::Text { .. } => {
                self.clear();
                print_error(&format!("{name} lies beside the model and is used as its VAE"));
            }
        }
    }

    /// The answer to what was asked.
    pub fn answer(&mut self, json: &Value, text: &str) {
        match self {
            Self::Json => print_line(json),
            Self::Text { .. } => {
                self.clear();
                print_text(text);
            }
        }
    }

    /// For programs only: people read the error that ends the run.
    pub fn failed(&mut self, seed: Option<Seed>, error: &str) {
        match self {
            Self::Json => print_line(&json!({"event": "failed", "seed": seed.map(|s| s.0), "error": error})),
            Self::Text { .. } => self.clear(),
        }
    }

    /// For programs only, as [`Report::failed`].
    pub fn cancelled(&mut self, seed: Option<Seed>) {
        match self {
            Self::Json => print_line(&json!({"event": "cancelled", "seed": seed.map(|s| s.0)})),
            Self::Text { .. } => self.clear(),
        }
    }

    fn show(&mut self, what: Counting, length: u64, position: u64, message: &str) {
        let Self::Text { bar, counts } = self else { return };
        if !std::io::stderr().is_terminal() {
            return;
        }
        if *counts != what || bar.is_none() {
            if let Some(old) = bar.take() {
                old.finish_and_clear();
            }
            let template = match what {
                Counting::Loading => "{msg} [{wide_bar}] {percent} %",
                Counting::Steps => "{msg} [{wide_bar}] step {pos} / {len}, {eta} left",
            };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            *bar = Some(ProgressBar::new(length).with_style(style.progress_chars("=> ")));
            *counts = what;
        }
        if let Some(bar) = bar {
            bar.set_length(length);
            if position < bar.position() {
                bar.reset_eta();
            }
            bar.set_message(message.to_owned());
            bar.set_position(position);
        }
    }

    fn clear(&mut self) {
        if let Self::Text { bar, .. } = self
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }
}

fn print_line(value: &Value) {
    print_text(&value.to_string());
}

/// For people, on stderr.
pub(super) fn print_error(text: &str) {
    if writeln!(std::io::stderr(), "calotype: {}", printable::message(text)).is_err() {
        tracing::debug!("stderr is closed");
    }
}

/// As it is for programs; people's terminals would obey what strangers wrote. A closed pipe is no reason to die in the
/// middle of a picture.
pub(super) fn print_text(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let text = if stdout.is_terminal() { Cow::Owned(printable::text(text)) } else { Cow::Borrowed(text) };
    if writeln!(stdout, "{text}").and_then(|()| stdout.flush()).is_err() {
        tracing::debug!("stdout is closed");
    }
}
