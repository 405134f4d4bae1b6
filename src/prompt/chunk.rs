//! Splits a prompt's tokens into chunks that fit the text encoder, so that no word is ever silently dropped.

/// How many tokens a prompt takes, for showing beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenCount {
    /// Tokens of the text itself, without begin and end marks.
    pub tokens: usize,
    /// Tokens that one chunk holds, 75 for CLIP.
    pub chunk_capacity: usize,
    /// Chunks that the prompt needs, at least 1.
    pub chunks: usize,
}

/// The chunks of one prompt, each `[begin, tokens.., end, padding..]` of the encoder's full length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    /// At least one chunk.
    pub chunks: Vec<Vec<u32>>,
}

impl Chunks {
    /// Cuts `ids` into chunks of `length` tokens, marks included; an empty prompt is one chunk of padding.
    #[must_use]
    pub fn new(ids: &[u32], length: usize, begin: u32, end: u32, padding: u32) -> Self {
        let capacity = length.saturating_sub(2).max(1);
        let chunk = |part: &[u32]| {
            let mut tokens = Vec::with_capacity(length);
            tokens.push(begin);
            tokens.extend_from_slice(part);
            tokens.push(end);
            tokens.resize(length, padding);
            tokens
        };
        let chunks = if ids.is_empty() { vec![chunk(&[])] } else { ids.chunks(capacity).map(chunk).collect() };
        Self { chunks }
    }

    /// Adds chunks of the empty prompt until there are `count`, so that two prompts can share a batch.
    pub fn pad_to(&mut self, count: usize, empty: &Self) {
        while self.chunks.len() < count {
            self.chunks.extend(empty.chunks.iter().cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_prompt_is_one_padded_chunk() {
        assert_eq!(Chunks::new(&[], 5, 1, 2, 0).chunks, [[1, 2, 0, 0, 0]]);
    }

    #[test]
    fn a_long_prompt_loses_no_token() {
        let ids: Vec<u32> = (10..17).collect();
        assert_eq!(Chunks::new(&ids, 5, 1, 2, 0).chunks, [[1, 10, 11, 12, 2], [1, 13, 14, 15, 2], [1, 16, 2, 0, 0]]);
    }

    #[test]
    fn a_full_chunk_needs_no_second() {
        assert_eq!(Chunks::new(&[7, 8, 9], 5, 1, 2, 0).chunks.len(), 1);
    }
}
