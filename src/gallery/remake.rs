//! What a picture's file asks for, when the picture is to be made again.

use crate::gallery::message::OpenedPicture;
use crate::gallery::record::ReadRecipe;
use crate::request::{ClipSkip, GenerationRequest, ImageSize, ImageToImage, Sigmas};

/// The name by which reasons speak of a start image that the file does not name.
const A_PICTURE: &str = "a picture";

/// The request that made the picture, as far as the file tells; else every reason why it cannot be known.
///
/// What a file of ours does not say is as it was then. Of others what their recipes do not say is missing, but for the
/// size, which the picture has.
///
/// # Errors
/// Sentences for people, each a reason.
pub fn request_of(picture: &OpenedPicture) -> Result<GenerationRequest, Vec<String>> {
    if let Some(record) = &picture.record {
        return Ok(record.request.clone());
    }
    match &picture.recipe {
        Some(recipe) => request_of_recipe(recipe, ImageSize::new(picture.image.width(), picture.image.height()).ok()),
        None => Err(vec![picture.warning.clone().unwrap_or_else(|| "no recipe is stored in the file".to_owned())]),
    }
}

fn request_of_recipe(recipe: &ReadRecipe, shown: Option<ImageSize>) -> Result<GenerationRequest, Vec<String>> {
    let mut reasons: Vec<String> = recipe.not_understood.iter().map(|part| format!("not understood: {part}")).collect();
    let size = recipe.size.or(shown);
    let parts = [
        ("size", size.is_some()),
        ("steps", recipe.steps.is_some()),
        ("guidance", recipe.guidance.is_some()),
        ("sampler", recipe.sampler.is_some()),
        ("schedule", recipe.schedule.is_some()),
        ("seed", recipe.seed.is_some()),
    ];
    // A part that was not understood is named already.
    let is_named = |name: &str| recipe.not_understood.iter().any(|part| part.to_lowercase().contains(name));
    let missing = parts.iter().filter(|(name, is_there)| !is_there && !is_named(name));
    reasons.extend(missing.map(|(name, _)| format!("the file does not say the {name}")));
    let dialect = recipe.dialect.unwrap_or_default();
    let known = size.zip(recipe.steps).zip(recipe.guidance).zip(recipe.sampler).zip(recipe.schedule).zip(recipe.seed);
    match known {
        Some((((((size, steps), guidance), sampler), schedule), seed)) if reasons.is_empty() => Ok(GenerationRequest {
            prompt: recipe.prompt.clone(),
            negative_prompt: recipe.negative_prompt.clone(),
            size,
            steps: recipe.sigmas.as_ref().map_or(steps, Sigmas::steps),
            guidance,
            guidance_rescale: recipe.guidance_rescale.unwrap_or_default(),
            accelerations: recipe.accelerations,
            sampler,
            sampler_options: recipe.sampler_options,
            schedule,
            sigmas: recipe.sigmas.clone(),
            micro_conditioning: recipe.micro_conditioning,
            noise_source: recipe.noise_source.unwrap_or_default(),
            seed,
            seed_options: recipe.seed_options(),
            // One that no request may have is among what was not understood.
            clip_skip: recipe.clip_skip.and_then(|skip| ClipSkip::new(skip).ok()).unwrap_or_default(),
            emphasis: recipe.emphasis.unwrap_or(dialect.usual_emphasis()),
            dialect,
            template: None,
            image_to_image: start_image(recipe),
        }),
        _ => Err(reasons),
    }
}

/// Some programs write a strength of 1 for pictures that began from noise alone.
fn start_image(recipe: &ReadRecipe) -> Option<ImageToImage> {
    let strength = recipe.strength.filter(|strength| strength.get() < 1.0)?;
    Some(ImageToImage { strength, source: A_PICTURE.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gallery::infotext::InfoText;
    use crate::gallery::recipe::understand;
    use crate::gallery::record::samples::fox;

    fn picture(infotext: Option<&str>) -> OpenedPicture {
        OpenedPicture {
            path: "a.png".into(),
            image: Arc::new(image::RgbImage::new(64, 72)),
            is_lossy: false,
            record: None,
            recipe: infotext.map(|text| understand(&InfoText::parse(text))),
            infotext: None,
            unread: None,
            warning: None,
        }
    }

    #[test]
    fn a_record_of_ours_is_the_request() {
        let picture = OpenedPicture { record: Some(fox()), ..picture(None) };
        assert_eq!(request_of(&picture), Ok(fox().request));
    }

    #[test]
    fn a_whole_recipe_of_another_program_is_a_request_of_the_pictures_size() {
        let text =
            "a fox\nSteps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7, Seed: 3, Model: x, RNG: CPU";
        let request = request_of(&picture(Some(text))).unwrap();
        assert_eq!((request.prompt.as_str(), request.seed.0, request.image_to_image), ("a fox", 3, None));
        assert_eq!(request.size, ImageSize::new(64, 72).unwrap());
    }

    #[test]
    fn every_reason_is_named_once() {
        let text = "a fox\nSteps: 20, Sampler: Warp drive, Seed: 3, Clip skip: 40, Hires upscale: 2, Version: v1.10.1";
        let reasons = request_of(&picture(Some(text))).unwrap_err();
        let expected = [
            "not understood: Clip skip: 40",
            "not understood: Hires upscale: 2",
            "not understood: Sampler: Warp drive",
            "the file does not say the guidance",
            "the file does not say the schedule",
        ];
        assert_eq!(reasons, expected);
        assert_eq!(request_of(&picture(None)).unwrap_err(), ["no recipe is stored in the file"]);
    }

    #[test]
    fn a_strength_means_a_start_image() {
        let text = "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 3, Denoising strength: 0.5";
        let start = request_of(&picture(Some(text))).unwrap().image_to_image.unwrap();
        assert_eq!((start.strength.get(), start.source.as_str()), (0.5, A_PICTURE));
    }
}
