//! What makes a picture sooner and another one, from the command line to the file and back.

use serde_json::json;

use crate::command_line::{assert_ends, calotype, generate, json_lines, text};
use crate::golden::fixtures;

/// Options, and what the file then says.
fn ways() -> Vec<(&'static [&'static str], serde_json::Value)> {
    vec![
        (
            &["--guidance-from", "0.25", "--guidance-to", "0.75"],
            json!({"guidance_interval": {"from": 0.25, "to": 0.75}}),
        ),
        (&["--deep-cache", "3", "--deep-cache-branch", "1"], json!({"block_caching": {"interval": 3, "branch": 1}})),
        (&["--token-merging", "0.5"], json!({"token_merging": 0.5})),
    ]
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
        assert_eq!((&faster["accelerations"], &usual["accelerations"]), (&said, &json!(null)));
        let model = fixtures().join("tiny-eps");
        let verified = calotype(home.path(), &["verify", "faster.png", "--model", model.to_str().unwrap()]);
        assert_ends(&verified, 0, "");
        assert!(text(&verified.stdout).starts_with("the same: all"), "{}", text(&verified.stdout));
    }
}

#[test]
fn decoding_in_tiles_changes_large_pictures_a_little_and_small_ones_not() {
    let home = tempfile::tempdir().unwrap();
    let model = fixtures().join("tiny-eps");
    // 66 x 16 latents and 64 x 16.
    for (side, is_same) in [("264", false), ("256", true)] {
        let small = ["--width", side, "--height", "64", "--precision", "f32", "--seed", "7"];
        assert_ends(&generate(home.path(), &[&small[..], &["--output", "whole.png"]].concat()), 0, "");
        assert_ends(
            &generate(home.path(), &[&small[..], &["--decode-in-tiles", "--output", "tiled.png"]].concat()),
            0,
            "",
        );
        let open = |name: &str| image::open(home.path().join(name)).unwrap().into_rgb8();
        let (whole, tiled) = (open("whole.png"), open("tiled.png"));
        assert_eq!(whole.dimensions(), tiled.dimensions());
        assert_eq!(whole == tiled, is_same, "{side}");
        let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
        let error = whole.iter().zip(tiled.iter()).map(square).sum::<f64>() / whole.len() as f64;
        assert!(error < 100.0, "mean of squares {error}");
        let told = json_lines(&calotype(home.path(), &["info", "--json", "tiled.png"])).remove(0);
        assert_eq!(told["accelerations"], json!({"decoding_in_tiles": true}));
        let verified = calotype(home.path(), &["verify", "tiled.png", "--model", model.to_str().unwrap()]);
        assert!(text(&verified.stdout).starts_with("the same: all"), "{}", text(&verified.stdout));
    }
}

#[test]
fn what_no_acceleration_can_be_is_wrong_usage() {
    let home = tempfile::tempdir().unwrap();
    for (options, hint) in [
        (&["--guidance-from", "0.5", "--guidance-to", "0.25"][..], "the end of guidance must be from 0.5 to 1"),
        (&["--deep-cache", "11"], "the interval of block caching must be from 2 to 10, not 11"),
        (&["--deep-cache", "2", "--deep-cache-branch", "12"], "from 0 to 11"),
        (&["--token-merging", "0.9"], "the token merging ratio must be from 0 to 0.75, not 0.9"),
        (&["--guidance-from", "-1"], "the beginning of guidance must be from 0 to 1"),
    ] {
        assert_ends(&generate(home.path(), options), 2, hint);
        assert_ends(&calotype(home.path(), &[&["bench"][..], options].concat()), 2, hint);
    }
}

#[test]
fn bench_measures_whole_intervals_and_tells_the_mean() {
    let home = tempfile::tempdir().unwrap();
    let model = fixtures().join("tiny-eps");
    let own = ["bench", "--model", model.to_str().unwrap(), "--steps", "3", "--deep-cache", "2"];
    let output = calotype(home.path(), &[&own[..], &["--json", "--precision", "f32"]].concat());
    assert_ends(&output, 0, "");
    let measured = &json_lines(&output)[0];
    let steps: Vec<f64> = measured["steps"].as_array().unwrap().iter().map(|step| step.as_f64().unwrap()).collect();
    assert_eq!((steps.len(), &measured["accelerations"]), (4, &json!({"block_caching": {"interval": 2}})));
    assert!((measured["step"].as_f64().unwrap() - steps.iter().sum::<f64>() / 4.0).abs() < 1e-9, "{measured}");
    let said = text(&calotype(home.path(), &own).stdout);
    assert!(said.contains("block caching: one evaluation in 2 is whole") && said.contains("mean of 4"), "{said}");
}

#[test]
fn token_merging_that_changes_nothing_is_said() {
    let home = tempfile::tempdir().unwrap();
    let model = fixtures().join("tiny-xl");
    let small = ["--steps", "1", "--width", "64", "--height", "64", "--token-merging", "0.5", "--output", "xl.png"];
    let own = ["generate", "--model", model.to_str().unwrap(), "a red cat"];
    assert_ends(&calotype(home.path(), &[&own[..], &small].concat()), 0, "token merging changes nothing here");
    assert!(!text(&generate(home.path(), &["--token-merging", "0.5", "--output", "a.png"]).stderr).contains("nothing"));
}
