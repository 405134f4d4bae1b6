//! torch's CPU generator, draw by draw.

use calotype::diffusion::first_noise::first_noise;
use calotype::diffusion::noise::{NoiseSource, TorchCpuGenerator};
use calotype::request::{ImageSize, NoiseSourceKind, Seed, SeedOptions, Variation, VariationStrength};

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

#[test]
fn a_first_noise_of_more_than_a_seed_is_that_of_the_web_ui() {
    let tensors = golden("seeds");
    let variation = |strength| {
        let strength = VariationStrength::new(strength).unwrap();
        Some(Variation { seed: Seed(77), strength })
    };
    let size = |width: u32, height: u32| ImageSize::new(width * 16, height * 16).ok();
    let usual = SeedOptions::default();
    for (name, shape, options) in [
        ("plain", [1, 4, 6, 5], usual),
        ("variation", [1, 4, 6, 5], SeedOptions { variation: variation(0.35), ..usual }),
        ("same", [1, 4, 6, 5], SeedOptions { variation: variation(1.0), ..usual }),
        ("smaller", [1, 4, 9, 8], SeedOptions { resize_from: size(5, 6), ..usual }),
        ("larger", [1, 4, 6, 5], SeedOptions { resize_from: size(10, 9), ..usual }),
        (
            "taller-and-narrower",
            [1, 4, 6, 8],
            SeedOptions { resize_from: size(5, 9), variation: variation(0.2), ..usual },
        ),
        ("delta", [1, 4, 6, 5], SeedOptions { noise_delta: 31337, ..usual }),
    ] {
        let mut source = NoiseSource::new(NoiseSourceKind::TorchCpu, Seed((1 << 33) + 5));
        let first = first_noise(&mut source, shape, &options, 16);
        let error = relative_error(&first, &values(&tensors[&format!("{name}.first")]));
        eprintln!("{name}: relative error {error:.2e}");
        assert!(error < 2e-6, "{name}: {error:e}");
        let next = source.normals(16);
        assert!(relative_error(&next, &values(&tensors[&format!("{name}.next")])) < 1e-6, "{name}");
        assert_eq!(source.seed(), Seed((1 << 33) + 5), "the Brownian path keeps the picture's seed");
    }
}

#[test]
fn comfyuis_noise_is_the_processors_first_and_a_cards_after() {
    let mut source = NoiseSource::new(NoiseSourceKind::ComfyUi, Seed(3));
    let first = first_noise(&mut source, [1, 4, 2, 3], &SeedOptions::default(), 8);
    assert_eq!(first, NoiseSource::new(NoiseSourceKind::TorchCpu, Seed(3)).normals(24));
    assert_eq!(source.normals(24), NoiseSource::new(NoiseSourceKind::Philox, Seed(3)).normals(24));
}
