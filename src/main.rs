//! The front door: without arguments the studio opens, with arguments the command line answers.

use std::process::ExitCode;

use calotype::cli::{self, Outcome};

fn main() -> anyhow::Result<ExitCode> {
    start_log();
    match cli::run() {
        Outcome::Exit(code) => Ok(code),
        Outcome::OpenStudio { .. } => Ok(ExitCode::SUCCESS),
    }
}

/// Warnings and errors to stderr; more with `CALOTYPE_LOG`, in the language of tracing's filters.
fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("CALOTYPE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("calotype=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
