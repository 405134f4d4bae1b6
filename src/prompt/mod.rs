//! The prompt language: text to chunks of tokens, as the text encoder sees them.

mod chunk;
mod tokenizer;

pub use chunk::{Chunks, TokenCount};
pub use tokenizer::{SpecialTokens, Tokenizer, TokenizerError};
