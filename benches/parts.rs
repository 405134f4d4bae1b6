//! How long the parts of a model take: one guided U-Net step at 512x512, decoding to 512x512, both prompts; and a picture
//! of 30 steps, which is all of them in turn. SIDE is in latents, ROWS how many pictures are made at once.
//!
//!     PARTS_MODEL=folder PRECISION=f32|bf16|int8 PARTS=unet,vae,clip RUNS=3 cargo bench --bench parts
//!
//! With WHERE=1 it tells where the time of the last part goes: how long the kernels take by kind and size, and what share of
//! PEAK, the GFLOP/s that `kernels.rs` measures, that is.

#![expect(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use calotype::checkpoint::{self, ModelFiles};
use calotype::diffusion::Interrupt;
use calotype::request::{ClipSkip, Companions};
use candle_core::{DType, Device, Tensor};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

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
    let kernels = collected();
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
            kernels.0.lock().map_err(|_| "a kernel panicked")?.clear();
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
    kernels.print(setting("PEAK", "0").parse()?);
    print_memory();
    Ok(())
}

fn print_memory() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("peak memory unknown"));
}

/// Collects where the time goes, if that is asked for.
fn collected() -> Kernels {
    let kernels = Kernels::default();
    if std::env::var_os("WHERE").is_some() {
        tracing_subscriber::registry().with(kernels.clone()).init();
    }
    kernels
}

fn wave(shape: &[usize], step: f32) -> candle_core::Result<Tensor> {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>(), shape, &Device::Cpu)
}

/// What was spent on a kind of kernel.
#[derive(Clone, Default)]
struct Spent {
    calls: usize,
    time: Duration,
    /// Multiplications, each with an addition.
    products: u64,
}

/// What was spent on each kind.
#[derive(Clone, Default)]
struct Kernels(Arc<Mutex<BTreeMap<String, Spent>>>);

/// A kernel that runs.
struct Running {
    started: Instant,
    kind: String,
    products: u64,
}

impl Visit for Running {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.kind.extend([" ", field.name(), &format!(" {value:?}")]);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "products" => self.products = value,
            name => self.kind.extend([" ", name, &format!(" {value}")]),
        }
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Kernels {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| span.metadata().target().starts_with("calotype::kernels"))
        else {
            return;
        };
        let mut running = Running { started: Instant::now(), kind: span.name().to_owned(), products: 0 };
        attributes.record(&mut running);
        span.extensions_mut().insert(running);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let extensions = span.extensions();
        let (Some(running), Ok(mut kinds)) = (extensions.get::<Running>(), self.0.lock()) else { return };
        let spent = kinds.entry(running.kind.clone()).or_default();
        spent.calls += 1;
        spent.time += running.started.elapsed();
        spent.products += running.products;
    }
}

impl Kernels {
    /// The longest first.
    fn print(&self, peak: f64) {
        let kinds = self.0.lock().map(|kinds| kinds.clone()).unwrap_or_default();
        let mut kinds: Vec<_> = kinds.into_iter().collect();
        kinds.sort_by_key(|(_, spent)| std::cmp::Reverse(spent.time));
        for (kind, Spent { calls, time, products }) in kinds {
            let (seconds, work) = (time.as_secs_f64(), 2e-9 * products as f64);
            let share = if peak > 0.0 {
                format!(", {:.0} % of the peak", 100.0 * work / seconds / peak)
            } else {
                String::new()
            };
            println!("{kind}: {calls} calls, {seconds:.3} s, {work:.1} GFLOP, {:.0} GFLOP/s{share}", work / seconds);
        }
    }
}
