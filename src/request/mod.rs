//! What may be asked of the engine: a generation request whose every part is checked when it is made.

mod accelerations;
mod companions;
mod device;
mod kinds;
mod micro_conditioning;
mod networks;
mod options;
mod precision;
mod text;
mod threads;

use serde::{Deserialize, Serialize};

pub use accelerations::{Accelerations, BlockCaching, GuidanceInterval, TokenMerging};
pub use companions::{Companions, RecordedVae};
pub use device::{DeviceChoice, UnknownDevice};
pub use kinds::{NoiseSourceKind, PredictionOverride, SamplerKind, ScheduleKind};
pub use micro_conditioning::{Crop, LONGEST_TOLD, MicroConditioning, ToldSize};
pub use networks::{AdapterUse, EmbeddingUse, NamedFile, RecordedAdapter, RecordedEmbedding};
pub use options::{GuidanceRescale, SamplerOptions, SeedOptions, Sigmas, Variation, VariationStrength};
pub use precision::{Precision, PrecisionChoice, UnknownPrecision};
pub use text::{ClipSkip, Dialect, Emphasis, Template};
pub use threads::{NoThreadCount, ThreadCount};

/// One picture, fully determined: the same request on the same build gives the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationRequest {
    /// What to draw.
    pub prompt: String,
    /// What to stay away from; empty means the empty prompt.
    #[serde(default)]
    pub negative_prompt: String,
    /// Width and height of the picture.
    pub size: ImageSize,
    /// Number of points of the noise schedule.
    pub steps: Steps,
    /// Classifier-free guidance.
    pub guidance: GuidanceScale,
    /// How far guidance is kept from changing the prediction's deviation.
    #[serde(default, skip_serializing_if = "text::is_default")]
    pub guidance_rescale: GuidanceRescale,
    /// What makes it sooner and another picture.
    #[serde(default, skip_serializing_if = "text::is_default")]
    pub accelerations: Accelerations,
    /// The solver of the denoising.
    pub sampler: SamplerKind,
    /// What the solver is told beside.
    #[serde(default, skip_serializing_if = "text::is_default")]
    pub sampler_options: SamplerOptions,
    /// The noise levels that the solver visits.
    pub schedule: ScheduleKind,
    /// Levels written by hand, which take the place of the schedule's; `steps` is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigmas: Option<Sigmas>,
    /// Which generator draws the noise.
    #[serde(default)]
    pub noise_source: NoiseSourceKind,
    /// The seed of the noise.
    pub seed: Seed,
    /// How the noise grows out of it, beside the generator.
    #[serde(default, skip_serializing_if = "text::is_default")]
    pub seed_options: SeedOptions,
    /// Where the text encoder stops.
    #[serde(default, skip_serializing_if = "text::is_default")]
    pub clip_skip: ClipSkip,
    /// What the weights in the prompts do.
    #[serde(default, skip_serializing_if = "text::is_default")]
    pub emphasis: Emphasis,
    /// Whose language the prompts are in.
    #[serde(default, skip_serializing_if = "text::is_default")]
    pub dialect: Dialect,
    /// What the prompts were drawn from, if from anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// What Stable Diffusion XL is told of the picture's size.
    #[serde(default, skip_serializing_if = "text::is_default")]
    pub micro_conditioning: MicroConditioning,
    /// Where the picture starts from, if not from noise alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_to_image: Option<ImageToImage>,
}

/// The part of a request that makes it image-to-image; the pixels travel beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageToImage {
    /// How much of the start image is given up to noise.
    pub strength: Strength,
    /// The name of the start image, for people to find it again.
    pub source: String,
}

/// Why a value was not accepted; the text says what would be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// A side is out of range or not a multiple of 8.
    #[error(
        "the {side} must be a multiple of {step} from {min} to {max} pixels, not {found}; the nearest is {nearest}",
        step = ImageSize::STEP, min = ImageSize::MIN, max = ImageSize::MAX
    )]
    Size {
        /// "width" or "height".
        side: &'static str,
        /// What was asked, in pixels.
        found: u32,
        /// The accepted value closest to it, in pixels.
        nearest: u32,
    },
    /// The number of steps is out of range.
    #[error("steps must be from {min} to {max}, not {found}", min = Steps::MIN, max = Steps::MAX)]
    Steps {
        /// What was asked.
        found: u32,
    },
    /// The guidance is out of range or not a number.
    #[error("guidance must be from {min} to {max}, not {found}", min = GuidanceScale::MIN, max = GuidanceScale::MAX)]
    Guidance {
        /// What was asked.
        found: f64,
    },
    /// The layer of the text encoder is out of range.
    #[error("clip skip must be from {min} to {max}, not {found}", min = ClipSkip::MIN, max = ClipSkip::MAX)]
    ClipSkip {
        /// What was asked.
        found: u32,
    },
    /// The strength is out of range or not a number.
    #[error("strength must be above 0 and at most 1, not {found}")]
    Strength {
        /// What was asked.
        found: f64,
    },
    /// An option's number is out of range or not a number.
    #[error("{what} must be from {min} to {max}, not {found}")]
    Number {
        /// Which number.
        what: &'static str,
        /// What was asked.
        found: f64,
        /// The smallest.
        min: f64,
        /// The largest.
        max: f64,
    },
    /// The sigmas written by hand are no list of falling numbers.
    #[error("the sigmas must be falling numbers, the last one 0 or more: {problem}")]
    Sigmas {
        /// What is wrong with them.
        problem: String,
    },
    /// Steps and strength together leave nothing to do.
    #[error(
        "a strength of {strength} with {steps} steps leaves no step to take: raise the strength to at least {least} or the steps"
    )]
    NothingToDo {
        /// The strength asked.
        strength: f64,
        /// The steps asked.
        steps: u32,
        /// The smallest strength that takes one step.
        least: f64,
    },
    /// A name of a closed list was not known.
    #[error("unknown {what} \"{found}\"; known are {known}")]
    Unknown {
        /// What kind of name.
        what: &'static str,
        /// What was given.
        found: String,
        /// The accepted names, separated by commas.
        known: String,
    },
}

/// Width and height in pixels, each a multiple of 8 from 64 to 4096.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSize", into = "RawSize")]
pub struct ImageSize {
    width: u32,
    height: u32,
}

#[derive(Serialize, Deserialize)]
struct RawSize {
    width: u32,
    height: u32,
}

impl TryFrom<RawSize> for ImageSize {
    type Error = RequestError;

    fn try_from(raw: RawSize) -> Result<Self, Self::Error> {
        Self::new(raw.width, raw.height)
    }
}

impl From<ImageSize> for RawSize {
    fn from(size: ImageSize) -> Self {
        Self { width: size.width, height: size.height }
    }
}

impl ImageSize {
    /// The smallest side in pixels.
    pub const MIN: u32 = 64;
    /// The largest side in pixels.
    pub const MAX: u32 = 4096;
    /// Sides are multiples of this, the factor between pixels and latents of the usual VAE.
    pub const STEP: u32 = 8;

    /// Checks both sides, in pixels.
    ///
    /// # Errors
    /// [`RequestError::Size`], which names the nearest side that is accepted.
    pub fn new(width: u32, height: u32) -> Result<Self, RequestError> {
        for (side, found) in [("width", width), ("height", height)] {
            let nearest = Self::nearest_side(found);
            if nearest != found {
                return Err(RequestError::Size { side, found, nearest });
            }
        }
        Ok(Self { width, height })
    }

    /// The accepted size closest to `width` x `height` pixels.
    #[must_use]
    pub fn nearest(width: u32, height: u32) -> Self {
        Self { width: Self::nearest_side(width), height: Self::nearest_side(height) }
    }

    /// The accepted side closest to `side_px`.
    #[must_use]
    pub fn nearest_side(side_px: u32) -> u32 {
        let clamped = side_px.clamp(Self::MIN, Self::MAX);
        (clamped + Self::STEP / 2) / Self::STEP * Self::STEP
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(self) -> u32 {
        self.height
    }
}

impl std::fmt::Display for ImageSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// The number of points of the noise schedule, 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Steps(u32);

impl Steps {
    /// The fewest.
    pub const MIN: u32 = 1;
    /// The most: the number of levels that models are trained on.
    pub const MAX: u32 = 1000;
    /// Enough for most models and samplers.
    pub const USUAL: Self = Self(20);

    /// Checks the range.
    ///
    /// # Errors
    /// [`RequestError::Steps`] outside of it.
    pub fn new(steps: u32) -> Result<Self, RequestError> {
        if (Self::MIN..=Self::MAX).contains(&steps) {
            Ok(Self(steps))
        } else {
            Err(RequestError::Steps { found: steps })
        }
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Steps {
    type Error = RequestError;

    fn try_from(steps: u32) -> Result<Self, Self::Error> {
        Self::new(steps)
    }
}

impl From<Steps> for u32 {
    fn from(steps: Steps) -> Self {
        steps.0
    }
}

/// The factor w of `uncond + w (cond - uncond)`, 0 to 100; 1 is the prompt alone.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct GuidanceScale(f64);

impl GuidanceScale {
    /// The smallest.
    pub const MIN: f64 = 0.0;
    /// The largest.
    pub const MAX: f64 = 100.0;
    /// Suits most models.
    pub const USUAL: Self = Self(7.0);

    /// Checks the range; not-a-number is refused.
    ///
    /// # Errors
    /// [`RequestError::Guidance`] outside of it.
    pub fn new(scale: f64) -> Result<Self, RequestError> {
        if (Self::MIN..=Self::MAX).contains(&scale) {
            Ok(Self(scale))
        } else {
            Err(RequestError::Guidance { found: scale })
        }
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for GuidanceScale {
    type Error = RequestError;

    fn try_from(scale: f64) -> Result<Self, Self::Error> {
        Self::new(scale)
    }
}

impl From<GuidanceScale> for f64 {
    fn from(scale: GuidanceScale) -> Self {
        scale.0
    }
}

/// How much of a start image is given up to noise, above 0 and at most 1 (which keeps nothing but its trace).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Strength(f64);

impl Strength {
    /// Checks the range; not-a-number is refused.
    ///
    /// # Errors
    /// [`RequestError::Strength`] outside of it.
    pub fn new(strength: f64) -> Result<Self, RequestError> {
        if strength > 0.0 && strength <= 1.0 {
            Ok(Self(strength))
        } else {
            Err(RequestError::Strength { found: strength })
        }
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// How many of `steps` are taken: the whole part of steps times strength, as diffusers counts.
    ///
    /// # Errors
    /// [`RequestError::NothingToDo`] when that is none.
    pub fn steps_taken(self, steps: Steps) -> Result<u32, RequestError> {
        // At most 1000, so the cast is exact.
        let taken = (f64::from(steps.get()) * self.0) as u32;
        if taken == 0 {
            let least = (1000.0 / f64::from(steps.get())).ceil() / 1000.0;
            return Err(RequestError::NothingToDo { strength: self.0, steps: steps.get(), least });
        }
        Ok(taken)
    }
}

impl TryFrom<f64> for Strength {
    type Error = RequestError;

    fn try_from(strength: f64) -> Result<Self, Self::Error> {
        Self::new(strength)
    }
}

impl From<Strength> for f64 {
    fn from(strength: Strength) -> Self {
        strength.0
    }
}

/// The seed of a picture's noise; torch's CPU generator looks at its low 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub u64);

impl Seed {
    /// The seed of the `index`-th picture of a run that starts here.
    #[must_use]
    pub fn offset(self, index: u64) -> Self {
        Self(self.0.wrapping_add(index))
    }
}

impl std::fmt::Display for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_must_be_multiples_of_eight_in_range() {
        assert!(ImageSize::new(64, 4096).is_ok());
        for (width, height, nearest) in
            [(100, 64, 104), (63, 64, 64), (8, 64, 64), (4097, 64, 4096), (64, 4104, 4096), (0, 64, 64)]
        {
            let Err(RequestError::Size { nearest: found, .. }) = ImageSize::new(width, height) else {
                panic!("{width}x{height} was accepted");
            };
            assert_eq!(found, nearest);
        }
    }

    #[test]
    fn a_strength_that_takes_no_step_says_which_would() {
        let strength = Strength::new(0.04).unwrap();
        let Err(RequestError::NothingToDo { least, .. }) = strength.steps_taken(Steps::new(20).unwrap()) else {
            panic!("took a step");
        };
        assert_eq!(Strength::new(least).unwrap().steps_taken(Steps::new(20).unwrap()).unwrap(), 1);
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert!(GuidanceScale::new(f64::NAN).is_err());
        assert!(GuidanceScale::new(-0.1).is_err());
        assert!(Strength::new(0.0).is_err());
        assert!(Strength::new(f64::NAN).is_err());
        assert!(Steps::new(0).is_err());
        assert!(Steps::new(1001).is_err());
    }

    #[test]
    fn an_older_record_has_the_usual_use_of_the_text_encoder() {
        let old = r#"{"prompt":"a fox","size":{"width":64,"height":64},"steps":20,"guidance":7.0,"sampler":"euler",
            "schedule":"model","seed":1}"#;
        let request: GenerationRequest = serde_json::from_str(old).unwrap();
        assert_eq!((request.clip_skip, request.emphasis), (ClipSkip::default(), Emphasis::Original));
        assert_eq!((request.dialect, &request.template), (Dialect::A1111, &None));
        let text = serde_json::to_string(&request).unwrap();
        for unsaid in ["clip_skip", "emphasis", "dialect", "template"] {
            assert!(!text.contains(unsaid), "{text}");
        }
    }

    #[test]
    fn a_request_survives_json_and_json_is_checked() {
        let request = GenerationRequest {
            prompt: "a fox".into(),
            negative_prompt: String::new(),
            size: ImageSize::new(128, 64).unwrap(),
            steps: Steps::new(20).unwrap(),
            guidance: GuidanceScale::new(4.5).unwrap(),
            sampler: SamplerKind::DpmPlusPlus2M,
            schedule: ScheduleKind::Karras,
            noise_source: NoiseSourceKind::TorchCpu,
            seed: Seed(u64::MAX),
            clip_skip: ClipSkip::new(2).unwrap(),
            emphasis: Emphasis::NoNorm,
            guidance_rescale: GuidanceRescale::default(),
            accelerations: Accelerations::default(),
            sampler_options: SamplerOptions::default(),
            sigmas: None,
            seed_options: SeedOptions::default(),
            dialect: Dialect::ComfyUi,
            template: Some(Template { prompt: "a {fox|cat}".into(), ..Template::default() }),
            micro_conditioning: MicroConditioning::default(),
            image_to_image: None,
        };
        let text = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<GenerationRequest>(&text).unwrap(), request);
        let broken = text.replace("128", "127");
        assert!(serde_json::from_str::<GenerationRequest>(&broken).unwrap_err().to_string().contains("128"));
    }
}
