//! How long the parts of a model take: one guided U-Net step at 512x512, decoding to 512x512, both prompts; and a picture
//! of 30 steps, which is all of them in turn. SIDE is in latents, ROWS how many pictures are made at once.
//!
//!     PARTS_MODEL=folder PRECISION=f32|bf16|int8 PARTS=unet,vae,clip RUNS=3 cargo bench --bench parts

#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use calotype::checkpoint::{self, ModelFiles};
use calotype::diffusion::Interrupt;
use calotype::request::{ClipSkip, Companions};
use candle_core::{DType, Device, Tensor};

/// Of a picture.
const STEPS: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let Ok(model) = std::env::var("PARTS_MODEL") else {
        println!("set PARTS_MODEL to a model");
        return Ok(());
    };
    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let precision = setting("PRECISION", "f32");
    let dtype = if precision == "f32" { DType::F32 } else { DType::BF16 };
    let runs: usize = setting("RUNS", "3").parse()?;
    let parts = setting("PARTS", "unet,vae,clip");
    calotype::kernels::keep_freed_memory();
    let files = ModelFiles::at(Path::new(&model))?;
    let description = checkpoint::describe(&files, &Companions::default())?;
    let mut model = checkpoint::load(&description, dtype, &Device::Cpu, Arc::new(|_| true))?;
    if precision == "int8" {
        model.unet.quantise()?;
    }
    let no = Interrupt::never();
    // 64 are those of a picture of 512x512.
    let side: usize = setting("SIDE", "64").parse()?;
    let rows: usize = setting("ROWS", "1").parse()?;
    let encode = || -> Result<Tensor, Box<dyn Error>> {
        let (encoder, ids) = (&model.text_encoders.towers()[0].encoder, [7_u32; 77]);
        Ok(encoder.encode(&[&ids, &ids], 7, ClipSkip::new(1)?, no)?.states)
    };
    let step = |x: &Tensor, states: &Tensor| -> Result<Tensor, Box<dyn Error>> {
        let context = model.unet.prepare_context(states, None)?;
        Ok(model.unet.forward(x, 500.0, &context, no)?)
    };
    let latents = wave(&[2 * rows, 4, side, side], 0.37)?;
    let states = wave(&[2 * rows, 77, model.text_encoders.width()], 0.11)?;
    for part in parts.split(',') {
        let mut seconds = Vec::new();
        // A whole picture needs no warming up.
        let warm_up = usize::from(part != "picture");
        for run in 0..runs + warm_up {
            let started = Instant::now();
            match part {
                "unet" => drop(step(&latents, &states)?),
                "vae" => drop(model.vae.decode(&latents.narrow(0, 0, rows)?, no)?),
                "picture" => {
                    // [1, 2 * 77, D] -> [2, 77, D]
                    let states = encode()?.reshape((2, 77, ()))?;
                    let mut x = latents.clone();
                    for _ in 0..STEPS {
                        x = (&x - (step(&x, &states)? * 0.01)?)?;
                    }
                    model.vae.decode(&x.narrow(0, 0, 1)?, no)?;
                }
                _ => drop(encode()?),
            }
            if run >= warm_up {
                seconds.push(started.elapsed().as_secs_f64());
            }
        }
        seconds.sort_by(f64::total_cmp);
        println!("{part} {precision}: median {:.3} s, least {:.3} s", seconds[runs / 2], seconds[0]);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("peak memory unknown"));
    Ok(())
}

fn wave(shape: &[usize], step: f32) -> candle_core::Result<Tensor> {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>(), shape, &Device::Cpu)
}
