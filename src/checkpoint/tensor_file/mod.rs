//! A file of named tensors, whatever its format: told by its first bytes, its header checked against its length, its
//! tensors read one by one in small pieces, so that loading never holds more than the weights themselves.

mod gguf;
mod notes;
mod pickle;
mod safetensors;
mod scales;
mod stored;

use std::collections::HashMap;
use std::fs::Metadata;
use std::path::PathBuf;

use rayon::prelude::*;

pub use notes::{PEFT_NOTES, TAGS};
use pickle::is_pickle;
pub use stored::StoredTensor;

use super::CheckpointError;
use super::card::Container;
use super::files::{ModelFiles, Source, is_unchanged};
use super::foreign;
use crate::kernels::in_pieces;
use crate::printable;

/// About how much is read at once.
const PIECE_BYTES: usize = 1 << 20;
/// The longest header that is read: those of models have less than a megabyte, the longest of LoRAs, with the pictures that
/// trainers put there, some ten.
const MOST_HEADER_BYTES: u64 = 64 << 20;
/// More tensors than any model has: SDXL with everything and EMA has some 5,000.
const MOST_TENSORS: usize = 100_000;
/// Weights have at most 5 dimensions.
const MOST_DIMENSIONS: usize = 8;
/// The longest name of a tensor: those of real files have less than 250 bytes.
const MOST_NAME_BYTES: usize = 1024;

/// An open file whose header is known and sound.
pub struct TensorFile {
    path: PathBuf,
    container: Container,
    source: Source,
    tensors: HashMap<String, StoredTensor>,
    metadata: HashMap<String, String>,
    /// As the file system told when it was opened.
    opened: Option<Metadata>,
}

/// What a header says: the tensors by name, and texts beside them.
pub struct Header {
    pub tensors: HashMap<String, StoredTensor>,
    pub metadata: HashMap<String, String>,
}

impl TensorFile {
    /// # Errors
    /// When the file cannot be read, is something else, or is damaged.
    pub fn open(files: &ModelFiles, inner: &str) -> Result<Self, CheckpointError> {
        let path = files.path(inner);
        let source = files.open(inner)?;
        let io = |source| CheckpointError::Io { source, path: path.clone() };
        let len = source.len().map_err(io)?;
        let mut start = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(512)];
        source.read_at(0, &mut start).map_err(io)?;
        let (container, header) = if start.starts_with(b"GGUF") {
            (Container::Gguf, gguf::header(&source))
        } else if is_pickle(&start) {
            (Container::Pickle, pickle::header(&source, &start))
        } else if let Some(what) = foreign::by_first_bytes(&start) {
            return Err(CheckpointError::Foreign { what, path });
        } else {
            (Container::Safetensors, safetensors::header(&source, len))
        };
        let header = header.map_err(|problem| CheckpointError::Damaged { problem, path: path.clone() })?;
        let end_of = |tensor: &StoredTensor| tensor.offset.saturating_add(tensor.len_bytes);
        let last = header.tensors.iter().map(|(name, tensor)| (end_of(tensor), name)).max();
        if let Some((end, name)) = last.filter(|(end, _)| *end > len) {
            let name = printable::name(name);
            let problem = format!("tensor \"{name}\" ends at byte {end} and the file has {len}; it is cut off");
            return Err(CheckpointError::Damaged { problem, path });
        }
        let Header { mut tensors, metadata } = header;
        scales::note(&source, &mut tensors).map_err(|source| CheckpointError::Io { source, path: path.clone() })?;
        let opened = source.metadata();
        Ok(Self { path, container, source, tensors, metadata, opened })
    }

    pub fn path(&self) -> &PathBuf {
        &self.path
    }

    pub fn container(&self) -> Container {
        self.container
    }

    /// The tensors by name, and the texts beside them.
    pub fn into_header(self) -> (HashMap<String, StoredTensor>, HashMap<String, String>) {
        (self.tensors, self.metadata)
    }

    pub fn tensors(&self) -> impl Iterator<Item = (&String, &StoredTensor)> {
        self.tensors.iter()
    }

    pub fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }

    /// What the file says about itself under this key.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// True unless the file was written to since it was opened.
    pub fn is_as_opened(&self) -> bool {
        is_unchanged(self.opened.as_ref(), self.source.metadata().as_ref())
    }

    /// The values of a tensor, converted to f32 piece by piece.
    pub fn read_f32(&self, name: &str, tensor: &StoredTensor) -> Result<Vec<f32>, CheckpointError> {
        self.check_type(name, tensor)?;
        // No more than the file has bytes for.
        let (piece_len, count) = (piece_len(tensor), tensor.stored_count());
        let values = in_pieces(count, piece_len, Vec::new, |bytes, index, out| {
            self.read_piece(name, tensor, bytes, (index * piece_len, out))
        })?;
        tensor.in_order(values).ok_or_else(|| self.damaged_tensor(name, " reaches beyond its numbers"))
    }

    /// As [`TensorFile::read_f32`], into values that are there already, as many as the tensor has.
    pub fn read_into(&self, name: &str, tensor: &StoredTensor, out: &mut [f32]) -> Result<(), CheckpointError> {
        let count = tensor.shape.iter().product::<usize>();
        if out.len() != count {
            let expected = out.len();
            return Err(self.damaged_tensor(name, &format!(" has {count} values where {expected} are expected")));
        }
        if tensor.strides.is_some() {
            out.copy_from_slice(&self.read_f32(name, tensor)?);
            return Ok(());
        }
        self.check_type(name, tensor)?;
        let piece_len = piece_len(tensor);
        out.par_chunks_mut(piece_len).enumerate().try_for_each_init(Vec::new, |bytes, (index, out)| {
            self.read_piece(name, tensor, bytes, (index * piece_len, out))
        })
    }

    /// Numbers as they follow each other in the file, from the given one on; the threads share the conversion and the
    /// first touch of the memory, which cost more than the reading.
    fn read_piece(
        &self,
        name: &str,
        tensor: &StoredTensor,
        bytes: &mut Vec<u8>,
        (first, out): (usize, &mut [f32]),
    ) -> Result<(), CheckpointError> {
        let (numbers, len_bytes) = tensor.kind.block();
        bytes.resize(out.len() / numbers * len_bytes, 0);
        self.source
            .read_at(tensor.offset + (first / numbers * len_bytes) as u64, bytes)
            .map_err(|source| CheckpointError::Io { source, path: self.path.clone() })?;
        let read = tensor.kind.decode(bytes, out);
        read.map_err(|problem| self.damaged_tensor(name, &format!(": {problem}")))?;
        if tensor.scale != 1.0 {
            for value in out.iter_mut() {
                *value *= tensor.scale;
            }
        }
        Ok(())
    }

    fn check_type(&self, name: &str, tensor: &StoredTensor) -> Result<(), CheckpointError> {
        if tensor.kind.is_number() {
            return Ok(());
        }
        let (name, found) = (name.to_owned(), tensor.kind.name());
        Err(CheckpointError::UnknownDType { name, found, path: self.path.clone() })
    }

    fn damaged_tensor(&self, name: &str, what: &str) -> CheckpointError {
        let problem = format!("tensor \"{}\"{what}", printable::name(name));
        CheckpointError::Damaged { problem, path: self.path.clone() }
    }
}

/// Refuses names that no tensor has: they are copied and shown.
fn check_name(name: &str) -> Result<(), String> {
    if name.len() <= MOST_NAME_BYTES {
        return Ok(());
    }
    let (len, start) = (name.len(), printable::name(name));
    Err(format!("a name has {len} bytes, and no tensor's has more than {MOST_NAME_BYTES}: \"{start}\""))
}

/// How many numbers of a tensor are read at once: whole blocks of them.
fn piece_len(tensor: &StoredTensor) -> usize {
    let (numbers, bytes) = tensor.kind.block();
    (PIECE_BYTES / bytes.max(1)).max(1) * numbers.max(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn open(name: &str) -> Result<TensorFile, CheckpointError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tensor-formats");
        TensorFile::open(&ModelFiles::at(&folder.join(name))?, "")
    }

    #[test]
    fn every_format_gives_the_numbers_that_its_own_writer_put_in() {
        let expected = open("expected.safetensors").unwrap();
        for (place, shape) in expected.tensors() {
            let (file, name) = place.split_once('/').unwrap();
            let file = open(file).unwrap();
            let tensor = file.get(name).unwrap_or_else(|| panic!("{place} is not there"));
            assert_eq!(tensor.shape, shape.shape, "{place}");
            let (found, wanted) = (file.read_f32(name, tensor).unwrap(), expected.read_f32(place, shape).unwrap());
            // Blocks are put together in another order of multiplications than numpy's.
            let close = |(a, b): (&f32, &f32)| {
                a == b || place.starts_with("quants") && (a - b).abs() <= 2e-6 * b.abs().max(1.0)
            };
            assert!(found.iter().zip(&wanted).all(close), "{place}");
        }
    }

    #[test]
    fn what_is_no_tensor_of_a_model_is_left_out_or_named() {
        let file = open("trained.ckpt").unwrap();
        assert!(file.get("lr").is_none() && file.get("exp_avg").is_none());
        let ids = file.get("position_ids").unwrap();
        assert_eq!(file.read_f32("position_ids", ids).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(open("quants.gguf").unwrap().metadata("general.name"), Some("quants"));
    }

    #[test]
    fn a_pickle_that_asks_to_run_something_is_refused_by_name() {
        let error = open("evil.ckpt").err().unwrap().to_string();
        assert!(error.contains("asks to run \"posix.system\""), "{error}");
    }

    #[test]
    fn a_damaged_file_is_an_error_or_other_numbers_and_never_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tensor-formats");
        let path = folder.path().join("x");
        for name in ["plain.pt", "trained.ckpt", "old.ckpt", "embedding.pt", "quants.gguf", "f8.safetensors"] {
            let whole = std::fs::read(fixtures.join(name)).unwrap();
            let mut state = 7_u64;
            for round in 0..300 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                // Most of what can go wrong stands in the first bytes.
                let reach = if round % 2 == 0 { whole.len() } else { whole.len().min(600) };
                let place = (state >> 33) as usize % reach;
                let mut bytes = whole.clone();
                match round % 3 {
                    0 => bytes.truncate(place),
                    1 => bytes[place] ^= (state >> 20) as u8 | 1,
                    _ => bytes[place] = [0, 0xff, b'(', b'R'][(state >> 20) as usize % 4],
                }
                std::fs::write(&path, &bytes).unwrap();
                let Ok(file) = TensorFile::open(&ModelFiles::at(&path).unwrap(), "") else { continue };
                for (name, tensor) in file.tensors() {
                    _ = file.read_f32(name, tensor);
                }
            }
        }
    }
}
