//! What can be wrong with a model's files.

use std::path::PathBuf;

use crate::diffusion::DiffusionError;
use crate::printable;
use crate::prompt::TokenizerError;

/// Why a model could not be loaded; every text names the file.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The path leads nowhere.
    #[error("there is no such file or folder: {}", printable::path(path))]
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("this is {what}; models of Stable Diffusion 1, 2 and XL can be opened: {}", printable::path(path))]
    Foreign {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file shows no previews.
    #[error(
        "this is {}; previews need a TAESD decoder for Stable Diffusion 1, 2 or XL (taesd_decoder, taesdxl_decoder): {}",
        printable::name(what),
        printable::path(path)
    )]
    NotTaesd {
        /// What it is.
        what: String,
        /// The file or folder.
        path: PathBuf,
    },
    /// A single file holds only some parts of a model.
    #[error(
        "this file has no {part} inside: name one with {option}, or choose it beside the model in the window: {}",
        printable::path(path)
    )]
    MissingPart {
        /// Which, with the prefix that its names would have.
        part: &'static str,
        /// The option that takes it from another file.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file that was to stand in for a part of a model has no such part.
    #[error("there is no {wanted} in this file, it is {what}: {}", printable::path(path))]
    NoSuchPart {
        /// The part.
        wanted: &'static str,
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A VAE is there in part.
    #[error("this VAE has no {half}, and both halves are needed; take the whole VAE: {}", printable::path(path))]
    HalfVae {
        /// The half that is missing.
        half: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The text encoders at hand are not those of the model.
    #[error(
        "the model reads {wanted}, {context} wide in all, and the text encoders at hand are {}: {}",
        printable::name(found),
        printable::path(path)
    )]
    TextEncoders {
        /// Whose texts the model reads.
        wanted: &'static str,
        /// Their widths together.
        context: usize,
        /// The text encoders at hand, with their widths.
        found: String,
        /// The model's file.
        path: PathBuf,
    },
    /// The folder holds something else.
    #[error("not a Stable Diffusion model folder, {missing} is missing: {}", printable::path(path))]
    NotAModel {
        /// The file that would make it one.
        missing: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// The folder's model is of a family that this build does not know.
    #[error(
        "this is a {}, which is not supported; known are those of Stable Diffusion 1, 2 and XL: {}",
        printable::name(found),
        printable::path(path)
    )]
    UnknownPipeline {
        /// The class in model_index.json.
        found: String,
        /// The file.
        path: PathBuf,
    },
    /// The weights are stored in a way that is not read.
    #[error("no weights, {}: {}", printable::sentence(found), printable::path(path))]
    NoWeights {
        /// What lies there instead.
        found: String,
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("could not read {}: {source}", printable::path(path))]
    Io {
        /// What the operating system says.
        #[source]
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
    /// A JSON file is damaged or has other contents than its name says.
    #[error("could not understand {}: {}", printable::path(path), printable::sentence(problem))]
    Json {
        /// Where and what.
        problem: String,
        /// The file.
        path: PathBuf,
    },
    /// A file of weights is damaged.
    #[error("damaged model file, {}: {}", printable::sentence(problem), printable::path(path))]
    Damaged {
        /// What was expected and found.
        problem: String,
        /// The file.
        path: PathBuf,
    },
    /// A tensor that the configuration calls for is not there.
    #[error("tensor \"{}\" with shape {expected:?} is missing from {}", printable::name(name), printable::path(path))]
    MissingTensor {
        /// Its name.
        name: String,
        /// The shape that the configuration gives it.
        expected: Vec<usize>,
        /// The file, or the folder of shards.
        path: PathBuf,
    },
    /// A tensor is not what the configuration says.
    #[error(
        "tensor \"{}\" has shape {found:?} where the configuration expects {expected:?}: {}",
        printable::name(name),
        printable::path(path)
    )]
    WrongShape {
        /// Its name.
        name: String,
        /// The shape that the configuration gives it.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
        /// The file.
        path: PathBuf,
    },
    /// A tensor is stored in a type that is not read.
    #[error(
        "tensor \"{}\" is stored as {found}; known are floating-point numbers of 64 to 8 bits and GGUF's blocks: {}",
        printable::name(name),
        printable::path(path)
    )]
    UnknownDType {
        /// Its name.
        name: String,
        /// Its type.
        found: String,
        /// The file.
        path: PathBuf,
    },
    /// The tokenizer's files do not make one.
    #[error("{source}: {}", printable::path(path))]
    Tokenizer {
        /// Why.
        #[source]
        source: TokenizerError,
        /// The folder.
        path: PathBuf,
    },
    /// The parts do not make a model.
    #[error("{source} ({})", printable::path(path))]
    Model {
        /// Why.
        #[source]
        source: DiffusionError,
        /// The folder.
        path: PathBuf,
    },
    /// The caller asked for the end; not a fault.
    #[error("cancelled")]
    Cancelled,
}
