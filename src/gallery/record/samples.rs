//! Records for the tests of the room.

use proptest::prelude::*;

use super::*;
use crate::request::{
    ClipSkip, Dialect, Emphasis, ImageToImage, NoiseSourceKind, SeedOptions, Variation, VariationStrength,
};

/// A plain record.
pub fn fox() -> PictureRecord {
    PictureRecord::new(
        "Calotype starter".into(),
        GenerationRequest {
            prompt: "a fox".into(),
            negative_prompt: String::new(),
            size: ImageSize::new(64, 72).unwrap(),
            steps: Steps::new(20).unwrap(),
            guidance: GuidanceScale::new(4.5).unwrap(),
            guidance_rescale: GuidanceRescale::default(),
            sampler: SamplerKind::DpmPlusPlus2M,
            sampler_options: SamplerOptions::default(),
            sigmas: None,
            seed_options: SeedOptions::default(),
            schedule: ScheduleKind::Karras,
            noise_source: NoiseSourceKind::TorchCpu,
            clip_skip: ClipSkip::default(),
            emphasis: Emphasis::default(),
            dialect: Dialect::default(),
            template: None,
            seed: Seed(42),
            image_to_image: None,
        },
    )
}

/// Texts as people and hostile files have them: line breaks, controls, any script.
pub fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-z,: \\n\"\\\\{}()é€]{0,40}",
        "(a fox|Negative prompt: x|Steps: 20, Sampler: b, Size: c|\\n){0,6}",
    ]
}

/// Any record that can be.
pub fn any_record() -> impl Strategy<Value = PictureRecord> {
    let start = (f64::MIN_POSITIVE..=1.0, any_text())
        .prop_map(|(strength, source)| ImageToImage { strength: Strength::new(strength).unwrap(), source });
    let texts = (any_text(), any_text(), any_text());
    let numbers = (8_u32..=512, 8_u32..=512, 1_u32..=1000, 0.0_f64..=100.0, any::<u64>());
    let kinds = (
        proptest::sample::select(SamplerKind::ALL),
        proptest::sample::select(ScheduleKind::ALL),
        proptest::sample::select(NoiseSourceKind::ALL),
        proptest::sample::select(Emphasis::ALL),
        1_u32..=12,
    );
    (texts, numbers, kinds, any_fine(), proptest::option::of(start)).prop_map(|parts| {
        let (texts, numbers, kinds, fine, image_to_image) = parts;
        let steps = Steps::new(numbers.2).unwrap();
        PictureRecord::new(
            texts.2,
            GenerationRequest {
                prompt: texts.0,
                negative_prompt: texts.1,
                size: ImageSize::new(numbers.0 * 8, numbers.1 * 8).unwrap(),
                steps: fine.3.as_ref().map_or(steps, Sigmas::steps),
                guidance: GuidanceScale::new(numbers.3).unwrap(),
                guidance_rescale: fine.1,
                sampler: kinds.0,
                sampler_options: fine.0,
                schedule: kinds.1,
                sigmas: fine.3,
                noise_source: kinds.2,
                clip_skip: ClipSkip::new(kinds.4).unwrap(),
                emphasis: kinds.3,
                dialect: Dialect::default(),
                template: None,
                seed: Seed(numbers.4),
                seed_options: fine.2,
                image_to_image,
            },
        )
    })
}

/// What a request may say of the solver, the guidance, the noise and its levels; mostly the usual.
fn any_fine() -> impl Strategy<Value = (SamplerOptions, GuidanceRescale, SeedOptions, Option<Sigmas>)> {
    let maybe = proptest::option::of::<std::ops::RangeInclusive<f64>>;
    let options = (maybe(0.0..=1.0), maybe(0.0..=100.0), maybe(0.0..=2.0)).prop_map(|(eta, churn, noise)| {
        let options = SamplerOptions::default().with_noise_factor(noise.unwrap_or(1.0)).unwrap();
        let options = churn.map_or(options, |churn| options.with_churn(churn, 0.5, 7.25).unwrap());
        eta.map_or(options, |eta| options.with_eta(eta).unwrap())
    });
    let variation = (any::<u64>(), 0.0..=1.0_f64).prop_map(|(seed, strength)| Variation {
        seed: Seed(seed),
        strength: VariationStrength::new(strength).unwrap(),
    });
    let size = (8_u32..=512).prop_map(|side| ImageSize::new(side * 8, 512).unwrap());
    let seeds = (proptest::option::of(variation), proptest::option::of(size), any::<i64>())
        .prop_map(|(variation, resize_from, noise_delta)| SeedOptions { variation, resize_from, noise_delta });
    let sigmas = proptest::collection::vec(0.01..=5.0_f64, 1..6).prop_map(|gaps| {
        let rising = gaps.iter().scan(0.0, |sum, gap| {
            *sum += gap;
            Some(*sum)
        });
        let mut falling: Vec<f64> = std::iter::once(0.0).chain(rising).collect();
        falling.reverse();
        Sigmas::new(falling).unwrap()
    });
    let rescale = maybe(0.0..=1.0).prop_map(|share| GuidanceRescale::new(share.unwrap_or(0.0)).unwrap());
    (options, rescale, seeds, proptest::option::of(sigmas))
}
