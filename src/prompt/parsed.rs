//! A prompt read to the end: parts, what of each is in force when, its weighted pieces, and the chunks for the text
//! encoder.

use serde::Serialize;

use super::chunk::{Chunk, TokenCount, chunks, chunks_of_whole_pieces};
use super::comfyui;
use super::composition::{Subprompt, subprompts};
use super::cut::{NetworkCall, without_networks};
use super::emphasis::{Piece, weighted_pieces};
use super::origins::Origins;
use super::schedule::{Scheduled, entry_at, schedule};
use super::tokenizer::{Tokenizer, TokenizerError};
use crate::request::Dialect;

/// A prompt as plain data.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParsedPrompt {
    /// One for each `AND` and one more.
    pub parts: Vec<Part>,
    /// What was called by `<lora:name:weight>` and the like; none of it is text.
    pub loras: Vec<NetworkCall>,
    /// Where the text without the calls stood in the prompt.
    #[serde(skip)]
    origins: Origins,
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
    /// Where its text begins in the prompt without the calls.
    #[serde(skip)]
    start: usize,
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
    /// Where its text stood in the part's.
    #[serde(skip)]
    origins: Origins,
}

/// A token of a prompt where it was typed.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedWord {
    /// Its bytes in the prompt.
    pub place: std::ops::Range<usize>,
    /// As the vocabulary writes it.
    pub word: String,
    /// 1 means as the model has it.
    pub weight: f64,
}

impl ParsedPrompt {
    /// Reads a prompt for `steps` steps.
    ///
    /// # Errors
    /// When the tokenizer fails, which a sound one never does.
    pub fn positive(text: &str, steps: usize, dialect: Dialect, tokenizer: &Tokenizer) -> Result<Self, TokenizerError> {
        if dialect == Dialect::ComfyUi {
            return Self::negative(text, steps, dialect, tokenizer);
        }
        let (cut, loras) = without_networks(text);
        let parts = subprompts(&cut.text).into_iter().map(|part| Part::read(part, steps, dialect, tokenizer));
        Ok(Self { parts: parts.collect::<Result<_, _>>()?, loras, origins: cut.origins })
    }

    /// Reads a negative prompt, which is neither split nor weighted, and calls nothing.
    ///
    /// # Errors
    /// As [`ParsedPrompt::positive`].
    pub fn negative(text: &str, steps: usize, dialect: Dialect, tokenizer: &Tokenizer) -> Result<Self, TokenizerError> {
        let whole = Subprompt { text: text.to_owned(), start: 0, weight: 1.0 };
        let parts = vec![Part::read(whole, steps, dialect, tokenizer)?];
        Ok(Self { parts, loras: Vec::new(), origins: Origins::default() })
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

    /// The words of every chunk of what is in force at the start, the parts one after the other.
    #[must_use]
    pub fn first_words(&self) -> Vec<Vec<PlacedWord>> {
        let firsts = self.parts.iter().filter_map(|part| Some((part, part.schedule.first()?)));
        firsts.flat_map(|(part, entry)| entry.chunks.iter().map(|chunk| self.placed(part, entry, chunk))).collect()
    }

    /// The words of what comes later in a schedule.
    #[must_use]
    pub fn later_words(&self) -> Vec<PlacedWord> {
        let later = self.parts.iter().flat_map(|part| part.schedule.iter().skip(1).map(move |entry| (part, entry)));
        later
            .flat_map(|(part, entry)| entry.chunks.iter().flat_map(move |chunk| self.placed(part, entry, chunk)))
            .collect()
    }

    fn placed(&self, part: &Part, entry: &Entry, chunk: &Chunk) -> Vec<PlacedWord> {
        let word = |((word, place), &weight): ((&String, &std::ops::Range<usize>), &f64)| {
            let in_part = entry.origins.of_range(place.clone());
            let in_cut = part.start + in_part.start..part.start + in_part.end;
            PlacedWord { place: self.origins.of_range(in_cut), word: word.clone(), weight }
        };
        // The first weight is the begin mark's.
        chunk.words.iter().zip(&chunk.places).zip(chunk.weights.iter().skip(1)).map(word).collect()
    }
}

impl Part {
    fn read(
        subprompt: Subprompt,
        steps: usize,
        dialect: Dialect,
        tokenizer: &Tokenizer,
    ) -> Result<Self, TokenizerError> {
        let scheduled = match dialect {
            Dialect::A1111 => schedule(&subprompt.text, steps),
            Dialect::ComfyUi => {
                vec![Scheduled { end_step: steps, text: subprompt.text.clone(), origins: Origins::default() }]
            }
        };
        let mut entries: Vec<Entry> = Vec::new();
        for Scheduled { end_step, text, origins } in scheduled {
            let known = entries.iter().find(|entry| entry.text == text);
            let entry = if let Some(known) = known {
                Entry { end_step, origins, ..known.clone() }
            } else {
                let (pieces, chunks) = pieces_and_chunks(&text, dialect, tokenizer)?;
                Entry { end_step, text, pieces, chunks, origins }
            };
            entries.push(entry);
        }
        Ok(Self { weight: subprompt.weight, text: subprompt.text, schedule: entries, start: subprompt.start })
    }

    /// The index of the entry in force at a call of the model, counted from 0.
    #[must_use]
    pub fn entry_at(&self, call: usize) -> usize {
        entry_at(self.schedule.iter().map(|entry| entry.end_step), call)
    }
}

fn pieces_and_chunks(
    text: &str,
    dialect: Dialect,
    tokenizer: &Tokenizer,
) -> Result<(Vec<Piece>, Vec<Chunk>), TokenizerError> {
    Ok(match dialect {
        Dialect::A1111 => {
            let pieces = weighted_pieces(text);
            let chunks = chunks(&pieces, tokenizer)?;
            (pieces, chunks)
        }
        Dialect::ComfyUi => {
            let pieces = comfyui::weighted_pieces(text);
            let chunks = chunks_of_whole_pieces(&pieces, tokenizer)?;
            (pieces, chunks)
        }
    })
}
