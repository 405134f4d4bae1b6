//! The recipe that travels inside a picture: our own lossless record, and what is read out of any picture.

use serde::{Deserialize, Serialize};

use crate::request::{
    ClipSkip, Emphasis, GenerationRequest, GuidanceScale, ImageSize, NoiseSourceKind, SamplerKind, ScheduleKind, Seed,
    Steps, Strength,
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
    /// What was asked.
    pub request: GenerationRequest,
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
            request,
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
    /// The solver.
    pub sampler: Option<SamplerKind>,
    /// The noise levels.
    pub schedule: Option<ScheduleKind>,
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
    /// Which of the text encoder's last layers was used, 1 for the last.
    pub clip_skip: Option<u32>,
    /// What weights in the prompt do.
    pub emphasis: Option<Emphasis>,
    /// Which generator drew the noise.
    pub noise_source: Option<NoiseSourceKind>,
    /// The second seed whose noise was mixed in.
    pub variation_seed: Option<u64>,
    /// How much of it, 0 to 1.
    pub variation_strength: Option<f64>,
    /// The LoRAs that changed the model.
    pub loras: Vec<ReadLora>,
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
    /// Every field that the picture holds as name and value, for people, but for what was not understood.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let loras: Vec<String> = self.loras.iter().map(ReadLora::to_string).collect();
        let facts = [
            ("Prompt", text(&self.prompt)),
            ("Negative prompt", text(&self.negative_prompt)),
            ("Size", self.size.map(|size| size.to_string())),
            ("Steps", self.steps.map(|steps| steps.get().to_string())),
            ("Guidance", self.guidance.map(|guidance| guidance.get().to_string())),
            ("Sampler", self.sampler.map(|sampler| sampler.label().to_owned())),
            ("Schedule", self.schedule.map(|schedule| schedule.label().to_owned())),
            ("Seed", self.seed.map(|seed| seed.to_string())),
            ("Noise", self.noise_source.map(|source| source.label().to_owned())),
            ("Variation seed", self.variation_seed.map(|seed| seed.to_string())),
            ("Variation strength", self.variation_strength.map(|strength| strength.to_string())),
            ("Strength", self.strength.map(|strength| strength.get().to_string())),
            ("Clip skip", self.clip_skip.map(|skip| skip.to_string())),
            ("Emphasis", self.emphasis.map(|emphasis| emphasis.label().to_owned())),
            ("Model", self.model.clone()),
            ("Model hash", self.model_hash.clone()),
            ("LoRAs", text(&loras.join(", "))),
            ("Made with", self.tool.clone()),
        ];
        facts.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
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

/// Why two pictures differ: every field whose values are not the same, with the value of each; `None` where a picture
/// does not say it.
#[must_use]
pub fn differences(left: &ReadRecipe, right: &ReadRecipe) -> Vec<(String, Option<String>, Option<String>)> {
    let facts = |recipe: &ReadRecipe| -> Vec<(String, String)> {
        let rest = recipe.not_understood.iter().filter_map(|part| part.split_once(": "));
        let mut facts: Vec<(String, String)> =
            recipe.facts().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let known = facts.len();
        for (name, value) in rest {
            match facts.iter().position(|(other, _)| other.eq_ignore_ascii_case(name)) {
                // Of nodes and further passes there are several.
                Some(at) if at >= known => facts[at].1 = format!("{}; {value}", facts[at].1),
                Some(_) => {}
                // They are among the facts, all of them together.
                None if name == "LoRA" => {}
                None => facts.push((name.to_owned(), value.to_owned())),
            }
        }
        facts
    };
    let (left, mut right) = (facts(left), facts(right));
    let mut found = Vec::new();
    for (name, value) in left {
        let at = right.iter().position(|(other, _)| *other == name);
        let other = at.map(|at| right.remove(at).1);
        if other.as_ref() != Some(&value) {
            found.push((name, Some(value), other));
        }
    }
    found.extend(right.into_iter().map(|(name, value)| (name, None, Some(value))));
    found
}

impl From<&PictureRecord> for ReadRecipe {
    fn from(record: &PictureRecord) -> Self {
        let request = &record.request;
        Self {
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            model: Some(record.model.clone()),
            steps: Some(request.steps),
            guidance: Some(request.guidance),
            sampler: Some(request.sampler),
            schedule: Some(request.schedule),
            seed: Some(request.seed),
            size: Some(request.size),
            strength: request.image_to_image.as_ref().map(|start| start.strength),
            tool: Some("Calotype".to_owned()),
            noise_source: Some(request.noise_source),
            // The usual is not written into the file.
            clip_skip: (request.clip_skip != ClipSkip::default()).then(|| request.clip_skip.get()),
            emphasis: (request.emphasis != Emphasis::default()).then_some(request.emphasis),
            ..Self::default()
        }
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! Records for the tests of the room.

    use proptest::prelude::*;

    use super::*;
    use crate::request::{ClipSkip, Emphasis, ImageToImage, NoiseSourceKind};

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
                sampler: SamplerKind::DpmPlusPlus2M,
                schedule: ScheduleKind::Karras,
                noise_source: NoiseSourceKind::TorchCpu,
                clip_skip: ClipSkip::default(),
                emphasis: Emphasis::default(),
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
        let kinds = (proptest::sample::select(SamplerKind::ALL), proptest::sample::select(ScheduleKind::ALL));
        (texts, numbers, kinds, proptest::option::of(start)).prop_map(|(texts, numbers, kinds, image_to_image)| {
            PictureRecord::new(
                texts.2,
                GenerationRequest {
                    prompt: texts.0,
                    negative_prompt: texts.1,
                    size: ImageSize::new(numbers.0 * 8, numbers.1 * 8).unwrap(),
                    steps: Steps::new(numbers.2).unwrap(),
                    guidance: GuidanceScale::new(numbers.3).unwrap(),
                    sampler: kinds.0,
                    schedule: kinds.1,
                    noise_source: NoiseSourceKind::TorchCpu,
                    clip_skip: ClipSkip::default(),
                    emphasis: Emphasis::default(),
                    seed: Seed(numbers.4),
                    image_to_image,
                },
            )
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
    fn two_pictures_differ_in_what_only_one_says_too() {
        let left = ReadRecipe {
            prompt: "a fox".into(),
            steps: Steps::new(20).ok(),
            not_understood: vec!["ENSD: 31337".into()],
            ..ReadRecipe::default()
        };
        let right = ReadRecipe { steps: Steps::new(30).ok(), seed: Some(Seed(1)), ..left.clone() };
        let right = ReadRecipe { not_understood: Vec::new(), ..right };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            differences(&left, &right),
            [
                ("Steps".to_owned(), some("20"), some("30")),
                ("ENSD".to_owned(), some("31337"), None),
                ("Seed".to_owned(), None, some("1"))
            ]
        );
        assert_eq!(differences(&left, &left), []);
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
