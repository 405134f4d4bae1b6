//! CLIP's byte-pair tokenizer, from `tokenizer.json` or from `vocab.json` and `merges.txt`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Deserialize;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

/// How CLIP cuts a text into words before the byte pairs, as transformers' converter of `CLIPTokenizer` has it.
const WORD_PATTERN: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Turns text into token ids and chunks.
pub struct Tokenizer {
    inner: Arc<tokenizers::Tokenizer>,
    marks: Marks,
    learned: Vec<Learned>,
}

/// A word that stands for vectors of a file, not for tokens of the vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedWord {
    /// As it is written in a prompt.
    pub word: String,
    /// How many vectors it stands for, each of which takes a token's place.
    pub vectors: usize,
}

/// A learned word as the tokenizer reads it.
#[derive(Debug)]
pub(super) struct Learned {
    pub word: String,
    /// Its text in tokens.
    pub spelled: Vec<u32>,
    /// What it becomes.
    pub ids: Range<u32>,
}

/// The marks around a chunk's tokens, and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// The id in front.
    pub begin: u32,
    /// The id behind the last token.
    pub end: u32,
    /// The id that fills the rest.
    pub padding: u32,
    /// Ids of a chunk, marks included: the text encoder's number of positions.
    pub length: usize,
}

impl Marks {
    /// How many tokens of text a chunk holds, 75 for CLIP.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.length.saturating_sub(2).max(1)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("marks", &self.marks).finish_non_exhaustive()
    }
}

/// Why a tokenizer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The files' content is not a tokenizer.
    #[error("not a usable tokenizer: {0}")]
    Unreadable(String),
    /// A special token is not in the vocabulary.
    #[error("the tokenizer's vocabulary has no {role} token \"{token}\"")]
    MissingToken {
        /// begin, end or padding.
        role: &'static str,
        /// Its text.
        token: String,
    },
}

/// The texts of the special tokens, from `tokenizer_config.json` or `special_tokens_map.json`; CLIP's where left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the files' fields")]
pub struct SpecialTokens {
    bos_token: Option<TokenText>,
    eos_token: Option<TokenText>,
    pad_token: Option<TokenText>,
}

/// A special token is written as its text or as an object around it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Object { content: String },
}

impl TokenText {
    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Object { content: text } => text,
        }
    }
}

impl SpecialTokens {
    /// CLIP's own, but for what fills a chunk up.
    #[must_use]
    pub fn padding_with(text: &str) -> Self {
        Self { pad_token: Some(TokenText::Plain(text.to_owned())), ..Self::default() }
    }

    /// Fills what this file leaves out from another.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            bos_token: self.bos_token.or(other.bos_token),
            eos_token: self.eos_token.or(other.eos_token),
            pad_token: self.pad_token.or(other.pad_token),
        }
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`; `chunk_length` is the text encoder's number of positions (77 for CLIP).
    ///
    /// # Errors
    /// When the bytes are no tokenizer or a special token is not in its vocabulary.
    pub fn from_json(bytes: &[u8], special: &SpecialTokens, chunk_length: usize) -> Result<Self, TokenizerError> {
        let inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|e| TokenizerError::Unreadable(e.to_string()))?;
        Self::new(inner, special, chunk_length)
    }

    /// Builds CLIP's tokenizer from the older pair of files.
    ///
    /// # Errors
    /// When the texts are no vocabulary and merges or a special token is not in the vocabulary.
    pub fn from_vocab_and_merges(
        vocab: &str,
        merges: &str,
        special: &SpecialTokens,
        chunk_length: usize,
    ) -> Result<Self, TokenizerError> {
        let vocab: HashMap<String, u32> =
            serde_json::from_str(vocab).map_err(|e| TokenizerError::Unreadable(format!("vocab.json: {e}")))?;
        Self::from_pairs(vocab, parse_merges(merges)?, special, chunk_length)
    }

    /// Builds CLIP's tokenizer from ids by token and the pairs that are merged, first things first.
    ///
    /// # Errors
    /// When a merge is of what is not in the vocabulary, or a special token is not.
    pub fn from_pairs(
        vocab: impl IntoIterator<Item = (String, u32)>,
        merges: Vec<(String, String)>,
        special: &SpecialTokens,
        chunk_length: usize,
    ) -> Result<Self, TokenizerError> {
        let unreadable = |e: tokenizers::Error| TokenizerError::Unreadable(e.to_string());
        let unknown = special.eos_token.as_ref().map_or(END, TokenText::text).to_owned();
        let model = BPE::builder()
            .vocab_and_merges(vocab.into_iter().collect::<tokenizers::models::bpe::Vocab>(), merges)
            .unk_token(unknown)
            .end_of_word_suffix("</w>".to_owned())
            .continuing_subword_prefix(String::new())
            .build()
            .map_err(unreadable)?;
        let mut inner = tokenizers::Tokenizer::new(model);
        let spaces = Replace::new(tokenizers::normalizers::replace::ReplacePattern::Regex(r"\s+".to_owned()), " ")
            .map_err(unreadable)?;
        let normalizers = Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()]);
        inner.with_normalizer(Some(NormalizerWrapper::Sequence(normalizers))).map_err(unreadable)?;
        let split = Split::new(SplitPattern::Regex(WORD_PATTERN.to_owned()), SplitDelimiterBehavior::Removed, true)
            .map_err(unreadable)?;
        inner.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(PreTokenizers::new(vec![
            split.into(),
            ByteLevel::new(false, true, true).into(),
        ]))));
        // As transformers has it, a special token's text stands for itself wherever it occurs: SD 2 pads with "!".
        let texts = [&special.bos_token, &special.eos_token, &special.pad_token];
        let marks = texts
            .into_iter()
            .zip([BEGIN, END, END])
            .map(|(token, usual)| AddedToken::from(token.as_ref().map_or(usual, TokenText::text), true));
        inner.add_special_tokens(marks.collect::<Vec<_>>()).map_err(unreadable)?;
        Self::new(inner, special, chunk_length)
    }

    fn new(
        mut inner: tokenizers::Tokenizer,
        special: &SpecialTokens,
        chunk_length: usize,
    ) -> Result<Self, TokenizerError> {
        // Chunks are cut here, whatever the file says about length.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| TokenizerError::Unreadable(e.to_string()))?;
        let id = |role, token: &str| {
            inner.token_to_id(token).ok_or_else(|| TokenizerError::MissingToken { role, token: token.to_owned() })
        };
        let text = |token: &Option<TokenText>, usual: &str| token.as_ref().map_or(usual, TokenText::text).to_owned();
        let end_text = text(&special.eos_token, END);
        let begin = id("begin", &text(&special.bos_token, BEGIN))?;
        let end = id("end", &end_text)?;
        let padding = id("padding", &text(&special.pad_token, &end_text))?;
        let marks = Marks { begin, end, padding, length: chunk_length };
        Ok(Self { inner: Arc::new(inner), marks, learned: Vec::new() })
    }

    /// The id of the first learned vector; those of all words follow each other. No vocabulary is as large.
    pub const FIRST_LEARNED: u32 = 1 << 24;

    /// The same tokenizer that knows exactly these words too.
    ///
    /// # Errors
    /// As [`Tokenizer::ids`].
    pub fn with_learned(&self, words: &[LearnedWord]) -> Result<Self, TokenizerError> {
        let mut first = Self::FIRST_LEARNED;
        let mut learned = Vec::with_capacity(words.len());
        for LearnedWord { word, vectors } in words {
            let end = u32::try_from(*vectors).ok().and_then(|vectors| first.checked_add(vectors));
            let end = end.ok_or_else(|| TokenizerError::Unreadable(format!("\"{word}\" has too many vectors")))?;
            learned.push(Learned { word: word.clone(), spelled: self.ids(word)?, ids: first..end });
            first = end;
        }
        // The longest is meant where several could be.
        learned.sort_by_key(|learned| std::cmp::Reverse(learned.spelled.len()));
        Ok(Self { inner: Arc::clone(&self.inner), marks: self.marks, learned })
    }

    /// The learned word that these tokens begin with.
    pub(super) fn learned_at(&self, tokens: &[u32]) -> Option<&Learned> {
        self.learned.iter().find(|learned| !learned.spelled.is_empty() && tokens.starts_with(&learned.spelled))
    }

    /// The learned word of exactly this name.
    pub(super) fn learned_called(&self, name: &str) -> Option<&Learned> {
        self.learned.iter().find(|learned| learned.word == name)
    }

    /// The ids of `text` without begin and end marks, any number of them.
    ///
    /// # Errors
    /// When the tokenizer's own rules fail on the text, which a sound vocabulary never does.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|e| TokenizerError::Unreadable(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of `text`, how the vocabulary writes them, and which bytes of the text they are.
    ///
    /// # Errors
    /// As [`Tokenizer::ids`].
    pub fn tokens(&self, text: &str) -> Result<Vec<(u32, String, Range<usize>)>, TokenizerError> {
        let encoding = self.inner.encode(text, false).map_err(|e| TokenizerError::Unreadable(e.to_string()))?;
        let word = |id: u32| self.inner.id_to_token(id).unwrap_or_default();
        let tokens = encoding.get_ids().iter().zip(encoding.get_offsets());
        Ok(tokens.map(|(&id, &(start, end))| (id, word(id), start..end)).collect())
    }

    /// What stands around the tokens of a chunk.
    #[must_use]
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// One more than the largest id.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }
}

/// CLIP's begin mark.
const BEGIN: &str = "<|startoftext|>";
/// CLIP's end mark, also its unknown token.
const END: &str = "<|endoftext|>";

/// The pairs of a merges.txt; its first line may be a `#version`.
fn parse_merges(text: &str) -> Result<Vec<(String, String)>, TokenizerError> {
    text.lines()
        .enumerate()
        .filter(|(number, line)| !(line.trim().is_empty() || *number == 0 && line.starts_with("#version")))
        .map(|(number, line)| {
            line.split_once(' ').map(|(a, b)| (a.to_owned(), b.trim_end().to_owned())).ok_or_else(|| {
                TokenizerError::Unreadable(format!("merges.txt line {}: no pair in \"{line}\"", number + 1))
            })
        })
        .collect()
}
