//! LoRA and its relatives: from a file to the changes of a model's weights.

mod change;
mod error;
pub(super) mod family;
mod matrix;
mod names;
mod peft;

use std::collections::{BTreeMap, HashMap};
use std::fs::Metadata;
use std::path::{Path, PathBuf};

pub use error::AdapterError;

use self::change::{Change, Misfit, Tensors, check_factors};
use self::matrix::Stored;
use self::names::{Key, Module, Role, Spellings};
use self::peft::PeftScales;
use super::file_hash::lora_hash;
use super::files::{ModelFiles, is_unchanged};
use super::live_weights::{AdaptedPart, LiveWeights};
use super::tensor_file::TensorFile;
use super::{CheckpointError, foreign};
use crate::printable;

/// By part and the weight's name as the layers ask for it.
type Changes = HashMap<(AdaptedPart, String), Change>;

/// The decoded changes of one file for one loaded model.
#[derive(Debug)]
pub struct Adapter {
    path: PathBuf,
    /// By which recipes name it.
    hash: String,
    /// As the file was when it was read.
    stamp: Option<Metadata>,
    changes: Changes,
    /// Names of tensors that no layer of the model has.
    unmatched: Vec<String>,
}

impl Adapter {
    /// Reads a file for the model whose weights these are.
    ///
    /// # Errors
    /// When the file is damaged, is something else, or is made for another family of models.
    pub fn read(path: &Path, model: &LiveWeights) -> Result<Self, AdapterError> {
        Self::read_of(path, std::fs::metadata(path).ok(), model)
    }

    /// Reads a file that was `stamp` before anything of it was read: values and hash are of the same state, or it is an
    /// error.
    fn read_of(path: &Path, stamp: Option<Metadata>, model: &LiveWeights) -> Result<Self, AdapterError> {
        let files = ModelFiles::at(path)?;
        let not_one = |what| AdapterError::NotAnAdapter { what, path: path.to_owned() };
        if matches!(files, ModelFiles::Folder(_)) {
            return Err(not_one("a folder"));
        }
        let file = TensorFile::open(&files, "").map_err(|error| match error {
            CheckpointError::Foreign { what, .. } => not_one(what),
            error => error.into(),
        })?;
        let names: Vec<&str> = file.tensors().map(|(name, _)| name.as_str()).collect();
        if !names.iter().any(|name| Key::read(name).is_some_and(|key| key.role != Role::Factor)) {
            let what = foreign::part(&names).or(foreign::relative(&names)).unwrap_or("no file of an adapter");
            return Err(not_one(what));
        }
        let weights = model.names();
        let spellings = Spellings::of(weights.iter().map(|(part, name, _)| (*part, name.as_str())));
        let shapes: HashMap<(AdaptedPart, &str), &[usize]> =
            weights.iter().map(|(part, name, shape)| ((*part, name.as_str()), shape.as_slice())).collect();
        let mut reading = Reading { path, file: &file, shapes, modules: BTreeMap::new(), unmatched: Vec::new() };
        reading.gather(&spellings)?;
        reading.check_context()?;
        let (changes, unmatched) = reading.into_changes(&PeftScales::of(&file, path)?)?;
        let adapter = Self { path: path.to_owned(), hash: lora_hash(path)?, stamp, changes, unmatched };
        if adapter.is_current() && file.is_as_opened() {
            Ok(adapter)
        } else {
            Err(AdapterError::Changed { path: path.to_owned() })
        }
    }

    /// Whether the file is still what was read.
    #[must_use]
    pub fn is_current(&self) -> bool {
        is_unchanged(self.stamp.as_ref(), std::fs::metadata(&self.path).ok().as_ref())
    }

    /// Where it was read from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// By which recipes name it: the first 12 digits of the SHA-256 of what stands behind the file's header.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// How many weights it changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True when it changes none, which no adapter that was read does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What its matrices take in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.changes.values().map(Change::bytes).sum()
    }

    /// What of the file the model has no layer for, as a sentence.
    #[must_use]
    pub fn what_does_not_fit(&self) -> Option<String> {
        let example = self.unmatched.first()?;
        let (count, path, example) = (self.unmatched.len(), printable::path(&self.path), printable::name(example));
        let what = if count == 1 { "1 tensor".to_owned() } else { format!("{count} tensors") };
        Some(format!("{what} of {path} fit no layer of this model and are left out, such as \"{example}\""))
    }

    pub(super) fn changes(&self, part: AdaptedPart, name: &str) -> bool {
        self.changes.contains_key(&(part, name.to_owned()))
    }

    /// Adds what it does, `strength` times, to the weight of this name.
    pub(super) fn add_to(&self, values: &mut [f32], shape: &[usize], part: AdaptedPart, name: &str, strength: f32) {
        if let Some(change) = self.changes.get(&(part, name.to_owned())) {
            change.add_to(values, shape, strength);
        }
    }
}

/// The work of reading one file.
struct Reading<'a> {
    path: &'a Path,
    file: &'a TensorFile,
    /// Of the model's weights.
    shapes: HashMap<(AdaptedPart, &'a str), &'a [usize]>,
    /// The tensors of each layer, in order, so that the same file always fails at the same place.
    modules: BTreeMap<Module, Vec<(Role, String)>>,
    unmatched: Vec<String>,
}

impl Reading<'_> {
    /// Sorts the tensors by the layers that they change.
    fn gather(&mut self, spellings: &Spellings) -> Result<(), AdapterError> {
        let mut names: Vec<&String> = self.file.tensors().map(|(name, _)| name).collect();
        names.sort();
        for name in names {
            let found = Key::read(name).and_then(|key| Some((spellings.find(&key)?, key.role)));
            match found {
                Some((module, role)) => self.modules.entry(module).or_default().push((role, name.clone())),
                None => self.unmatched.push(name.clone()),
            }
        }
        if self.modules.is_empty() {
            let by_names = family::by_names(self.unmatched.iter().map(String::as_str)).map(str::to_owned);
            let made_for = self.context_width().map(family::by_width).or(by_names);
            return Err(self.wrong_family(made_for.unwrap_or("a model with other layers".to_owned())));
        }
        Ok(())
    }

    /// Compares the width of the texts that the file was made for with the model's.
    fn check_context(&self) -> Result<(), AdapterError> {
        match (self.context_width(), self.model_width()) {
            (Some(made_for), Some(model)) if made_for != model => Err(self.wrong_family(family::by_width(made_for))),
            _ => Ok(()),
        }
    }

    /// By the first matrix of a cross-attention's keys.
    fn context_width(&self) -> Option<usize> {
        let mut names: Vec<&String> = self.file.tensors().map(|(name, _)| name).collect();
        names.sort();
        names.into_iter().find_map(|name| {
            let key = Key::read(name).filter(Key::is_context_key)?;
            match (key.role, self.file.get(name)?.shape.as_slice()) {
                (Role::Down | Role::Hada1B | Role::Diff, [_, width, ..]) => Some(*width),
                _ => None,
            }
        })
    }

    fn model_width(&self) -> Option<usize> {
        let is_key =
            |(part, name): &(AdaptedPart, &str)| *part == AdaptedPart::UNet && name.ends_with("attn2.to_k.weight");
        self.shapes.iter().find(|(name, _)| is_key(name)).and_then(|(_, shape)| shape.get(1).copied())
    }

    fn wrong_family(&self, made_for: String) -> AdapterError {
        let model = self.model_width().map_or_else(|| "of another family".to_owned(), family::by_width);
        AdapterError::WrongFamily { made_for, model, path: self.path.to_owned() }
    }

    /// The changes, and the names of what is left.
    fn into_changes(mut self, peft: &PeftScales) -> Result<(Changes, Vec<String>), AdapterError> {
        let mut changes = HashMap::new();
        let modules = std::mem::take(&mut self.modules);
        for (module, roles) in &modules {
            let mut tensors = self.tensors(roles)?;
            let damaged =
                |problem| AdapterError::Damaged { module: module.name.clone(), problem, path: self.path.to_owned() };
            let scale = |rank: f32| peft.scale(module.part, &module.name, rank);
            let mut scale_of_weight = scale(1.0);
            let weight = format!("{}.weight", module.name);
            // What no weight is there for is not multiplied out.
            if let Some(&shape) = self.shapes.get(&(module.part, weight.as_str())) {
                check_factors(&tensors, shape).map_err(|misfit| self.misfit(module, shape, misfit))?;
                if let Some(change) = Change::of_weight(&mut tensors, shape, scale).map_err(damaged)? {
                    scale_of_weight = change.scale();
                    self.keep(module, "weight", change, &mut changes)?;
                }
            }
            if let Some(change) = Change::of_bias(&mut tensors, scale_of_weight).map_err(damaged)? {
                self.keep(module, "bias", change, &mut changes)?;
            }
            let left = roles.iter().filter(|(role, _)| tensors.contains_key(role));
            self.unmatched.extend(left.map(|(_, name)| name.clone()));
        }
        if changes.is_empty() {
            let what = "a file without a whole change of any layer";
            return Err(AdapterError::NotAnAdapter { what, path: self.path.to_owned() });
        }
        Ok((changes, self.unmatched))
    }

    /// The tensors of one layer, read and known to be finite.
    fn tensors(&self, roles: &[(Role, String)]) -> Result<Tensors, AdapterError> {
        let mut tensors = Tensors::new();
        for (role, name) in roles {
            let unsupported = match role {
                Role::Rotation => Some("an OFT"),
                Role::Glora => Some("a GLoRA"),
                Role::Replacement => Some("a file that replaces weights"),
                _ => None,
            };
            if let Some(what) = unsupported {
                return Err(AdapterError::Unsupported { what, path: self.path.to_owned() });
            }
            let Some(stored) = self.file.get(name) else { continue };
            let values = self.file.read_f32(name, stored)?;
            if values.iter().any(|value| !value.is_finite()) {
                let problem = "it holds NaN or infinity".to_owned();
                return Err(AdapterError::Damaged { module: name.clone(), problem, path: self.path.to_owned() });
            }
            tensors.insert(*role, Stored { shape: stored.shape.clone(), values });
        }
        Ok(tensors)
    }

    /// Takes a change in, if it fits the weight that it is for.
    fn keep(&mut self, module: &Module, leaf: &str, change: Change, changes: &mut Changes) -> Result<(), AdapterError> {
        let name = format!("{}.{leaf}", module.name);
        let Some(shape) = self.shapes.get(&(module.part, name.as_str())) else {
            self.unmatched.push(name);
            return Ok(());
        };
        if let Err(problem) = change.check(shape) {
            let inputs = change.inputs().or(shape.get(1).copied()).unwrap_or(1);
            return Err(self.misfit(module, shape, Misfit { problem, inputs }));
        }
        changes.insert((module.part, name), change);
        Ok(())
    }

    /// The family that it is made for where a text encoder's width tells it, else what does not fit.
    fn misfit(&self, module: &Module, shape: &[usize], misfit: Misfit) -> AdapterError {
        let is_text = matches!(module.part, AdaptedPart::Text(_));
        // A text encoder's layers are as wide as their texts.
        let tells = is_text && module.name.ends_with("q_proj") && shape.get(1) != Some(&misfit.inputs);
        match self.wrong_family(family::by_width(misfit.inputs)) {
            // XL's texts are wider than each of its encoders: one family on both sides says nothing.
            AdapterError::WrongFamily { made_for, model, path } if tells && made_for != model => {
                AdapterError::WrongFamily { made_for, model, path }
            }
            _ => {
                let (module, path) = (module.name.clone(), self.path.to_owned());
                AdapterError::Damaged { module, problem: misfit.problem, path }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{DType, Device};

    use super::*;
    use crate::checkpoint::{Placement, describe, load_live};
    use crate::request::Companions;

    #[test]
    fn a_file_that_is_written_to_while_it_is_read_is_refused() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let model = describe(&ModelFiles::Folder(fixtures.join("tiny-eps")), &Companions::default()).unwrap();
        let (_, live) = load_live(&model, &Placement::together(DType::F32, &Device::Cpu), Arc::new(|_| true)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fox.safetensors");
        std::fs::write(&path, b"half of it").unwrap();
        let before = std::fs::metadata(&path).ok();
        std::fs::copy(fixtures.join("adapters/kohya.safetensors"), &path).unwrap();
        let error = Adapter::read_of(&path, before, &live).unwrap_err();
        assert!(matches!(error, AdapterError::Changed { .. }), "{error}");
        assert!(error.to_string().contains("fox.safetensors"));
        assert!(Adapter::read(&path, &live).unwrap().is_current());
    }
}
