//! Models from the network onto the disk: Hugging Face repositories and single files, resumed, verified, never half there.

mod cache;
mod choice;
mod client;
mod digest;
mod disk;
mod engine;
mod error;
mod fetch;
mod folder;
mod headers;
mod hub;
mod job;
pub mod message;
mod names;
mod part;
mod patience;
mod progress;
mod surroundings;
mod wanted;

use self::message::{Command, Event};
use crate::worker::{Wake, Worker};

pub use error::DownloadError;
pub use surroundings::{FreeSpace, Patience, Surroundings};

/// Starts the thread that downloads, one order after the other. When its owner goes, what is half done stays on the disk
/// and the same order goes on there.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(surroundings: Surroundings, wake: Wake) -> std::io::Result<Worker<Command, Event>> {
    Worker::spawn("downloads", wake, move |inbox, outbox| engine::run(&surroundings, inbox, outbox))
}
