//! torch's CPU generator, draw by draw.

use calotype::diffusion::noise::TorchCpuGenerator;

use super::{golden, golden_json, relative_error, values};

#[test]
fn every_draw_is_torchs() {
    let (tensors, plan) = (golden("noise"), golden_json("noise"));
    for seed in plan["seeds"].as_array().unwrap() {
        let seed = seed.as_str().unwrap();
        let mut generator = TorchCpuGenerator::new(seed.parse().unwrap());
        for (index, shape) in plan["shapes_in_order"].as_array().unwrap().iter().enumerate() {
            let count: u64 = shape.as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).product();
            let drawn = generator.randn(usize::try_from(count).unwrap());
            let error = relative_error(&drawn, &values(&tensors[&format!("seed{seed}.{index}")]));
            // Measured: at most 1.2e-7, torch's vectorised logarithm and sine.
            assert!(error < 5e-7, "seed {seed}, draw {index}: {error:e}");
        }
    }
}
