//! The scales that ComfyUI keeps beside weights of 8 bits: a number for each, by which it is multiplied.

use std::collections::HashMap;

use super::StoredTensor;
use super::stored::StoredType;
use crate::checkpoint::files::Source;
use crate::printable;

/// Behind the name of a layer, where its weight is `LAYER.weight`: ComfyUI's first spelling and its later one.
const SPELLINGS: [&str; 2] = [".scale_weight", ".weight_scale"];

/// Gives every weight of 8 bits the scale that stands beside it.
///
/// # Errors
/// When a scale cannot be read, is no number, or is not one for the whole weight.
pub(super) fn note(source: &Source, tensors: &mut HashMap<String, StoredTensor>) -> Result<(), String> {
    let is_eight_bits = |weight: &StoredTensor| matches!(weight.kind, StoredType::F8E4M3 | StoredType::F8E5M2);
    let mut found = Vec::new();
    for (name, scale) in tensors.iter() {
        let Some(layer) = SPELLINGS.iter().find_map(|spelling| name.strip_suffix(spelling)) else { continue };
        let weight = format!("{layer}.weight");
        if tensors.get(&weight).is_some_and(is_eight_bits) {
            found.push((weight, read(source, name, scale)?));
        }
    }
    for (weight, scale) in found {
        if let Some(weight) = tensors.get_mut(&weight) {
            weight.scale = scale;
        }
    }
    Ok(())
}

fn read(source: &Source, name: &str, scale: &StoredTensor) -> Result<f32, String> {
    let named = || printable::name(name);
    if scale.stored_count() != 1 {
        return Err(format!(
            "\"{}\" scales its weight piece by piece; such files are not read yet, take one of f16",
            named()
        ));
    }
    let mut bytes = vec![0; scale.kind.block().1];
    source.read_at(scale.offset, &mut bytes).map_err(|error| error.to_string())?;
    let mut value = [f32::NAN];
    scale.kind.decode(&bytes, &mut value).map_err(|problem| format!("\"{}\": {problem}", named()))?;
    if value[0].is_finite() { Ok(value[0]) } else { Err(format!("\"{}\" is no number", named())) }
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
        for (scales, said) in [(&[0.5, 2.0][..], "piece by piece"), (&[f32::NAN], "no number")] {
            file(&path, ".weight_scale", scales);
            let error = TensorFile::open(&ModelFiles::at(&path).unwrap(), "").err().unwrap().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
