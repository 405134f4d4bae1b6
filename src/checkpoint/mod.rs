//! Files on disk to named weights and configurations: diffusers folders, single files, and the model inside the binary.

pub mod card;
mod clip_vocabulary;
mod error;
mod files;
mod foreign;
mod header;
mod hints;
mod inspect;
mod lora_signs;
mod makers_notes;
mod meter;
mod model;
mod original_names;
mod single_file;
mod starter;
mod tensor_file;
mod unet_blocks;
mod weights;

pub use clip_vocabulary::clip_tokenizer;
pub use error::CheckpointError;
pub use files::ModelFiles;
pub use hints::ModelHints;
pub use inspect::inspect;
pub use makers_notes::shown;
pub use meter::LoadProgress;
pub use model::{Description, describe, load};
pub use starter::STARTER_NAME;
