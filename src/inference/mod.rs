//! The thread that owns the model: requests in, previews and pictures out.

pub mod cancel;
pub mod device;
mod engine;
mod facts;
mod memory;
pub mod message;
mod networks;
mod previews;
pub mod threads;

use std::path::Path;
use std::sync::Arc;

use self::device::{DeviceChoice, Place};
use self::message::{Command, Event};
use crate::checkpoint::{self, ModelFiles};
use crate::prompt::Tokenizer;
use crate::request::{Companions, Precision};
use crate::worker::{Wake, Worker};

/// Starts the inference thread; it waits for its first model. `automatic` is what a choice that leaves the precision to the
/// machine comes to.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(device: DeviceChoice, automatic: Precision, wake: Wake) -> std::io::Result<Worker<Command, Event>> {
    Worker::spawn("inference", wake, move |inbox, outbox| engine::run(device, automatic, inbox, outbox))
}

/// The tokenizer of a model with its companions, without its weights; CLIP's own where none is named.
///
/// # Errors
/// When the model cannot be read, for people.
pub fn tokenizer(model: Option<&Path>, companions: &Companions) -> Result<Arc<Tokenizer>, String> {
    let Some(path) = model else {
        return checkpoint::clip_tokenizer().map(Arc::new).map_err(|error| error.to_string());
    };
    let described = ModelFiles::at(path).and_then(|files| checkpoint::describe(&files, companions));
    described.map(|description| description.tokenizer).map_err(|error| error.to_string())
}

/// Reads a TAESD to see whether it can show previews.
///
/// # Errors
/// When it cannot, for people.
pub fn check_preview_decoder(path: &Path) -> Result<(), String> {
    let read = checkpoint::read_taesd(path, device::dtype(Precision::F32), &Place::processor().device());
    read.map(drop).map_err(|error| error.to_string())
}

/// The hash by which recipes name a LoRA.
///
/// # Errors
/// When the file cannot be read, for people.
pub fn adapter_hash(path: &Path) -> Result<String, String> {
    checkpoint::lora_hash(path).map_err(|error| error.to_string())
}

/// The hash by which recipes name an embedding.
///
/// # Errors
/// When the file cannot be read, for people.
pub fn embedding_hash(path: &Path) -> Result<String, String> {
    checkpoint::embedding_hash(path).map_err(|error| error.to_string())
}
