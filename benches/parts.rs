//! How long the parts of a model take: one guided U-Net step at 512x512, decoding to 512x512, both prompts.
//!
//!     PARTS_MODEL=folder PRECISION=bf16 PARTS=unet,vae,clip RUNS=3 cargo bench --bench parts

#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use calotype::checkpoint::{self, ModelFiles};
use calotype::diffusion::Interrupt;
use calotype::request::{ClipSkip, Companions};
use candle_core::{DType, Device, Tensor};

/// Latents of a picture of 512x512.
const SIDE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let Ok(model) = std::env::var("PARTS_MODEL") else {
        println!("set PARTS_MODEL to a model");
        return Ok(());
    };
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let dtype = if setting("PRECISION", "f32") == "bf16" { DType::BF16 } else { DType::F32 };
    let runs: usize = setting("RUNS", "3").parse()?;
    let parts = setting("PARTS", "unet,vae,clip");
    calotype::kernels::keep_freed_memory();
    let files = ModelFiles::at(Path::new(&model))?;
    let description = checkpoint::describe(&files, &Companions::default())?;
    let model = checkpoint::load(&description, dtype, &Device::Cpu, Arc::new(|_| true))?;
    let no = Interrupt::never();
    for part in parts.split(',') {
        let mut seconds = Vec::new();
        for run in 0..=runs {
            let started = Instant::now();
            match part {
                "unet" => {
                    let x = wave(&[2, 4, SIDE, SIDE], 0.37)?;
                    let width = model.text_encoders.width();
                    let context = model.unet.prepare_context(&wave(&[2, 77, width], 0.11)?, None)?;
                    model.unet.forward(&x, 500.0, &context, no)?;
                }
                "vae" => {
                    model.vae.decode(&wave(&[1, 4, SIDE, SIDE], 0.37)?, no)?;
                }
                _ => {
                    let encoder = &model.text_encoders.towers()[0].encoder;
                    let ids = [7_u32; 77];
                    encoder.encode(&[&ids, &ids], 7, ClipSkip::new(1)?, no)?;
                }
            }
            if run > 0 {
                seconds.push(started.elapsed().as_secs_f64());
            }
        }
        seconds.sort_by(f64::total_cmp);
        println!("{part} {dtype:?}: median {:.3} s, least {:.3} s", seconds[runs / 2], seconds[0]);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("peak memory unknown"));
    Ok(())
}

fn wave(shape: &[usize], step: f32) -> candle_core::Result<Tensor> {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>(), shape, &Device::Cpu)
}
