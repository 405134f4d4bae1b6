//! The LoRAs and embeddings that prompts can call: what the library lists of them, by name.

use crate::library::index::LibraryIndex;
use crate::library::message::{Entry, KindGroup, ModelKind};
use crate::prompt::{LearnedWord, Tokenizer, called_adapters, called_embeddings};
use crate::request::{AdapterUse, EmbeddingUse, GenerationRequest, NamedFile};

/// The files behind the names in prompts; of two files of one name the first is meant.
#[derive(Debug, Default)]
pub struct NetworkFiles {
    /// LoRAs and relatives, for `<lora:name:weight>`: by their stem, and by their path below their folder.
    pub loras: Vec<NamedFile>,
    /// Embeddings, by their stem.
    pub embeddings: Vec<NamedFile>,
    /// The same as words, for counting tokens.
    pub words: Vec<LearnedWord>,
}

impl NetworkFiles {
    /// What an index lists.
    #[must_use]
    pub fn of(index: &LibraryIndex) -> Self {
        let named = |group| {
            index.callable(group).map(|(name, entry)| NamedFile { name: name.to_owned(), path: entry.path.clone() })
        };
        let vectors = |entry: &Entry| match entry.card.as_ref().map(|card| &card.kind) {
            Ok(ModelKind::Embedding { vectors }) => (*vectors).max(1) as usize,
            _ => 1,
        };
        let words = index.callable(KindGroup::Embedding);
        let words = words.map(|(name, entry)| LearnedWord { word: name.to_owned(), vectors: vectors(entry) });
        Self {
            words: words.collect(),
            loras: named(KindGroup::Lora).collect(),
            embeddings: named(KindGroup::Embedding).collect(),
        }
    }

    /// What a request calls of them.
    #[must_use]
    pub fn called_by(&self, request: &GenerationRequest, tokenizer: Option<&Tokenizer>) -> CalledNetworks {
        let prompts = [request.prompt.as_str(), request.negative_prompt.as_str()];
        let embeddings = tokenizer.and_then(|tokenizer| {
            called_embeddings(prompts, request.dialect, tokenizer, &self.embeddings).ok().map(|(found, _)| found)
        });
        CalledNetworks {
            adapters: called_adapters(&request.prompt, request.dialect, &self.loras).adapters,
            embeddings: embeddings.unwrap_or_default(),
        }
    }
}

/// What changes the model for one picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CalledNetworks {
    /// LoRAs and relatives.
    pub adapters: Vec<AdapterUse>,
    /// Embeddings.
    pub embeddings: Vec<EmbeddingUse>,
}
