//! `calotype models`: models on this disk.

mod download;

use clap::Subcommand;

use super::Failure;

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// Fetch a model from Hugging Face or any address; interrupted, the next run goes on
    Download(download::DownloadOptions),
}

pub(super) fn run(command: &ModelsCommand) -> Result<(), Failure> {
    match command {
        ModelsCommand::Download(options) => download::run(options),
    }
}
