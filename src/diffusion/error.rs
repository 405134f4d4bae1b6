//! What can go wrong between a request and its picture.

use crate::prompt::TokenizerError;
use crate::request::RequestError;

/// Why a model could not be built or a picture not be made.
#[derive(Debug, thiserror::Error)]
pub enum DiffusionError {
    /// The caller asked for the end; not a fault.
    #[error("cancelled")]
    Cancelled,
    /// A configuration asks for something that this build does not have.
    #[error("{part}: {key} \"{found}\" is not supported; known are {known}")]
    Unsupported {
        /// Which of the model's parts.
        part: &'static str,
        /// The configuration's key.
        key: &'static str,
        /// Its value.
        found: String,
        /// What would be understood.
        known: &'static str,
    },
    /// A configuration contradicts itself.
    #[error("{part}: {problem}")]
    Config {
        /// Which of the model's parts.
        part: &'static str,
        /// What does not fit.
        problem: String,
    },
    /// The request does not fit this model.
    #[error("{0}")]
    Request(String),
    /// The numbers left the finite range.
    #[error(
        "{place} hold {what}: the model's weights or this precision cannot carry this picture; try other settings or another model file"
    )]
    NotFinite {
        /// Where, with the step.
        place: String,
        /// "NaN" or "infinity", and how many.
        what: String,
    },
    /// The prompt could not be turned into tokens.
    #[error("the prompt could not be read")]
    Prompt(#[from] TokenizerError),
    /// A stored sampler state does not belong to this request.
    #[error("the stored state does not fit: {0}")]
    State(String),
    /// The device or a tensor operation failed.
    #[error("{0}")]
    Tensor(#[from] candle_core::Error),
}

impl From<RequestError> for DiffusionError {
    fn from(error: RequestError) -> Self {
        Self::Request(error.to_string())
    }
}
