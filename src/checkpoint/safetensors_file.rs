//! One safetensors file: its header checked against its length, its tensors read one by one in small pieces, so that
//! loading never holds more than the weights themselves.

use std::collections::HashMap;
use std::fs::Metadata;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata as Header;

use super::CheckpointError;
use super::files::{ModelFiles, Source, is_unchanged};

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;
/// The format's own bound on the header (safetensors' `MAX_HEADER_SIZE`).
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Little-endian bytes to as many f32 values.
type Decode = fn(&[u8], &mut [f32]);

/// An open file whose header is known and sound.
pub(super) struct SafetensorsFile {
    path: PathBuf,
    /// A lock because a file has one position; held for one piece at a time.
    source: Mutex<Source>,
    tensors: HashMap<String, StoredTensor>,
    metadata: HashMap<String, String>,
    /// As the file system told when it was opened.
    opened: Option<Metadata>,
}

/// Where a tensor lies and what it is.
#[derive(Debug, Clone)]
pub(super) struct StoredTensor {
    pub shape: Vec<usize>,
    dtype: Dtype,
    /// From the file's start.
    offset: u64,
    pub len_bytes: u64,
}

impl StoredTensor {
    /// The rows of one third, counted from 0; `None` when they cannot be cut in three.
    pub fn third(&self, index: usize) -> Option<Self> {
        let [rows, rest @ ..] = self.shape.as_slice() else { return None };
        if !rows.is_multiple_of(3) || !self.len_bytes.is_multiple_of(3) || index > 2 {
            return None;
        }
        let len_bytes = self.len_bytes / 3;
        let shape = [&[rows / 3], rest].concat();
        Some(Self { shape, dtype: self.dtype, offset: self.offset + index as u64 * len_bytes, len_bytes })
    }
}

impl SafetensorsFile {
    pub fn open(files: &ModelFiles, inner: &str) -> Result<Self, CheckpointError> {
        let path = files.path(inner);
        let source = files.open(inner)?;
        let io = |source| CheckpointError::Io { source, path: path.clone() };
        let damaged = |problem: String| CheckpointError::Damaged { problem, path: path.clone() };
        let file_len = source.len().map_err(io)?;
        if file_len < 8 {
            return Err(damaged(format!("it has {file_len} bytes, not even a header")));
        }
        let mut prefix = [0; 8];
        source.read_at(0, &mut prefix).map_err(io)?;
        let header_len = u64::from_le_bytes(prefix);
        if header_len > MAX_HEADER_BYTES || header_len > file_len - 8 {
            return Err(damaged(format!("its header claims {header_len} bytes and the file has {file_len}")));
        }
        let mut bytes = vec![0; usize::try_from(header_len).unwrap_or(0)];
        source.read_at(8, &mut bytes).map_err(io)?;
        let header: Header = serde_json::from_slice(&bytes).map_err(|e| damaged(format!("its header: {e}")))?;
        let data_start = 8 + header_len;
        let mut tensors = HashMap::new();
        for (name, info) in header.tensors() {
            let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
            let needed = data_start.saturating_add(end);
            if needed > file_len {
                let problem =
                    format!("tensor \"{name}\" ends at byte {needed} and the file has {file_len}; it is cut off");
                return Err(damaged(problem));
            }
            let stored = StoredTensor {
                shape: info.shape.clone(),
                dtype: info.dtype,
                offset: data_start + start,
                len_bytes: end.saturating_sub(start),
            };
            tensors.insert(name.clone(), stored);
        }
        let metadata = header.metadata().clone().unwrap_or_default();
        let opened = source.metadata();
        Ok(Self { path, source: Mutex::new(source), tensors, metadata, opened })
    }

    /// True unless the file was written to since it was opened.
    pub fn is_as_opened(&self) -> bool {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        is_unchanged(self.opened.as_ref(), source.metadata().as_ref())
    }

    pub fn path(&self) -> &PathBuf {
        &self.path
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

    /// The values of a tensor, converted to f32 piece by piece.
    pub fn read_f32(&self, name: &str, tensor: &StoredTensor) -> Result<Vec<f32>, CheckpointError> {
        // No more than the file has bytes for, or nothing is allocated.
        let (_, count) = self.decoder(name, tensor)?;
        let mut values = vec![0.0; count];
        self.read_into(name, tensor, &mut values)?;
        Ok(values)
    }

    /// As [`SafetensorsFile::read_f32`], into values that are there already, as many as the tensor has.
    pub fn read_into(&self, name: &str, tensor: &StoredTensor, out: &mut [f32]) -> Result<(), CheckpointError> {
        let (decode, count) = self.decoder(name, tensor)?;
        if out.len() != count {
            let problem = format!("tensor \"{name}\" has {count} values where {} are expected", out.len());
            return Err(CheckpointError::Damaged { problem, path: self.path.clone() });
        }
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(tensor.len_bytes).unwrap_or(PIECE_BYTES))];
        let width = usize::try_from(tensor.len_bytes).unwrap_or(0) / count.max(1);
        let (mut done, mut out) = (0, out);
        while done < tensor.len_bytes {
            let len = usize::try_from(tensor.len_bytes - done).map_or(piece.len(), |left| left.min(piece.len()));
            let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            source
                .read_at(tensor.offset + done, &mut piece[..len])
                .map_err(|source| CheckpointError::Io { source, path: self.path.clone() })?;
            drop(source);
            let (now, rest) = out.split_at_mut(len / width);
            decode(&piece[..len], now);
            (done, out) = (done + len as u64, rest);
        }
        Ok(())
    }

    /// How a tensor's bytes become values, and how many, which fit its bytes.
    fn decoder(&self, name: &str, tensor: &StoredTensor) -> Result<(Decode, usize), CheckpointError> {
        let (width, decode): (usize, Decode) = match tensor.dtype {
            Dtype::F32 => (4, |b, out| decode_each(b, out, f32::from_le_bytes)),
            Dtype::F16 => (2, |b, out| decode_halves(b, out, f16::from_le_bytes, f16::ZERO)),
            Dtype::BF16 => (2, |b, out| decode_halves(b, out, bf16::from_le_bytes, bf16::ZERO)),
            // Flags and counts of adapters.
            Dtype::BOOL | Dtype::U8 => (1, |b, out| decode_each(b, out, |[byte]| f32::from(byte))),
            Dtype::I64 => (8, |b, out| decode_each(b, out, |c| i64::from_le_bytes(c) as f32)),
            Dtype::F64 => (8, |b, out| decode_each(b, out, |c| f64::from_le_bytes(c) as f32)),
            other => {
                return Err(CheckpointError::UnknownDType {
                    name: name.to_owned(),
                    found: format!("{other:?}"),
                    path: self.path.clone(),
                });
            }
        };
        let count = tensor.shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
        match count {
            Some(count) if count.checked_mul(width).map(|n| n as u64) == Some(tensor.len_bytes) => Ok((decode, count)),
            _ => {
                let problem = format!("tensor \"{name}\" of shape {:?} has {} bytes", tensor.shape, tensor.len_bytes);
                Err(CheckpointError::Damaged { problem, path: self.path.clone() })
            }
        }
    }
}

fn decode_each<const N: usize>(bytes: &[u8], out: &mut [f32], decode: fn([u8; N]) -> f32) {
    for (value, &bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
        *value = decode(bytes);
    }
}

/// Converts halves a block at a time, for which processors have instructions.
fn decode_halves<H: Copy>(bytes: &[u8], out: &mut [f32], read: fn([u8; 2]) -> H, zero: H)
where
    [H]: HalfFloatSliceExt,
{
    const BLOCK: usize = 1 << 12;
    let mut halves = [zero; BLOCK];
    for (bytes, out) in bytes.as_chunks().0.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        for (half, &pair) in halves.iter_mut().zip(bytes) {
            *half = read(pair);
        }
        halves[..out.len()].convert_to_f32_slice(out);
    }
}
