//! The command line: the same engine without a window.

mod generate;
mod info;
mod options;
mod report;

use std::process::ExitCode;

use clap::Parser;

use self::options::{Cli, Task};

/// Wrong usage, as clap itself exits.
const USAGE: u8 = 2;
/// Something asked for was not done.
const FAILURE: u8 = 1;
/// Ended by Ctrl-C, as shells count it: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Why a command ended without its result.
enum Failure {
    /// The options contradict each other or the model.
    Usage(String),
    /// The work failed.
    Work(String),
    /// The user asked for the end.
    Interrupted,
}

/// Reads the arguments and does what they say; the studio opens when there are none.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log();
    let done = match cli.task {
        None => open_studio(cli.model),
        Some(Task::Generate(options)) => generate::run(&options),
        Some(Task::Info(options)) => info::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(problem)) => end(USAGE, &problem),
        Err(Failure::Work(problem)) => end(FAILURE, &problem),
        Err(Failure::Interrupted) => end(INTERRUPTED, "cancelled"),
    }
}

fn end(code: u8, text: &str) -> ExitCode {
    eprintln!("calotype: {text}");
    ExitCode::from(code)
}

/// Warnings and errors to stderr; more with `CALOTYPE_LOG`, in the language of tracing's filters.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CALOTYPE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("calotype=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}

fn open_studio(_model: Option<std::path::PathBuf>) -> Result<(), Failure> {
    Ok(())
}
