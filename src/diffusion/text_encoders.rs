//! All text encoders of a model side by side: Stable Diffusion XL reads every prompt twice.

use candle_core::Tensor;

use super::text_encoder::{EncodedText, TextEncoder};
use super::{DiffusionError, Interrupt};
use crate::prompt::Marks;
use crate::request::ClipSkip;

/// One text encoder in its place.
#[derive(Debug)]
pub struct Tower {
    /// The encoder.
    pub encoder: TextEncoder,
    /// The id that its chunks are filled with after the end mark.
    pub padding: u32,
}

/// The text encoders of a model, at least one. Their hidden states stand side by side; the last one's pooled text is the
/// model's.
#[derive(Debug)]
pub struct TextEncoders {
    towers: Vec<Tower>,
}

impl TextEncoders {
    /// # Errors
    /// When there is none, or they do not take chunks of one length.
    pub fn new(towers: Vec<Tower>) -> Result<Self, DiffusionError> {
        let problem = match towers.as_slice() {
            [] => "it has no text encoder".to_owned(),
            [first, rest @ ..] => {
                let (length, entries) = (first.encoder.length(), first.encoder.config().vocab_size);
                let odd = rest
                    .iter()
                    .map(|tower| &tower.encoder)
                    .find(|other| other.length() != length || other.config().vocab_size != entries);
                let Some(odd) = odd else { return Ok(Self { towers }) };
                let (odd_length, odd_entries) = (odd.length(), odd.config().vocab_size);
                format!(
                    "its text encoders do not read the same tokens: {length} positions and {entries} entries, \
                     {odd_length} positions and {odd_entries} entries"
                )
            }
        };
        Err(DiffusionError::Config { part: "text_encoder", problem })
    }

    /// Each of them, in order.
    #[must_use]
    pub fn towers(&self) -> &[Tower] {
        &self.towers
    }

    /// The same, to teach them words.
    pub fn towers_mut(&mut self) -> &mut [Tower] {
        &mut self.towers
    }

    /// Width of the hidden states of all together.
    #[must_use]
    pub fn width(&self) -> usize {
        self.towers.iter().map(|tower| tower.encoder.config().hidden_size).sum()
    }

    /// Width of the pooled text, where there is one.
    #[must_use]
    pub fn pooled_width(&self) -> Option<usize> {
        self.towers.last()?.encoder.pooled_width()
    }

    /// Entries of the token table.
    #[must_use]
    pub fn vocabulary_size(&self) -> usize {
        self.towers.first().map_or(0, |tower| tower.encoder.config().vocab_size)
    }
}

impl Tower {
    /// Chunks as the tokenizer made them, with its `marks`, to hidden states.
    ///
    /// # Errors
    /// As [`TextEncoder::encode`].
    pub fn encode(
        &self,
        chunks: &[&[u32]],
        marks: &Marks,
        clip_skip: ClipSkip,
        interrupt: Interrupt,
    ) -> Result<EncodedText<Tensor>, DiffusionError> {
        let filled: Vec<Vec<u32>> = chunks.iter().map(|chunk| filled_with(self.padding, chunk, marks.end)).collect();
        let filled: Vec<&[u32]> = filled.iter().map(Vec::as_slice).collect();
        self.encoder.encode(&filled, marks.end, clip_skip, interrupt)
    }
}

/// The chunk with `padding` for all that follows its first end mark.
fn filled_with(padding: u32, chunk: &[u32], end: u32) -> Vec<u32> {
    let text = chunk.iter().position(|&id| id == end).map_or(chunk.len(), |end| end + 1);
    chunk.iter().enumerate().map(|(place, &id)| if place < text { id } else { padding }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_end_is_the_encoders_own_padding() {
        assert_eq!(filled_with(0, &[8, 5, 9, 9, 9], 9), [8, 5, 9, 0, 0]);
        assert_eq!(filled_with(9, &[8, 5, 9, 9, 9], 9), [8, 5, 9, 9, 9]);
        assert_eq!(filled_with(0, &[8, 5, 6], 9), [8, 5, 6]);
    }
}
