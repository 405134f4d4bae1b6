//! The front door: without arguments the studio opens, with arguments the command line answers.

use std::io::IsTerminal;
use std::process::ExitCode;

use calotype::app::{self, Crew, StudioOptions};
use calotype::cli::{self, Outcome};
use calotype::downloads::{self, Surroundings};
use calotype::inference::device::{DeviceChoice, faster_precision};
use calotype::inference::message::ModelSource;
use calotype::{gallery, inference, library};

fn main() -> anyhow::Result<ExitCode> {
    start_log();
    match cli::run() {
        Outcome::Exit(code) => Ok(code),
        Outcome::OpenStudio { model } => {
            let options = StudioOptions { model: model.map(ModelSource::OnDisk), ..StudioOptions::usual() };
            let engine = |wake| inference::spawn(DeviceChoice::Auto, faster_precision(), wake);
            let listing = |wake| library::spawn(cli::library_places(), wake);
            let fetching = |wake| downloads::spawn(Surroundings::usual(), wake);
            app::run(options, Crew::new(engine, gallery::spawn, listing, fetching)).map_err(|error| {
                anyhow::anyhow!(
                    "the window could not be opened: {error}; README.md lists the libraries that it needs, and \
                     `calotype generate` works without a window"
                )
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Warnings and errors to stderr; more with `CALOTYPE_LOG`, in the language of tracing's filters.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CALOTYPE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("calotype=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .init();
}
