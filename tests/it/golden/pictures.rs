//! Whole pictures: the same prompt, seed and settings as diffusers' pipelines, pixel by pixel; and what must hold among
//! our own.

use calotype::diffusion::Interrupt;
use calotype::diffusion::pipeline::StableDiffusion;
use calotype::request::{
    Accelerations, ClipSkip, Dialect, Emphasis, GenerationRequest, GuidanceRescale, GuidanceScale, ImageSize,
    ImageToImage, MicroConditioning, NoiseSourceKind, SamplerKind, SamplerOptions, ScheduleKind, Seed, SeedOptions,
    Steps, Strength,
};
use candle_core::{DType, Tensor};
use image::RgbImage;

use super::device::{is_processor, tolerance};
use super::{golden, golden_json, model, model_apart, relative_error, values};

pub fn picture_of(pixels: &Tensor) -> RgbImage {
    let (height, width, _) = pixels.dims3().unwrap();
    let bytes = pixels.flatten_all().unwrap().to_vec1::<u8>().unwrap();
    RgbImage::from_raw(width as u32, height as u32, bytes).unwrap()
}

pub fn request_of(case: &serde_json::Value) -> GenerationRequest {
    let (sampler, schedule) = match case["sampler"].as_str().unwrap() {
        "ddim" | "ddim-eta" => (SamplerKind::Ddim, ScheduleKind::Model),
        "ddpm" => (SamplerKind::Ddpm, ScheduleKind::Model),
        "euler" => (SamplerKind::Euler, ScheduleKind::Model),
        "euler_a" => (SamplerKind::EulerAncestral, ScheduleKind::Model),
        "heun" => (SamplerKind::Heun, ScheduleKind::Model),
        "dpmpp_2m" => (SamplerKind::DpmPlusPlus2M, ScheduleKind::Model),
        "dpmpp_2m_karras" => (SamplerKind::DpmPlusPlus2M, ScheduleKind::Karras),
        other => (other.parse().unwrap(), ScheduleKind::Model),
    };
    let asked = |key: &str| case[key].as_f64().filter(|value| *value != 0.0);
    let usual = SamplerOptions::default();
    let number = |key: &str| u32::try_from(case[key].as_u64().unwrap()).unwrap();
    GenerationRequest {
        prompt: case["prompt"].as_str().unwrap().to_owned(),
        negative_prompt: case["negative_prompt"].as_str().unwrap_or_default().to_owned(),
        size: ImageSize::new(number("width"), number("height")).unwrap(),
        steps: Steps::new(number("steps")).unwrap(),
        guidance: GuidanceScale::new(case["guidance_scale"].as_f64().unwrap()).unwrap(),
        guidance_rescale: GuidanceRescale::new(asked("guidance_rescale").unwrap_or_default()).unwrap(),
        accelerations: Accelerations::default(),
        sampler,
        sampler_options: asked("eta").map_or(usual, |eta| usual.with_eta(eta).unwrap()),
        schedule,
        sigmas: None,
        seed_options: SeedOptions::default(),
        noise_source: NoiseSourceKind::TorchCpu,
        clip_skip: ClipSkip::default(),
        emphasis: Emphasis::default(),
        dialect: Dialect::default(),
        template: None,
        seed: Seed(case["seed"].as_u64().unwrap()),
        micro_conditioning: told(case),
        image_to_image: case["strength"].as_f64().map(|strength| ImageToImage {
            strength: Strength::new(strength).unwrap(),
            source: "start_image".to_owned(),
        }),
    }
}

/// The sizes that Stable Diffusion XL is told.
fn told(case: &serde_json::Value) -> MicroConditioning {
    let text = |key: &str| case[key].as_str();
    MicroConditioning {
        original_size: text("original_size").map(|size| size.parse().unwrap()),
        crop: text("crop").map(|crop| crop.parse().unwrap()).unwrap_or_default(),
        target_size: text("target_size").map(|size| size.parse().unwrap()),
    }
}

pub fn draw(model: &StableDiffusion, request: &GenerationRequest, start: Option<&RgbImage>) -> (Vec<f32>, RgbImage) {
    let mut generation = model.begin(request, start, Interrupt::never()).unwrap();
    while generation.advance(Interrupt::never()).unwrap().is_some() {}
    (values(&generation.latents().unwrap()), generation.decode(false, Interrupt::never()).unwrap())
}

#[test]
fn pictures_are_those_of_diffusers() {
    let tensors = golden("pictures");
    let start = picture_of(&golden("vae")["start_image"]);
    let models = [("tiny-eps", model("tiny-eps")), ("tiny-v", model("tiny-v"))];
    let mut compared = 0;
    for case in golden_json("pictures").as_array().unwrap() {
        let key = case["key"].as_str().unwrap();
        let model = &models.iter().find(|(name, _)| case["model"] == *name).unwrap().1;
        let (latents, picture) = draw(model, &request_of(case), Some(&start));
        let error = relative_error(&latents, &values(&tensors[&format!("{key}.latents")]));
        eprintln!("{key}: latents' relative error {error:.2e}");
        // Measured: 5.6e-7 to 6.3e-6; torch itself strays by up to 1.3e-5 without oneDNN.
        assert!(error < tolerance(2e-5), "{key}: {error:e}");
        if let Some(expected) = tensors.get(&format!("{key}.picture")) {
            let expected = picture_of(expected);
            let differences: Vec<u8> = picture.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b)).collect();
            let beyond = differences.iter().filter(|d| **d > 1).count();
            let near = differences.iter().filter(|d| **d > 0).count() - beyond;
            eprintln!("{key}: {near} of {} bytes differ by 1, {beyond} by more", differences.len());
            // Measured: at most 4 of 12288 bytes differ by 1, none by more.
            let is_near = !is_processor() || beyond * 1000 <= differences.len();
            assert!(is_near, "{key}: {beyond} bytes differ by more than 1");
            compared += 1;
        }
    }
    assert_eq!(compared, 16);
}

pub fn plain_request() -> GenerationRequest {
    request_of(&serde_json::json!({
        "sampler": "euler_a", "prompt": "a red cat", "negative_prompt": "blurry", "width": 64, "height": 64,
        "steps": 5, "guidance_scale": 4.0, "seed": 3,
    }))
}

#[test]
fn the_same_request_gives_the_same_bytes() {
    let model = model("tiny-eps");
    assert_eq!(draw(&model, &plain_request(), None), draw(&model, &plain_request(), None));
}

#[test]
fn every_sampler_makes_a_picture_and_goes_on_with_one() {
    let model = model("tiny-eps");
    let from_image = ImageToImage { strength: Strength::new(0.5).unwrap(), source: "x".to_owned() };
    let start = picture_of(&golden("vae")["start_image"]);
    for &sampler in SamplerKind::ALL {
        for image_to_image in [None, Some(from_image.clone())] {
            let request = GenerationRequest { sampler, image_to_image, ..plain_request() };
            let whole = draw(&model, &request, Some(&start));
            let mut generation = model.begin(&request, Some(&start), Interrupt::never()).unwrap();
            let progress = generation.advance(Interrupt::never()).unwrap().unwrap();
            assert!(progress.step == 1 && progress.steps >= 1, "{}", sampler.name());
            let mut resumed = model.resume(&request, &generation.state().unwrap(), Interrupt::never()).unwrap();
            while resumed.advance(Interrupt::never()).unwrap().is_some() {}
            assert_eq!(resumed.decode(false, Interrupt::never()).unwrap(), whole.1, "{}", sampler.name());
        }
    }
}

#[test]
fn a_model_whose_parts_lie_apart_draws_what_it_draws_together() {
    let start = picture_of(&golden("vae")["start_image"]);
    let from_image = ImageToImage { strength: Strength::new(0.6).unwrap(), source: "x".to_owned() };
    for image_to_image in [None, Some(from_image)] {
        let request = GenerationRequest { image_to_image, ..plain_request() };
        let expected = draw(&model("tiny-eps"), &request, Some(&start)).0;
        for (others, allowed) in [(DType::F32, 0.0), (DType::BF16, 3e-2)] {
            let found = draw(&model_apart("tiny-eps", others), &request, Some(&start)).0;
            let error = relative_error(&found, &expected);
            eprintln!("the others in {others:?}: latents' relative error {error:.2e}");
            assert!(error <= tolerance(allowed), "{others:?}: {error:e}");
        }
    }
}

#[test]
fn steps_taken_ahead_are_told_in_order_and_change_nothing() {
    let model = model("tiny-eps");
    let told = |lead: usize| {
        let mut generation = model.begin(&plain_request(), None, Interrupt::never()).unwrap().with_lead(lead);
        let mut told = Vec::new();
        while let Some(progress) = generation.advance(Interrupt::never()).unwrap() {
            told.push((progress.step, progress.steps, progress.denoised));
        }
        (told, generation.decode(false, Interrupt::never()).unwrap())
    };
    let expected = told(0);
    assert_eq!(
        expected.0.iter().map(|(step, steps, _)| (*step, *steps)).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5].map(|s| (s, 5))
    );
    for lead in [1, 2, 9] {
        assert!(told(lead) == expected, "{lead} steps ahead");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_byte() {
    let model = model("tiny-v");
    let expected = draw(&model, &plain_request(), None);
    for threads in [1, 2, 3, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| draw(&model, &plain_request(), None)), expected, "{threads} threads");
    }
}

#[test]
fn guidance_one_is_the_prompt_alone() {
    let model = model("tiny-eps");
    let at = |guidance: f64, negative: &str| {
        let guidance = GuidanceScale::new(guidance).unwrap();
        draw(&model, &GenerationRequest { guidance, negative_prompt: negative.to_owned(), ..plain_request() }, None)
    };
    assert_eq!(at(1.0, "blurry"), at(1.0, "anything else"));
    // uncond + 1 * (cond - uncond) is cond but for rounding.
    assert!(relative_error(&at(1.0 + 1e-9, "blurry").0, &at(1.0, "").0) < 1e-4);
}

#[test]
fn a_picture_resumed_from_any_step_is_the_same() {
    let model = model("tiny-eps");
    let request = plain_request();
    let whole = draw(&model, &request, None);
    let mut generation = model.begin(&request, None, Interrupt::never()).unwrap();
    loop {
        let mut resumed = model.resume(&request, &generation.state().unwrap(), Interrupt::never()).unwrap();
        while resumed.advance(Interrupt::never()).unwrap().is_some() {}
        assert_eq!(values(&resumed.latents().unwrap()), whole.0);
        assert_eq!(resumed.decode(false, Interrupt::never()).unwrap(), whole.1);
        if generation.advance(Interrupt::never()).unwrap().is_none() {
            break;
        }
    }
    let first = model.begin(&request, None, Interrupt::never()).unwrap().state().unwrap();
    let from_image = ImageToImage { strength: Strength::new(0.5).unwrap(), source: "x".to_owned() };
    let skipping = GenerationRequest { image_to_image: Some(from_image), ..request.clone() };
    assert!(model.resume(&skipping, &first, Interrupt::never()).is_err(), "its step is one that is skipped");
    let other = GenerationRequest { size: ImageSize::new(64, 72).unwrap(), ..request };
    assert!(model.resume(&other, &generation.state().unwrap(), Interrupt::never()).is_err());
}

#[test]
fn a_prompt_longer_than_a_chunk_is_not_cut() {
    let model = model("tiny-eps");
    let with = |prompt: String| draw(&model, &GenerationRequest { prompt, ..plain_request() }, None).0;
    let long = "a red cat, sitting on a mat ".repeat(12);
    assert_ne!(with(format!("{long} blue")), with(format!("{long} green")));
}

#[test]
fn a_size_that_the_model_cannot_do_is_refused() {
    let model = model("tiny-eps");
    let odd = GenerationRequest { size: ImageSize::new(64, 104).unwrap(), ..plain_request() };
    assert!(draw(&model, &odd, None).1.dimensions() == (64, 104));
    let from_image = GenerationRequest {
        image_to_image: Some(ImageToImage { strength: Strength::new(0.1).unwrap(), source: "x".to_owned() }),
        ..plain_request()
    };
    let error = model.begin(&from_image, None, Interrupt::never()).err().unwrap().to_string();
    assert!(error.contains("leaves no step to take"), "{error}");
}

/// A model whose tensor `name` of `part` is full of NaN.
fn broken(part: &str, name: &str) -> StableDiffusion {
    let copy = crate::checkpoint::copy_of("tiny-eps");
    let path = copy.path().join(part).join("diffusion_pytorch_model.safetensors");
    crate::checkpoint::edit_weights(&path, |tensors| {
        let tensor = tensors[name].zeros_like().unwrap().affine(1.0, f64::NAN).unwrap();
        tensors.insert(name.to_owned(), tensor);
    });
    crate::checkpoint::load(copy.path()).unwrap()
}

#[test]
fn numbers_that_are_none_end_the_picture_and_say_where() {
    let run = |model: &StableDiffusion| -> String {
        let mut generation = model.begin(&plain_request(), None, Interrupt::never()).unwrap();
        loop {
            match generation.advance(Interrupt::never()) {
                Ok(Some(_)) => {}
                Ok(None) => return generation.decode(false, Interrupt::never()).unwrap_err().to_string(),
                Err(error) => return error.to_string(),
            }
        }
    };
    let error = run(&broken("unet", "conv_out.bias"));
    assert!(error.starts_with("step 1 of 5: the latents hold NaN"), "{error}");
    let error = run(&broken("vae", "decoder.conv_out.bias"));
    assert!(error.starts_with("the decoded pixels hold NaN"), "{error}");
}
