//! The header of a file of tensors for lists, read as the loader does: what is listed can be opened.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::CheckpointError;
use super::card::Container;
use super::files::ModelFiles;
use super::tensor_file::{StoredTensor, TensorFile};

/// What a file says before its tensors.
#[derive(Debug)]
pub(super) struct Header {
    pub container: Container,
    pub tensors: HashMap<String, TensorHead>,
    pub metadata: BTreeMap<String, String>,
}

/// A tensor without its numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct TensorHead {
    /// Outermost first.
    pub shape: Vec<usize>,
    /// As the file names it: "F16", "Q8_0".
    pub stored: String,
    /// How many bytes it takes.
    pub len_bytes: u64,
}

impl TensorHead {
    pub fn count(&self) -> u64 {
        self.shape.iter().fold(1, |count: u64, &side| count.saturating_mul(side as u64))
    }
}

impl Header {
    /// Reads the header of a file; no tensor is touched.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        let file = TensorFile::open(&ModelFiles::Single(path.to_owned()), "")?;
        let container = file.container();
        let (tensors, metadata) = file.into_header();
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor.into())).collect();
        Ok(Self { container, tensors, metadata: metadata.into_iter().collect() })
    }
}

impl From<StoredTensor> for TensorHead {
    fn from(tensor: StoredTensor) -> Self {
        Self { shape: tensor.shape, stored: tensor.kind.name(), len_bytes: tensor.len_bytes }
    }
}
