//! The weights of one part of a model under their names, from a file, from shards or from a part of a single file, handed
//! to the layers as they ask.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::VarBuilder;
use candle_nn::var_builder::SimpleBackend;
use serde::Deserialize;

use super::CheckpointError;
use super::files::ModelFiles;
use super::meter::Meter;
use super::original_names::{PartNames, StoredName};
use super::tensor_file::{StoredTensor, TensorFile};

/// All files of one part.
pub(super) struct Weights {
    shards: Vec<TensorFile>,
    /// Which shard a name is in.
    index: HashMap<String, usize>,
    /// The folder, for messages.
    path: PathBuf,
    names: PartNames,
    meter: Arc<Meter>,
}

/// A tensor that was asked for, where it lies.
struct Found<'a> {
    shard: &'a TensorFile,
    stored: StoredTensor,
    name: String,
    /// Two axes that are to change places.
    is_transposed: bool,
}

impl Found<'_> {
    /// The values as they are asked for.
    fn values(&self) -> Result<Vec<f32>, CheckpointError> {
        let values = self.shard.read_f32(&self.name, &self.stored)?;
        Ok(match self.stored.shape.as_slice() {
            [columns, rows] if self.is_transposed => {
                (0..*rows).flat_map(|row| values.iter().skip(row).step_by(*rows).take(*columns).copied()).collect()
            }
            _ => values,
        })
    }
}

/// `*.safetensors.index.json`.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: HashMap<String, String>,
}

impl Weights {
    /// Opens the weights in `folder`, files named after `stem` with or without a variant such as `.fp16.`.
    pub fn open(files: &ModelFiles, folder: &str, stem: &str, meter: Arc<Meter>) -> Result<Self, CheckpointError> {
        let names = files.names(folder);
        let Some(choice) = choose(&names, stem) else {
            let found: Vec<&str> = names.iter().map(String::as_str).filter(|n| !n.contains(".json")).collect();
            let found =
                if found.is_empty() { "and nothing else".to_owned() } else { format!("only {}", found.join(", ")) };
            return Err(CheckpointError::NoWeights { found, path: files.path(folder) });
        };
        let shard_names = match &choice {
            Choice::Single(name) => vec![name.clone()],
            Choice::Index(name) => {
                let index: ShardIndex = files.json(&inside(folder, name))?;
                let mut names: Vec<String> = index.weight_map.into_values().collect();
                names.sort();
                names.dedup();
                if let Some(outside) = names.iter().find(|n| n.contains(['/', '\\'])) {
                    let problem = format!("it names a shard outside its folder, \"{outside}\"");
                    return Err(CheckpointError::Json { problem, path: files.path(&inside(folder, name)) });
                }
                names
            }
        };
        let shards = shard_names
            .iter()
            .map(|name| TensorFile::open(files, &inside(folder, name)))
            .collect::<Result<Vec<_>, _>>()?;
        let path = if let [only] = shards.as_slice() { only.path().clone() } else { files.path(folder) };
        Ok(Self::indexed(shards, path, PartNames::as_asked(), meter))
    }

    /// The part of a file that has these names.
    pub fn in_file(file: TensorFile, names: PartNames, meter: Arc<Meter>) -> Self {
        let path = file.path().clone();
        Self::indexed(vec![file], path, names, meter)
    }

    fn indexed(shards: Vec<TensorFile>, path: PathBuf, names: PartNames, meter: Arc<Meter>) -> Self {
        let mut index = HashMap::new();
        for (number, shard) in shards.iter().enumerate() {
            for (name, tensor) in shard.tensors().filter(|(name, _)| name.starts_with(&names.prefix)) {
                meter.expect(tensor.len_bytes);
                index.insert(name.clone(), number);
            }
        }
        Self { shards, index, path, names, meter }
    }

    /// For the layers to ask from.
    pub fn into_builder(self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self), dtype, device.clone())
    }

    /// The tensor called `name`, by the name that the files have for it.
    fn find(&self, name: &str) -> Option<Found<'_>> {
        self.names.stored(name).into_iter().find_map(|StoredName { name, third, is_transposed }| {
            let shard = &self.shards[*self.index.get(&name)?];
            let tensor = shard.get(&name)?;
            let stored = third.map_or_else(|| Some(tensor.clone()), |index| tensor.third(index))?;
            Some(Found { shard, stored, name, is_transposed: is_transposed && tensor.shape.len() == 2 })
        })
    }

    /// The values of a tensor and its shape, counted as loaded.
    pub(super) fn load(&self, expected: Option<&Shape>, name: &str) -> Result<(Vec<f32>, Vec<usize>), CheckpointError> {
        let (values, shape, len_bytes) = self.read(expected, name)?;
        self.meter.advance(len_bytes)?;
        Ok((values, shape))
    }

    /// The values of a tensor that was loaded before, as they were then, into `out`.
    pub(super) fn read_again(&self, name: &str, out: &mut [f32]) -> Result<(), CheckpointError> {
        let Some(found) = self.find(name) else {
            let (name, path) = (name.to_owned(), self.path.clone());
            return Err(CheckpointError::MissingTensor { name, expected: Vec::new(), path });
        };
        if found.is_transposed {
            out.copy_from_slice(&found.values()?);
            return Ok(());
        }
        found.shard.read_into(&found.name, &found.stored, out)
    }

    /// The file that was written to since it was opened, if one was.
    pub(super) fn changed_file(&self) -> Option<&PathBuf> {
        self.shards.iter().find(|shard| !shard.is_as_opened()).map(TensorFile::path)
    }

    fn read(&self, expected: Option<&Shape>, name: &str) -> Result<(Vec<f32>, Vec<usize>, u64), CheckpointError> {
        let Some(found) = self.find(name) else {
            let expected = expected.map_or_else(Vec::new, |s| s.dims().to_vec());
            let stored = self.names.stored(name).into_iter().next();
            let name = stored.map_or_else(|| name.to_owned(), |stored| stored.name);
            return Err(CheckpointError::MissingTensor { name, expected, path: self.path.clone() });
        };
        let mut sides = found.stored.shape.clone();
        if found.is_transposed {
            sides.reverse();
        }
        let shape = match expected {
            Some(expected) if is_same_but_for_ones(expected.dims(), &sides) => expected.dims().to_vec(),
            Some(expected) => {
                return Err(CheckpointError::WrongShape {
                    name: found.name,
                    expected: expected.dims().to_vec(),
                    found: sides,
                    path: found.shard.path().clone(),
                });
            }
            None => sides,
        };
        Ok((found.values()?, shape, found.stored.len_bytes))
    }
}

impl SimpleBackend for Weights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: candle_nn::Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let (values, shape) = self.load(Some(&shape), name).map_err(candle_core::Error::wrap)?;
        Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let (values, shape) = self.load(None, name).map_err(candle_core::Error::wrap)?;
        Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.find(name).is_some()
    }
}

/// A file's path inside a model, where the model itself is the empty folder.
fn inside(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Linear maps are sometimes stored as 1x1 convolutions.
fn is_same_but_for_ones(expected: &[usize], found: &[usize]) -> bool {
    let core = |shape: &[usize]| shape.iter().copied().skip(2).filter(|&d| d != 1).count();
    expected == found
        || (expected.len() >= 2 && found.len() >= 2 && expected[..2] == found[..2] && core(expected) + core(found) == 0)
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Single(String),
    Index(String),
}

/// The file to read: full names before variants, `fp16` before other variants, training leftovers (`non_ema`) last.
fn choose(names: &[String], stem: &str) -> Option<Choice> {
    // The names that weights have as safetensors, then those that they have as pickles.
    let pickles = if stem == "model" { "pytorch_model" } else { stem };
    choose_as(names, stem, ".safetensors").or_else(|| choose_as(names, pickles, ".bin"))
}

/// The file to read where one alone will do.
pub(super) fn only_file(names: &[String], stem: &str) -> Option<String> {
    match choose(names, stem)? {
        Choice::Single(name) => Some(name),
        Choice::Index(_) => None,
    }
}

fn choose_as(names: &[String], stem: &str, extension: &str) -> Option<Choice> {
    let rank = |variant: &str| match variant {
        "" => 0,
        "fp16" => 1,
        "non_ema" => 3,
        _ => 2,
    };
    names
        .iter()
        .filter_map(|name| {
            let rest = name.strip_prefix(stem)?;
            if let Some(variant) = rest.strip_suffix(extension) {
                let variant = variant.strip_prefix('.').unwrap_or(variant);
                // `-00001-of-00002`, with the variant before or after it, is a shard: only an index leads to it.
                let is_shard = variant.contains("-of-");
                return (!is_shard && !variant.starts_with('-'))
                    .then(|| (rank(variant), 0, Choice::Single(name.clone())));
            }
            // `.safetensors.index.json`, `.safetensors.index.VARIANT.json`, `.VARIANT.safetensors.index.json`, or `.bin`.
            let (before, after) = rest.strip_suffix(".json")?.split_once(&format!("{extension}.index"))?;
            let variant = [before, after].concat();
            Some((rank(variant.trim_start_matches('.')), 1, Choice::Index(name.clone())))
        })
        .min_by_key(|(rank, kind, _)| (*rank, *kind))
        .map(|(_, _, choice)| choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Option<Choice> {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        choose(&names, "model")
    }

    #[test]
    fn full_names_come_before_variants_and_shards_need_an_index() {
        let single = |name: &str| Some(Choice::Single(name.to_owned()));
        let index = |name: &str| Some(Choice::Index(name.to_owned()));
        assert_eq!(chosen(&["model.fp16.safetensors", "model.safetensors"]), single("model.safetensors"));
        assert_eq!(chosen(&["model.fp16.safetensors", "model.non_ema.safetensors"]), single("model.fp16.safetensors"));
        assert_eq!(
            chosen(&["model-00001-of-00002.safetensors", "model.safetensors.index.json"]),
            index("model.safetensors.index.json")
        );
        assert_eq!(
            chosen(&["model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json"]),
            index("model.safetensors.index.fp16.json")
        );
        assert_eq!(chosen(&["model-00001-of-00002.safetensors", "config.json"]), None);
        assert_eq!(chosen(&["pytorch_model.bin", "config.json"]), single("pytorch_model.bin"));
        assert_eq!(chosen(&["pytorch_model.bin", "model.fp16.safetensors"]), single("model.fp16.safetensors"));
    }

    #[test]
    fn a_linear_map_may_be_stored_as_a_convolution() {
        assert!(is_same_but_for_ones(&[4, 8], &[4, 8, 1, 1]));
        assert!(!is_same_but_for_ones(&[4, 8], &[8, 4]));
        assert!(!is_same_but_for_ones(&[4, 8], &[4, 8, 3, 3]));
    }
}
