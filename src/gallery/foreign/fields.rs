//! Gathers a recipe out of another program's keys and values: what is understood becomes a setting, the rest is named.

use std::str::FromStr;

use serde_json::Value;

use crate::gallery::foreign::{json, names};
use crate::gallery::record::{ReadLora, ReadRecipe};
use crate::request::{
    Accelerations, BlockCaching, ClipSkip, GuidanceInterval, GuidanceRescale, GuidanceScale, ImageSize, SamplerKind,
    ScheduleKind, Seed, Steps, Strength, TokenMerging,
};

/// A hostile file may have thousands of keys; people read a few.
pub const MOST_NOT_UNDERSTOOD: usize = 32;
/// The most LoRAs that are listed.
const MOST_LORAS: usize = 64;
/// The most characters shown of one value that was not understood.
const LONGEST_SHOWN: usize = 80;

/// What a key of another program means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// What was drawn.
    Prompt,
    /// What it was to stay away from.
    NegativePrompt,
    /// The model's name.
    Model,
    /// The hash of its file.
    ModelHash,
    /// Number of steps.
    Steps,
    /// Classifier-free guidance.
    Guidance,
    /// The solver, perhaps with the schedule in its name.
    Sampler,
    /// The noise levels.
    Schedule,
    /// The seed.
    Seed,
    /// Width in pixels.
    Width,
    /// Height in pixels.
    Height,
    /// Both: "512x768", "(512, 768)".
    Size,
    /// How much of a start image was given up.
    Denoise,
    /// 1 for the last layer of the text encoder.
    ClipSkip,
    /// The seed of the noise that was mixed in.
    VariationSeed,
    /// How much of it.
    VariationStrength,
    /// The size whose noise is in the middle: "512x512".
    SeedResize,
    /// What the seed of the sampler's noise is away from the picture's.
    NoiseDelta,
    /// The share of fresh noise in a step.
    Eta,
    /// `s_churn`.
    Churn,
    /// `s_tmin`.
    ChurnFrom,
    /// `s_tmax`.
    ChurnTo,
    /// `s_noise`.
    NoiseFactor,
    /// How far guidance is kept from changing the prediction's deviation.
    GuidanceRescale,
    /// The share of the steps from which on guidance acts.
    GuidanceFrom,
    /// The share up to which it acts.
    GuidanceTo,
    /// From one whole evaluation of the U-Net to the next.
    CachingInterval,
    /// How deep the evaluations between them go; comes after the interval.
    CachingBranch,
    /// The share of the tokens that join others.
    TokenMerging,
    /// Whether the picture was decoded in tiles.
    Tiles,
    /// Noise levels written by hand.
    Sigmas,
    /// The size that Stable Diffusion XL was told the picture had before.
    OriginalSize,
    /// What it was told to be cut off.
    Crop,
    /// The size that it was told the picture had after.
    TargetSize,
    /// Says nothing about how the picture was drawn, or repeats what another key says.
    Aside,
}

/// A table of a program's keys; case does not matter.
pub type Keys = &'static [(&'static str, Field)];

/// A recipe in the making. Of two values for one field the first counts.
#[derive(Default)]
pub struct Gathering {
    recipe: ReadRecipe,
    sampler: Option<Said>,
    schedule: Option<Said>,
    width: Option<Said>,
    height: Option<Said>,
    unsaid_schedule: Option<ScheduleKind>,
    left_out: usize,
}

/// A value that can only be judged when all are known.
struct Said {
    key: String,
    text: String,
}

impl Gathering {
    /// An empty recipe of a program.
    #[must_use]
    pub fn of(tool: &str) -> Self {
        Self { recipe: ReadRecipe { tool: Some(tool.to_owned()), ..ReadRecipe::default() }, ..Self::default() }
    }

    /// What it means in this program that a known sampler comes without a schedule.
    pub fn unsaid_schedule_is(&mut self, schedule: ScheduleKind) {
        self.unsaid_schedule = Some(schedule);
    }

    /// Takes every key of an object; those that the table does not have are named as not understood.
    pub fn take_all(&mut self, keys: Keys, object: &serde_json::Map<String, Value>) {
        for (key, value) in object {
            if json::says_nothing(value) {
                continue;
            }
            match keys.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)) {
                Some((_, field)) => self.take(*field, key, &json::plain(value)),
                // Strengths of what was not used.
                None if value.is_f64() && value.as_f64() == Some(0.0) => {}
                None => self.cannot_follow(key, &json::plain(value)),
            }
        }
    }

    /// Takes one value; what it was called is for people to find it again.
    pub fn take(&mut self, field: Field, key: &str, text: &str) {
        let said = || Some(Said { key: key.to_owned(), text: text.trim().to_owned() });
        let recipe = &mut self.recipe;
        let is_taken = match field {
            Field::Model | Field::ModelHash if text.trim().is_empty() => true,
            Field::Prompt => fill_text(&mut recipe.prompt, text),
            Field::NegativePrompt => fill_text(&mut recipe.negative_prompt, text),
            Field::Model => fill(&mut recipe.model, name(text)),
            Field::ModelHash => fill(&mut recipe.model_hash, name(text)),
            Field::Steps => fill(&mut recipe.steps, parsed(text).and_then(|steps| Steps::new(steps).ok())),
            Field::Guidance => fill(&mut recipe.guidance, parsed(text).and_then(|w| GuidanceScale::new(w).ok())),
            Field::Seed => fill(&mut recipe.seed, parsed(text).map(Seed)),
            Field::Size => fill(&mut recipe.size, size(text)),
            Field::Denoise => fill(&mut recipe.strength, parsed(text).and_then(|s| Strength::new(s).ok())),
            Field::ClipSkip => {
                fill(&mut recipe.clip_skip, parsed(text)) && recipe.clip_skip.is_some_and(|n| ClipSkip::new(n).is_ok())
            }
            Field::VariationSeed => fill(&mut recipe.variation_seed, parsed(text)),
            Field::VariationStrength => {
                fill(&mut recipe.variation_strength, finite(text).filter(|share| (0.0..=1.0).contains(share)))
            }
            Field::SeedResize => fill(&mut recipe.seed_resize, size(text)),
            Field::NoiseDelta => fill(&mut recipe.noise_delta, parsed(text)),
            Field::GuidanceRescale => {
                fill(&mut recipe.guidance_rescale, parsed(text).and_then(|share| GuidanceRescale::new(share).ok()))
            }
            Field::GuidanceFrom
            | Field::GuidanceTo
            | Field::CachingInterval
            | Field::CachingBranch
            | Field::TokenMerging
            | Field::Tiles => self.acceleration(field, text),
            Field::Sigmas => fill(&mut recipe.sigmas, parsed(text)),
            Field::OriginalSize => fill(&mut recipe.micro_conditioning.original_size, text.trim().parse().ok()),
            Field::TargetSize => fill(&mut recipe.micro_conditioning.target_size, text.trim().parse().ok()),
            Field::Crop => text.trim().parse().is_ok_and(|crop| {
                recipe.micro_conditioning.crop = crop;
                true
            }),
            Field::Eta | Field::Churn | Field::ChurnFrom | Field::ChurnTo | Field::NoiseFactor => {
                self.option(field, text)
            }
            Field::Sampler => fill(&mut self.sampler, said()),
            Field::Schedule => fill(&mut self.schedule, said()),
            Field::Width => fill(&mut self.width, said()),
            Field::Height => fill(&mut self.height, said()),
            Field::Aside => true,
        };
        if !is_taken {
            self.cannot_follow(key, text);
        }
    }

    /// One of the solver's numbers; false when it is none that a request may say.
    fn option(&mut self, field: Field, text: &str) -> bool {
        let options = &mut self.recipe.sampler_options;
        let (churn, from, to) = (options.churn(), options.churn_from(), options.churn_to());
        let with = |number: f64| match field {
            Field::Eta => options.with_eta(number),
            Field::Churn => options.with_churn(number, from, to),
            Field::ChurnFrom => options.with_churn(churn, number, to),
            Field::ChurnTo => options.with_churn(churn, from, number),
            _ => options.with_noise_factor(number),
        };
        let Some(changed) = parsed(text).and_then(|number| with(number).ok()) else { return false };
        *options = changed;
        true
    }

    /// What makes a picture sooner and another one; false when no request may say it.
    fn acceleration(&mut self, field: Field, text: &str) -> bool {
        let faster = &mut self.recipe.accelerations;
        let (interval, caching) = (faster.guidance_interval, faster.block_caching);
        let guided =
            |from, to| Some(Accelerations { guidance_interval: GuidanceInterval::new(from, to).ok()?, ..*faster });
        let cached = |caching: Option<BlockCaching>| Some(Accelerations { block_caching: Some(caching?), ..*faster });
        let merged = |token_merging| Some(Accelerations { token_merging, ..*faster });
        let changed = match field {
            Field::GuidanceFrom => parsed(text).and_then(|share| guided(share, interval.to())),
            Field::GuidanceTo => parsed(text).and_then(|share| guided(interval.from(), share)),
            Field::TokenMerging => parsed(text).and_then(|share| merged(TokenMerging::new(share).ok()?)),
            Field::Tiles => parsed(text).map(|decoding_in_tiles| Accelerations { decoding_in_tiles, ..*faster }),
            Field::CachingInterval => cached(parsed(text).and_then(|interval| BlockCaching::new(interval, 0).ok())),
            _ => cached(
                caching.zip(parsed(text)).and_then(|(old, branch)| BlockCaching::new(old.interval(), branch).ok()),
            ),
        };
        changed.is_some_and(|changed| {
            *faster = changed;
            true
        })
    }

    /// True when the text encoder's last layer is known already.
    #[must_use]
    pub fn has_clip_skip(&self) -> bool {
        self.recipe.clip_skip.is_some()
    }

    /// A LoRA, which this build does not apply.
    pub fn lora(&mut self, lora: ReadLora) {
        let lora = ReadLora { name: name(&lora.name).unwrap_or_default(), ..lora };
        let weight = lora.weight.map(|weight| format!(" ({weight})")).unwrap_or_default();
        self.cannot_follow("LoRA", &format!("{}{weight}", lora.name));
        if self.recipe.loras.len() < MOST_LORAS {
            self.recipe.loras.push(lora);
        }
    }

    /// Names what this build cannot do the same.
    pub fn cannot_follow(&mut self, key: &str, value: &str) {
        // The last place is for the count of what is left out.
        if self.recipe.not_understood.len() < MOST_NOT_UNDERSTOOD - 1 {
            self.recipe.not_understood.push(format!("{}: {}", shortened(key), shortened(value)));
        } else {
            self.left_out += 1;
        }
    }

    /// The recipe, once everything was taken.
    #[must_use]
    pub fn finish(mut self) -> ReadRecipe {
        self.settle_size();
        let known = self.sampler.as_ref().and_then(|said| names::sampler(&said.text));
        let sampler = known.map(|(sampler, _)| sampler);
        self.recipe.sampler = sampler;
        self.recipe.schedule = match &self.schedule {
            Some(said) => names::schedule(&said.text, sampler),
            None => known.and_then(|(sampler, schedule)| schedule.or(self.unsaid_schedule_for(sampler))),
        };
        if let Some(said) = self.sampler.take().filter(|_| sampler.is_none()) {
            self.cannot_follow(&said.key, &said.text);
        }
        if let Some(said) = self.schedule.take().filter(|_| self.recipe.schedule.is_none()) {
            self.cannot_follow(&said.key, &said.text);
        }
        if self.left_out > 0 {
            self.recipe.not_understood.push(format!("and {} more", self.left_out));
        }
        self.recipe
    }

    /// A sampler with a grid of its own knows no other.
    fn unsaid_schedule_for(&self, sampler: SamplerKind) -> Option<ScheduleKind> {
        self.unsaid_schedule.map(|unsaid| if sampler.has_own_grid() { ScheduleKind::Model } else { unsaid })
    }

    fn settle_size(&mut self) {
        let (width, height) = (self.width.take(), self.height.take());
        let side = |said: &Option<Said>| said.as_ref().and_then(|said| parsed(&said.text));
        if self.recipe.size.is_none() {
            self.recipe.size = side(&width).zip(side(&height)).and_then(|(w, h)| ImageSize::new(w, h).ok());
        }
        if self.recipe.size.is_none() {
            for said in [width, height].into_iter().flatten() {
                self.cannot_follow(&said.key, &said.text);
            }
        }
    }
}

/// Puts a value where there is none yet; false when there is no value.
fn fill<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let is_value = value.is_some();
    if place.is_none() {
        *place = value;
    }
    is_value
}

fn fill_text(place: &mut String, text: &str) -> bool {
    if place.is_empty() {
        text.clone_into(place);
    }
    true
}

/// A name; of a link to a file, which may be signed, the file's.
fn name(text: &str) -> Option<String> {
    let text = match text.split_once("://") {
        Some((_, link)) => link.split('?').next().and_then(|link| link.rsplit('/').next()).unwrap_or_default(),
        None => text,
    };
    Some(text.trim()).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// "512x768", "512 x 768", "(512, 768)", "512×768".
fn size(text: &str) -> Option<ImageSize> {
    let text = text.trim().trim_matches(['(', ')', '[', ']']);
    let (width, height) = text.split_once(['x', 'X', '×', ','])?;
    ImageSize::new(parsed(width)?, parsed(height)?).ok()
}

/// A number, if the whole text is one.
pub fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

/// A number that is neither infinite nor none.
pub fn finite(text: &str) -> Option<f64> {
    parsed(text).filter(|number: &f64| number.is_finite())
}

/// One line of a length that people read, controls left out, and of links what may be a signature or a key.
fn shortened(value: &str) -> String {
    let value = if value.contains("://") { value.split('?').next().unwrap_or_default() } else { value };
    let shown: String = value.chars().take(LONGEST_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if value.chars().nth(LONGEST_SHOWN).is_some() { shown + "…" } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_request_may_ask_is_named() {
        let mut gathering = Gathering::of("x");
        gathering.take(Field::Width, "w", "500");
        gathering.take(Field::Height, "h", "512");
        gathering.take(Field::Seed, "seed", "-1");
        gathering.take(Field::Sampler, "sampler", "no such thing");
        let recipe = gathering.finish();
        assert_eq!((recipe.size, recipe.seed, recipe.sampler), (None, None, None));
        assert_eq!(recipe.not_understood, ["seed: -1", "w: 500", "h: 512", "sampler: no such thing"]);
    }

    #[test]
    fn what_cannot_be_done_the_same_is_told_and_named() {
        let mut gathering = Gathering::of("x");
        gathering.take(Field::ClipSkip, "Clip skip", "2");
        gathering.take(Field::VariationSeed, "Variation seed", "7");
        gathering.lora(ReadLora { name: "ink".into(), weight: Some(0.8), hash: None });
        let recipe = gathering.finish();
        assert_eq!((recipe.clip_skip, recipe.variation_seed, recipe.loras.len()), (Some(2), Some(7), 1));
        assert_eq!(recipe.not_understood, ["LoRA: ink (0.8)"]);
    }

    #[test]
    fn sizes_are_read_in_every_spelling() {
        let wanted = ImageSize::new(768, 1280).ok();
        for text in ["768x1280", "(768, 1280)", "768 x 1280", "768×1280", "[768, 1280]"] {
            assert_eq!(size(text), wanted, "{text}");
        }
    }

    #[test]
    fn thousands_of_keys_are_counted_not_kept() {
        let mut gathering = Gathering::of("x");
        for _ in 0..5000 {
            gathering.cannot_follow("key", &"v".repeat(500));
        }
        let recipe = gathering.finish();
        assert_eq!(recipe.not_understood.len(), MOST_NOT_UNDERSTOOD);
        assert_eq!(recipe.not_understood.last().unwrap(), "and 4969 more");
    }
}
