//! The scales that ComfyUI keeps beside weights of 8 bits: a number for each, by which it is multiplied.

use std::collections::HashMap;

use super::StoredTensor;
use super::stored::StoredType;
use crate::checkpoint::files::Source;

/// Behind the name of a layer, where its weight is `LAYER.weight`: ComfyUI's first spelling and its later one.
const SPELLINGS: [&str; 2] = [".scale_weight", ".weight_scale"];

/// What a weight is whose scale is not one number: it can be listed, and not be read.
const IN_PIECES: StoredType = StoredType::Other("F8 with a scale for each piece", (1, 1));

/// Gives every weight of 8 bits the scale that stands beside it.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn note(source: &Source, tensors: &mut HashMap<String, StoredTensor>) -> std::io::Result<()> {
    let is_eight_bits = |weight: &StoredTensor| matches!(weight.kind, StoredType::F8E4M3 | StoredType::F8E5M2);
    let mut found = Vec::new();
    for (name, scale) in tensors.iter() {
        let Some(layer) = SPELLINGS.iter().find_map(|spelling| name.strip_suffix(spelling)) else { continue };
        let weight = format!("{layer}.weight");
        if tensors.get(&weight).is_some_and(is_eight_bits) {
            found.push((weight, read(source, scale)?));
        }
    }
    for (weight, scale) in found {
        let Some(weight) = tensors.get_mut(&weight) else { continue };
        match scale {
            Some(scale) => weight.scale = scale,
            None => weight.kind = IN_PIECES,
        }
    }
    Ok(())
}

/// A scale that is one finite number.
fn read(source: &Source, scale: &StoredTensor) -> std::io::Result<Option<f32>> {
    if scale.stored_count() != 1 {
        return Ok(None);
    }
    let mut bytes = vec![0; scale.kind.block().1];
    source.read_at(scale.offset, &mut bytes)?;
    let mut value = [f32::NAN];
    let is_read = scale.kind.decode(&bytes, &mut value).is_ok();
    Ok(Some(value[0]).filter(|value| is_read && value.is_finite()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::files::ModelFiles;
    use crate::checkpoint::tensor_file::TensorFile;

    /// A safetensors file of one weight of two 8-bit numbers, 1.0 and -1.125, and of its scale.
    fn file(path: &Path, spelling: &str, scales: &[f32]) {
        let end = 2 + 4 * scales.len();
        let header = format!(
            r#"{{"a.weight":{{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}},"a{spelling}":{{"dtype":"F32","shape":[{}],"data_offsets":[2,{end}]}}}}"#,
            scales.len()
        );
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0x38, 0xb9]);
        bytes.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn weights_of_eight_bits_are_multiplied_by_the_scale_beside_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        for spelling in SPELLINGS {
            file(&path, spelling, &[0.5]);
            let opened = TensorFile::open(&ModelFiles::at(&path).unwrap(), "").unwrap();
            let weight = opened.get("a.weight").unwrap();
            assert_eq!(opened.read_f32("a.weight", weight).unwrap(), [0.5, -0.5625]);
        }
        for scales in [&[0.5, 2.0][..], &[f32::NAN]] {
            file(&path, ".weight_scale", scales);
            let opened = TensorFile::open(&ModelFiles::at(&path).unwrap(), "").unwrap();
            let error = opened.read_f32("a.weight", opened.get("a.weight").unwrap()).unwrap_err().to_string();
            assert!(error.contains("F8 with a scale for each piece"), "{error}");
        }
    }
}
