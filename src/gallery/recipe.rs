//! From an infotext of any program to the settings that this build has.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::gallery::foreign::fields::{Field, Gathering, Keys, finite};
use crate::gallery::foreign::json;
use crate::gallery::infotext::InfoText;
use crate::gallery::record::{ReadLora, ReadRecipe};
use crate::request::{
    Dialect, Emphasis, NoiseSourceKind, Precision, RecordedEmbedding, RecordedVae, SamplerKind, ScheduleKind, Template,
};

/// What A1111's keys mean; its forks' are among them.
const KEYS: Keys = &[
    ("Steps", Field::Steps),
    ("Sampler", Field::Sampler),
    ("Schedule type", Field::Schedule),
    ("CFG scale", Field::Guidance),
    ("Seed", Field::Seed),
    ("Size", Field::Size),
    ("Model", Field::Model),
    ("Model hash", Field::ModelHash),
    ("Clip skip", Field::ClipSkip),
    ("Variation seed", Field::VariationSeed),
    ("Variation seed strength", Field::VariationStrength),
    ("Seed resize from", Field::SeedResize),
    ("ENSD", Field::NoiseDelta),
    ("Eta", Field::Eta),
    ("Eta DDIM", Field::Eta),
    ("Sigma churn", Field::Churn),
    ("Sigma tmin", Field::ChurnFrom),
    ("Sigma tmax", Field::ChurnTo),
    ("Sigma noise", Field::NoiseFactor),
    ("Guidance rescale", Field::GuidanceRescale),
    ("Guidance from", Field::GuidanceFrom),
    ("Guidance to", Field::GuidanceTo),
    ("DeepCache interval", Field::CachingInterval),
    ("DeepCache branch", Field::CachingBranch),
    ("Token merging ratio", Field::TokenMerging),
    ("Decoded in tiles", Field::Tiles),
    ("Sigmas", Field::Sigmas),
    ("Told original size", Field::OriginalSize),
    ("Told crop", Field::Crop),
    ("Told target size", Field::TargetSize),
    ("Denoising strength", Field::Denoise),
    ("Version", Field::Aside),
    ("App", Field::Aside),
];
/// What is read together below.
const KEYS_OF_HASHES: &[&str] = &["Hashes", "Lora hashes", "TI hashes"];
/// What programs write for the model's own VAE.
const NO_VAE: &[&str] = &["", "None", "Automatic", "Built in", "Baked VAE"];
/// Values that say what this build does anyway.
const AS_HERE: &[(&str, &str)] = &[("ENSD", "0")];
/// How the value of `Version` begins in each program, the longer first.
const VERSIONS: &[(&str, &str)] = &[
    ("stable-diffusion.cpp", "stable-diffusion.cpp"),
    ("Calotype", "Calotype"),
    ("Fooocus", "Fooocus"),
    ("ComfyUI", "ComfyUI"),
    ("neo", "Forge Neo"),
    ("f", "Forge"),
];

/// What this build can do the same. What it cannot is listed; nothing is invented for what the text does not say.
#[must_use]
pub fn understand(info: &InfoText) -> ReadRecipe {
    let mut gathering = tool(info).map_or_else(Gathering::default, |tool| Gathering::of(&tool));
    gathering.take(Field::Prompt, "Prompt", &info.prompt);
    gathering.take(Field::NegativePrompt, "Negative prompt", &info.negative_prompt);
    if info.get("App").is_none() {
        // Before 1.9 the schedule was part of the sampler's name, and later A1111 writes every one that it uses but its
        // default: no word means k-diffusion's even timesteps. SD.Next leaves out what is its user's default.
        gathering.unsaid_schedule_is(ScheduleKind::Normal);
    }
    // With a second pass the strength is that pass's, not that of a start image.
    let has_second_pass = info.parameters.iter().any(|(key, _)| key.to_ascii_lowercase().starts_with("hires"));
    let mut seen = BTreeSet::new();
    for (key, value) in &info.parameters {
        let is_key = |name: &str| key.eq_ignore_ascii_case(name);
        let is_as_here = AS_HERE.iter().any(|(name, as_here)| is_key(name) && value == as_here);
        // sd.cpp writes a key twice, and a value with colons makes keys of its own: the first counts.
        let is_repeated = !seen.insert(key.to_ascii_lowercase());
        if is_as_here || is_repeated || value.is_empty() || KEYS_OF_HASHES.iter().any(|key| is_key(key)) {
            continue;
        }
        let is_read_below = match key.to_ascii_lowercase().as_str() {
            "rng" => noise_source(value).is_some(),
            "emphasis" => emphasis(value).is_some(),
            "precision" => value.parse::<Precision>().is_ok(),
            "prompt language" => dialect(value).is_some(),
            "template" | "negative template" | "vae" | "vae hash" | "card" => true,
            _ => false,
        };
        if is_read_below {
            continue;
        }
        match KEYS.iter().find(|(name, _)| is_key(name)) {
            Some((_, Field::Denoise)) if has_second_pass => gathering.cannot_follow(key, value),
            Some((_, field)) => gathering.take(*field, key, value),
            None if is_key("Civitai resources") => civitai_resources(&mut gathering, key, value),
            None => gathering.cannot_follow(key, value),
        }
    }
    hashes(&mut gathering, info);
    let mut recipe = gathering.finish();
    recipe.embeddings = embeddings(info);
    recipe.precision =
        info.get("Precision").and_then(|name| name.parse::<Precision>().ok()).and_then(Precision::recorded);
    recipe.card = info.get("Card").map(str::to_owned);
    if recipe.tool.as_deref() == Some("AUTOMATIC1111") && recipe.sampler.is_some_and(SamplerKind::has_own_grid) {
        // It names a schedule for these too, and does not look at it.
        recipe.schedule = Some(ScheduleKind::Model);
    }
    recipe.noise_source = match info.get("RNG") {
        Some(name) => noise_source(name),
        // What A1111 leaves out is its default, the card's noise; and so do we.
        None => matches!(recipe.tool.as_deref(), Some("AUTOMATIC1111" | "Calotype")).then_some(NoiseSourceKind::Philox),
    };
    recipe.dialect = info.get("Prompt language").and_then(dialect);
    // What is left out is A1111's usual, whatever the language.
    let usual = recipe.dialect.map(|_| Emphasis::Original);
    recipe.emphasis = info.get("Emphasis").and_then(emphasis).or(usual);
    let template = |key: &str| info.get(key).unwrap_or_default().to_owned();
    let template = Template { prompt: template("Template"), negative_prompt: template("Negative Template") };
    recipe.template = (template != Template::default()).then_some(template);
    recipe.vae = vae(info);
    recipe
}

/// The VAE, where one is named that was chosen beside the model.
fn vae(info: &InfoText) -> Option<RecordedVae> {
    let name = info.get("VAE").map(str::trim).filter(|name| !NO_VAE.iter().any(|no| name.eq_ignore_ascii_case(no)))?;
    let hash = info.get("VAE hash").map(str::trim).filter(|hash| !hash.is_empty() && *hash != "None");
    Some(RecordedVae { name: name.to_owned(), hash: hash.map(str::to_owned) })
}

/// By the name that we write.
fn dialect(name: &str) -> Option<Dialect> {
    Dialect::ALL.iter().copied().find(|dialect| dialect.label().eq_ignore_ascii_case(name))
}

/// A1111's and stable-diffusion.cpp's names of the generators; "GPU" is taken for an NVIDIA card's.
fn noise_source(name: &str) -> Option<NoiseSourceKind> {
    match name.to_ascii_lowercase().as_str() {
        "cpu" => Some(NoiseSourceKind::TorchCpu),
        "gpu" | "nv" | "cuda" => Some(NoiseSourceKind::Philox),
        "comfyui" => Some(NoiseSourceKind::ComfyUi),
        _ => None,
    }
}

/// A1111's names of what weights do; its "None" reads no brackets at all, which nothing here does.
fn emphasis(name: &str) -> Option<Emphasis> {
    Emphasis::ALL.iter().copied().find(|emphasis| emphasis.label().eq_ignore_ascii_case(name))
}

/// The program, by what it writes about itself; a text with A1111's settings and no such word is from its first year.
fn tool(info: &InfoText) -> Option<String> {
    if let Some(app) = info.get("App") {
        return Some(app.to_owned());
    }
    if info.get("Civitai resources").is_some() {
        return Some("Civitai".to_owned());
    }
    info.get("Steps")?;
    let known = info.get("Version").and_then(|version| VERSIONS.iter().find(|(begin, _)| version.starts_with(begin)));
    Some(known.map_or("AUTOMATIC1111", |(_, tool)| tool).to_owned())
}

/// Civitai's own generator names no model; it stands among the resources.
fn civitai_resources(gathering: &mut Gathering, key: &str, value: &str) {
    let Some(Value::Array(resources)) = json::any(value) else { return gathering.cannot_follow(key, value) };
    for resource in &resources {
        let said = |key: &str| resource.get(key).filter(|value| !json::says_nothing(value)).map(json::plain);
        let name = match (said("modelName"), said("modelVersionName")) {
            (Some(name), Some(version)) => Some(format!("{name} {version}")),
            (name, _) => name,
        };
        match (said("type").as_deref(), name) {
            (Some("checkpoint"), Some(name)) => gathering.take(Field::Model, key, &name),
            (Some("lora" | "lycoris" | "locon"), Some(name)) => {
                let weight = resource.get("weight").and_then(Value::as_f64);
                gathering.lora(ReadLora { name, weight, hash: None });
            }
            // The version's number alone is no name.
            _ => gathering.cannot_follow("Civitai resource", &resource.to_string()),
        }
    }
}

/// The LoRAs that the prompt calls, with the hashes that stand in the settings.
fn hashes(gathering: &mut Gathering, info: &InfoText) {
    let mut known: Vec<(String, String)> = Vec::new();
    if let Some(list) = info.get("Lora hashes") {
        let pairs = list.split(',').filter_map(|pair| pair.rsplit_once(':'));
        known.extend(pairs.map(|(name, hash)| (name.trim().to_owned(), hash.trim().to_owned())));
    }
    for (key, hash) in info.get("Hashes").and_then(json::object).unwrap_or_default() {
        match key.strip_prefix("lora:").or_else(|| key.strip_prefix("LORA:")) {
            Some(name) if known.iter().all(|(known, _)| known != name) => {
                known.push((name.to_owned(), json::plain(&hash)));
            }
            None if key == "model" && info.get("Model hash").is_none() => {
                gathering.take(Field::ModelHash, &key, &json::plain(&hash));
            }
            _ => {}
        }
    }
    for (name, weight) in called_loras(&info.prompt) {
        let at = known.iter().position(|(known, _)| *known == name);
        let hash = at.map(|at| known.swap_remove(at).1);
        gathering.lora(ReadLora { name, weight, hash });
    }
    for (name, hash) in known.into_iter().take(MOST_HASHES) {
        gathering.lora(ReadLora { name, weight: None, hash: Some(hash) });
    }
}

/// The embeddings that the settings name.
fn embeddings(info: &InfoText) -> Vec<RecordedEmbedding> {
    let listed = info.get("TI hashes").into_iter().flat_map(|list| list.split(','));
    let named = listed.filter_map(|pair| pair.rsplit_once(':')).take(MOST_HASHES);
    let embedding = |(word, hash): (&str, &str)| (word.trim().to_owned(), hash.trim().to_owned());
    named.map(embedding).map(|(word, hash)| RecordedEmbedding { word, hash }).collect()
}

/// The most hashes that no call of the prompt has.
const MOST_HASHES: usize = 64;

/// The names and weights of `<lora:name:weight>`; without a number the weight is 1.
fn called_loras(prompt: &str) -> Vec<(String, Option<f64>)> {
    let calls = prompt.split('<').skip(1).filter_map(|rest| {
        let inside = rest.split_once('>')?.0.strip_prefix("lora:").filter(|inside| !inside.is_empty())?;
        let (name, weight) = inside.split_once(':').unwrap_or((inside, "1"));
        Some((name.to_owned(), finite(weight.split(':').next()?)))
    });
    calls.take(MOST_HASHES).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gallery::foreign::fields::MOST_NOT_UNDERSTOOD;
    use crate::gallery::infotext;
    use crate::gallery::record::PictureRecord;
    use crate::gallery::record::samples::{any_record, any_text};
    use crate::request::{GuidanceScale, ImageSize, Seed, Steps, Strength};

    #[test]
    fn the_precision_is_read_where_it_is_one_of_ours() {
        assert_eq!(read("Steps: 20, Sampler: Euler, Precision: bf16").precision.as_deref(), Some("bf16"));
        assert_eq!(read("Steps: 20, Sampler: Euler, Precision: f32").precision, None);
        assert_eq!(read("Steps: 20, Sampler: Euler, Card: \"A, B\"").card.as_deref(), Some("A, B"));
        let other = read("Steps: 20, Sampler: Euler, Precision: fp8");
        assert_eq!((other.precision, other.not_understood), (None, vec!["Precision: fp8".to_owned()]));
    }

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
        assert_eq!((recipe.clip_skip, recipe.not_understood.len()), (Some(2), 0));
        assert_eq!(recipe.noise_source, Some(NoiseSourceKind::Philox), "no word means the card's");
        assert_eq!(read("Steps: 20, Sampler: Euler, RNG: CPU").noise_source, Some(NoiseSourceKind::TorchCpu));
    }

    #[test]
    fn what_weights_do_is_understood_and_another_way_is_named() {
        let with = |name| read(&format!("Steps: 20, Sampler: Euler, Emphasis: {name}"));
        assert_eq!((with("No norm").emphasis, with("No norm").not_understood.len()), (Some(Emphasis::NoNorm), 0));
        assert_eq!((with("None").emphasis, with("None").not_understood), (None, vec!["Emphasis: None".to_owned()]));
    }

    #[test]
    fn token_merging_is_understood_as_far_as_it_goes_here() {
        let with = |ratio| read(&format!("Steps: 20, Sampler: Euler, Token merging ratio: {ratio}"));
        let half = with("0.5");
        assert_eq!((half.accelerations.token_merging.get(), half.not_understood.len()), (0.5, 0));
        assert_eq!(with("0.9").not_understood, ["Token merging ratio: 0.9"]);
    }

    #[test]
    fn an_old_name_holds_the_schedule() {
        let recipe = read("Steps: 20, Sampler: DPM++ 2M Karras, Seed: 1");
        assert_eq!((recipe.sampler, recipe.schedule), (Some(SamplerKind::DpmPlusPlus2M), Some(ScheduleKind::Karras)));
        let recipe = read("Steps: 20, Sampler: DPM++ 2M, Seed: 1");
        assert_eq!(recipe.schedule, Some(ScheduleKind::Normal));
        let recipe = read("Steps: 20, Sampler: DDIM, Schedule type: Karras, Seed: 1");
        assert_eq!(recipe.schedule, Some(ScheduleKind::Model), "it has a grid of its own");
    }

    #[test]
    fn automatic_means_what_the_sampler_prefers() {
        let with = |sampler| read(&format!("Steps: 1, Sampler: {sampler}, Schedule type: Automatic")).schedule;
        assert_eq!(with("DPM++ 2M"), Some(ScheduleKind::Karras));
        assert_eq!(with("Euler a"), Some(ScheduleKind::Normal));
        assert_eq!(with("DPM++ 3M SDE"), Some(ScheduleKind::Exponential));
        assert_eq!(with("PLMS"), Some(ScheduleKind::Model));
    }

    #[test]
    fn stable_diffusion_cpp_is_understood() {
        let recipe = read(
            "Steps: 20, CFG scale: 7.000000, Guidance: 3.500000, Eta: inf, Seed: 42, Size: 512x512, Model: , RNG: cuda, \
             Sampler: euler_a karras, Version: stable-diffusion.cpp, SDCPP: {\"schema\": \"sdcpp.image.params/v1\", \"a\": 1}",
        );
        assert_eq!((recipe.sampler, recipe.schedule), (Some(SamplerKind::EulerAncestral), Some(ScheduleKind::Karras)));
        assert_eq!((recipe.guidance, recipe.model), (Some(GuidanceScale::new(7.0).unwrap()), None));
        assert_eq!(recipe.noise_source, Some(NoiseSourceKind::Philox));
        assert_eq!(recipe.not_understood[..2], ["Guidance: 3.500000", "Eta: inf"]);
        assert!(recipe.not_understood[2].starts_with("SDCPP: {"));
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
                tool: Some("AUTOMATIC1111".into()),
                noise_source: Some(NoiseSourceKind::Philox),
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
    fn loras_and_hashes_are_read() {
        let info = InfoText::parse(
            "a fox <lora:ink:0.8> <lora:snow>\nSteps: 20, Sampler: Euler, Seed: 1, Lora hashes: \"ink: 0123abcd\", \
             Hashes: {\"model\": \"cafe\", \"lora:snow\": \"beef\"}, \
             TI hashes: \"a: b: f00d, c: d00f\"",
        );
        let recipe = understand(&info);
        assert_eq!(recipe.model_hash.as_deref(), Some("cafe"));
        let named = |word: &str, hash: &str| RecordedEmbedding { word: word.to_owned(), hash: hash.to_owned() };
        assert_eq!(recipe.embeddings, [named("a: b", "f00d"), named("c", "d00f")]);
        let loras: Vec<_> =
            recipe.loras.iter().map(|lora| (lora.name.as_str(), lora.weight, lora.hash.as_deref())).collect();
        assert_eq!(loras, [("ink", Some(0.8), Some("0123abcd")), ("snow", Some(1.0), Some("beef"))]);
        assert_eq!(recipe.not_understood, ["LoRA: ink (0.8)", "LoRA: snow (1)"]);
    }

    #[test]
    fn the_program_is_told_by_its_version() {
        let tool = |settings: &str| read(&format!("Steps: 20, Seed: 1, {settings}")).tool;
        assert_eq!(tool("Sampler: Euler, Version: v1.10.1").as_deref(), Some("AUTOMATIC1111"));
        assert_eq!(tool("Sampler: Euler, Version: f2.0.1v1.10.1-previous-313").as_deref(), Some("Forge"));
        assert_eq!(tool("App: SD.Next, Version: ab12cd").as_deref(), Some("SD.Next"));
        assert_eq!(understand(&InfoText::parse("just a prompt")).tool, None);
    }

    #[test]
    fn a_picture_of_civitai_names_its_model_among_the_resources() {
        let recipe = read(
            "Steps: 25, Sampler: Undefined, CFG scale: 4, Seed: 9, Size: 832x1216, Clip skip: 2, Civitai resources: \
             [{\"type\":\"checkpoint\",\"modelVersionId\":1,\"modelName\":\"Dream\",\"modelVersionName\":\"v8\"},\
             {\"type\":\"lora\",\"weight\":0.5,\"modelName\":\"Ink\"},{\"modelVersionId\":7}]",
        );
        assert_eq!((recipe.tool.as_deref(), recipe.model.as_deref()), (Some("Civitai"), Some("Dream v8")));
        assert_eq!((recipe.loras[0].name.as_str(), recipe.clip_skip, recipe.sampler), ("Ink", Some(2), None));
        for part in ["LoRA: Ink (0.5)", "Civitai resource: {\"modelVersionId\":7}", "Sampler: Undefined"] {
            assert!(recipe.not_understood.iter().any(|other| other == part), "{part}: {:?}", recipe.not_understood);
        }
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
        fn our_own_infotext_gives_every_setting_back(record in any_record(), card in proptest::option::of("[A-Z][a-z,: ]{0,9}[a-z]")) {
            let record = PictureRecord { card, ..record };
            let recipe = understand(&InfoText::parse(&infotext::write(&record)));
            let mut truth = ReadRecipe::from(&record);
            // "Automatic" is written as what it came to.
            let schedule = record.request.schedule.resolved_for(record.request.sampler);
            let has_own_grid = record.request.sampler.has_own_grid();
            truth.schedule = Some(match schedule {
                // The model's own has no name of its own.
                ScheduleKind::Model | ScheduleKind::Normal if !has_own_grid => ScheduleKind::Normal,
                schedule => schedule,
            });
            prop_assert_eq!(recipe.noise_source, truth.noise_source);
            prop_assert_eq!(&recipe.not_understood, &Vec::<String>::new());
            prop_assert_eq!(recipe.micro_conditioning, truth.micro_conditioning);
            prop_assert_eq!((&recipe.sampler_options, &recipe.sigmas), (&truth.sampler_options, &truth.sigmas));
            prop_assert_eq!(
                (recipe.guidance_rescale, recipe.variation_seed, recipe.variation_strength, recipe.seed_resize),
                (truth.guidance_rescale, truth.variation_seed, truth.variation_strength, truth.seed_resize)
            );
            prop_assert_eq!((recipe.accelerations, recipe.card), (truth.accelerations, truth.card));
            prop_assert_eq!((recipe.noise_delta, recipe.emphasis), (truth.noise_delta, truth.emphasis));
            prop_assert_eq!(
                (recipe.steps, recipe.guidance, recipe.sampler, recipe.schedule, recipe.seed, recipe.size, recipe.strength),
                (truth.steps, truth.guidance, truth.sampler, truth.schedule, truth.seed, truth.size, truth.strength)
            );
        }
    }
}
