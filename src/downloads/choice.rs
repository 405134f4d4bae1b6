//! Which files of a repository make the model: one set of weights for each part, and nothing else.

use std::collections::BTreeSet;

use serde_json::Value;

use super::DownloadError;
use super::fetch::RemoteFile;

/// Says which parts a model has, at the top of its repository.
pub(super) const INDEX: &str = "model_index.json";
/// Endings of whole models in one file.
const CHECKPOINT_ENDINGS: [&str; 3] = [".safetensors", ".ckpt", ".gguf"];
/// Endings of configurations and vocabularies, which are small.
const TEXT_ENDINGS: [&str; 3] = [".json", ".txt", ".model"];
/// Begins the names of weights, in the libraries of a model's parts.
const WEIGHT_STEMS: [&str; 3] = ["diffusion_pytorch_model", "pytorch_model", "model"];
/// Parts that are nothing without weights.
const WEIGHTY_PARTS: [&str; 5] = ["unet", "vae", "transformer", "text_encoder", "text_encoder_2"];
/// How many files an error lists.
const MOST_LISTED: usize = 20;

/// The files of a model in the diffusers layout, `index` being its `model_index.json`.
pub(super) fn model_folder(
    id: &str,
    files: &[RemoteFile],
    index: &[u8],
    variant: Option<&str>,
) -> Result<Vec<RemoteFile>, DownloadError> {
    let incomplete = |problem: String| DownloadError::Incomplete { id: id.to_owned(), problem };
    let index: Value =
        serde_json::from_slice(index).map_err(|error| incomplete(format!("{INDEX} cannot be read: {error}")))?;
    let mut chosen: Vec<RemoteFile> = files.iter().filter(|file| file.name == INDEX).cloned().collect();
    let mut variants = BTreeSet::new();
    let mut has_variant = false;
    for part in parts(&index) {
        let prefix = format!("{part}/");
        let inside: Vec<&RemoteFile> = files.iter().filter(|file| file.name.starts_with(&prefix)).collect();
        let sets = weight_sets(&inside, &prefix);
        variants.extend(sets.iter().filter_map(|set| set.variant.clone()));
        if inside.is_empty() || (sets.is_empty() && WEIGHTY_PARTS.contains(&part)) {
            return Err(incomplete(format!("{INDEX} names the part {part}, and there are no PyTorch weights of it")));
        }
        chosen.extend(inside.iter().filter(|file| is_text(&file.name)).map(|&file| file.clone()));
        let Some(set) = best(&sets, variant) else { continue };
        has_variant |= set.variant.as_deref() == variant;
        if let Some(problem) = set.gap() {
            return Err(incomplete(format!("{prefix}{problem}")));
        }
        chosen.extend(set.files.iter().map(|&file| file.clone()));
    }
    match variant {
        Some(variant) if !has_variant => {
            let known = variants.into_iter().collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "only the plain ones".to_owned() } else { known };
            Err(DownloadError::NoVariant { id: id.to_owned(), variant: variant.to_owned(), known })
        }
        _ => Ok(chosen),
    }
}

/// The only checkpoint of a repository that is no model folder.
pub(super) fn only_checkpoint<'a>(id: &str, files: &'a [RemoteFile]) -> Result<&'a RemoteFile, DownloadError> {
    let is_checkpoint = |name: &str| {
        let name = name.to_ascii_lowercase();
        CHECKPOINT_ENDINGS.iter().any(|ending| name.ends_with(ending))
    };
    let found: Vec<&RemoteFile> = files.iter().filter(|file| is_checkpoint(&file.name)).collect();
    match found.as_slice() {
        [] => Err(DownloadError::NoCheckpoint { id: id.to_owned() }),
        [only] => Ok(only),
        several => {
            let mut files: Vec<String> =
                several.iter().take(MOST_LISTED).map(|file| format!("{id}/{}", file.name)).collect();
            if several.len() > MOST_LISTED {
                files.push(format!("and {} more", several.len() - MOST_LISTED));
            }
            Err(DownloadError::SeveralCheckpoints { id: id.to_owned(), files })
        }
    }
}

/// The parts that an index names with a library and a class: `"unet": ["diffusers", "UNet2DConditionModel"]`.
fn parts(index: &Value) -> Vec<&str> {
    let entries = index.as_object().into_iter().flatten();
    let is_part = |value: &Value| value.as_array().is_some_and(|pair| pair.iter().any(Value::is_string));
    entries.filter(|(name, value)| !name.starts_with('_') && is_part(value)).map(|(name, _)| name.as_str()).collect()
}

/// Weights that belong together: one file, or shards and their index.
struct WeightSet<'a> {
    /// `fp16`, `non_ema`; none for the plain weights.
    variant: Option<String>,
    is_safetensors: bool,
    /// How many shards there should be.
    shards: usize,
    /// How many there are.
    present: usize,
    files: Vec<&'a RemoteFile>,
}

impl WeightSet<'_> {
    /// What is missing of it.
    fn gap(&self) -> Option<String> {
        (self.present < self.shards).then(|| format!(" has only {} of {} files of weights", self.present, self.shards))
    }
}

/// What the name of a file of weights says.
#[derive(Debug, PartialEq, Eq)]
struct WeightName {
    variant: Option<String>,
    is_safetensors: bool,
    /// How many shards there are with it; none for an index.
    shards: Option<usize>,
}

/// `model.fp16.safetensors`, `model-00001-of-00002.safetensors`, `model.fp16-00001-of-00002.safetensors`,
/// `model.safetensors.index.fp16.json` and what else the libraries have called them.
fn weight_name(name: &str) -> Option<WeightName> {
    let rest =
        WEIGHT_STEMS.iter().find_map(|stem| name.strip_prefix(stem).filter(|rest| rest.starts_with(['.', '-'])))?;
    let is_safetensors = rest.contains(".safetensors");
    let format = if is_safetensors { ".safetensors" } else { ".bin" };
    let variant_of = |text: &str| Some(text.trim_matches('.').to_owned()).filter(|text| !text.is_empty());
    if let Some(index) = rest.strip_suffix(".json") {
        let (before, after) = index.split_once(&format!("{format}.index"))?;
        return Some(WeightName {
            variant: variant_of(before).or_else(|| variant_of(after)),
            is_safetensors,
            shards: None,
        });
    }
    let middle = rest.strip_suffix(format)?;
    let shard = middle.find("-of-").and_then(|at| {
        let (before, after) = (middle.get(..at)?.rsplit_once('-')?, middle.get(at + 4..)?);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let count = after[..digits].parse().ok()?;
        before.1.parse::<usize>().ok()?;
        Some((before.0, &after[digits..], count))
    });
    let (variant, shards) = match shard {
        Some((before, after, count)) => (variant_of(before).or_else(|| variant_of(after)), count),
        None => (variant_of(middle), 1),
    };
    Some(WeightName { variant, is_safetensors, shards: Some(shards) })
}

/// The sets of weights that lie directly in a part's folder.
fn weight_sets<'a>(inside: &[&'a RemoteFile], prefix: &str) -> Vec<WeightSet<'a>> {
    let mut sets: Vec<WeightSet<'a>> = Vec::new();
    let named = inside.iter().filter_map(|&file| Some((file, weight_name(file.name.strip_prefix(prefix)?)?)));
    for (file, name) in named {
        let belongs = |set: &WeightSet| set.variant == name.variant && set.is_safetensors == name.is_safetensors;
        let shards = name.shards.unwrap_or(0);
        match sets.iter_mut().find(|set| belongs(set)) {
            // A whole file and shards beside it: the whole file is enough.
            Some(set) if set.shards == 1 && shards != 1 => {}
            Some(set) if shards == 1 => (set.shards, set.present, set.files) = (1, 1, vec![file]),
            Some(set) => {
                set.shards = set.shards.max(shards);
                set.present += shards.min(1);
                set.files.push(file);
            }
            None => {
                let (variant, is_safetensors) = (name.variant, name.is_safetensors);
                sets.push(WeightSet { variant, is_safetensors, shards, present: shards.min(1), files: vec![file] });
            }
        }
    }
    sets.retain(|set| set.shards > 0);
    sets
}

/// The set to take: safetensors before pickles; then the variant that was asked for, the plain one, half precision.
fn best<'s, 'a>(sets: &'s [WeightSet<'a>], variant: Option<&str>) -> Option<&'s WeightSet<'a>> {
    sets.iter().min_by_key(|set| {
        let of_variant = match set.variant.as_deref() {
            found if variant.is_some() && found == variant => 0,
            None => 1,
            Some("fp16") => 2,
            Some("non_ema") => 4,
            Some(_) => 3,
        };
        // A variant that was asked for is taken as a pickle rather than not at all.
        (of_variant != 0 && variant.is_some(), !set.is_safetensors, of_variant)
    })
}

/// Configurations and vocabularies, but for what only lists shards.
fn is_text(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    TEXT_ENDINGS.iter().any(|ending| base.ends_with(ending))
        && !base.contains(".index.")
        && !["flax_", "tf_"].iter().any(|library| base.starts_with(library))
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn files(names: &[&str]) -> Vec<RemoteFile> {
        let url = Url::parse("http://h/").unwrap();
        let file = |&name: &&str| RemoteFile {
            name: name.to_owned(),
            url: url.clone(),
            size: Some(1),
            digest: None,
            cached: None,
        };
        names.iter().map(file).collect()
    }

    fn chosen(names: &[&str], variant: Option<&str>) -> Vec<String> {
        let index = br#"{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"],
            "safety_checker": [null, null], "requires_safety_checker": false}"#;
        let all: Vec<&str> =
            [INDEX, "README.md", "unet/config.json"].into_iter().chain(names.iter().copied()).collect();
        let kept = match model_folder("o/n", &files(&all), index, variant) {
            Ok(kept) => kept,
            Err(error) => return vec![error.to_string()],
        };
        let weights = kept.into_iter().map(|file| file.name).filter(|name| name != INDEX && name != "unet/config.json");
        weights.map(|name| name.trim_start_matches("unet/").to_owned()).collect()
    }

    #[test]
    fn one_set_of_weights_is_taken_of_each_part() {
        let all = [
            "unet/diffusion_pytorch_model.bin",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.non_ema.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "unet/diffusion_flax_model.msgpack",
            "unet/model.onnx",
            "v1.safetensors",
        ];
        assert_eq!(chosen(&all, None), ["diffusion_pytorch_model.safetensors"]);
        assert_eq!(chosen(&all, Some("fp16")), ["diffusion_pytorch_model.fp16.safetensors"]);
        assert_eq!(chosen(&all[..3], None), ["diffusion_pytorch_model.fp16.safetensors"]);
        assert_eq!(chosen(&all[..1], None), ["diffusion_pytorch_model.bin"]);
        assert!(chosen(&all, Some("bf16"))[0].contains("it has fp16, non_ema"));
        assert!(chosen(&all[4..], None)[0].contains("no PyTorch weights"));
    }

    #[test]
    fn shards_come_with_their_index_and_all_of_them() {
        let all = [
            "unet/diffusion_pytorch_model-00001-of-00002.safetensors",
            "unet/diffusion_pytorch_model-00002-of-00002.safetensors",
            "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
            "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
            "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
            "unet/diffusion_pytorch_model.safetensors.index.json",
        ];
        assert_eq!(chosen(&all, None).len(), 3);
        assert!(chosen(&all, None).iter().all(|name| !name.contains("fp16")));
        let half = chosen(&all, Some("fp16"));
        assert!(half.len() == 3 && half.iter().all(|name| name.contains("fp16")), "{half:?}");
        assert!(chosen(&all[1..2], None)[0].contains("only 1 of 2"));
        let whole_too = [&all[..2], &["unet/diffusion_pytorch_model.safetensors"], &all[5..]].concat();
        assert_eq!(chosen(&whole_too, None), ["diffusion_pytorch_model.safetensors"]);
    }

    #[test]
    fn the_only_checkpoint_is_found_and_several_are_listed() {
        let name = |names: &[&str]| match only_checkpoint("o/n", &files(names)) {
            Ok(file) => file.name.clone(),
            Err(error) => error.to_string(),
        };
        assert_eq!(name(&["README.md", "deep/v1.SafeTensors"]), "deep/v1.SafeTensors");
        assert!(name(&["a.ckpt", "b.gguf"]).ends_with("\n  o/n/a.ckpt\n  o/n/b.gguf"));
        assert!(name(&["a.onnx"]).contains("no Stable Diffusion model"));
    }
}
