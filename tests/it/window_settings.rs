//! The folded settings of the window: which are there, and what they do to the request.

use calotype::request::{Accelerations, BlockCaching, GuidanceInterval, SamplerKind, TokenMerging};
use calotype::state::Persisted;
use calotype::state::form::Form;
use egui_kittest::kittest::Queryable as _;

use crate::studio::Studio;

fn with_form(change: impl FnOnce(&mut Form)) -> Studio {
    let mut persisted = Persisted::default();
    change(&mut persisted.form);
    let mut studio = Studio::open_with(persisted, [1280.0, 1100.0]);
    studio.ready();
    studio
}

#[test]
fn the_fine_settings_are_those_that_the_sampler_looks_at() {
    let rows = |kind: SamplerKind| {
        let mut studio = with_form(|form| form.sampler.choose(kind));
        studio.window().get_by_label("More settings").click();
        studio.window().run();
        ["Eta", "Churn", "Noise ×"].map(|row| studio.sees(row))
    };
    assert_eq!(rows(SamplerKind::DpmPlusPlus2M), [false, false, false]);
    assert_eq!(rows(SamplerKind::Euler), [false, true, true]);
    assert_eq!(rows(SamplerKind::EulerAncestral), [true, false, true]);
}

#[test]
fn sigmas_by_hand_take_the_place_of_the_steps_and_wrong_ones_are_told() {
    let mut studio = with_form(|form| form.fine.sigmas = "7, 3, 0".into());
    studio.type_prompt("a fox");
    studio.press_generate();
    let request = studio.one_job().request;
    assert_eq!((request.steps.get(), request.sigmas.unwrap().as_slice()), (2, &[7.0, 3.0, 0.0][..]));
    let mut studio = with_form(|form| form.fine.sigmas = "3, 7".into());
    studio.type_prompt("a fox");
    studio.press_generate();
    studio.assert_sees("The sigmas must be falling numbers, the last one 0 or more: 7 after 3 does not fall");
    assert!(studio.jobs().is_empty());
}

#[test]
fn what_makes_a_picture_sooner_is_folded_away_and_said_where_it_is_on() {
    let mut studio = with_form(|_| {});
    studio.window().get_by_label("More settings").click();
    studio.window().run();
    studio.assert_sees_not("Caching");
    studio.window().get_by_label("Faster or lighter, with another picture").click();
    studio.window().run();
    for row in ["Guided from", "Guided up to", "Caching", "Merging", "In tiles"] {
        studio.assert_sees(row);
    }
    studio.assert_sees_not("Cached branch");
    let accelerations = Accelerations {
        guidance_interval: GuidanceInterval::new(0.29, 0.8).unwrap(),
        block_caching: BlockCaching::new(3, 1).ok(),
        token_merging: TokenMerging::new(0.35).unwrap(),
        decoding_in_tiles: true,
    };
    let mut studio = with_form(|form| form.fine.accelerations = accelerations);
    studio.window().get_by_label("More settings (changed)").click();
    studio.window().run();
    studio.window().get_by_label("Faster or lighter, with another picture (on)").click();
    studio.window().run();
    studio.assert_sees("Cached branch");
    studio.type_prompt("a fox");
    studio.press_generate();
    // Drawing the rows has changed nothing, not even in the last bit.
    assert_eq!(studio.one_job().request.accelerations, accelerations);
}
