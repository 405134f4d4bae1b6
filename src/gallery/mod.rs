//! Finished pictures on disk: a folder of the user's with one PNG a picture, its recipe inside.

pub mod message;
pub mod record;
