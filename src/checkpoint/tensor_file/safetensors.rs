//! The header of a safetensors file.

use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::Header;
use super::stored::{StoredTensor, StoredType};
use crate::checkpoint::files::Source;

/// The format's own bound on the header (safetensors' `MAX_HEADER_SIZE`).
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// # Errors
/// How the header of a file of `file_len` bytes is damaged.
pub(super) fn header(source: &Source, file_len: u64) -> Result<Header, String> {
    if file_len < 8 {
        return Err(format!("it has {file_len} bytes, not even a header"));
    }
    let mut prefix = [0; 8];
    source.read_at(0, &mut prefix).map_err(|e| e.to_string())?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > MAX_HEADER_BYTES || header_len > file_len - 8 {
        return Err(format!("its header claims {header_len} bytes and the file has {file_len}"));
    }
    let mut header = vec![0; usize::try_from(header_len).unwrap_or(0)];
    source.read_at(8, &mut header).map_err(|e| e.to_string())?;
    let read: Metadata = serde_json::from_slice(&header).map_err(|e| format!("its header: {e}"))?;
    let mut tensors = HashMap::new();
    for (name, info) in read.tensors() {
        let (start, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let stored = StoredTensor::packed(info.shape.clone(), stored_type(info.dtype), 8 + header_len + start);
        let stored = stored.filter(|stored| stored.len_bytes == end.saturating_sub(start));
        let shape = &info.shape;
        let wrong = || format!("tensor \"{name}\" of shape {shape:?} has {} bytes", end.saturating_sub(start));
        tensors.insert(name.clone(), stored.ok_or_else(wrong)?);
    }
    Ok(Header { tensors, metadata: read.metadata().clone().unwrap_or_default() })
}

fn stored_type(dtype: Dtype) -> StoredType {
    match dtype {
        Dtype::F64 => StoredType::F64,
        Dtype::F32 => StoredType::F32,
        Dtype::F16 => StoredType::F16,
        Dtype::BF16 => StoredType::BF16,
        Dtype::F8_E4M3 => StoredType::F8E4M3,
        Dtype::F8_E5M2 => StoredType::F8E5M2,
        Dtype::I64 => StoredType::I64,
        Dtype::U64 => StoredType::Other("U64", (1, 8)),
        Dtype::I32 => StoredType::Other("I32", (1, 4)),
        Dtype::U32 => StoredType::Other("U32", (1, 4)),
        Dtype::I16 => StoredType::Other("I16", (1, 2)),
        Dtype::U16 => StoredType::Other("U16", (1, 2)),
        Dtype::I8 => StoredType::Other("I8", (1, 1)),
        Dtype::U8 | Dtype::BOOL => StoredType::U8,
        Dtype::F8_E8M0 => StoredType::Other("F8_E8M0", (1, 1)),
        Dtype::F6_E2M3 => StoredType::Other("F6_E2M3", (4, 3)),
        Dtype::F6_E3M2 => StoredType::Other("F6_E3M2", (4, 3)),
        Dtype::F4 => StoredType::Other("F4", (2, 1)),
        Dtype::C64 => StoredType::Other("C64", (1, 8)),
        _ => StoredType::Other("a type that is not known", (1, 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::checkpoint::CheckpointError;
    use crate::checkpoint::files::ModelFiles;
    use crate::checkpoint::tensor_file::TensorFile;

    fn opened(path: &Path) -> TensorFile {
        TensorFile::open(&ModelFiles::at(path).unwrap(), "").unwrap()
    }

    #[test]
    fn a_type_of_few_bits_is_named_and_the_rest_of_the_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("few.safetensors");
        let header = r#"{"a":{"dtype":"F4","shape":[8],"data_offsets":[0,4]},"b":{"dtype":"F6_E2M3","shape":[4,4],
            "data_offsets":[4,16]},"c":{"dtype":"F8_E8M0","shape":[4],"data_offsets":[16,20]},
            "d":{"dtype":"F32","shape":[1],"data_offsets":[20,24]}}"#;
        let numbers = [&[0; 20][..], &1.5_f32.to_le_bytes()].concat();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &numbers].concat();
        std::fs::write(&path, bytes).unwrap();
        let file = opened(&path);
        for (name, dtype) in [("a", "F4"), ("b", "F6_E2M3"), ("c", "F8_E8M0")] {
            let error = file.read_f32(name, file.get(name).unwrap()).unwrap_err();
            assert!(matches!(&error, CheckpointError::UnknownDType { found, .. } if found == dtype), "{error}");
        }
        assert_eq!(file.read_f32("d", file.get("d").unwrap()).unwrap(), [1.5]);
    }
}
