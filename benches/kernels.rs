//! The kernels on the layers of Stable Diffusion 1.5, both prompts' rows at 512x512: GFLOP/s, and the share of the most that
//! this machine's threads can multiply, which is measured first.
//!
//!     cargo bench --bench kernels [-- FILTER]

#![expect(clippy::print_stdout, reason = "the table is what it is for")]

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use calotype::kernels::{
    Activation, Addends, Before, Conv2d, GroupNorm, Input, Kept, LayerNorm, Linear, Sight, attention, instructions,
};
use candle_core::{DType, Device, Tensor};
use criterion::{Criterion, Throughput};

/// Rows of a guided step.
const BATCH: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    calotype::kernels::keep_freed_memory();
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    let mut done = Vec::new();
    for precision in ["f32", "bf16", "int8"] {
        for (channels, side) in [(320, 64), (640, 32), (1280, 16), (1280, 8)] {
            done.push(convolution(&mut criterion, precision, channels, side, BATCH)?);
        }
        for (channels, side) in [(320, 64), (640, 32), (1280, 16)] {
            done.push(gated(&mut criterion, precision, channels, side)?);
            done.push(linear(&mut criterion, precision, channels, side)?);
        }
    }
    for precision in ["f32", "bf16"] {
        // The VAE's widest pictures.
        done.push(convolution(&mut criterion, precision, 128, 512, 1)?);
        done.push(convolution(&mut criterion, precision, 512, 64, 1)?);
        for (channels, side) in [(320, 64), (640, 32), (1280, 16)] {
            done.push(own_attention(&mut criterion, precision, channels, side)?);
        }
    }
    done.push(activation(&mut criterion)?);
    criterion.final_summary();
    table(&done)
}

/// One kernel that was timed.
struct Case {
    group: &'static str,
    name: String,
    precision: &'static str,
    /// Multiplications and additions of the direct way.
    flop: f64,
}

fn run(
    criterion: &mut Criterion,
    (group, name, precision): (&'static str, String, &'static str),
    flop: f64,
    mut work: impl FnMut() -> candle_core::Result<Tensor>,
) -> Result<Case, Box<dyn Error>> {
    // What fails fails here, and not in the loop.
    work()?;
    let mut benches = criterion.benchmark_group(group);
    benches.throughput(Throughput::Elements(flop as u64));
    benches.bench_function(format!("{name} {precision}"), |bencher| bencher.iter(|| black_box(work().ok())));
    benches.finish();
    Ok(Case { group, name, precision, flop })
}

fn convolution(
    criterion: &mut Criterion,
    precision: &'static str,
    channels: usize,
    side: usize,
    batch: usize,
) -> Result<Case, Box<dyn Error>> {
    let weight = weights(&[channels, channels, 3, 3], precision)?;
    let mut conv = Conv2d::new(weight, wave(&[channels], 1.3)?, 1, 1)?;
    if precision == "int8" {
        conv.quantise()?;
    }
    let norm = GroupNorm::new(32, 1e-5, wave(&[channels], 0.3)?, wave(&[channels], 0.7)?)?;
    let x = wave(&[batch, channels, side, side], 0.37)?;
    let flop = 2.0 * (batch * side * side * channels * channels * 9) as f64;
    run(criterion, ("norm, SiLU, 3x3", format!("{channels} at {side}x{side}"), precision), flop, || {
        conv.apply(Input::from(&x).after(Before::NormSilu(&norm)), Addends::NONE)
    })
}

fn gated(
    criterion: &mut Criterion,
    precision: &'static str,
    channels: usize,
    side: usize,
) -> Result<Case, Box<dyn Error>> {
    let (map, norm, x) = layer(precision, channels, channels * 8, side)?;
    let flop = 2.0 * (BATCH * side * side * channels * channels * 8) as f64;
    run(criterion, ("norm, linear, GEGLU", format!("{channels} at {side}x{side}"), precision), flop, || {
        map.geglu_over_channels(Input::from(&x).after(Before::LayerNorm(&norm)))
    })
}

fn linear(
    criterion: &mut Criterion,
    precision: &'static str,
    channels: usize,
    side: usize,
) -> Result<Case, Box<dyn Error>> {
    let (map, norm, x) = layer(precision, channels, channels, side)?;
    let flop = 2.0 * (BATCH * side * side * channels * channels) as f64;
    run(criterion, ("norm, linear", format!("{channels} at {side}x{side}"), precision), flop, || {
        map.over_channels(Input::from(&x).after(Before::LayerNorm(&norm)), Addends::NONE, Kept::ForProduct)
    })
}

fn layer(
    precision: &str,
    channels: usize,
    outputs: usize,
    side: usize,
) -> candle_core::Result<(Linear, LayerNorm, Tensor)> {
    let mut map = Linear::new(weights(&[outputs, channels], precision)?, Some(wave(&[outputs], 1.3)?))?;
    if precision == "int8" {
        map.quantise()?;
    }
    let norm = LayerNorm::new(wave(&[channels], 0.3)?, wave(&[channels], 0.7)?, 1e-5);
    Ok((map, norm, wave(&[BATCH, channels, side * side], 0.37)?))
}

fn own_attention(
    criterion: &mut Criterion,
    precision: &'static str,
    channels: usize,
    side: usize,
) -> Result<Case, Box<dyn Error>> {
    const HEADS: usize = 8;
    let tokens = side * side;
    let part = |step| weights_like(wave(&[BATCH, channels, tokens], step)?, precision);
    let (q, k, v) = (part(0.37)?, part(0.11)?, part(0.23)?);
    let flop = 4.0 * (BATCH * tokens * tokens * channels) as f64;
    run(criterion, ("attention", format!("{tokens} tokens of {channels}"), precision), flop, || {
        attention(&q, &k, &v, HEADS, Sight::Everywhere)
    })
}

fn activation(criterion: &mut Criterion) -> Result<Case, Box<dyn Error>> {
    let x = wave(&[BATCH, 77, 3072], 0.37)?;
    let count = x.elem_count() as f64;
    run(criterion, ("quick GELU", "77 tokens of 3072".to_owned(), "f32"), count, || Activation::QuickGelu.forward(&x))
}

fn weights(shape: &[usize], precision: &str) -> candle_core::Result<Tensor> {
    let inner: usize = shape[1..].iter().product();
    weights_like((wave(shape, 0.71)? / (inner as f64).sqrt())?, precision)
}

fn weights_like(values: Tensor, precision: &str) -> candle_core::Result<Tensor> {
    if precision == "f32" { Ok(values) } else { values.to_dtype(DType::BF16) }
}

fn wave(shape: &[usize], step: f32) -> candle_core::Result<Tensor> {
    let count: usize = shape.iter().product();
    Tensor::from_vec((0..count).map(|i| (i as f32 * step).sin()).collect::<Vec<_>>(), shape, &Device::Cpu)
}

/// Prints what criterion has found, from its files.
fn table(done: &[Case]) -> Result<(), Box<dyn Error>> {
    let peaks = [("f32", peak::f32()), ("bf16", peak::bf16()), ("int8", peak::int8())];
    println!("\nkernels {}, {} threads", instructions().label(), rayon::current_num_threads());
    for (precision, peak) in peaks {
        println!("most {precision}: {}", peak.map_or("unknown".to_owned(), |p| format!("{:.0} GFLOP/s", p / 1e9)));
    }
    println!("\n| kernel | layer | precision | ms | GFLOP/s | of the most |\n|---|---|---|---|---|---|");
    let home = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    for Case { group, name, precision, flop } in done {
        let id = format!("{name} {precision}");
        let file = Path::new(&home).join("criterion").join(group).join(id).join("new/estimates.json");
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let estimates: serde_json::Value = serde_json::from_str(&text)?;
        let Some(nanoseconds) = estimates["median"]["point_estimate"].as_f64() else { continue };
        let speed = flop / nanoseconds * 1e9;
        let peak = peaks.iter().find(|(of, _)| of == precision).and_then(|(_, peak)| *peak);
        let share = peak.map_or(String::new(), |peak| format!("{:.0} %", speed / peak * 100.0));
        println!("| {group} | {name} | {precision} | {:.2} | {:.0} | {share} |", nanoseconds / 1e6, speed / 1e9);
    }
    Ok(())
}

/// The most that this machine's threads multiply and add a second, in registers.
mod peak {
    use super::{Duration, Instant};

    /// Runs `round`, of `flop` a call, on all threads for a while.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86 has peaks of its own"))]
    fn of(flop: f64, round: impl Fn() + Sync) -> f64 {
        const LENGTH: Duration = Duration::from_millis(400);
        let rounds = rayon::broadcast(|_| {
            let (started, mut rounds) = (Instant::now(), 0.0);
            while started.elapsed() < LENGTH {
                round();
                rounds += 1.0;
            }
            rounds / started.elapsed().as_secs_f64()
        });
        rounds.iter().sum::<f64>() * flop
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn f32() -> Option<f64> {
        None
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn bf16() -> Option<f64> {
        None
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn int8() -> Option<f64> {
        None
    }

    #[cfg(target_arch = "x86_64")]
    pub use x86::{bf16, f32, int8};

    #[cfg(target_arch = "x86_64")]
    mod x86 {
        #![expect(unsafe_code, reason = "the instructions are those that were just found")]

        use std::arch::x86_64::{
            __m512bh, _mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm512_dpbf16_ps, _mm512_dpbusd_epi32,
            _mm512_fmadd_ps, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_ps, _mm512_setzero_ps,
            _mm512_setzero_si512,
        };
        use std::hint::black_box;

        /// Sums in registers: enough for the length of the instruction's pipeline.
        const SUMS: usize = 12;
        const TURNS: usize = 4096;

        #[target_feature(enable = "avx512f")]
        fn f32_rounds() {
            let mut sums = [_mm512_setzero_ps(); SUMS];
            let (a, b) = (_mm512_set1_ps(black_box(1.0)), _mm512_set1_ps(black_box(0.5)));
            for _ in 0..TURNS {
                for sum in &mut sums {
                    *sum = _mm512_fmadd_ps(a, b, *sum);
                }
            }
            black_box(sums);
        }

        #[target_feature(enable = "avx2,fma")]
        fn f32_rounds_avx2() {
            let mut sums = [_mm256_setzero_ps(); SUMS];
            let (a, b) = (_mm256_set1_ps(black_box(1.0)), _mm256_set1_ps(black_box(0.5)));
            for _ in 0..TURNS {
                for sum in &mut sums {
                    *sum = _mm256_fmadd_ps(a, b, *sum);
                }
            }
            black_box(sums);
        }

        #[target_feature(enable = "avx512f,avx512bf16")]
        fn bf16_rounds() {
            let mut sums = [_mm512_setzero_ps(); SUMS];
            // SAFETY: any 512 bits are 32 numbers.
            let one: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi16(black_box(0x3f80))) };
            for _ in 0..TURNS {
                for sum in &mut sums {
                    *sum = _mm512_dpbf16_ps(*sum, one, one);
                }
            }
            black_box(sums);
        }

        #[target_feature(enable = "avx512f,avx512vnni")]
        fn int8_rounds() {
            let mut sums = [_mm512_setzero_si512(); SUMS];
            let one = _mm512_set1_epi8(black_box(1));
            for _ in 0..TURNS {
                for sum in &mut sums {
                    *sum = _mm512_dpbusd_epi32(*sum, one, one);
                }
            }
            black_box(sums);
        }

        pub fn f32() -> Option<f64> {
            let count = (SUMS * TURNS * 2) as f64;
            if is_x86_feature_detected!("avx512f") {
                // SAFETY: just found.
                return Some(super::of(count * 16.0, || unsafe { f32_rounds() }));
            }
            // SAFETY: just found.
            let avx2 = || unsafe { f32_rounds_avx2() };
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then(|| super::of(count * 8.0, avx2))
        }

        pub fn bf16() -> Option<f64> {
            // SAFETY: just found.
            let rounds = || unsafe { bf16_rounds() };
            let is_there = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
            is_there.then(|| super::of((SUMS * TURNS * 64) as f64, rounds))
        }

        pub fn int8() -> Option<f64> {
            // SAFETY: just found.
            let rounds = || unsafe { int8_rounds() };
            let is_there = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni");
            is_there.then(|| super::of((SUMS * TURNS * 128) as f64, rounds))
        }
    }
}
