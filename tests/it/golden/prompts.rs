//! The prompt language against the web UI's grammar, weighted hidden states against torch, and what must hold of
//! pictures whose prompts change on the way.

use std::collections::BTreeSet;

use calotype::diffusion::Interrupt;
use calotype::diffusion::pipeline::StableDiffusion;
use calotype::prompt::wildcards::{Stream, WildcardFiles, draw as draw_prompt};
use calotype::prompt::{ParsedPrompt, Part, schedule};
use calotype::request::{ClipSkip, Dialect, Emphasis, GenerationRequest, GuidanceScale, SamplerKind, Seed};

use super::pictures::{draw, plain_request};
use super::{assert_close, golden, golden_json, model, relative_error, values};

/// Given by the web UI's grammar under lark 1.3.1, 10 steps.
#[test]
fn schedules_are_those_of_the_web_ui() {
    let cases: Vec<(String, Vec<(usize, String)>)> = serde_json::from_value(golden_json("prompt_schedules")).unwrap();
    assert!(cases.len() > 300);
    for (prompt, expected) in cases {
        let found: Vec<(usize, String)> =
            schedule(&prompt, 10).into_iter().map(|entry| (entry.end_step, entry.text)).collect();
        assert_eq!(found, expected, "{prompt:?}");
    }
}

/// Given by dynamicprompts' combinatorial generator.
#[test]
fn what_wildcards_can_draw_is_what_their_own_library_can_draw() {
    let cases: Vec<(String, BTreeSet<String>)> = serde_json::from_value(golden_json("wildcards")).unwrap();
    assert!(cases.len() >= 200);
    let files = WildcardFiles::default();
    for (template, expected) in cases {
        let draw = |seed| draw_prompt(&template, Dialect::A1111, Seed(seed), Stream::Prompt, &files).unwrap();
        let drawn: BTreeSet<String> = (0..400).map(draw).collect();
        // The library leaves out orders of options that come to the same count; chance does not.
        let sorted =
            |texts: &BTreeSet<String>| -> BTreeSet<Vec<char>> { texts.iter().map(|text| letters(text)).collect() };
        assert!(sorted(&drawn).is_subset(&sorted(&expected)), "{template:?}: {drawn:?}, not {expected:?}");
        if expected.len() <= 6 {
            assert!(expected.is_subset(&drawn), "{template:?}: {drawn:?}, not {expected:?}");
        }
    }
}

fn letters(text: &str) -> Vec<char> {
    let mut letters: Vec<char> = text.chars().collect();
    letters.sort_unstable();
    letters
}

fn part(model: &StableDiffusion, prompt: &str) -> Part {
    ParsedPrompt::positive(prompt, 10, Dialect::A1111, &model.tokenizer).unwrap().parts.remove(0)
}

#[test]
fn weighted_hidden_states_are_those_of_torch() {
    const WEIGHTED: &str = "a (red:1.3) cat, [sitting] on a (mat:-0.5)";
    const SCHEDULED: &str = "a [(red:1.4):blue:2] cat";
    let tensors = golden("prompts");
    for name in ["tiny-eps", "tiny-v"] {
        let model = model(name);
        let reader = model.reader();
        for (key, prompt, index, clip_skip, emphasis) in [
            ("plain.skip2", "a red cat, sitting on a mat", 0, 2, Emphasis::Original),
            ("plain.skip2", WEIGHTED, 0, 2, Emphasis::Ignore),
            ("original", WEIGHTED, 0, 1, Emphasis::Original),
            ("original.skip2", WEIGHTED, 0, 2, Emphasis::Original),
            ("no-norm", WEIGHTED, 0, 1, Emphasis::NoNorm),
            ("comfyui", WEIGHTED, 0, 1, Emphasis::ComfyUi),
            ("scheduled.0", SCHEDULED, 0, 1, Emphasis::Original),
            ("scheduled.1", SCHEDULED, 1, 1, Emphasis::Original),
        ] {
            let clip_skip = ClipSkip::new(clip_skip).unwrap();
            let request = GenerationRequest { clip_skip, emphasis, ..plain_request() };
            let found = reader.texts(&part(&model, prompt), &request, Interrupt::never()).unwrap();
            let found = found[index].states.narrow(1, 0, 12).unwrap();
            // Measured: 6.8e-7.
            assert_close(&format!("{name} {key}"), &found, &tensors[&format!("{name}.{key}")], 3e-6);
        }
    }
}

#[test]
fn more_clip_skip_than_layers_is_refused() {
    let request = GenerationRequest { clip_skip: ClipSkip::new(12).unwrap(), ..plain_request() };
    let error = model("tiny-eps").begin(&request, None, Interrupt::never()).err().unwrap().to_string();
    assert!(error.contains("2 layers"), "{error}");
}

fn latents(model: &StableDiffusion, request: &GenerationRequest) -> Vec<f32> {
    draw(model, request, None).0
}

fn with_prompt(prompt: &str) -> GenerationRequest {
    GenerationRequest { prompt: prompt.to_owned(), ..plain_request() }
}

#[test]
fn the_text_in_force_at_every_call_is_the_one_that_draws() {
    let model = model("tiny-eps");
    let of = |prompt: &str| latents(&model, &with_prompt(prompt));
    // Never and at once.
    assert_eq!(of("a [red:blue:5] cat"), of("a red cat"));
    assert_eq!(of("a [red:blue:0] cat"), of("a blue cat"));
    // 5 calls, 0 to 4, of which the first entry has those up to and with its number.
    assert_eq!(of("a [red:blue:4] cat"), of("a red cat"));
    assert_ne!(of("a [red:blue:3] cat"), of("a red cat"));
    // Heun calls twice a step, and whole numbers count calls.
    let heun = |prompt: &str| latents(&model, &GenerationRequest { sampler: SamplerKind::Heun, ..with_prompt(prompt) });
    assert_eq!(heun("a [red:blue:8] cat"), heun("a red cat"));
    assert_ne!(heun("a [red:blue:7] cat"), heun("a red cat"));
}

#[test]
fn prompts_together_are_their_weighted_sum() {
    let model = model("tiny-eps");
    let of = |prompt: &str| latents(&model, &with_prompt(prompt));
    let plain = of("a red cat");
    assert!(relative_error(&of("a red cat :.25 AND a red cat :.75"), &plain) < 1e-4);
    assert!(relative_error(&of("a red cat AND a blue dog :0"), &plain) < 1e-4);
    assert_ne!(of("a red cat AND a blue dog"), plain);
    // A single weight multiplies the guidance.
    let guidance = GuidanceScale::new(2.0).unwrap();
    assert_eq!(of("a red cat :.5"), latents(&model, &GenerationRequest { guidance, ..with_prompt("a red cat") }));
    // Parts of different lengths share a batch, beside a longer negative prompt too.
    let long = "a red cat, sitting on a mat ".repeat(12);
    let request = GenerationRequest { negative_prompt: long.repeat(2), ..with_prompt(&format!("{long} AND a dog")) };
    assert!(latents(&model, &request).iter().all(|value| value.is_finite()));
}

#[test]
fn a_picture_with_changing_prompts_resumed_from_any_step_is_the_same() {
    let model = model("tiny-eps");
    for sampler in [SamplerKind::EulerAncestral, SamplerKind::Heun] {
        let request = GenerationRequest {
            sampler,
            negative_prompt: "[blurry:dark:.5]".to_owned(),
            ..with_prompt("a [red|(blue:1.3)] cat AND a [mat::3] :.5")
        };
        let whole = latents(&model, &request);
        let mut generation = model.begin(&request, None, Interrupt::never()).unwrap();
        loop {
            let mut resumed = model.resume(&request, &generation.state().unwrap(), Interrupt::never()).unwrap();
            while resumed.advance(Interrupt::never()).unwrap().is_some() {}
            assert_eq!(values(&resumed.latents().unwrap()), whole);
            if generation.advance(Interrupt::never()).unwrap().is_none() {
                break;
            }
        }
    }
}

#[test]
fn prompts_of_unequal_length_do_not_change_each_other() {
    let model = model("tiny-eps");
    let long = "a red cat, sitting on a mat ".repeat(12);
    let alone = |prompt: &str| {
        let guidance = GuidanceScale::new(1.0).unwrap();
        latents(&model, &GenerationRequest { guidance, ..with_prompt(prompt) })
    };
    // At guidance 0 only the negative prompt is left, whatever the length of the other.
    let negative = |negative: &str, prompt: &str| {
        let guidance = GuidanceScale::new(0.0).unwrap();
        latents(&model, &GenerationRequest { guidance, negative_prompt: negative.to_owned(), ..with_prompt(prompt) })
    };
    for (short, long) in [("a dog", long.as_str()), (long.as_str(), "a dog")] {
        assert!(relative_error(&negative(short, long), &alone(short)) < 1e-5);
    }
}

#[test]
fn a_recipe_in_comfyuis_language_draws_by_its_rules() {
    let model = model("tiny-eps");
    let of = |prompt: &str, dialect: Dialect| {
        let emphasis = dialect.usual_emphasis();
        latents(&model, &GenerationRequest { dialect, emphasis, ..with_prompt(prompt) })
    };
    let comfyui = |prompt: &str| of(prompt, Dialect::ComfyUi);
    assert_eq!(comfyui("a red cat"), of("a red cat", Dialect::A1111));
    assert_ne!(comfyui("a (red:1.3) cat"), of("a (red:1.3) cat", Dialect::A1111));
    assert_eq!(comfyui("a ((red:1.3)) cat"), comfyui("a (red:1.3) cat"));
    assert_ne!(comfyui("a cat AND a dog"), of("a cat AND a dog", Dialect::A1111));
}
