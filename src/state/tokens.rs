//! The token counts beside the prompts, counted again only when a prompt or the tokenizer changes.

use std::sync::Arc;

use crate::prompt::{TokenCount, Tokenizer};

/// One prompt's count.
#[derive(Debug, Default)]
pub struct CountedText {
    text: String,
    tokenizer: Option<Arc<Tokenizer>>,
    count: Option<TokenCount>,
}

impl CountedText {
    /// Brings the count up to date.
    pub fn update(&mut self, text: &str, tokenizer: Option<&Arc<Tokenizer>>) {
        let is_same_tokenizer = match (&self.tokenizer, tokenizer) {
            (Some(known), Some(now)) => Arc::ptr_eq(known, now),
            (None, None) => true,
            _ => false,
        };
        if is_same_tokenizer && self.text == text {
            return;
        }
        text.clone_into(&mut self.text);
        self.tokenizer = tokenizer.cloned();
        // The engine trims the prompt too.
        self.count = tokenizer.map(|tokenizer| tokenizer.count(text.trim()));
    }

    /// The count in words; none before the model is known.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        self.count.map(count_in_words)
    }
}

/// "12 / 75 tokens", or "81 tokens, 2 chunks" so that nobody believes that the rest is cut off.
fn count_in_words(count: TokenCount) -> String {
    if count.chunks > 1 {
        format!("{} tokens, {} chunks", count.tokens, count.chunks)
    } else {
        format!("{} / {} tokens", count.tokens, count.chunk_capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_prompt_is_told_in_chunks() {
        assert_eq!(count_in_words(TokenCount { tokens: 12, chunk_capacity: 75, chunks: 1 }), "12 / 75 tokens");
        assert_eq!(count_in_words(TokenCount { tokens: 81, chunk_capacity: 75, chunks: 2 }), "81 tokens, 2 chunks");
    }

    #[test]
    fn without_a_tokenizer_there_is_no_count() {
        let mut counted = CountedText::default();
        counted.update("a fox", None);
        assert_eq!(counted.words(), None);
    }
}
