//! The LoRAs and embeddings of a command: the files at hand, what a picture's prompts call of them, and their hashes.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failure, models};
use crate::folders;
use crate::gallery::record::PictureRecord;
use crate::inference;
use crate::library::message::KindGroup;
use crate::prompt::{Tokenizer, called_adapters, called_embeddings};
use crate::request::{
    AdapterUse, Dialect, EmbeddingUse, GenerationRequest, NamedFile, RecordedAdapter, RecordedEmbedding,
};

/// Where LoRAs and embeddings lie.
#[derive(Debug, Clone, Args)]
pub struct NetworkOptions {
    /// A folder in which <lora:name:weight> finds name.safetensors, before the library; may be given several times
    #[arg(long, value_name = "FOLDER")]
    pub lora_folder: Vec<PathBuf>,
    /// A folder in which an embedding's name in a prompt finds its file, before the library; may be given several times
    #[arg(long, value_name = "FOLDER")]
    pub embedding_folder: Vec<PathBuf>,
}

/// A LoRA's file and how strongly it acts.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraOption {
    file: PathBuf,
    weight: f64,
}

/// What changes the model for one picture.
#[derive(Debug, Default, Clone)]
pub struct Networks {
    /// The LoRAs.
    pub adapters: Vec<AdapterUse>,
    /// The embeddings.
    pub embeddings: Vec<EmbeddingUse>,
}

/// What a recipe keeps of them.
#[derive(Debug, Default, Clone)]
pub struct Recorded {
    /// Of the LoRAs.
    pub adapters: Vec<RecordedAdapter>,
    /// Of the embeddings.
    pub embeddings: Vec<RecordedEmbedding>,
}

/// The files at hand.
pub struct KnownFiles {
    loras: Vec<NamedFile>,
    embeddings: Vec<NamedFile>,
    /// Those of `--lora`, which act on every picture.
    always: Vec<AdapterUse>,
    hashes: HashMap<PathBuf, String>,
}

impl std::str::FromStr for LoraOption {
    type Err = String;

    /// `FILE` or `FILE:WEIGHT`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let weighted = text.rsplit_once(':').and_then(|(file, weight)| Some((file, weight.parse::<f64>().ok()?)));
        match weighted {
            Some((_, weight)) if !weight.is_finite() => Err("the weight behind the colon is no number".to_owned()),
            Some((file, weight)) => Ok(Self { file: file.into(), weight }),
            None => Ok(Self { file: text.into(), weight: 1.0 }),
        }
    }
}

impl Recorded {
    /// What is of the same name in a recipe and of other contents, a sentence each.
    pub fn differing_from(&self, record: &PictureRecord) -> Vec<String> {
        let lora = |own: &RecordedAdapter| {
            let other = record.adapters.iter().find(|other| other.name == own.name && other.hash != own.hash)?;
            Some(format!("the LoRA {} is another file (hash {} and not {})", own.name, own.hash, other.hash))
        };
        let embedding = |own: &RecordedEmbedding| {
            let other = record.embeddings.iter().find(|other| other.word == own.word && other.hash != own.hash)?;
            Some(format!("the embedding {} is another file (hash {} and not {})", own.word, own.hash, other.hash))
        };
        self.adapters.iter().filter_map(lora).chain(self.embeddings.iter().filter_map(embedding)).collect()
    }
}

impl KnownFiles {
    /// Looks into the folders; a file that is named comes before those of its name in them.
    pub fn of(options: &NetworkOptions, named: &[LoraOption]) -> Result<Self, Failure> {
        let usage = |error: String| Failure::Usage(error);
        let mut always = Vec::new();
        let mut loras = Vec::new();
        for LoraOption { file, weight } in named {
            if !file.is_file() {
                return Err(Failure::Usage(format!("there is no such LoRA: {}", file.display())));
            }
            let known = NamedFile::at(file);
            let (name, path) = (known.name.clone(), known.path.clone());
            if name.contains([':', '<', '>']) {
                let problem = "prompts cannot call a file of this name: rename it without \":\", \"<\" and \">\"";
                return Err(Failure::Usage(format!("{}: {problem}", file.display())));
            }
            if let Some(other) = loras.iter().find(|other: &&NamedFile| other.name == name && other.path != path) {
                let problem = "have the same name, and a prompt can call only one of them: rename one";
                return Err(Failure::Usage(format!("{} and {} {problem}", other.path.display(), path.display())));
            }
            always.push(AdapterUse { name, path, unet_weight: *weight, text_weight: *weight });
            loras.push(known);
        }
        for folder in &options.lora_folder {
            loras.extend(files_in(folder).map_err(usage)?);
        }
        let mut embeddings = Vec::new();
        for folder in &options.embedding_folder {
            embeddings.extend(files_in(folder).map_err(usage)?);
        }
        // What the library lists comes after what the command names.
        loras.extend(models::callable(KindGroup::Lora));
        embeddings.extend(models::callable(KindGroup::Embedding));
        Ok(Self { loras, embeddings, always, hashes: HashMap::new() })
    }

    /// The prompt with a call of each LoRA that the options name, where its language has calls: the recipe then says
    /// to every program how the picture was made.
    pub fn with_calls(&self, prompt: &str, dialect: Dialect) -> String {
        let mut prompt = prompt.to_owned();
        for lora in self.always.iter().filter(|_| dialect == Dialect::A1111) {
            // Writing to a String cannot fail.
            let _ = write!(prompt, " <lora:{}:{}>", lora.name, lora.unet_weight);
        }
        prompt
    }

    /// What a picture's prompts call.
    pub fn called(&self, request: &GenerationRequest, tokenizer: Option<&Tokenizer>) -> Result<Networks, Failure> {
        let called = called_adapters(&request.prompt, request.dialect, &self.loras);
        let mut adapters = called.adapters;
        let mut missing = called.missing;
        if request.dialect == Dialect::ComfyUi {
            adapters.extend(self.always.iter().cloned());
        }
        let mut embeddings = Vec::new();
        if let Some(tokenizer) = tokenizer {
            let prompts = [request.prompt.as_str(), request.negative_prompt.as_str()];
            let found = called_embeddings(prompts, request.dialect, tokenizer, &self.embeddings);
            let (found, not_found) = found.map_err(|error| Failure::Work(error.to_string()))?;
            embeddings = found;
            missing.extend(not_found);
        }
        if missing.is_empty() { Ok(Networks { adapters, embeddings }) } else { Err(Failure::Usage(missing.join("; "))) }
    }

    /// What the recipe keeps, with the files' hashes.
    pub fn recorded(&mut self, networks: &Networks) -> Result<Recorded, Failure> {
        let mut recorded = Recorded::default();
        for AdapterUse { name, path, unet_weight, text_weight } in &networks.adapters {
            let hash = self.hash(path, inference::adapter_hash)?;
            let (unet_weight, text_weight) = (*unet_weight, *text_weight);
            recorded.adapters.push(RecordedAdapter { name: name.clone(), hash, unet_weight, text_weight });
        }
        for EmbeddingUse { word, path } in &networks.embeddings {
            let hash = self.hash(path, inference::embedding_hash)?;
            recorded.embeddings.push(RecordedEmbedding { word: word.clone(), hash });
        }
        Ok(recorded)
    }

    fn hash(&mut self, path: &Path, read: fn(&Path) -> Result<String, String>) -> Result<String, Failure> {
        if let Some(known) = self.hashes.get(path) {
            return Ok(known.clone());
        }
        let hash = read(path).map_err(Failure::Work)?;
        self.hashes.insert(path.to_owned(), hash.clone());
        Ok(hash)
    }

    /// Takes the LoRAs of a recipe, which are not in the prompt where its language has no calls.
    pub fn take_recipe(&mut self, recorded: &[RecordedAdapter], dialect: Dialect) -> Result<(), Failure> {
        if dialect != Dialect::ComfyUi {
            return Ok(());
        }
        for RecordedAdapter { name, unet_weight, text_weight, .. } in recorded {
            let Some(file) = self.loras.iter().find(|file| file.name == *name) else {
                return Err(Failure::Usage(format!("the LoRA {name} is not here: name its folder with --lora-folder")));
            };
            let (name, path) = (name.clone(), file.path.clone());
            let (unet_weight, text_weight) = (*unet_weight, *text_weight);
            self.always.push(AdapterUse { name, path, unet_weight, text_weight });
        }
        Ok(())
    }
}

fn files_in(folder: &Path) -> Result<Vec<NamedFile>, String> {
    folders::files_with_ending(folder, "safetensors")
        .map(|files| files.iter().map(|path| NamedFile::at(path)).collect())
        .map_err(|error| format!("could not look into {}: {error}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_stands_behind_the_last_colon() {
        let read = |text: &str| text.parse::<LoraOption>().map(|option| (option.file, option.weight));
        assert_eq!(read("a.safetensors"), Ok(("a.safetensors".into(), 1.0)));
        assert_eq!(read("C:\\a.safetensors:-0.5"), Ok(("C:\\a.safetensors".into(), -0.5)));
        assert_eq!(read("C:\\a"), Ok(("C:\\a".into(), 1.0)));
        assert!(read("a:inf").is_err());
    }
}
