//! The prompt language: text to chunks of tokens, as the text encoder sees them.
//!
//! In AUTOMATIC1111's order: `AND` splits into parts, schedules say which text of a part is in force when, emphasis
//! gives every stretch of it a weight, and the tokens are cut into chunks. No text is refused.

mod brackets;
mod chunk;
mod composition;
mod emphasis;
mod parsed;
mod reweight;
mod schedule;
mod tokenizer;
mod words;

pub use brackets::{UnbalancedBracket, unbalanced_bracket};
pub use chunk::{Chunk, TokenCount, chunks, empty_chunk};
pub use composition::{Subprompt, subprompts};
pub use emphasis::{Piece, weighted_pieces};
pub use parsed::{Entry, ParsedPrompt, Part};
pub use reweight::{Reweigh, reweighed};
pub use schedule::{Scheduled, entry_at, schedule};
pub use tokenizer::{Marks, SpecialTokens, Tokenizer, TokenizerError};
