//! Pictures made sooner, and others, against the reference of each way; and that each leaves the picture as it is where
//! it is off.

use calotype::diffusion::Interrupt;
use calotype::diffusion::pipeline::StableDiffusion;
use calotype::diffusion::unet::Evaluation;
use calotype::request::{
    Accelerations, BlockCaching, GenerationRequest, GuidanceInterval, GuidanceScale, SamplerKind, Steps, TokenMerging,
};
use candle_core::Device;
use serde_json::Value;

use super::pictures::{draw, plain_request, request_of};
use super::{assert_close, golden, golden_json, model, relative_error, values};

fn accelerations_of(case: &Value) -> Accelerations {
    let number = |key: &str, usual: f64| case[key].as_f64().unwrap_or(usual);
    let interval = GuidanceInterval::new(number("guidance_from", 0.0), number("guidance_to", 1.0)).unwrap();
    let whole = |key: &str| case[key].as_u64().map(|number| u32::try_from(number).unwrap());
    let caching = whole("deep_cache").map(|n| BlockCaching::new(n, whole("deep_cache_branch").unwrap()).unwrap());
    let token_merging = TokenMerging::new(number("token_merging", 0.0)).unwrap();
    Accelerations { guidance_interval: interval, block_caching: caching, token_merging, decoding_in_tiles: false }
}

fn with(accelerations: Accelerations) -> GenerationRequest {
    GenerationRequest { accelerations, ..plain_request() }
}

fn guided(from: f64, to: f64) -> Accelerations {
    Accelerations { guidance_interval: GuidanceInterval::new(from, to).unwrap(), ..Accelerations::default() }
}

fn cached(interval: u32, branch: u32) -> Accelerations {
    Accelerations { block_caching: BlockCaching::new(interval, branch).ok(), ..Accelerations::default() }
}

fn merged(share: f64) -> Accelerations {
    Accelerations { token_merging: TokenMerging::new(share).unwrap(), ..Accelerations::default() }
}

/// Goes on from every step's state, as text and back; each must end in the same picture.
fn assert_resumes(model: &StableDiffusion, request: &GenerationRequest) {
    let whole = draw(model, request, None);
    let mut generation = model.begin(request, None, Interrupt::never()).unwrap();
    while generation.advance(Interrupt::never()).unwrap().is_some() {
        let state = serde_json::to_string(&generation.state().unwrap()).unwrap();
        let state = serde_json::from_str(&state).unwrap();
        let mut resumed = model.resume(request, &state, Interrupt::never()).unwrap();
        while resumed.advance(Interrupt::never()).unwrap().is_some() {}
        assert_eq!(values(&resumed.latents().unwrap()), whole.0, "from step {}", state.step);
    }
}

#[test]
fn accelerated_pictures_are_those_of_the_references() {
    let tensors = golden("accelerations");
    let models = ["tiny-eps", "tiny-v"].map(|name| (name, model(name)));
    for case in golden_json("accelerations").as_array().unwrap() {
        let key = case["key"].as_str().unwrap();
        let model = &models.iter().find(|(name, _)| case["model"] == *name).unwrap().1;
        let request = GenerationRequest { accelerations: accelerations_of(case), ..request_of(case) };
        let error = relative_error(&draw(model, &request, None).0, &values(&tensors[&format!("{key}.latents")]));
        eprintln!("{key}: latents' relative error {error:.2e}");
        // Measured: 5.7e-7 to 1.4e-5.
        assert!(error < 5e-5, "{key}: {error:e}");
    }
}

#[test]
fn guidance_in_all_steps_is_plain_and_in_none_the_prompt_alone() {
    let model = model("tiny-eps");
    let plain = draw(&model, &plain_request(), None);
    assert_eq!(draw(&model, &with(guided(0.0, 1.0)), None), plain);
    let alone = GenerationRequest { guidance: GuidanceScale::new(1.0).unwrap(), ..plain_request() };
    assert_eq!(draw(&model, &with(guided(0.5, 0.5)), None), draw(&model, &alone, None));
    assert!(draw(&model, &with(guided(0.4, 0.8)), None) != plain);
    // Where the prompt is the only one to steer, there is nothing to leave out.
    let accelerations = guided(0.4, 0.8);
    assert_eq!(draw(&model, &GenerationRequest { accelerations, ..alone.clone() }, None), draw(&model, &alone, None));
}

#[test]
fn outside_of_the_interval_several_prompts_are_weighed_at_a_scale_of_one() {
    let model = model("tiny-eps");
    for (sampler, prompt) in [
        (SamplerKind::Euler, "a red cat AND a dog :0.5"),
        (SamplerKind::EulerCfgPp, "a red cat AND a dog :0.5"),
        (SamplerKind::Euler, "a red cat :0.7"),
    ] {
        let request = GenerationRequest { sampler, prompt: prompt.to_owned(), ..plain_request() };
        let at_one = GenerationRequest { guidance: GuidanceScale::new(1.0).unwrap(), ..request.clone() };
        let outside = GenerationRequest { accelerations: guided(0.0, 0.0), ..request };
        assert_eq!(draw(&model, &outside, None), draw(&model, &at_one, None), "{} {prompt}", sampler.name());
    }
}

#[test]
fn every_sampler_goes_on_with_an_accelerated_picture() {
    let model = model("tiny-eps");
    let accelerations = Accelerations {
        guidance_interval: guided(0.3, 0.7).guidance_interval,
        token_merging: merged(0.5).token_merging,
        ..cached(3, 1)
    };
    for &sampler in SamplerKind::ALL {
        let request = GenerationRequest { sampler, accelerations, ..plain_request() };
        let whole = draw(&model, &request, None);
        let mut generation = model.begin(&request, None, Interrupt::never()).unwrap();
        for _ in 0..2 {
            generation.advance(Interrupt::never()).unwrap();
        }
        let mut resumed = model.resume(&request, &generation.state().unwrap(), Interrupt::never()).unwrap();
        while resumed.advance(Interrupt::never()).unwrap().is_some() {}
        assert_eq!(values(&resumed.latents().unwrap()), whole.0, "{}", sampler.name());
    }
    assert_resumes(&model, &with(guided(0.3, 0.7)));
    assert_resumes(&model, &with(cached(3, 0)));
    assert_resumes(&model, &with(accelerations));
}

#[test]
fn around_the_deep_blocks_of_the_same_evaluation_the_outermost_give_the_same_bytes() {
    let tensors = golden("unet");
    for name in ["tiny-eps", "tiny-v"] {
        let unet = &model(name).unet;
        for case in ["even", "odd"] {
            let get = |key: &str| &tensors[&format!("{name}.{case}.{key}")];
            let context = &unet.prepare_context(get("context"), None).unwrap();
            let token_merging = TokenMerging::new(0.5).unwrap();
            let time = &unet.time(501.0, context, &Device::Cpu).unwrap();
            let evaluation = Evaluation { time, context, token_merging, interrupt: Interrupt::never() };
            let whole = values(&unet.evaluate(get("sample"), &evaluation).unwrap());
            for branch in 0..unet.branches() {
                let (keeping, deep) = unet.evaluate_keeping(get("sample"), &evaluation, branch).unwrap();
                assert_eq!(values(&keeping), whole, "{name} {case} {branch}");
                let around = unet.evaluate_outermost(get("sample"), &evaluation, branch, &deep).unwrap();
                assert_eq!(values(&around), whole, "{name} {case} {branch}");
            }
        }
    }
}

#[test]
fn the_first_evaluations_of_a_cached_picture_are_whole() {
    let model = model("tiny-eps");
    let plain = draw(&model, &plain_request(), None);
    assert!(draw(&model, &with(cached(2, 0)), None) != plain);
    // One step needs one evaluation.
    let one = |accelerations| GenerationRequest { steps: Steps::new(1).unwrap(), ..with(accelerations) };
    assert_eq!(draw(&model, &one(cached(2, 0)), None), draw(&model, &one(Accelerations::default()), None));
}

#[test]
fn a_branch_that_the_model_has_not_and_damaged_deep_features_are_refused() {
    let model = model("tiny-eps");
    let begin = |branch| model.begin(&with(cached(2, branch)), None, Interrupt::never());
    assert_eq!(model.unet.branches(), 4);
    let error = begin(4).err().unwrap().to_string();
    assert!(error.contains("this model has the branches 0 to 3, not 4"), "{error}");
    let mut generation = begin(3).unwrap();
    generation.advance(Interrupt::never()).unwrap();
    let mut state = generation.state().unwrap();
    state.deep.as_mut().unwrap().passes[0].values.pop();
    let error = model.resume(&with(cached(2, 3)), &state, Interrupt::never()).err().unwrap().to_string();
    assert!(error.contains("deep features"), "{error}");
}

#[test]
fn merged_evaluations_are_those_of_the_reference() {
    let (inputs, tensors) = (golden("unet"), golden("accelerations"));
    for name in ["tiny-eps", "tiny-v"] {
        let unet = &model(name).unet;
        for case in ["even", "odd"] {
            let get = |key: &str| &inputs[&format!("{name}.{case}.{key}")];
            let context = &unet.prepare_context(get("context"), None).unwrap();
            let time = &unet.time(f64::from(values(get("timestep"))[0]), context, &Device::Cpu).unwrap();
            for share in [0.25, 0.5, 0.75] {
                let token_merging = TokenMerging::new(share).unwrap();
                let evaluation = Evaluation { time, context, token_merging, interrupt: Interrupt::never() };
                let found = unet.evaluate(get("sample"), &evaluation).unwrap();
                let key = format!("{name}.{case}.merged_{share}");
                assert_close(&key, &found, &tensors[&key], 1e-5);
            }
        }
    }
}

#[test]
fn merging_of_no_token_is_plain_and_the_number_of_threads_changes_no_byte() {
    let model = model("tiny-v");
    let plain = draw(&model, &plain_request(), None);
    assert_eq!(draw(&model, &with(merged(0.0)), None), plain);
    // Less than one of 256.
    assert_eq!(draw(&model, &with(merged(0.003)), None), plain);
    let half = draw(&model, &with(merged(0.5)), None);
    assert!(half != plain);
    for threads in [1, 2, 3, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| draw(&model, &with(merged(0.5)), None)), half, "{threads} threads");
    }
}

#[test]
fn merging_on_a_model_without_attention_on_its_finest_level_is_plain() {
    assert!(model("tiny-eps").unet.attends_on_finest_level());
    let model = model("tiny-xl");
    assert!(!model.unet.attends_on_finest_level());
    assert_eq!(draw(&model, &with(merged(0.5)), None), draw(&model, &plain_request(), None));
}
