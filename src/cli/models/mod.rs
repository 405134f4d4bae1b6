//! `calotype models`: what there is, what a file is, which folders are listed, and what can be fetched.

mod download;
mod library;

use clap::Subcommand;

use super::Failure;
pub use library::places as library_places;
pub(super) use library::{
    callable, recorded_model, recorded_text_encoder, recorded_vae, resolve, resolve_part, short_hash,
};

/// What can be done with models.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models of all folders
    List(library::ListOptions),
    /// Say what a file or model folder is, from its header
    Inspect(library::InspectOptions),
    /// Put a folder on the list; the folders of AUTOMATIC1111, Forge, ComfyUI and Fooocus are recognised
    Add(library::FolderOptions),
    /// Take a folder off the list; no file is touched
    Remove(library::FolderOptions),
    /// Fetch a model from Hugging Face or any address; interrupted, the next run goes on
    Download(download::DownloadOptions),
}

pub(super) fn run(command: &ModelsCommand) -> Result<(), Failure> {
    match command {
        ModelsCommand::List(options) => {
            library::list(options);
            Ok(())
        }
        ModelsCommand::Inspect(options) => library::inspect(options),
        ModelsCommand::Add(options) => library::add(options),
        ModelsCommand::Remove(options) => library::remove(options),
        ModelsCommand::Download(options) => download::run(options),
    }
}
