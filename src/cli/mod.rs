//! The command line: the same engine without a window.

mod accelerations;
mod bench;
mod companions;
mod export;
mod generate;
mod info;
mod kinds;
mod models;
mod networks;
mod options;
mod picture_options;
mod prompt;
mod report;
mod session;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use self::options::{Cli, Task};
use crate::request::{SamplerKind, ScheduleKind};
pub use models::library_places;

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
    /// The answer is no, and that was said.
    Told,
    /// The user asked for the end.
    Interrupted,
}

/// What the arguments come to.
#[derive(Debug)]
pub enum Outcome {
    /// The window is wanted.
    OpenStudio {
        /// With this model instead of the last one.
        model: Option<PathBuf>,
    },
    /// The work is done, or could not be.
    Exit(ExitCode),
}

/// Reads the arguments and does what they say, but for opening the window. Ends the process itself on `--help`,
/// `--version` and wrong usage.
#[must_use]
pub fn run() -> Outcome {
    let cli = Cli::parse();
    let done = match cli.task {
        // What is not found the window tells.
        None => {
            let found = cli.model.map(|asked| models::resolve(&asked).unwrap_or(asked));
            return Outcome::OpenStudio { model: found };
        }
        Some(Task::Generate(options)) => generate::run(&options),
        Some(Task::Info(options)) => info::run(&options),
        Some(Task::Export(options)) => export::run(&options),
        Some(Task::Verify(options)) => verify::run(&options),
        Some(Task::Bench(options)) => bench::run(&options),
        Some(Task::Samplers) => {
            kinds::print(SamplerKind::ALL.iter().map(|kind| (kind.name(), kind.label(), kind.summary())));
            Ok(())
        }
        Some(Task::Schedules) => {
            kinds::print(ScheduleKind::ALL.iter().map(|kind| (kind.name(), kind.label(), kind.summary())));
            Ok(())
        }
        Some(Task::Prompt(options)) => prompt::run(&options),
        Some(Task::Models(command)) => models::run(&command),
    };
    Outcome::Exit(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(problem)) => end(USAGE, &problem),
        Err(Failure::Work(problem)) => end(FAILURE, &problem),
        Err(Failure::Told) => ExitCode::from(FAILURE),
        Err(Failure::Interrupted) => end(INTERRUPTED, "cancelled"),
    })
}

fn end(code: u8, text: &str) -> ExitCode {
    report::print_error(text);
    ExitCode::from(code)
}
