//! What reads a stranger's model files, compiled once for the targets of all formats.
#![allow(dead_code, reason = "the rooms are compiled whole")]

#[path = "../../src/checkpoint/mod.rs"]
pub mod checkpoint;
#[path = "../../src/diffusion/mod.rs"]
pub mod diffusion;
#[path = "../../src/kernels/mod.rs"]
pub mod kernels;
#[path = "../../src/latent_image.rs"]
pub mod latent_image;
#[path = "../../src/printable.rs"]
pub mod printable;
#[path = "../../src/prompt/mod.rs"]
pub mod prompt;
#[path = "../../src/request/mod.rs"]
pub mod request;

use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use candle_core::{DType, Device};
use checkpoint::{Adapter, LiveWeights, ModelFiles};
use request::Companions;

/// What LoRAs are put on.
static LIVE: LazyLock<LiveWeights> = LazyLock::new(|| {
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/tiny-eps");
    let files = ModelFiles::at(tiny.as_ref()).expect("the tests' model is there");
    load(&files).expect("the tests' model is whole")
});

fn load(files: &ModelFiles) -> Result<LiveWeights, checkpoint::CheckpointError> {
    let description = checkpoint::describe(files, &Companions::default())?;
    Ok(checkpoint::load_live(&description, DType::F32, &Device::Cpu, Arc::new(|_| true))?.1)
}

/// A file of these bytes, in memory where there is such a place.
fn file(bytes: &[u8]) -> Option<PathBuf> {
    let folder = std::path::Path::new("/dev/shm");
    let folder = if folder.is_dir() { folder.to_owned() } else { std::env::temp_dir() };
    let path = folder.join(format!("calotype-fuzz-{}", std::process::id()));
    std::fs::write(&path, bytes).ok().map(|()| path)
}

/// As a model: listed, described, loaded.
pub fn as_model(bytes: &[u8]) {
    let Some(path) = file(bytes) else { return };
    _ = checkpoint::inspect(&path);
    if let Ok(files) = ModelFiles::at(&path) {
        _ = load(&files);
    }
}

/// As what is put on a model: a LoRA, an embedding.
pub fn as_network(bytes: &[u8]) {
    let Some(path) = file(bytes) else { return };
    _ = checkpoint::read_embedding(&path, &[16]);
    _ = Adapter::read(&path, &LIVE);
}
