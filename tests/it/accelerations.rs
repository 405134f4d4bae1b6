//! What makes a picture sooner and another one, from the command line to the file and back.

use serde_json::json;

use crate::command_line::{assert_ends, calotype, generate, json_lines, text};
use crate::golden::fixtures;

/// Options, and what the file then says by key.
fn ways() -> Vec<(&'static [&'static str], Vec<(&'static str, serde_json::Value)>)> {
    vec![(
        &["--guidance-from", "0.25", "--guidance-to", "0.75"],
        vec![("guidance_from", json!(0.25)), ("guidance_to", json!(0.75))],
    )]
}

#[test]
fn every_acceleration_is_in_the_file_changes_the_picture_and_is_heeded_by_verify() {
    let home = tempfile::tempdir().unwrap();
    let picture = |name: &str, more: &[&str]| {
        assert_ends(&generate(home.path(), &[&["--seed", "7", "--output", name][..], more].concat()), 0, "");
        image::open(home.path().join(name)).unwrap().into_rgb8()
    };
    let told = |name: &str| json_lines(&calotype(home.path(), &["info", "--json", name])).remove(0);
    let plain = picture("plain.png", &[]);
    for (options, said) in ways() {
        assert!(picture("faster.png", options) != plain, "{options:?}");
        let (faster, usual) = (told("faster.png"), told("plain.png"));
        assert_eq!(faster["not_understood"], json!([]));
        for (key, value) in said {
            assert_eq!((&faster[key], &usual[key]), (&value, &json!(null)), "{key}");
        }
        let model = fixtures().join("tiny-eps");
        let verified = calotype(home.path(), &["verify", "faster.png", "--model", model.to_str().unwrap()]);
        assert_ends(&verified, 0, "");
        assert!(text(&verified.stdout).starts_with("the same: all"), "{}", text(&verified.stdout));
    }
}

#[test]
fn what_no_acceleration_can_be_is_wrong_usage() {
    let home = tempfile::tempdir().unwrap();
    for (options, hint) in [
        (&["--guidance-from", "0.5", "--guidance-to", "0.25"][..], "the end of guidance must be from 0.5 to 1"),
        (&["--guidance-from", "-1"], "the beginning of guidance must be from 0 to 1"),
    ] {
        assert_ends(&generate(home.path(), options), 2, hint);
        assert_ends(&calotype(home.path(), &[&["bench"][..], options].concat()), 2, hint);
    }
}
