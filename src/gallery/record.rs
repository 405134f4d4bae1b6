//! The recipe that travels inside a picture: our own lossless record, and what is read out of any picture.

mod differences;
mod read;

use serde::{Deserialize, Serialize};

pub use differences::differences;
pub use read::{ReadLora, ReadRecipe};

use crate::request::{GenerationRequest, PredictionOverride, RecordedAdapter, RecordedEmbedding, RecordedVae};

/// Everything needed to make the picture again. Holds no clock, so that the same request gives the same file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PictureRecord {
    /// Version of this layout, [`PictureRecord::VERSION`].
    pub version: u32,
    /// The program that made the picture, "Calotype 0.1.0".
    pub software: String,
    /// The name of the model that made the picture.
    pub model: String,
    /// The first 10 digits of the SHA-256 of the model's file, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    /// The VAE that decoded it, where that was not the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vae: Option<RecordedVae>,
    /// The files of its text encoders, where those were not the model's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text_encoders: Vec<String>,
    /// What the model predicts, where its user said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<PredictionOverride>,
    /// What the weights were kept in, "bf16", where that was not f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// The card that computed it, "NVIDIA H200", where that was not the processor. Its details may differ elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// What was asked.
    pub request: GenerationRequest,
    /// The LoRAs that changed the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adapters: Vec<RecordedAdapter>,
    /// The embeddings that its prompts called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<RecordedEmbedding>,
}

/// Why a record's text could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The layout is one that this build does not know.
    #[error("the recipe was written by a newer Calotype (layout {found}, this one reads up to {known})")]
    Newer {
        /// The layout's version.
        found: u32,
        /// [`PictureRecord::VERSION`].
        known: u32,
    },
    /// The text is damaged, or asks for what no request may ask for.
    #[error("the recipe is damaged: {0}")]
    Damaged(#[source] serde_json::Error),
}

impl PictureRecord {
    /// The version that this build writes.
    pub const VERSION: u32 = 1;

    /// The record of a picture that this build made.
    #[must_use]
    pub fn new(model: String, request: GenerationRequest) -> Self {
        Self {
            version: Self::VERSION,
            software: concat!("Calotype ", env!("CARGO_PKG_VERSION")).to_owned(),
            model,
            model_hash: None,
            vae: None,
            text_encoders: Vec::new(),
            prediction: None,
            precision: None,
            card: None,
            request,
            adapters: Vec::new(),
            embeddings: Vec::new(),
        }
    }

    /// The record as JSON, the same text each time.
    ///
    /// # Errors
    /// [`RecordError::Damaged`] if a part cannot be written, which no part does today.
    pub fn to_json(&self) -> Result<String, RecordError> {
        serde_json::to_string(self).map_err(RecordError::Damaged)
    }

    /// Reads what [`PictureRecord::to_json`] wrote, exactly.
    ///
    /// # Errors
    /// When the text is of a newer layout, or is no record.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_str(text).map_err(RecordError::Damaged)?;
        if version > Self::VERSION {
            return Err(RecordError::Newer { found: version, known: Self::VERSION });
        }
        serde_json::from_str(text).map_err(RecordError::Damaged)
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! Records for the tests of the room.

    use proptest::prelude::*;

    use super::*;
    use crate::request::{
        Accelerations, BlockCaching, ClipSkip, Crop, Dialect, Emphasis, GuidanceInterval, GuidanceRescale,
        GuidanceScale, ImageSize, ImageToImage, MicroConditioning, NoiseSourceKind, SamplerKind, SamplerOptions,
        ScheduleKind, Seed, SeedOptions, Sigmas, Steps, Strength, TokenMerging, Variation, VariationStrength,
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
                accelerations: Accelerations::default(),
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
                micro_conditioning: MicroConditioning::default(),
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
                    accelerations: fine.5,
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
                    micro_conditioning: fine.4,
                    seed_options: fine.2,
                    image_to_image,
                },
            )
        })
    }

    /// What a request may say of the solver, the guidance, the noise and its levels; mostly the usual.
    fn any_fine() -> impl Strategy<
        Value = (SamplerOptions, GuidanceRescale, SeedOptions, Option<Sigmas>, MicroConditioning, Accelerations),
    > {
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
        let size = || proptest::option::of((1_u32..=16_384, 1_u32..=16_384));
        let told =
            (size(), size(), 0_u32..=99, 0_u32..=3).prop_map(|(original, target, top, left)| MicroConditioning {
                original_size: original.map(|sides| sides.try_into().unwrap()),
                crop: Crop::new(top, left).unwrap(),
                target_size: target.map(|sides| sides.try_into().unwrap()),
            });
        (options, rescale, seeds, proptest::option::of(sigmas), told, any_accelerations())
    }

    fn any_accelerations() -> impl Strategy<Value = Accelerations> {
        let interval = proptest::option::of((0.0..=0.5_f64, 0.5..=1.0_f64));
        let caching = proptest::option::of((2_u32..=10, 0_u32..=11));
        let merging = prop_oneof![Just(0.0), 0.0..=TokenMerging::MOST];
        (interval, caching, merging, any::<bool>()).prop_map(|(interval, caching, merging, tiles)| Accelerations {
            guidance_interval: interval
                .map_or_else(GuidanceInterval::default, |(from, to)| GuidanceInterval::new(from, to).unwrap()),
            block_caching: caching.map(|(interval, branch)| BlockCaching::new(interval, branch).unwrap()),
            token_merging: TokenMerging::new(merging).unwrap(),
            decoding_in_tiles: tiles,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::samples::{any_record, fox};
    use super::*;

    proptest! {
        #[test]
        fn a_record_survives_json_to_the_last_bit(record in any_record()) {
            let text = record.to_json().unwrap();
            prop_assert_eq!(PictureRecord::from_json(&text).unwrap(), record);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = PictureRecord::from_json(&text);
        }
    }

    #[test]
    fn a_newer_layout_is_named_as_such() {
        let text = fox().to_json().unwrap().replace("\"version\":1", "\"version\":2");
        assert!(matches!(PictureRecord::from_json(&text), Err(RecordError::Newer { found: 2, known: 1 })));
    }

    #[test]
    fn a_record_that_asks_for_the_impossible_is_damaged() {
        let text = fox().to_json().unwrap().replace("\"steps\":20", "\"steps\":0");
        let error = PictureRecord::from_json(&text).unwrap_err();
        assert!(error.to_string().contains("steps must be from 1 to 1000"), "{error}");
    }

    #[test]
    fn where_a_picture_was_computed_is_told_where_that_is_elsewhere() {
        let card = Some("NVIDIA H200".to_owned());
        let recipe = ReadRecipe::from(&PictureRecord { card, ..fox() });
        assert_eq!(recipe.other_card(Some("NVIDIA H200")), None);
        assert_eq!(recipe.other_card(None), Some(("NVIDIA H200", "a processor")));
        assert_eq!(ReadRecipe::from(&fox()).other_card(None), None);
        assert_eq!(ReadRecipe::default().other_card(Some("NVIDIA H200")), None, "other programs do not say it");
    }
}
