//! `calotype export` and `calotype verify`, run as a user runs them.

use std::path::Path;

use crate::command_line::{assert_ends, calotype, generate, json_lines, text};
use crate::golden::fixtures;
use crate::single_files::Twins;

/// `calotype verify` with the tiny model that made the pictures here.
fn verify(home: &Path, more: &[&str]) -> std::process::Output {
    let model = fixtures().join("tiny-eps");
    calotype(home, &[&["verify", "--model", model.to_str().unwrap()], more].concat())
}

/// A PNG of one colour with this infotext.
fn with_infotext(path: &Path, infotext: &str) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), 64, 64);
    encoder.set_color(png::ColorType::Rgb);
    encoder.add_itxt_chunk("parameters".into(), infotext.into()).unwrap();
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[128; 64 * 64 * 3]).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_picture_is_made_as_jpeg_and_webp_and_its_recipe_comes_back() {
    let home = tempfile::tempdir().unwrap();
    assert_ends(&generate(home.path(), &["--seed", "7", "--output", "a.png"]), 0, "");
    let told = |name: &str| json_lines(&calotype(home.path(), &["info", "--json", name]));
    for name in ["a.jpg", "a.webp"] {
        let output = generate(home.path(), &["--seed", "7", "--output", name]);
        assert_ends(&output, 0, "");
        assert_eq!(text(&output.stdout).trim(), name);
        assert_eq!(told(name), told("a.png"));
        let differ = calotype(home.path(), &["info", "a.png", name]);
        assert_eq!(text(&differ.stdout), "the recipes are the same\n");
    }
    assert_ends(&generate(home.path(), &["--output", "a.gif"]), 2, ".png, .jpg or .webp");
    assert_ends(&generate(home.path(), &["--output", "a.jpg", "--quality", "0"]), 2, "from 1 to 100");
}

#[test]
fn export_changes_the_format_and_keeps_the_recipe() {
    let home = tempfile::tempdir().unwrap();
    assert_ends(&generate(home.path(), &["--seed", "7", "--output", "a.png"]), 0, "");
    for (from, to) in [("a.png", "b.webp"), ("b.webp", "c.png"), ("c.png", "d.jpeg"), ("c.png", "e.jpg")] {
        let quality = if to == "e.jpg" { "20" } else { "92" };
        let output = calotype(home.path(), &["export", from, to, "--quality", quality]);
        assert_ends(&output, 0, "");
        assert_eq!(text(&output.stdout).trim(), to);
    }
    let bytes = |name: &str| std::fs::read(home.path().join(name)).unwrap();
    assert_eq!(bytes("a.png"), bytes("c.png"), "nothing is lost on the way through WebP");
    assert!(bytes("d.jpeg").starts_with(b"\xff\xd8") && bytes("e.jpg").len() < bytes("d.jpeg").len());
    assert_ends(&calotype(home.path(), &["export", "a.png", "f.gif"]), 1, "end the name in");
    assert_ends(&calotype(home.path(), &["export", "none.png", "f.jpg"]), 1, "none.png");
}

#[test]
fn verify_says_that_a_picture_is_the_same_in_every_format() {
    let home = tempfile::tempdir().unwrap();
    for name in ["a.png", "a.webp", "a.jpg"] {
        assert_ends(&generate(home.path(), &["--seed", "7", "--output", name]), 0, "");
        let output = verify(home.path(), &[name]);
        assert_ends(&output, 0, "");
        let said = text(&output.stdout);
        let hint = if name == "a.jpg" { "as far as a lossy file tells" } else { "all 4096 pixels agree" };
        assert!(said.starts_with("the same") && said.contains(hint), "{name}: {said}");
    }
    let output = verify(home.path(), &["--json", "a.png"]);
    assert_ends(&output, 0, "");
    let last = json_lines(&output).pop().unwrap();
    assert_eq!((&last["event"], &last["result"]), (&"verified".into(), &"same".into()));
    assert_eq!((&last["different"], &last["largest"], &last["is_lossy"]), (&0.into(), &0.into(), &false.into()));
}

#[test]
fn verify_says_how_far_a_retouched_picture_is_off() {
    let home = tempfile::tempdir().unwrap();
    assert_ends(&generate(home.path(), &["--seed", "7", "--output", "a.png"]), 0, "");
    let infotext = text(&calotype(home.path(), &["info", "a.png"]).stdout);
    let mut picture = image::open(home.path().join("a.png")).unwrap().into_rgb8();
    picture.get_pixel_mut(3, 3).0[1] ^= 4;
    let mut encoder = png::Encoder::new(std::fs::File::create(home.path().join("b.png")).unwrap(), 64, 64);
    encoder.set_color(png::ColorType::Rgb);
    encoder.add_itxt_chunk("parameters".into(), infotext.trim().into()).unwrap();
    encoder.write_header().unwrap().write_image_data(picture.as_raw()).unwrap();
    let output = verify(home.path(), &["b.png"]);
    assert_ends(&output, 1, "");
    let said = text(&output.stdout);
    assert!(said.starts_with("different: 1 of 4096 pixels, by at most 4 of 255"), "{said}");
    with_infotext(&home.path().join("c.png"), infotext.trim());
    assert_ends(&calotype(home.path(), &["export", "c.png", "c.jpg"]), 0, "");
    let output = verify(home.path(), &["c.jpg"]);
    assert_ends(&output, 1, "");
    assert!(text(&output.stdout).starts_with("different, as far as a lossy file tells"), "{}", text(&output.stdout));
}

#[test]
fn verify_names_every_reason_why_a_picture_cannot_be_made_again() {
    let home = tempfile::tempdir().unwrap();
    let said = |output: &std::process::Output| {
        assert_ends(output, 1, "");
        let said = text(&output.stdout);
        assert!(said.starts_with("this picture cannot be made again here:\n"), "{said}");
        said
    };
    let settings = "CFG scale: 7, Seed: 3, Size: 64x64, Model: tiny-eps, RNG: CPU";
    let file = home.path().join("a.png");
    with_infotext(&file, &format!("a <lora:ink:0.5> fox\nSteps: 4, Sampler: Warp drive, Tiling: True, {settings}"));
    let found = said(&verify(home.path(), &["a.png"]));
    for reason in
        ["not understood: LoRA: ink (0.5)", "not understood: Sampler: Warp drive", "not understood: Tiling: True"]
    {
        assert!(found.contains(reason), "{reason}: {found}");
    }
    with_infotext(&file, "a fox\nSteps: 4, Seed: 3, Size: 128x64, App: SD.Next");
    let found = said(&verify(home.path(), &["a.png"]));
    assert!(found.contains("does not say the sampler") && found.contains("does not say the guidance"), "{found}");
    with_infotext(&file, &format!("a fox\nSteps: 4, Sampler: Euler, {settings}").replace("64x64", "128x64"));
    let found = said(&verify(home.path(), &["a.png"]));
    assert!(found.contains("the picture is 64x64, and its recipe draws 128x64"), "{found}");
    with_infotext(&file, &format!("a fox\nSteps: 4, Sampler: Euler, {settings}, Denoising strength: 0.5"));
    assert!(said(&verify(home.path(), &["a.png"])).contains("name it with --init"));
    image::RgbImage::new(64, 64).save(&file).unwrap();
    assert!(said(&verify(home.path(), &["a.png"])).contains("no recipe is stored"));
}

#[test]
#[cfg(unix)]
fn verify_looks_at_the_model() {
    let home = tempfile::tempdir().unwrap();
    assert_ends(&generate(home.path(), &["--seed", "7", "--output", "a.png"]), 0, "");
    let output = calotype(home.path(), &["verify", "a.png"]);
    assert_ends(&output, 1, "");
    let said = text(&output.stdout);
    assert!(said.contains("it was made with tiny-eps, not with Calotype starter"), "{said}");
    // A folder that was renamed is told by the pixels; another model is too.
    for (model, code) in [("tiny-v", 1), ("tiny-eps", 0)] {
        let renamed = home.path().join("renamed");
        let _ = std::fs::remove_file(&renamed);
        std::os::unix::fs::symlink(fixtures().join(model), &renamed).unwrap();
        let output = calotype(home.path(), &["verify", "--model", "renamed", "a.png"]);
        assert_ends(&output, code, "");
        let said = text(&output.stdout);
        assert!(said.contains("the file names tiny-eps; renamed was used"), "{said}");
    }
    assert_ends(&calotype(home.path(), &["verify", "--model", "nowhere", "a.png"]), 2, "no such model");
    assert_ends(&calotype(home.path(), &["verify", "none.png"]), 1, "none.png");
}

#[test]
fn verify_begins_from_the_start_image_that_is_named() {
    let home = tempfile::tempdir().unwrap();
    assert_ends(&generate(home.path(), &["--seed", "1", "--output", "a.png"]), 0, "");
    assert_ends(&verify(home.path(), &["a.png", "--init", "a.png"]), 2, "leave out --init");
    let from = ["--init", "a.png", "--strength", "0.5", "--seed", "2", "--output", "b.png"];
    assert_ends(&generate(home.path(), &from), 0, "");
    let alone = verify(home.path(), &["b.png"]);
    assert_ends(&alone, 1, "");
    assert!(text(&alone.stdout).contains("it was begun from a.png, which is not here"), "{}", text(&alone.stdout));
    assert_ends(&verify(home.path(), &["b.png", "--init", "a.png"]), 0, "");
    assert_ends(&verify(home.path(), &["b.png", "--init", "b.png"]), 1, "");
}

#[test]
fn verify_finds_a_recipes_model_by_its_hash_under_another_name() {
    let home = tempfile::tempdir().unwrap();
    let twins = Twins::new("sd1", candle_core::DType::F16, 0.3);
    let folder = home.path().join("data/models/checkpoints");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("before.safetensors");
    std::fs::copy(twins.file(), &path).unwrap();
    let hash = text(&calotype(home.path(), &["models", "inspect", "--hash", "--json", path.to_str().unwrap()]).stdout);
    let hash = serde_json::from_str::<serde_json::Value>(&hash).unwrap()["sha256"].as_str().unwrap()[..10].to_owned();
    let size = ["--width", "64", "--height", "64", "--steps", "2", "--seed", "7"];
    let made =
        calotype(home.path(), &[&["generate", "--model", &hash, "a red cat", "--output", "a.png"], &size[..]].concat());
    assert_ends(&made, 0, "");
    assert!(text(&calotype(home.path(), &["info", "a.png"]).stdout).contains(&format!("Model hash: {hash}")));
    std::fs::rename(&path, folder.join("after.safetensors")).unwrap();
    let verified = calotype(home.path(), &["verify", "a.png"]);
    assert_ends(&verified, 0, "");
    assert!(text(&verified.stdout).starts_with("the same: all 4096 pixels agree"), "{verified:?}");
}
