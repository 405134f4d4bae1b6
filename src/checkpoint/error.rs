//! What can be wrong with a model's files.

use std::path::PathBuf;

use crate::diffusion::DiffusionError;
use crate::prompt::TokenizerError;

/// Why a model could not be loaded; every text names the file.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The path leads nowhere.
    #[error("there is no such file or folder: {}", path.display())]
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("this is {what}; models of Stable Diffusion 1, 2 and XL can be opened: {}", path.display())]
    Foreign {
        /// What it is.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The file shows no previews.
    #[error(
        "this is {what}; previews need a TAESD decoder for Stable Diffusion 1, 2 or XL (taesd_decoder, taesdxl_decoder): {}",
        path.display()
    )]
    NotTaesd {
        /// What it is.
        what: String,
        /// The file or folder.
        path: PathBuf,
    },
    /// A single file holds only some parts of a model.
    #[error("this file has no {part} inside: name one with {option}, or choose it beside the model in the window: {}", path.display())]
    MissingPart {
        /// Which, with the prefix that its names would have.
        part: &'static str,
        /// The option that takes it from another file.
        option: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file that was to stand in for a part of a model has no such part.
    #[error("there is no {wanted} in this file, it is {what}: {}", path.display())]
    NoSuchPart {
        /// The part.
        wanted: &'static str,
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A VAE is there in part.
    #[error("this VAE has no {half}, and both halves are needed; take the whole VAE: {}", path.display())]
    HalfVae {
        /// The half that is missing.
        half: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The text encoders at hand are not those of the model.
    #[error("the model reads {wanted}, {context} wide in all, and the text encoders at hand are {found}: {}", path.display())]
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
    #[error("not a Stable Diffusion model folder, {missing} is missing: {}", path.display())]
    NotAModel {
        /// The file that would make it one.
        missing: &'static str,
        /// The folder.
        path: PathBuf,
    },
    /// The folder's model is of a family that this build does not know.
    #[error("this is a {found}, which is not supported; known are those of Stable Diffusion 1, 2 and XL: {}", path.display())]
    UnknownPipeline {
        /// The class in model_index.json.
        found: String,
        /// The file.
        path: PathBuf,
    },
    /// The weights are stored in a way that is not read.
    #[error("no weights, {found}: {}", path.display())]
    NoWeights {
        /// What lies there instead.
        found: String,
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read.
    #[error("could not read {}: {source}", path.display())]
    Io {
        /// What the operating system says.
        #[source]
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
    /// A JSON file is damaged or has other contents than its name says.
    #[error("could not understand {}: {problem}", path.display())]
    Json {
        /// Where and what.
        problem: String,
        /// The file.
        path: PathBuf,
    },
    /// A file of weights is damaged.
    #[error("damaged model file, {problem}: {}", path.display())]
    Damaged {
        /// What was expected and found.
        problem: String,
        /// The file.
        path: PathBuf,
    },
    /// A tensor that the configuration calls for is not there.
    #[error("tensor \"{name}\" with shape {expected:?} is missing from {}", path.display())]
    MissingTensor {
        /// Its name.
        name: String,
        /// The shape that the configuration gives it.
        expected: Vec<usize>,
        /// The file, or the folder of shards.
        path: PathBuf,
    },
    /// A tensor is not what the configuration says.
    #[error("tensor \"{name}\" has shape {found:?} where the configuration expects {expected:?}: {}", path.display())]
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
    #[error("tensor \"{name}\" is stored as {found}; known are floating-point numbers of 64 to 8 bits and GGUF's blocks: {}", path.display())]
    UnknownDType {
        /// Its name.
        name: String,
        /// Its type.
        found: String,
        /// The file.
        path: PathBuf,
    },
    /// The tokenizer's files do not make one.
    #[error("{source}: {}", path.display())]
    Tokenizer {
        /// Why.
        #[source]
        source: TokenizerError,
        /// The folder.
        path: PathBuf,
    },
    /// The parts do not make a model.
    #[error("{source} ({})", path.display())]
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
