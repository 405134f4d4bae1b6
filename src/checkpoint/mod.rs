//! Files on disk to named weights and configurations: diffusers folders, single files, and the model inside the binary.

mod adapter;
mod clip_vocabulary;
mod embedding;
mod error;
mod file_hash;
mod files;
mod foreign;
mod hints;
mod live_weights;
mod meter;
mod model;
mod original_names;
mod safetensors_file;
mod single_file;
mod starter;
mod unet_blocks;
mod weights;

pub use adapter::{Adapter, AdapterError};
pub use clip_vocabulary::clip_tokenizer;
pub use embedding::read_embedding;
pub use error::CheckpointError;
pub use file_hash::{embedding_hash, lora_hash};
pub use files::ModelFiles;
pub use hints::ModelHints;
pub use live_weights::{ActiveAdapter, AdaptedPart, LiveWeights};
pub use meter::LoadProgress;
pub use model::{Description, describe, load, load_live};
pub use starter::STARTER_NAME;
