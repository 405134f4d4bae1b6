//! Models and parts of models in one file: what is in it, of what family it is and how it is built, read from names and
//! shapes. What shapes do not tell is the family's: heads, activation, noise, scale of the latents.

mod part;
mod sidecar;
pub(super) mod text;
pub(super) mod unet;
pub(super) mod vae;

use std::path::Path;

use super::files::ModelFiles;
use super::tensor_file::TensorFile;
use super::{CheckpointError, foreign};

/// Opens a file that may hold parts of Stable Diffusion 1, 2 or XL.
///
/// # Errors
/// When it is damaged, or belongs to a relative.
pub(super) fn open(path: &Path) -> Result<TensorFile, CheckpointError> {
    let file = TensorFile::open(&ModelFiles::Single(path.to_owned()), "")?;
    let names: Vec<&str> = file.tensors().map(|(name, _)| name.as_str()).collect();
    match foreign::relative(&names) {
        Some(what) => Err(CheckpointError::Foreign { what, path: file.path().clone() }),
        None => Ok(file),
    }
}
