//! What is read out of any picture, ours or a stranger's.

use super::PictureRecord;
use crate::request::{
    Accelerations, ClipSkip, Crop, Dialect, Emphasis, GuidanceRescale, GuidanceScale, ImageSize, MicroConditioning,
    NoiseSourceKind, PredictionOverride, RecordedAdapter, RecordedEmbedding, RecordedVae, SamplerKind, SamplerOptions,
    ScheduleKind, Seed, SeedOptions, Sigmas, Steps, Strength, Template, Variation, VariationStrength,
};

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
    /// The card that computed it, where the picture says it.
    pub card: Option<String>,
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

    /// Where a picture of ours was computed, and where it would be `here` (a card; none for the processor), for people;
    /// nothing where that is the same, or where the picture does not say it.
    #[must_use]
    pub fn other_card<'a>(&'a self, here: Option<&'a str>) -> Option<(&'a str, &'a str)> {
        let told = |card: Option<&'a str>| card.unwrap_or("a processor");
        let is_other = self.tool.as_deref() == Some("Calotype") && self.card.as_deref() != here;
        is_other.then(|| (told(self.card.as_deref()), told(here)))
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
            ("Card", self.card.clone()),
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
            card: record.card.clone(),
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
