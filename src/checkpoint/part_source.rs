//! Where the weights of one part of a model lie, which need not be where the rest of it is.

use std::path::PathBuf;
use std::sync::Arc;

use super::CheckpointError;
use super::files::ModelFiles;
use super::meter::Meter;
use super::original_names::PartNames;
use super::single_file;
use super::weights::Weights;

/// The place of one part.
#[derive(Debug, Clone)]
pub(super) enum PartSource {
    /// A folder of a model; the empty one is the model's own.
    Folder { files: ModelFiles, folder: &'static str, stem: &'static str },
    /// A file of tensors, in which there may be others as well.
    File { path: PathBuf, names: PartNames },
}

impl PartSource {
    /// Opens it: headers are read, no weight is.
    pub fn open(&self, meter: Arc<Meter>) -> Result<Weights, CheckpointError> {
        match self {
            Self::Folder { files, folder, stem } => Weights::open(files, folder, stem, meter),
            Self::File { path, names } => Ok(Weights::in_file(single_file::open(path)?, names.clone(), meter)),
        }
    }

    /// For messages.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::Folder { files, folder, .. } => files.path(folder),
            Self::File { path, .. } => path.clone(),
        }
    }
}
