//! Prompts that are drawn: `{a|b}` is one of them, `__file__` is a line of a file. The language is that of the
//! dynamicprompts library, which the web UI's extension and others use.
//!
//! Drawing happens before a request is made, from the picture's seed, so that a recipe holds what was drawn.

mod draw;
mod files;
mod template;

pub use draw::{Stream, WildcardError, draw};
pub use files::WildcardFiles;
pub use template::{as_typed, has_wildcards};
