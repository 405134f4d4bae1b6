//! How long it takes to apply a LoRA to a loaded model, to change its weight and to take it off.
//!
//!     ADAPTER_MODEL=folder ADAPTER=file.safetensors cargo bench --bench adapters

#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use calotype::checkpoint::{self, ActiveAdapter, Adapter, ModelFiles, Placement};
use calotype::request::Companions;
use candle_core::{DType, Device};

fn main() -> Result<(), Box<dyn Error>> {
    let (Ok(model), Ok(file)) = (std::env::var("ADAPTER_MODEL"), std::env::var("ADAPTER")) else {
        println!("set ADAPTER_MODEL to a model and ADAPTER to a LoRA for it");
        return Ok(());
    };
    let files = ModelFiles::at(Path::new(&model))?;
    let description = checkpoint::describe(&files, &Companions::default())?;
    let started = Instant::now();
    let (_model, mut live) =
        checkpoint::load_live(&description, &Placement::together(DType::F32, &Device::Cpu), Arc::new(|_| true))?;
    println!("load the model     {:.3} s", started.elapsed().as_secs_f64());
    let started = Instant::now();
    let adapter = Arc::new(Adapter::read(Path::new(&file), &live)?);
    println!("read the LoRA      {:.3} s, {} weights", started.elapsed().as_secs_f64(), adapter.len());
    for weight in [1.0, 0.5, 0.8, 0.3, 0.0] {
        let active = ActiveAdapter { adapter: Arc::clone(&adapter), unet_weight: weight, text_weight: weight };
        let started = Instant::now();
        let written = live.apply(&[active], &|| false)?;
        println!("bring it to {weight:.1}    {:.3} s, {written} weights written", started.elapsed().as_secs_f64());
    }
    Ok(())
}
