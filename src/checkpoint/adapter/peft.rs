//! Where PEFT keeps what its matrices are multiplied by: beside the tensors, in the header or in a file of its own.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::AdapterError;
use crate::checkpoint::files::ModelFiles;
use crate::checkpoint::live_weights::AdaptedPart;
use crate::checkpoint::tensor_file::{PEFT_NOTES, TensorFile};

/// PEFT's file beside the weights.
const CONFIG_FILE: &str = "adapter_config.json";

/// The alphas of a file that holds none as tensors, by the part that they are for; "" is all parts.
#[derive(Debug, Default)]
pub(super) struct PeftScales(HashMap<String, Scales>);

/// Of one part.
#[derive(Debug, Default)]
struct Scales {
    alpha: Option<f32>,
    by_pattern: HashMap<String, f32>,
    /// Divided by the rank's root instead of the rank.
    is_rank_stabilized: bool,
}

impl PeftScales {
    /// What the file, or the file beside it, says; nothing is no error.
    ///
    /// # Errors
    /// When the file beside it cannot be read as JSON.
    pub fn of(file: &TensorFile, path: &Path) -> Result<Self, AdapterError> {
        if let Some(text) = file.metadata(PEFT_NOTES) {
            return Ok(serde_json::from_str(text)
                .map_or_else(|_| Self::default(), |config: Map<String, Value>| Self::read(&config)));
        }
        let Some(folder) = path.parent().filter(|_| path.file_stem().is_some_and(|stem| stem == "adapter_model"))
        else {
            return Ok(Self::default());
        };
        let files = ModelFiles::Folder(folder.to_owned());
        let config: Option<Map<String, Value>> = files.json_if_present(CONFIG_FILE)?;
        Ok(config.map_or_else(Self::default, |config| Self::read(&config)))
    }

    fn read(config: &Map<String, Value>) -> Self {
        let mut found = Self::default();
        for (key, value) in config {
            // `unet.lora_alpha`, or plain.
            let (part, key) = key.split_once('.').unwrap_or(("", key));
            let scales = found.0.entry(part.to_owned()).or_default();
            match key {
                "lora_alpha" => scales.alpha = value.as_f64().map(|alpha| alpha as f32),
                "use_rslora" => scales.is_rank_stabilized = value.as_bool() == Some(true),
                "alpha_pattern" => {
                    let patterns = value.as_object().into_iter().flatten();
                    let numbers = patterns.filter_map(|(name, alpha)| Some((name.clone(), alpha.as_f64()? as f32)));
                    scales.by_pattern = numbers.collect();
                }
                _ => {}
            }
        }
        found
    }

    /// What a module's product is multiplied by.
    pub fn scale(&self, part: AdaptedPart, module: &str, rank: f32) -> f32 {
        let named = match part {
            AdaptedPart::UNet => "unet",
            AdaptedPart::Text(0) => "text_encoder",
            AdaptedPart::Text(_) => "text_encoder_2",
        };
        let Some(scales) = self.0.get(named).or_else(|| self.0.get("")) else { return 1.0 };
        let is_meant = |pattern: &str| {
            let pattern = pattern.trim_start_matches('^');
            module.strip_suffix(pattern).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let patterns = scales.by_pattern.iter().filter(|(pattern, _)| is_meant(pattern));
        let own = patterns.max_by_key(|(pattern, _)| pattern.len()).map(|(_, alpha)| *alpha);
        let divisor = if scales.is_rank_stabilized { rank.sqrt() } else { rank };
        own.or(scales.alpha).map_or(1.0, |alpha| alpha / divisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphas_are_found_under_both_names_and_by_module() {
        let config = serde_json::json!({
            "unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 2.0}, "unet.use_rslora": false
        });
        let scales = PeftScales::read(config.as_object().unwrap());
        assert_eq!(scales.scale(AdaptedPart::UNet, "down_blocks.0.attn1.to_k", 4.0), 2.0);
        assert_eq!(scales.scale(AdaptedPart::UNet, "down_blocks.0.attn1.to_q", 4.0), 0.5);
        let stabilized = serde_json::json!({"lora_alpha": 4, "use_rslora": true});
        assert_eq!(PeftScales::read(stabilized.as_object().unwrap()).scale(AdaptedPart::Text(0), "x", 16.0), 1.0);
        assert_eq!(PeftScales::default().scale(AdaptedPart::Text(0), "x", 16.0), 1.0);
    }
}
