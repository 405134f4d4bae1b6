//! What the user is typing: may be nonsense, becomes a request only when every part is checked.

use std::path::PathBuf;
use std::sync::Arc;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::fine::FineSettings;
use crate::gallery::record::ReadRecipe;
use crate::inference::message::ModelDefaults;
use crate::prompt::wildcards::{WildcardFiles, as_typed};
use crate::prompt::{SettledPrompts, TypedPrompts};
use crate::request::{
    ClipSkip, Dialect, Emphasis, GenerationRequest, GuidanceScale, ImageSize, ImageToImage, NoiseSourceKind,
    RequestError, SamplerKind, ScheduleKind, Seed, Steps, Strength,
};

/// A value that follows the model until the user sets it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Setting<T> {
    /// The value in the form.
    pub value: T,
    /// True once the user chose it; then the model's defaults leave it alone.
    pub is_users: bool,
}

impl<T> Setting<T> {
    fn models(value: T) -> Self {
        Self { value, is_users: false }
    }

    fn follow(&mut self, value: T) {
        if !self.is_users {
            self.value = value;
        }
    }

    /// Takes the user's value.
    pub fn choose(&mut self, value: T) {
        *self = Self { value, is_users: true };
    }
}

/// Width and height as they stand in the form, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypedSize {
    /// Any number.
    pub width: u32,
    /// Any number.
    pub height: u32,
}

/// The picture that a request starts from.
#[derive(Debug, Clone)]
pub struct StartImage {
    /// For people, and for the recipe.
    pub name: String,
    /// The file, if it has one; only then it survives a restart.
    pub path: Option<PathBuf>,
    /// Its pixels, of any size.
    pub pixels: Arc<RgbImage>,
}

/// The left panel's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Form {
    /// What to draw.
    pub prompt: String,
    /// What to stay away from.
    pub negative_prompt: String,
    /// Width and height.
    pub size: Setting<TypedSize>,
    /// Number of steps.
    pub steps: Setting<u32>,
    /// Guidance.
    pub guidance: Setting<f64>,
    /// The solver.
    pub sampler: Setting<SamplerKind>,
    /// The noise levels.
    pub schedule: Setting<ScheduleKind>,
    /// Where the text encoder stops.
    pub clip_skip: ClipSkip,
    /// What the weights in the prompts do.
    pub emphasis: Emphasis,
    /// Whose language the prompts are in.
    pub dialect: Dialect,
    /// Which generator draws the noise.
    pub noise_source: NoiseSourceKind,
    /// What most pictures want as it is.
    pub fine: FineSettings,
    /// The seed as typed.
    pub seed: String,
    /// True: use the seed as it stands; false: draw one for every run.
    pub is_seed_locked: bool,
    /// How many pictures one press makes.
    pub count: u32,
    /// How much of the start image is given up.
    pub strength: f64,
    /// Where the picture starts from, if not from noise alone.
    #[serde(skip)]
    pub start_image: Option<StartImage>,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: String::new(),
            size: Setting::models(TypedSize { width: 512, height: 512 }),
            steps: Setting::models(20),
            guidance: Setting::models(7.0),
            sampler: Setting::models(SamplerKind::default()),
            schedule: Setting::models(ScheduleKind::default()),
            clip_skip: ClipSkip::default(),
            emphasis: Emphasis::default(),
            dialect: Dialect::default(),
            noise_source: NoiseSourceKind::default(),
            fine: FineSettings::default(),
            seed: String::new(),
            is_seed_locked: false,
            count: 1,
            strength: 0.6,
            start_image: None,
        }
    }
}

/// The part of the form that an error belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The prompts.
    Prompt,
    /// Width.
    Width,
    /// Height.
    Height,
    /// Number of steps.
    Steps,
    /// Guidance.
    Guidance,
    /// Sigmas written by hand.
    Sigmas,
    /// The seed.
    Seed,
    /// The strength of image-to-image.
    Strength,
}

/// Why the form is no request yet.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Where to show it.
    pub field: Field,
    /// What is wrong and what would be right, a sentence.
    pub message: String,
}

/// One picture of a press of Generate.
#[derive(Debug, Clone)]
pub struct PlannedPicture {
    /// What to make.
    pub request: GenerationRequest,
    /// The pixels that it starts from.
    pub start_image: Option<Arc<RgbImage>>,
}

impl Form {
    /// The largest number of pictures of one press.
    pub const MAX_COUNT: u32 = 100;

    /// Takes the model's defaults wherever the user has not chosen.
    pub fn follow(&mut self, defaults: &ModelDefaults) {
        self.size.follow(typed(defaults.size));
        self.steps.follow(defaults.steps.get());
        self.guidance.follow(defaults.guidance.get());
        self.sampler.follow(defaults.sampler);
        self.schedule.follow(defaults.schedule);
    }

    /// Forgets the choices that suit one model only, so that the next model's defaults are taken.
    pub fn forget_model_choices(&mut self) {
        self.size.is_users = false;
        self.steps.is_users = false;
        self.guidance.is_users = false;
        self.sampler.is_users = false;
        self.schedule.is_users = false;
    }

    /// Everything that is wrong, in the order of the panel.
    #[must_use]
    pub fn errors(&self) -> Vec<FieldError> {
        let TypedSize { width, height } = self.size.value;
        let side = |field, px: u32| {
            let nearest = ImageSize::nearest_side(px);
            let name = if field == Field::Width { "width" } else { "height" };
            (nearest != px).then(|| (field, RequestError::Size { side: name, found: px, nearest }.to_string()))
        };
        let steps = self.steps();
        let sigmas = self.fine.sigmas();
        let typed_steps = Steps::new(self.steps.value).err().filter(|_| sigmas == Ok(None));
        let checks = [
            side(Field::Width, width),
            side(Field::Height, height),
            typed_steps.map(|error| (Field::Steps, error.to_string())),
            GuidanceScale::new(self.guidance.value).err().map(|error| (Field::Guidance, error.to_string())),
            sigmas.err().map(|error| (Field::Sigmas, error.to_string())),
            self.locked_seed().err().map(|message| (Field::Seed, message)),
            self.start_image.as_ref().and_then(|_| self.strength_error(steps.ok())),
        ];
        checks.into_iter().flatten().map(|(field, message)| FieldError { field, message: sentence(&message) }).collect()
    }

    /// As typed, or those of the sigmas.
    fn steps(&self) -> Result<Steps, RequestError> {
        self.fine.sigmas()?.map_or_else(|| Steps::new(self.steps.value), |sigmas| Ok(sigmas.steps()))
    }

    fn strength_error(&self, steps: Option<Steps>) -> Option<(Field, String)> {
        let taken =
            Strength::new(self.strength).and_then(|strength| steps.map_or(Ok(1), |steps| strength.steps_taken(steps)));
        taken.err().map(|error| (Field::Strength, error.to_string()))
    }

    /// The seed that is locked; none when one is to be drawn.
    fn locked_seed(&self) -> Result<Option<Seed>, String> {
        if !self.is_seed_locked {
            return Ok(None);
        }
        let text = self.seed.trim();
        let what_is_right = format!("the seed must be a whole number from 0 to {}", u64::MAX);
        text.parse().map(|seed| Some(Seed(seed))).map_err(|_| match text {
            "" => "type a seed or unlock it".to_owned(),
            _ => what_is_right,
        })
    }

    /// The pictures of one press: as many as the count says, with consecutive seeds from the locked one or `drawn`; each
    /// draws its own wildcards, from `files`.
    ///
    /// # Errors
    /// Everything that is wrong with the form.
    pub fn plan(&self, drawn: Seed, files: &WildcardFiles) -> Result<Vec<PlannedPicture>, Vec<FieldError>> {
        let request = self.request(drawn).map_err(|_| self.errors())?;
        let start_image = self.start_image.as_ref().map(|start| Arc::clone(&start.pixels));
        let picture = |index| {
            let nth = request.nth(index);
            let settled = self.typed().settle(nth.seed, files);
            let SettledPrompts { prompt, negative_prompt, template } = settled
                .map_err(|error| vec![FieldError { field: Field::Prompt, message: sentence(&error.to_string()) }])?;
            let (prompt, negative_prompt) = (prompt.trim().to_owned(), negative_prompt.trim().to_owned());
            let request = GenerationRequest { prompt, negative_prompt, template, ..nth };
            Ok(PlannedPicture { request, start_image: start_image.clone() })
        };
        (0..u64::from(self.count.clamp(1, Self::MAX_COUNT))).map(picture).collect()
    }

    /// The prompts as they stand.
    #[must_use]
    pub fn typed(&self) -> TypedPrompts<'_> {
        TypedPrompts { prompt: &self.prompt, negative_prompt: &self.negative_prompt, dialect: self.dialect }
    }

    /// Takes another language, and what weights do in its program.
    pub fn speak(&mut self, dialect: Dialect) {
        if dialect != self.dialect {
            self.dialect = dialect;
            self.emphasis = dialect.usual_emphasis();
        }
    }

    /// Everything but the prompts, which are settled for each picture.
    fn request(&self, drawn: Seed) -> Result<GenerationRequest, String> {
        let text = |error: RequestError| error.to_string();
        let steps = self.steps().map_err(text)?;
        let image_to_image = match &self.start_image {
            None => None,
            Some(start) => {
                let strength = Strength::new(self.strength).map_err(text)?;
                strength.steps_taken(steps).map_err(text)?;
                Some(ImageToImage { strength, source: start.name.clone() })
            }
        };
        Ok(GenerationRequest {
            prompt: String::new(),
            negative_prompt: String::new(),
            size: ImageSize::new(self.size.value.width, self.size.value.height).map_err(text)?,
            steps,
            guidance: GuidanceScale::new(self.guidance.value).map_err(text)?,
            guidance_rescale: self.fine.guidance_rescale,
            accelerations: self.fine.accelerations,
            sampler: self.sampler.value,
            sampler_options: self.fine.sampler_options,
            schedule: self.schedule.value,
            sigmas: self.fine.sigmas().map_err(text)?,
            micro_conditioning: self.fine.micro_conditioning,
            seed_options: self.fine.seed_options,
            noise_source: self.noise_source,
            clip_skip: self.clip_skip,
            emphasis: self.emphasis,
            dialect: self.dialect,
            template: None,
            seed: self.locked_seed()?.unwrap_or(drawn),
            image_to_image,
        })
    }

    /// Takes over what a recipe says; what it does not say stays.
    pub fn use_recipe(&mut self, recipe: &ReadRecipe) {
        self.dialect = recipe.dialect.unwrap_or_default();
        self.prompt = as_typed(&recipe.prompt, self.dialect);
        self.negative_prompt = as_typed(&recipe.negative_prompt, self.dialect);
        recipe.size.into_iter().for_each(|size| self.size.choose(typed(size)));
        recipe.steps.into_iter().for_each(|steps| self.steps.choose(steps.get()));
        recipe.guidance.into_iter().for_each(|guidance| self.guidance.choose(guidance.get()));
        recipe.sampler.into_iter().for_each(|sampler| self.sampler.choose(sampler));
        recipe.schedule.into_iter().for_each(|schedule| self.schedule.choose(schedule));
        // A recipe that does not say these means the usual.
        self.clip_skip = recipe.clip_skip.and_then(|skip| ClipSkip::new(skip).ok()).unwrap_or_default();
        self.emphasis = recipe.emphasis.unwrap_or(self.dialect.usual_emphasis());
        self.noise_source = recipe.noise_source.unwrap_or_default();
        self.fine = FineSettings::of(recipe);
        if let Some(strength) = recipe.strength {
            self.strength = strength.get();
        }
        if let Some(seed) = recipe.seed {
            self.seed = seed.to_string();
            self.is_seed_locked = true;
        }
    }

    /// Exchanges width and height.
    pub fn swap_sides(&mut self) {
        let TypedSize { width, height } = self.size.value;
        self.size.choose(TypedSize { width: height, height: width });
    }

    /// Makes numbers that no file can hold harmless.
    pub fn repair(&mut self) {
        let fresh = Self::default();
        if !self.guidance.value.is_finite() {
            self.guidance = fresh.guidance;
        }
        if !self.strength.is_finite() {
            self.strength = fresh.strength;
        }
        self.count = self.count.clamp(1, Self::MAX_COUNT);
    }
}

fn typed(size: ImageSize) -> TypedSize {
    TypedSize { width: size.width(), height: size.height() }
}

/// With a capital letter at the front.
#[must_use]
pub fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> ModelDefaults {
        ModelDefaults {
            size: ImageSize::new(128, 128).unwrap(),
            steps: Steps::new(25).unwrap(),
            guidance: GuidanceScale::new(4.0).unwrap(),
            sampler: SamplerKind::Ddim,
            schedule: ScheduleKind::Model,
        }
    }

    #[test]
    fn the_models_defaults_leave_the_users_choices_alone() {
        let mut form = Form::default();
        form.steps.choose(7);
        form.follow(&defaults());
        assert_eq!((form.steps.value, form.size.value.width, form.sampler.value), (7, 128, SamplerKind::Ddim));
        form.forget_model_choices();
        form.follow(&defaults());
        assert_eq!(form.steps.value, 25);
    }

    #[test]
    fn a_count_makes_consecutive_seeds() {
        let form = Form { count: 3, ..Form::default() };
        let seeds: Vec<u64> =
            form.plan(Seed(41), &WildcardFiles::default()).unwrap().iter().map(|p| p.request.seed.0).collect();
        assert_eq!(seeds, [41, 42, 43]);
    }

    #[test]
    fn a_locked_seed_is_used_and_nonsense_is_named() {
        let mut form = Form { seed: " 18446744073709551615 ".into(), is_seed_locked: true, ..Form::default() };
        assert_eq!(form.plan(Seed(1), &WildcardFiles::default()).unwrap()[0].request.seed, Seed(u64::MAX));
        form.seed = "twelve".into();
        let errors = form.plan(Seed(1), &WildcardFiles::default()).unwrap_err();
        assert_eq!(errors[0].field, Field::Seed);
        assert!(errors[0].message.contains("whole number"));
    }

    #[test]
    fn every_wrong_field_is_reported_at_once() {
        let mut form = Form::default();
        form.size.choose(TypedSize { width: 100, height: 5000 });
        form.steps.choose(0);
        form.guidance.choose(f64::NAN);
        let fields: Vec<Field> = form.errors().iter().map(|error| error.field).collect();
        assert_eq!(fields, [Field::Width, Field::Height, Field::Steps, Field::Guidance]);
        assert!(form.errors()[0].message.contains("nearest is 104"));
    }

    #[test]
    fn the_strength_is_checked_only_with_a_start_image() {
        let mut form = Form { strength: 0.0, ..Form::default() };
        assert!(form.errors().is_empty());
        form.start_image = Some(StartImage { name: "x".into(), path: None, pixels: Arc::new(RgbImage::new(1, 1)) });
        assert_eq!(form.errors()[0].field, Field::Strength);
        form.strength = 0.5;
        let planned = &form.plan(Seed(1), &WildcardFiles::default()).unwrap()[0];
        assert!(planned.start_image.is_some() && planned.request.image_to_image.is_some());
    }

    #[test]
    fn every_picture_draws_its_own_wildcards_and_keeps_the_template() {
        let form = Form { count: 20, prompt: "a {red|blue} cat # {x}".into(), ..Form::default() };
        let planned = form.plan(Seed(1), &WildcardFiles::default()).unwrap();
        let prompts: std::collections::BTreeSet<&str> = planned.iter().map(|p| p.request.prompt.as_str()).collect();
        assert_eq!(prompts, ["a blue cat", "a red cat"].into());
        let template = planned[0].request.template.as_ref().unwrap();
        assert_eq!((template.prompt.trim(), template.negative_prompt.as_str()), ("a {red|blue} cat", ""));
    }

    #[test]
    fn a_wildcard_file_that_is_not_there_is_an_error_with_its_name() {
        let form = Form { prompt: "a __gone__".into(), ..Form::default() };
        let errors = form.plan(Seed(1), &WildcardFiles::default()).unwrap_err();
        assert_eq!(errors[0].field, Field::Prompt);
        assert!(errors[0].message.starts_with("There is no wildcard file \"gone.txt\""), "{errors:?}");
    }

    #[test]
    fn a_recipe_with_braces_is_not_drawn_again() {
        let mut form = Form::default();
        form.use_recipe(&ReadRecipe { prompt: "{a|b} #c".into(), ..ReadRecipe::default() });
        let again = &form.plan(Seed(1), &WildcardFiles::default()).unwrap()[0].request;
        // The web UI's language drops the backslashes.
        assert_eq!((again.prompt.as_str(), &again.template), (r"\{a|b\} \#c", &None));
        let dialect = Some(Dialect::ComfyUi);
        form.use_recipe(&ReadRecipe { prompt: "{a|b} #c".into(), dialect, ..ReadRecipe::default() });
        let again = &form.plan(Seed(1), &WildcardFiles::default()).unwrap()[0].request;
        assert_eq!((again.prompt.as_str(), again.emphasis), ("{a|b} #c", Emphasis::ComfyUi));
    }

    #[test]
    fn a_partial_recipe_leaves_the_rest() {
        let mut form = Form::default();
        form.use_recipe(&ReadRecipe { prompt: "a fox".into(), seed: Some(Seed(9)), ..ReadRecipe::default() });
        assert_eq!((form.prompt.as_str(), form.seed.as_str(), form.is_seed_locked), ("a fox", "9", true));
        assert!(!form.steps.is_users);
    }
}
