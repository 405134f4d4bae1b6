//! One part of a model in a file of tensors, asked for by the names that the layers use.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::checkpoint::CheckpointError;
use crate::checkpoint::original_names::{PartNames, Spelling};
use crate::checkpoint::part_source::PartSource;
use crate::checkpoint::tensor_file::{StoredTensor, TensorFile};

/// A part that was found in an open file.
pub(in crate::checkpoint) struct FilePart<'a> {
    pub file: &'a TensorFile,
    pub names: PartNames,
}

/// The groups of the norms, which no shape shows: 32 as in every model that is known, or what the widths leave of it.
pub(in crate::checkpoint) fn norm_groups(widths: &[usize]) -> usize {
    let fits = |groups: &usize| widths.iter().all(|width| width.is_multiple_of(*groups));
    let groups = [32, 16, 8, 4, 2].into_iter().find(fits).unwrap_or(1);
    if groups != 32 {
        tracing::warn!(groups, "the file does not say how many groups its norms have; the widths leave no more");
    }
    groups
}

impl<'a> FilePart<'a> {
    pub fn new(file: &'a TensorFile, prefix: &str, spelling: Spelling) -> Self {
        Self { file, names: PartNames { prefix: prefix.to_owned(), spelling } }
    }

    /// Where its weights are to be read from.
    pub fn source(&self) -> PartSource {
        PartSource::File { path: self.file.path().clone(), names: self.names.clone() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The name in the file, the tensor, and whether its rows are the columns asked for.
    pub fn get(&self, name: &str) -> Option<(String, &StoredTensor, bool)> {
        let stored = self.names.stored(name).into_iter();
        stored.map(|stored| (self.file.get(&stored.name), stored)).find_map(|(tensor, stored)| {
            let tensor = tensor?;
            Some((stored.name, tensor, stored.is_transposed))
        })
    }

    /// How many tensors there are, counted from 0 until one is missing.
    pub fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..self.file.tensors().count()).take_while(|&index| self.has(&name(index))).count()
    }

    pub fn shape(&self, name: &str) -> Result<Vec<usize>, CheckpointError> {
        let Some((_, tensor, is_transposed)) = self.get(name) else {
            let stored = self.names.stored(name).into_iter().next();
            let name = stored.map_or_else(|| name.to_owned(), |stored| stored.name);
            return Err(self.damaged(&format!("tensor \"{name}\" is missing")));
        };
        let mut shape = tensor.shape.clone();
        if is_transposed {
            shape.reverse();
        }
        Ok(shape)
    }

    /// One side of a tensor.
    ///
    /// # Errors
    /// When it is missing, or so large or so small that it cannot be.
    pub fn dim(&self, name: &str, axis: usize) -> Result<usize, CheckpointError> {
        /// More than any model has; a tensor without bytes may claim it.
        const MOST: usize = 1 << 20;
        let shape = self.shape(name)?;
        let side = shape.get(axis).copied().filter(|side| (1..=MOST).contains(side));
        side.ok_or_else(|| {
            let stored = self.get(name).map_or_else(|| name.to_owned(), |(stored, ..)| stored);
            self.damaged(&format!("tensor \"{stored}\" has shape {shape:?}"))
        })
    }

    pub fn damaged(&self, problem: &str) -> CheckpointError {
        CheckpointError::Damaged { problem: problem.to_owned(), path: self.file.path().clone() }
    }

    /// A configuration that the shapes came to.
    pub fn config<T: DeserializeOwned>(&self, value: Value) -> Result<T, CheckpointError> {
        serde_json::from_value(value).map_err(|e| self.damaged(&e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::norm_groups;

    #[test]
    fn norms_have_32_groups_unless_the_widths_forbid_it() {
        assert_eq!(norm_groups(&[320, 640, 1280]), 32);
        assert_eq!(norm_groups(&[48, 96]), 16);
        assert_eq!(norm_groups(&[7, 320]), 1);
    }
}
