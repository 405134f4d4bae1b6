//! Files on disk to named weights and configurations: diffusers folders, single files, and the model inside the binary.

mod adapter;
pub mod card;
mod clip_vocabulary;
mod embedding;
mod error;
mod file_hash;
mod files;
mod foreign;
mod header;
mod hints;
mod inspect;
mod live_weights;
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

pub use adapter::{Adapter, AdapterError};
pub use clip_vocabulary::clip_tokenizer;
pub use embedding::read_embedding;
pub use error::CheckpointError;
pub use file_hash::{embedding_hash, lora_hash};
pub use files::ModelFiles;
pub use hints::ModelHints;
pub use inspect::inspect;
pub use live_weights::{ActiveAdapter, AdaptedPart, LiveWeights};
pub use makers_notes::shown;
pub use meter::LoadProgress;
pub use model::{Description, describe, load, load_live};
pub use starter::STARTER_NAME;
