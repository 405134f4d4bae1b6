//! The thread that owns the model: requests in, previews and pictures out.

pub mod cancel;
pub mod message;
