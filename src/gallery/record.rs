//! The recipe that travels inside a picture: our own lossless record, and what is read out of any picture.

mod differences;

use serde::{Deserialize, Serialize};

pub use differences::differences;

use crate::request::{
    Accelerations, ClipSkip, Crop, Dialect, Emphasis, GenerationRequest, GuidanceRescale, GuidanceScale, ImageSize,
    MicroConditioning, NoiseSourceKind, PredictionOverride, RecordedAdapter, RecordedEmbedding, RecordedVae,
    SamplerKind, SamplerOptions, ScheduleKind, Seed, SeedOptions, Sigmas, Steps, Strength, Template, Variation,
    VariationStrength,
};

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

/// What a picture says about how it was made, as far as this build can do the same; for filling the form.
///
/// A part is `None` when the picture does not say it, or says what no request may say; the latter is listed in
/// [`ReadRecipe::not_understood`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReadRecipe {
    /// What was drawn.
    pub prompt: String,
    /// What it was to stay away from; may be empty.
    pub negative_prompt: String,
    /// The name of the model, for people.
    pub model: Option<String>,
    /// Number of steps.
    pub steps: Option<Steps>,
    /// Classifier-free guidance.
    pub guidance: Option<GuidanceScale>,
    /// How far guidance is kept from changing the prediction's deviation.
    pub guidance_rescale: Option<GuidanceRescale>,
    /// What made it sooner and another picture; nothing where the picture does not say it.
    pub accelerations: Accelerations,
    /// The solver.
    pub sampler: Option<SamplerKind>,
    /// What the solver was told beside; the usual where the picture does not say it.
    pub sampler_options: SamplerOptions,
    /// The noise levels.
    pub schedule: Option<ScheduleKind>,
    /// Noise levels written by hand.
    pub sigmas: Option<Sigmas>,
    /// What Stable Diffusion XL was told of the size; the usual where the picture does not say it.
    pub micro_conditioning: MicroConditioning,
    /// The seed.
    pub seed: Option<Seed>,
    /// Width and height.
    pub size: Option<ImageSize>,
    /// How much noise the picture began with: its start image's strength, or 1 where a program writes that for none.
    pub strength: Option<Strength>,
    /// The program that made the picture, "AUTOMATIC1111", as far as the file tells.
    pub tool: Option<String>,
    /// The hash of the model's file, in the words of the program.
    pub model_hash: Option<String>,
    /// The VAE, where the picture says that it was not the model's own.
    pub vae: Option<RecordedVae>,
    /// The files of the text encoders, where the picture says that they were not the model's own.
    pub text_encoders: Vec<String>,
    /// What the model predicts, where the picture says that its user said it.
    pub prediction: Option<PredictionOverride>,
    /// What the weights were kept in, where the picture says it.
    pub precision: Option<String>,
    /// Which of the text encoder's last layers was used, 1 for the last.
    pub clip_skip: Option<u32>,
    /// What weights in the prompt do.
    pub emphasis: Option<Emphasis>,
    /// Whose language the prompts are in.
    pub dialect: Option<Dialect>,
    /// What the prompts were drawn from.
    pub template: Option<Template>,
    /// Which generator drew the noise.
    pub noise_source: Option<NoiseSourceKind>,
    /// The second seed whose noise was mixed in.
    pub variation_seed: Option<u64>,
    /// How much of it, 0 to 1.
    pub variation_strength: Option<f64>,
    /// The size whose noise is in the middle of the picture's.
    pub seed_resize: Option<ImageSize>,
    /// What the seed of the sampler's noise is away from the picture's (A1111's ENSD).
    pub noise_delta: Option<i64>,
    /// The LoRAs that changed the model.
    pub loras: Vec<ReadLora>,
    /// The embeddings that its prompts call, with their hashes.
    pub embeddings: Vec<RecordedEmbedding>,
    /// What else the picture says and this build cannot follow, as "Key: value", for people.
    pub not_understood: Vec<String>,
}

/// A LoRA that a picture names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReadLora {
    /// Its name or file, in the words of the program.
    pub name: String,
    /// How strongly it acted, where the file says it.
    pub weight: Option<f64>,
    /// Its hash, where the file says it.
    pub hash: Option<String>,
}

impl ReadRecipe {
    /// How its noise grew out of the seed.
    #[must_use]
    pub fn seed_options(&self) -> SeedOptions {
        let variation = self.variation_seed.zip(self.variation_strength).and_then(|(seed, strength)| {
            let strength = VariationStrength::new(strength).ok().filter(|strength| strength.get() > 0.0)?;
            Some(Variation { seed: Seed(seed), strength })
        });
        SeedOptions { variation, resize_from: self.seed_resize, noise_delta: self.noise_delta.unwrap_or_default() }
    }

    /// Every field that the picture holds as name and value, for people, but for what was not understood.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let loras: Vec<String> = self.loras.iter().map(ReadLora::to_string).collect();
        let embeddings: Vec<&str> = self.embeddings.iter().map(|embedding| embedding.word.as_str()).collect();
        let (options, usual) = (&self.sampler_options, SamplerOptions::default());
        let told = &self.micro_conditioning;
        let unusual = |value: f64, usual: f64| (value != usual).then(|| value.to_string());
        let facts = [
            ("Prompt", text(&self.prompt)),
            ("Negative prompt", text(&self.negative_prompt)),
            ("Size", self.size.map(|size| size.to_string())),
            ("Steps", self.steps.map(|steps| steps.get().to_string())),
            ("Guidance", self.guidance.map(|guidance| guidance.get().to_string())),
            ("Guidance rescale", self.guidance_rescale.map(|share| share.get().to_string())),
            ("Sampler", self.sampler.map(|sampler| sampler.label().to_owned())),
            ("Eta", options.eta().map(|eta| eta.to_string())),
            ("Churn", unusual(options.churn(), usual.churn())),
            ("Churn from sigma", unusual(options.churn_from(), usual.churn_from())),
            ("Churn to sigma", unusual(options.churn_to(), usual.churn_to())),
            ("Noise factor", unusual(options.noise_factor(), usual.noise_factor())),
            ("Schedule", self.schedule.map(|schedule| schedule.label().to_owned())),
            ("Sigmas", self.sigmas.as_ref().map(Sigmas::to_string)),
            ("Seed", self.seed.map(|seed| seed.to_string())),
            ("Noise", self.noise_source.map(|source| source.label().to_owned())),
            ("Variation seed", self.variation_seed.map(|seed| seed.to_string())),
            ("Variation strength", self.variation_strength.map(|strength| strength.to_string())),
            ("Seed of size", self.seed_resize.map(|size| size.to_string())),
            ("Noise seed delta", self.noise_delta.map(|delta| delta.to_string())),
            ("Told original size", told.original_size.map(|size| size.to_string())),
            ("Told crop", (told.crop != Crop::default()).then(|| told.crop.to_string())),
            ("Told target size", told.target_size.map(|size| size.to_string())),
            ("Strength", self.strength.map(|strength| strength.get().to_string())),
            ("Clip skip", self.clip_skip.map(|skip| skip.to_string())),
            ("Emphasis", self.emphasis.map(|emphasis| emphasis.label().to_owned())),
            ("Prompt language", self.dialect.map(|dialect| dialect.label().to_owned())),
            ("Template", self.template.as_ref().and_then(|template| text(&template.prompt))),
            ("Negative template", self.template.as_ref().and_then(|template| text(&template.negative_prompt))),
            ("Model", self.model.clone()),
            ("Model hash", self.model_hash.clone()),
            ("VAE", self.vae.as_ref().map(|vae| vae.name.clone())),
            ("VAE hash", self.vae.as_ref().and_then(|vae| vae.hash.clone())),
            ("Text encoders", text(&self.text_encoders.join(", "))),
            ("Precision", self.precision.clone()),
            ("Prediction", self.prediction.map(|prediction| prediction.label().to_owned())),
            ("LoRAs", text(&loras.join(", "))),
            ("Embeddings", text(&embeddings.join(", "))),
            ("Made with", self.tool.clone()),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| value.map(|value| (name, value)));
        facts.chain(self.accelerations.facts()).collect()
    }
}

impl From<&RecordedAdapter> for ReadLora {
    fn from(adapter: &RecordedAdapter) -> Self {
        let RecordedAdapter { name, hash, unet_weight, .. } = adapter;
        Self { name: name.clone(), weight: Some(*unet_weight), hash: Some(hash.clone()) }
    }
}

impl std::fmt::Display for ReadLora {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.weight {
            Some(weight) => write!(f, "{} ({weight})", self.name),
            None => self.name.fmt(f),
        }
    }
}

impl From<&PictureRecord> for ReadRecipe {
    fn from(record: &PictureRecord) -> Self {
        let request = &record.request;
        let seeds = &request.seed_options;
        Self {
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            model: Some(record.model.clone()),
            model_hash: record.model_hash.clone(),
            vae: record.vae.clone(),
            text_encoders: record.text_encoders.clone(),
            prediction: record.prediction,
            precision: record.precision.clone(),
            steps: Some(request.steps),
            guidance: Some(request.guidance),
            sampler: Some(request.sampler),
            guidance_rescale: (request.guidance_rescale != GuidanceRescale::default())
                .then_some(request.guidance_rescale),
            accelerations: request.accelerations,
            sampler_options: request.sampler_options,
            schedule: Some(request.schedule),
            sigmas: request.sigmas.clone(),
            micro_conditioning: request.micro_conditioning,
            variation_seed: seeds.variation.map(|variation| variation.seed.0),
            variation_strength: seeds.variation.map(|variation| variation.strength.get()),
            seed_resize: seeds.resize_from,
            noise_delta: (seeds.noise_delta != 0).then_some(seeds.noise_delta),
            seed: Some(request.seed),
            size: Some(request.size),
            strength: request.image_to_image.as_ref().map(|start| start.strength),
            tool: Some("Calotype".to_owned()),
            noise_source: Some(request.noise_source),
            // The usual is not written into the file.
            clip_skip: (request.clip_skip != ClipSkip::default()).then(|| request.clip_skip.get()),
            emphasis: (request.emphasis != request.dialect.usual_emphasis()).then_some(request.emphasis),
            dialect: (request.dialect != Dialect::default()).then_some(request.dialect),
            template: request.template.clone(),
            loras: record.adapters.iter().map(ReadLora::from).collect(),
            embeddings: record.embeddings.clone(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! Records for the tests of the room.

    use proptest::prelude::*;

    use super::*;
    use crate::request::{BlockCaching, GuidanceInterval, ImageToImage, TokenMerging};

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
}
