//! `calotype info`: the recipe stored in a picture, or in what the recipes of two pictures differ.

use std::path::Path;

use serde_json::{Value, json};

use super::Failure;
use super::options::InfoOptions;
use super::report::{print_error, print_text};
use crate::gallery::record::{ReadRecipe, differences};
use crate::gallery::{Said, read_recipe};
use crate::request::{
    Accelerations, Crop, Dialect, Emphasis, GuidanceRescale, GuidanceScale, ImageSize, NoiseSourceKind,
    PredictionOverride, SamplerKind, ScheduleKind, Sigmas, Steps, Strength,
};

pub(super) fn run(options: &InfoOptions) -> Result<(), Failure> {
    let (said, recipe) = opened(&options.image)?;
    if let Some(other) = &options.other {
        let (_, other) = opened(other)?;
        print_differences(&recipe, &other);
    } else if options.json {
        print_text(&as_json(&recipe).to_string());
    } else if let Some(infotext) = &said.infotext {
        print_text(infotext);
        // The text stands alone on stdout: it can be given to other programs.
        recipe.not_understood.iter().for_each(|part| print_error(&format!("not understood: {part}")));
    } else {
        print_text(&listing(&recipe));
    }
    Ok(())
}

fn opened(path: &Path) -> Result<(Said, ReadRecipe), Failure> {
    let mut said = read_recipe(path).map_err(|error| Failure::Work(error.for_people()))?;
    if let Some(warning) = &said.warning {
        print_error(warning);
    }
    if let Some(recipe) = said.recipe.take() {
        return Ok((said, recipe));
    }
    // For the program that it is of: what is on stdout can go into a file.
    said.unread.iter().for_each(|text| print_text(text));
    Err(Failure::Work(format!("no recipe that can be read is stored in {}", path.display())))
}

/// What the file does not hold is null.
fn as_json(recipe: &ReadRecipe) -> Value {
    let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let unusual = |value: f64, usual: f64| (value != usual).then_some(value);
    let loras: Vec<Value> =
        recipe.loras.iter().map(|lora| json!({"name": lora.name, "weight": lora.weight, "hash": lora.hash})).collect();
    json!({
        "tool": recipe.tool,
        "text_encoders": Some(&recipe.text_encoders).filter(|names| !names.is_empty()),
        "precision": recipe.precision,
        "prediction": recipe.prediction.map(PredictionOverride::name),
        "vae": recipe.vae.as_ref().map(|vae| json!({"name": vae.name, "hash": vae.hash})),
        "prompt": text(&recipe.prompt),
        "negative_prompt": text(&recipe.negative_prompt),
        "seed": recipe.seed.map(|seed| seed.0),
        "steps": recipe.steps.map(Steps::get),
        "guidance": recipe.guidance.map(GuidanceScale::get),
        "sampler": recipe.sampler.map(SamplerKind::name),
        "schedule": recipe.schedule.map(ScheduleKind::name),
        "width": recipe.size.map(ImageSize::width),
        "height": recipe.size.map(ImageSize::height),
        "model": recipe.model,
        "model_hash": recipe.model_hash,
        "clip_skip": recipe.clip_skip,
        "dialect": recipe.dialect.map(Dialect::name),
        "template": recipe.template.as_ref().and_then(|template| text(&template.prompt)),
        "negative_template": recipe.template.as_ref().and_then(|template| text(&template.negative_prompt)),
        "noise": recipe.noise_source.map(NoiseSourceKind::name),
        "variation_seed": recipe.variation_seed,
        "variation_strength": recipe.variation_strength,
        "seed_resize": recipe.seed_resize.map(|size| size.to_string()),
        "noise_seed_delta": recipe.noise_delta,
        "guidance_rescale": recipe.guidance_rescale.map(GuidanceRescale::get),
        "accelerations": Some(recipe.accelerations).filter(|faster| *faster != Accelerations::default()),
        "eta": recipe.sampler_options.eta(),
        "s_churn": unusual(recipe.sampler_options.churn(), 0.0),
        "s_tmin": unusual(recipe.sampler_options.churn_from(), 0.0),
        "s_tmax": unusual(recipe.sampler_options.churn_to(), f64::INFINITY),
        "s_noise": unusual(recipe.sampler_options.noise_factor(), 1.0),
        "sigmas": recipe.sigmas.as_ref().map(Sigmas::as_slice),
        "original_size": recipe.micro_conditioning.original_size.map(|size| size.to_string()),
        "crop": Some(recipe.micro_conditioning.crop).filter(|crop| *crop != Crop::default()).map(|crop| crop.to_string()),
        "target_size": recipe.micro_conditioning.target_size.map(|size| size.to_string()),
        "emphasis": recipe.emphasis.map(Emphasis::name),
        "denoise": recipe.strength.map(Strength::get),
        "loras": Some(loras).filter(|loras| !loras.is_empty()),
        "not_understood": recipe.not_understood,
    })
}

fn listing(recipe: &ReadRecipe) -> String {
    let mut lines: Vec<String> = recipe.facts().into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    lines.extend(recipe.not_understood.iter().map(|part| format!("Not understood: {part}")));
    lines.join("\n")
}

fn print_differences(left: &ReadRecipe, right: &ReadRecipe) {
    let found = differences(left, right);
    if found.is_empty() {
        return print_text("the recipes are the same");
    }
    let shown = |value: Option<String>| value.unwrap_or_else(|| "not said".to_owned());
    for (name, left, right) in found {
        print_text(&format!("{name}:\n  {}\n  {}", shown(left), shown(right)));
    }
}
