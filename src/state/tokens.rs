//! The token counts beside the prompts, counted again only when a prompt, the steps or the tokenizer change.

use std::sync::Arc;

use crate::prompt::{ParsedPrompt, TokenCount, Tokenizer, UnbalancedBracket, unbalanced_bracket};

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// With `AND` and weights at the end.
    Positive,
    Negative,
}

/// One prompt's count.
#[derive(Debug)]
pub struct CountedText {
    reading: Reading,
    text: String,
    steps: u32,
    tokenizer: Option<Arc<Tokenizer>>,
    count: Option<TokenCount>,
    unbalanced: Option<UnbalancedBracket>,
}

impl CountedText {
    /// For the prompt.
    #[must_use]
    pub fn prompt() -> Self {
        Self::new(Reading::Positive)
    }

    /// For the negative prompt.
    #[must_use]
    pub fn negative_prompt() -> Self {
        Self::new(Reading::Negative)
    }

    fn new(reading: Reading) -> Self {
        Self { reading, text: String::new(), steps: 0, tokenizer: None, count: None, unbalanced: None }
    }

    /// Brings the count up to date; `steps` are those of the form, for the schedules in the prompt.
    pub fn update(&mut self, text: &str, steps: u32, tokenizer: Option<&Arc<Tokenizer>>) {
        let is_same_tokenizer = match (&self.tokenizer, tokenizer) {
            (Some(known), Some(now)) => Arc::ptr_eq(known, now),
            (None, None) => true,
            _ => false,
        };
        if is_same_tokenizer && self.text == text && self.steps == steps {
            return;
        }
        text.clone_into(&mut self.text);
        self.steps = steps;
        self.tokenizer = tokenizer.cloned();
        // The engine trims the prompt too.
        self.count = tokenizer.and_then(|tokenizer| self.reading.count(text.trim(), steps, tokenizer));
        self.unbalanced = unbalanced_bracket(text);
    }

    /// The count in words; none before the model is known.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        self.count.map(count_in_words)
    }

    /// What is wrong with the brackets, a sentence. The prompt can be drawn all the same.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        self.unbalanced.map(|bracket| match bracket {
            UnbalancedBracket::NeverClosed(bracket) => format!("\"{bracket}\" is never closed: it acts to the end"),
            UnbalancedBracket::NeverOpened(bracket) => format!("\"{bracket}\" closes nothing: it is read as text"),
        })
    }
}

impl Reading {
    fn count(self, text: &str, steps: u32, tokenizer: &Tokenizer) -> Option<TokenCount> {
        // A form may hold any number; a request holds at most 1000.
        let steps = steps.clamp(1, 1000) as usize;
        let parsed = match self {
            Self::Positive => ParsedPrompt::positive(text, steps, tokenizer),
            Self::Negative => ParsedPrompt::negative(text, steps, tokenizer),
        };
        parsed.ok().map(|parsed| parsed.count(tokenizer))
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
    fn without_a_tokenizer_there_is_no_count_but_a_hint() {
        let mut counted = CountedText::prompt();
        counted.update("a (fox", 20, None);
        assert_eq!(counted.words(), None);
        assert_eq!(counted.hint().unwrap(), "\"(\" is never closed: it acts to the end");
        counted.update("a (fox)", 20, None);
        assert_eq!(counted.hint(), None);
    }
}
