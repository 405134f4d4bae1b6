//! The header of a GGUF file, as stable-diffusion.cpp and ComfyUI-GGUF write it, by candle's reader.

use std::collections::HashMap;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, Value};

use super::Header;
use super::stored::{StoredTensor, StoredType};
use crate::checkpoint::files::{Source, SourceReader};

/// Where ComfyUI-GGUF keeps the shape of a tensor that it stores in rows of 256.
const ORIGINAL_SHAPE: &str = "comfy.gguf.orig_shape.";

/// # Errors
/// How the header is damaged.
pub(super) fn header(source: &Source) -> Result<Header, String> {
    check_alignment(source)?;
    let content = Content::read(&mut SourceReader::new(source)).map_err(|e| format!("its header: {e}"))?;
    let mut tensors = HashMap::new();
    for (name, info) in &content.tensor_infos {
        let shape = original_shape(&content, name).unwrap_or_else(|| info.shape.dims().to_vec());
        let kind = match info.ggml_dtype {
            GgmlDType::F32 => StoredType::F32,
            GgmlDType::F16 => StoredType::F16,
            GgmlDType::BF16 => StoredType::BF16,
            quantised => StoredType::Quantised(quantised),
        };
        let stored = content
            .tensor_data_offset
            .checked_add(info.offset)
            .and_then(|offset| StoredTensor::packed(shape.clone(), kind, offset))
            .filter(|stored| stored.shape.iter().product::<usize>() == info.shape.dims().iter().product::<usize>());
        let wrong = || format!("tensor \"{name}\" of shape {shape:?} is not made of whole blocks of {}", kind.name());
        tensors.insert(name.clone(), stored.ok_or_else(wrong)?);
    }
    let text = |(key, value): (&String, &Value)| value.to_string().ok().map(|text| (key.clone(), text.clone()));
    Ok(Header { tensors, metadata: content.metadata.iter().filter_map(text).collect() })
}

fn original_shape(content: &Content, name: &str) -> Option<Vec<usize>> {
    let sides = content.metadata.get(&format!("{ORIGINAL_SHAPE}{name}"))?.to_vec().ok()?;
    sides.iter().map(|side| usize::try_from(side.to_i32().ok()?).ok()).collect()
}

/// candle divides by the alignment that the file states; none states zero.
fn check_alignment(source: &Source) -> Result<(), String> {
    const KEY: &[u8] = b"general.alignment";
    const MOST_HEADER_BYTES: u64 = 16 << 20;
    let io = |e: std::io::Error| e.to_string();
    let len = source.len().map_err(io)?.min(MOST_HEADER_BYTES);
    let mut start = vec![0; usize::try_from(len).unwrap_or(0)];
    source.read_at(0, &mut start).map_err(io)?;
    for place in start.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY).map(|(place, _)| place) {
        // The type of the number, of which these are 1, 2 and 4 bytes wide, then the number.
        let Some((kind, number)) = start[place + KEY.len()..].split_first_chunk::<4>() else { continue };
        let width = match u32::from_le_bytes(*kind) {
            0 | 1 => 1,
            2 | 3 => 2,
            4 | 5 => 4,
            _ => continue,
        };
        if number.iter().take(width).all(|byte| *byte == 0) {
            return Err("its header: an alignment of 0".to_owned());
        }
    }
    Ok(())
}
