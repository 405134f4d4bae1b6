//! The prompt language: text to chunks of tokens, as the text encoder sees them.
//!
//! In AUTOMATIC1111's order: wildcards are drawn, comments and calls of LoRAs are cut out, `AND` splits into parts,
//! schedules say which text of a part is in force when, emphasis gives every stretch of it a weight, and the tokens are
//! cut into chunks. ComfyUI's language has weights and chunks alone. No text is refused.

mod brackets;
mod chunk;
mod comfyui;
mod composition;
mod cut;
mod emphasis;
mod networks;
mod origins;
mod parsed;
mod phrase;
mod reweight;
mod schedule;
mod tokenizer;
mod typed;
pub mod wildcards;
mod words;

pub use brackets::{UnbalancedBracket, unbalanced_brackets};
pub use chunk::{Chunk, TokenCount, empty_chunk};
pub use composition::{Subprompt, subprompts};
pub use cut::{CutText, NetworkCall, network_calls, without_comments, without_networks};
pub use emphasis::{Piece, weighted_pieces};
pub use networks::{CalledAdapters, PlacedAdapter, called_adapters, called_embeddings, placed_adapters, replaced};
pub use origins::Origins;
pub use parsed::{Entry, ParsedPrompt, Part, PlacedWord};
pub use phrase::{Move, moved};
pub use reweight::{Reweigh, reweighed};
pub use schedule::{Scheduled, entry_at, schedule};
pub use tokenizer::{LearnedWord, Marks, SpecialTokens, Tokenizer, TokenizerError};
pub use typed::{SettledPrompts, TypedPrompts, read_as_typed};
