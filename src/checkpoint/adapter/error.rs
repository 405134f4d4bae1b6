//! Why an adapter could not be used.

use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::printable;

/// Every text names the file.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    /// The file could not be read, or is damaged as a whole.
    #[error("{0}")]
    File(#[from] CheckpointError),
    /// The file is something else.
    #[error("this is {what}; LoRAs and their relatives in safetensors can be used: {}", printable::path(path))]
    NotAnAdapter {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "this is {what}; textual-inversion embeddings in safetensors can be used, a .pt file has to be converted first: {}",
        printable::path(path)
    )]
    NotAnEmbedding {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// It changes the model in a way that this build does not know.
    #[error(
        "this is {what}, which cannot be used yet; known are LoRA, LoCon, LoHa, LoKr, IA3, DoRA: {}",
        printable::path(path)
    )]
    Unsupported {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// It was made for another kind of model.
    #[error("this is made for {made_for} and the model is {model}: {}", printable::path(path))]
    WrongFamily {
        /// The family that the file's shapes or names tell.
        made_for: String,
        /// The model's.
        model: String,
        /// The file.
        path: PathBuf,
    },
    /// A part of it makes no sense.
    #[error("damaged, {}: {}: {}", printable::name(module), printable::sentence(problem), printable::path(path))]
    Damaged {
        /// Which of its modules or tensors.
        module: String,
        /// What does not fit.
        problem: String,
        /// The file.
        path: PathBuf,
    },
    /// The model's own file is no longer what was loaded.
    #[error("the model's file was written to since it was loaded; load the model again: {}", printable::path(path))]
    ModelChanged {
        /// The model's file.
        path: PathBuf,
    },
    /// It was written to while it was read: its values and its hash could be of two states.
    #[error("this was written to while it was read; try again once it is whole: {}", printable::path(path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The device failed.
    #[error("{0}")]
    Tensor(#[from] candle_core::Error),
    /// The caller asked for the end; not a fault.
    #[error("cancelled")]
    Cancelled,
}
