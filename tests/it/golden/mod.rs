//! Every layer, solver and picture against the reference implementations; how the numbers were made is told in
//! tests/reference/README.md.

mod accelerations;
mod device;
mod families;
mod k_samplers;
mod matrix;
mod noise;
mod own_kernels;
mod parts;
pub mod pictures;
mod prompts;
mod samplers;
mod taesd;
mod tokens;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use calotype::checkpoint::{self, ModelFiles, Placement};
use calotype::diffusion::pipeline::StableDiffusion;
use calotype::request::Companions;
use candle_core::{DType, Device, Tensor};

pub type Tensors = HashMap<String, Tensor>;

pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The tensors of one golden file.
pub fn golden(name: &str) -> Tensors {
    let path = fixtures().join("golden").join(format!("{name}.safetensors"));
    candle_core::safetensors::load(path, &device::device()).unwrap()
}

/// A golden JSON file.
pub fn golden_json(name: &str) -> serde_json::Value {
    let path = fixtures().join("golden").join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// One of the tiny models, through the same loader as any folder.
pub fn model(name: &str) -> StableDiffusion {
    let files = ModelFiles::at(&fixtures().join(name)).unwrap();
    let description = checkpoint::describe(&files, &Companions::default()).unwrap();
    checkpoint::load(&description, device::dtype(), &device::device(), Arc::new(|_| true)).unwrap()
}

/// The same with its text encoder and its VAE on the processor, their weights of type `others`.
pub fn model_apart(name: &str, others: DType) -> StableDiffusion {
    let files = ModelFiles::at(&fixtures().join(name)).unwrap();
    let description = checkpoint::describe(&files, &Companions::default()).unwrap();
    let placement = Placement { unet: (device::dtype(), device::device()), others: (others, Device::Cpu) };
    checkpoint::load_live(&description, &placement, Arc::new(|_| true)).unwrap().0
}

pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest difference relative to the largest expected value: the measure of every tolerance here.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| {
        assert!(a.is_finite());
        (a - b).abs()
    });
    f64::from(worst.fold(0.0, f32::max) / scale)
}

/// Fails when `found` strays further from `expected` than `tolerance`, saying by how much.
#[track_caller]
pub fn assert_close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let error = relative_error(&values(found), &values(expected));
    let tolerance = device::tolerance(tolerance);
    eprintln!("{what}: relative error {error:.2e}");
    assert!(error <= tolerance, "{what}: relative error {error:.2e} above {tolerance:.0e}");
}
