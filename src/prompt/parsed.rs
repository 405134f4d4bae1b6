//! A prompt read to the end: parts, what of each is in force when, its weighted pieces, and the chunks for the text
//! encoder.

use serde::Serialize;

use super::chunk::{Chunk, TokenCount, chunks};
use super::composition::{Subprompt, subprompts};
use super::emphasis::{Piece, weighted_pieces};
use super::schedule::{entry_at, schedule};
use super::tokenizer::{Tokenizer, TokenizerError};

/// A prompt as plain data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParsedPrompt {
    /// One for each `AND` and one more.
    pub parts: Vec<Part>,
}

/// A prompt that steers with others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// How strongly it steers.
    pub weight: f64,
    /// What was written.
    pub text: String,
    /// At least one, by their end.
    pub schedule: Vec<Entry>,
}

/// What is in force for a while.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The last step of it as the web UI counts: it is in force up to and with the model call of this number, from 0.
    pub end_step: usize,
    /// The text when the schedules are settled.
    pub text: String,
    /// Its stretches by weight.
    pub pieces: Vec<Piece>,
    /// What the text encoder reads, at least one.
    pub chunks: Vec<Chunk>,
}

impl ParsedPrompt {
    /// Reads a prompt for `steps` steps.
    ///
    /// # Errors
    /// When the tokenizer fails, which a sound one never does.
    pub fn positive(text: &str, steps: usize, tokenizer: &Tokenizer) -> Result<Self, TokenizerError> {
        let parts = subprompts(text).into_iter().map(|part| Part::read(part, steps, tokenizer));
        Ok(Self { parts: parts.collect::<Result<_, _>>()? })
    }

    /// Reads a negative prompt, which is neither split nor weighted.
    ///
    /// # Errors
    /// As [`ParsedPrompt::positive`].
    pub fn negative(text: &str, steps: usize, tokenizer: &Tokenizer) -> Result<Self, TokenizerError> {
        let whole = Subprompt { text: text.to_owned(), weight: 1.0 };
        Ok(Self { parts: vec![Part::read(whole, steps, tokenizer)?] })
    }

    /// Tokens and chunks of its longest moment, the parts together.
    #[must_use]
    pub fn count(&self, tokenizer: &Tokenizer) -> TokenCount {
        let mut count = TokenCount { tokens: 0, chunk_capacity: tokenizer.marks().capacity(), chunks: 0 };
        for part in &self.parts {
            let tokens = |entry: &Entry| entry.chunks.iter().map(|chunk| chunk.words.len()).sum::<usize>();
            count.tokens += part.schedule.iter().map(tokens).max().unwrap_or(0);
            count.chunks += part.schedule.iter().map(|entry| entry.chunks.len()).max().unwrap_or(1);
        }
        count
    }
}

impl Part {
    fn read(subprompt: Subprompt, steps: usize, tokenizer: &Tokenizer) -> Result<Self, TokenizerError> {
        let mut entries: Vec<Entry> = Vec::new();
        for scheduled in schedule(&subprompt.text, steps) {
            let known = entries.iter().find(|entry| entry.text == scheduled.text);
            let entry = if let Some(known) = known {
                Entry { end_step: scheduled.end_step, ..known.clone() }
            } else {
                let pieces = weighted_pieces(&scheduled.text);
                let chunks = chunks(&pieces, tokenizer)?;
                Entry { end_step: scheduled.end_step, text: scheduled.text, pieces, chunks }
            };
            entries.push(entry);
        }
        Ok(Self { weight: subprompt.weight, text: subprompt.text, schedule: entries })
    }

    /// The index of the entry in force at a call of the model, counted from 0.
    #[must_use]
    pub fn entry_at(&self, call: usize) -> usize {
        entry_at(self.schedule.iter().map(|entry| entry.end_step), call)
    }
}
