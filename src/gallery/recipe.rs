//! From an infotext of any program to the settings that this build has.

use std::str::FromStr;

use crate::gallery::infotext::InfoText;
use crate::gallery::record::ReadRecipe;
use crate::request::{GuidanceScale, ImageSize, SamplerKind, ScheduleKind, Seed, Steps, Strength};

/// Keys that do not say how the picture was drawn, or that are used elsewhere here.
const NOT_SETTINGS: &[&str] = &["Schedule type", "Model", "Model hash", "Hashes", "Version", "App"];
/// Values that say what this build does anyway.
const AS_HERE: &[(&str, &str)] = &[("Clip skip", "1"), ("RNG", "CPU")];
/// A hostile file may have thousands of keys; people read a few.
const MOST_NOT_UNDERSTOOD: usize = 32;
/// The most characters shown of one value that was not understood.
const LONGEST_SHOWN: usize = 80;

/// What this build can do the same. What it cannot is listed; nothing is invented for what the text does not say.
#[must_use]
pub fn understand(info: &InfoText) -> ReadRecipe {
    let mut reader = Reader { info, used: Vec::new() };
    let (sampler, schedule_in_sampler) = reader.read("Sampler", sampler_and_schedule).unzip();
    let schedule = reader.read("Schedule type", |name| schedule(name, sampler));
    let is_scheduled = info.get("Schedule type").is_some();
    // With a second pass the strength is that pass's, not that of a start image.
    let has_second_pass = info.parameters.iter().any(|(key, _)| key.to_ascii_lowercase().starts_with("hires"));
    let strength = if has_second_pass { None } else { reader.read("Denoising strength", strength) };
    ReadRecipe {
        prompt: info.prompt.clone(),
        negative_prompt: info.negative_prompt.clone(),
        model: info.get("Model").filter(|name| !name.is_empty()).map(str::to_owned),
        steps: reader.read("Steps", |text| Steps::new(text.parse().ok()?).ok()),
        guidance: reader.read("CFG scale", |text| GuidanceScale::new(text.parse().ok()?).ok()),
        sampler,
        schedule: if is_scheduled { schedule } else { schedule_in_sampler },
        seed: reader.read("Seed", |text| Some(Seed(text.parse().ok()?))),
        size: reader.read("Size", size),
        strength,
        not_understood: reader.not_understood(is_scheduled && schedule.is_none()),
    }
}

/// Remembers which keys were of use.
struct Reader<'a> {
    info: &'a InfoText,
    used: Vec<&'static str>,
}

impl Reader<'_> {
    fn read<T>(&mut self, key: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = parse(self.info.get(key)?)?;
        self.used.push(key);
        Some(value)
    }

    fn not_understood(&self, schedule_too: bool) -> Vec<String> {
        let is_known = |key: &str, value: &str| {
            let is = |name: &&str| key.eq_ignore_ascii_case(name);
            (NOT_SETTINGS.iter().any(is) && !(schedule_too && is(&"Schedule type")))
                || self.used.iter().any(is)
                || AS_HERE.iter().any(|(name, as_here)| is(name) && *as_here == value)
        };
        let unknown = self.info.parameters.iter().filter(|(key, value)| !is_known(key, value));
        unknown.take(MOST_NOT_UNDERSTOOD).map(|(key, value)| format!("{key}: {}", shortened(value))).collect()
    }
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// A sampler's name as A1111 ("DPM++ 2M Karras"), k-diffusion (`sample_dpmpp_2m`) or stable-diffusion.cpp
/// (`euler_a karras`) write it. Before A1111 1.9 the schedule stood here, and its absence meant the model's own.
fn sampler_and_schedule(name: &str) -> Option<(SamplerKind, ScheduleKind)> {
    let name = name.trim().to_lowercase();
    let (name, schedule) = if let Some(name) = name.strip_suffix("karras") {
        (name, ScheduleKind::Karras)
    } else {
        (name.strip_suffix(" discrete").unwrap_or(&name), ScheduleKind::Model)
    };
    let name = name.strip_prefix("sample_").unwrap_or(name);
    let name = name.strip_prefix("k_").unwrap_or(name);
    let letters: String = name.chars().filter(|c| c.is_alphanumeric() || *c == '+').collect();
    let sampler = match letters.as_str() {
        "ddim" => SamplerKind::Ddim,
        "ddpm" => SamplerKind::Ddpm,
        "euler" => SamplerKind::Euler,
        "eulera" | "eulerancestral" => SamplerKind::EulerAncestral,
        "heun" => SamplerKind::Heun,
        "dpm++2m" | "dpmpp2m" => SamplerKind::DpmPlusPlus2M,
        _ => letters.parse().ok()?,
    };
    Some((sampler, schedule))
}

/// A1111's "Automatic" is each sampler's own choice: Karras for DPM++ 2M, else the model's levels.
fn schedule(name: &str, sampler: Option<SamplerKind>) -> Option<ScheduleKind> {
    match name.to_lowercase().as_str() {
        "karras" => Some(ScheduleKind::Karras),
        "uniform" | "discrete" => Some(ScheduleKind::Model),
        "automatic" => Some(ScheduleKind::Automatic.resolved_for(sampler?)),
        name => name.parse().ok(),
    }
}

fn size(text: &str) -> Option<ImageSize> {
    let (width, height) = text.split_once('x')?;
    ImageSize::new(parsed(width)?, parsed(height)?).ok()
}

fn strength(text: &str) -> Option<Strength> {
    Strength::new(parsed(text)?).ok()
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gallery::infotext;
    use crate::gallery::record::samples::{any_record, any_text};

    fn read(settings: &str) -> ReadRecipe {
        understand(&InfoText::parse(&format!("a fox\n{settings}")))
    }

    #[test]
    fn a_picture_of_a1111_is_understood() {
        let recipe = read(
            "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 4294967296, Size: 512x768, \
             Model hash: abcdef1234, Model: v1-5, Clip skip: 2, Version: v1.10.1",
        );
        assert_eq!(recipe.steps, Some(Steps::new(20).unwrap()));
        assert_eq!((recipe.sampler, recipe.schedule), (Some(SamplerKind::DpmPlusPlus2M), Some(ScheduleKind::Karras)));
        assert_eq!(recipe.guidance, Some(GuidanceScale::new(7.0).unwrap()));
        assert_eq!((recipe.seed, recipe.size), (Some(Seed(1 << 32)), Some(ImageSize::new(512, 768).unwrap())));
        assert_eq!((recipe.model.as_deref(), recipe.strength), (Some("v1-5"), None));
        assert_eq!(recipe.not_understood, ["Clip skip: 2"]);
    }

    #[test]
    fn an_old_name_holds_the_schedule() {
        let recipe = read("Steps: 20, Sampler: DPM++ 2M Karras, Seed: 1");
        assert_eq!((recipe.sampler, recipe.schedule), (Some(SamplerKind::DpmPlusPlus2M), Some(ScheduleKind::Karras)));
        let recipe = read("Steps: 20, Sampler: DPM++ 2M, Seed: 1");
        assert_eq!(recipe.schedule, Some(ScheduleKind::Model));
    }

    #[test]
    fn automatic_means_what_the_sampler_prefers() {
        let with = |sampler| read(&format!("Steps: 1, Sampler: {sampler}, Schedule type: Automatic")).schedule;
        assert_eq!(with("DPM++ 2M"), Some(ScheduleKind::Karras));
        assert_eq!(with("Euler a"), Some(ScheduleKind::Model));
        assert_eq!(with("DPM++ 3M SDE"), Some(ScheduleKind::Exponential));
        assert_eq!(with("PLMS"), None);
    }

    #[test]
    fn stable_diffusion_cpp_is_understood() {
        let recipe = read(
            "Steps: 20, CFG scale: 7.000000, Guidance: 3.500000, Eta: inf, Seed: 42, Size: 512x512, Model: , RNG: cuda, \
             Sampler: euler_a karras, Version: stable-diffusion.cpp, SDCPP: {\"schema\": \"sdcpp.image.params/v1\", \"a\": 1}",
        );
        assert_eq!((recipe.sampler, recipe.schedule), (Some(SamplerKind::EulerAncestral), Some(ScheduleKind::Karras)));
        assert_eq!((recipe.guidance, recipe.model), (Some(GuidanceScale::new(7.0).unwrap()), None));
        assert_eq!(recipe.not_understood[..3], ["Guidance: 3.500000", "Eta: inf", "RNG: cuda"]);
        assert!(recipe.not_understood[3].starts_with("SDCPP: {"));
    }

    #[test]
    fn what_no_request_may_ask_is_listed_and_not_bent() {
        let recipe = read(
            "Steps: 0, Sampler: Undefined, Schedule type: Turbo, CFG scale: nan, Seed: -1, Size: 500x500, \
             Denoising strength: 0",
        );
        assert_eq!(
            recipe,
            ReadRecipe {
                prompt: "a fox".into(),
                not_understood: recipe.not_understood.clone(),
                ..ReadRecipe::default()
            }
        );
        assert_eq!(recipe.not_understood.len(), 7);
        assert!(recipe.not_understood.contains(&"Schedule type: Turbo".to_owned()));
    }

    #[test]
    fn the_strength_of_a_second_pass_is_not_that_of_a_start_image() {
        let recipe = read("Steps: 20, Sampler: Euler, Denoising strength: 0.7, Hires upscale: 2, Seed: 1");
        assert_eq!(recipe.strength, None);
        assert_eq!(recipe.not_understood, ["Denoising strength: 0.7", "Hires upscale: 2"]);
        assert_eq!(
            read("Steps: 20, Sampler: Euler, Denoising strength: 0.7").strength,
            Some(Strength::new(0.7).unwrap())
        );
    }

    #[test]
    fn a_sampler_that_is_not_in_the_file_is_not_invented() {
        let recipe = read("Steps: 20, Size: 512x512, Seed: 3, App: SD.Next");
        assert_eq!((recipe.sampler, recipe.schedule), (None, None));
        assert!(recipe.not_understood.is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_understood_as_far_as_it_goes(text in any_text()) {
            let recipe = understand(&InfoText::parse(&text));
            prop_assert!(recipe.not_understood.len() <= MOST_NOT_UNDERSTOOD);
        }

        #[test]
        fn our_own_infotext_gives_every_setting_back(record in any_record()) {
            let recipe = understand(&InfoText::parse(&infotext::write(&record)));
            let mut truth = ReadRecipe::from(&record);
            // "Automatic" is written as what it came to.
            truth.schedule = Some(record.request.schedule.resolved_for(record.request.sampler));
            prop_assert_eq!(&recipe.not_understood, &Vec::<String>::new());
            prop_assert_eq!(
                (recipe.steps, recipe.guidance, recipe.sampler, recipe.schedule, recipe.seed, recipe.size, recipe.strength),
                (truth.steps, truth.guidance, truth.sampler, truth.schedule, truth.seed, truth.size, truth.strength)
            );
        }
    }
}
