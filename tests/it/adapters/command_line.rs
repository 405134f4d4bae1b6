//! `calotype generate` with LoRAs and embeddings: by name, into the recipe, and again to the same bytes.

use std::path::Path;

use image::RgbImage;

use super::adapter_file;
use crate::command_line::{assert_ends, calotype, json_lines, text};
use crate::golden::fixtures;

/// Draws a prompt with the tiny model.
#[track_caller]
fn draw(home: &Path, prompt: &str, name: &str, more: &[&str]) -> RgbImage {
    let model = fixtures().join("tiny-eps");
    let arguments = ["generate", "--model", model.to_str().unwrap(), "--steps", "4", "--seed", "7", prompt];
    let output = calotype(home, &[&arguments[..], &["--output", name], more].concat());
    assert_ends(&output, 0, "");
    image::open(home.join(name)).unwrap().into_rgb8()
}

fn folder() -> String {
    fixtures().join("adapters").to_str().unwrap().to_owned()
}

fn infotext(home: &Path, name: &str) -> String {
    text(&calotype(home, &["info", name]).stdout)
}

#[test]
fn a_lora_acts_by_its_name_and_by_its_file_and_the_recipe_makes_it_again() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let folder = folder();
    let with = ["--lora-folder", folder.as_str()];
    let plain = draw(home, "a red cat", "plain.png", &[]);
    let changed = draw(home, "a red cat <lora:kohya:0.8>", "a.png", &with);
    assert!(changed != plain);
    draw(home, "a red cat <lora:kohya:0.8>", "b.png", &with);
    assert_eq!(std::fs::read(home.join("a.png")).unwrap(), std::fs::read(home.join("b.png")).unwrap());
    let file = format!("{}:0.8", adapter_file("kohya").display());
    assert!(draw(home, "a red cat", "c.png", &["--lora", &file]) == changed);
    assert_eq!(infotext(home, "c.png"), infotext(home, "a.png"));
    // A name that would be a wildcard.
    let odd = home.join("__kohya__.safetensors");
    std::fs::copy(adapter_file("kohya"), &odd).unwrap();
    assert!(draw(home, "a red cat", "odd.png", &["--lora", &format!("{}:0.8", odd.display())]) == changed);
    assert!(draw(home, "a red cat <lora:kohya:0>", "off.png", &with) == plain);
    let unet_alone = draw(home, "a red cat <lora:kohya:0:0.8>", "unet.png", &with);
    assert!(unet_alone != plain && unet_alone != changed);
    // ComfyUI's language has no calls: what the options name is in the recipe alone.
    assert!(draw(home, "a red cat", "comfy.png", &["--lora", &file, "--dialect", "comfyui"]) != plain);
    let model = fixtures().join("tiny-eps");
    let model = model.to_str().unwrap();
    for name in ["a.png", "comfy.png"] {
        let said = infotext(home, name);
        assert!(said.contains("Lora hashes: \"kohya: 869c362dad76\""), "{said}");
        let verified = calotype(home, &["verify", name, "--model", model, "--lora-folder", &folder]);
        assert_ends(&verified, 0, "");
        let lost = calotype(home, &["verify", name, "--model", model]);
        assert_ne!(lost.status.code(), Some(0));
        assert!(text(&lost.stderr).contains("kohya"), "{}", text(&lost.stderr));
    }
    let told = &json_lines(&calotype(home, &["info", "--json", "a.png"]))[0];
    assert_eq!(told["loras"][0]["name"], "kohya");
}

#[test]
fn an_embedding_acts_by_its_name_and_is_in_the_recipe() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let folder = folder();
    let with = ["--embedding-folder", folder.as_str()];
    let changed = draw(home, "a Ink-Style cat", "a.png", &with);
    assert!(changed != draw(home, "a Ink-Style cat", "plain.png", &[]));
    let said = infotext(home, "a.png");
    assert!(said.contains("TI hashes: \"ink-style: 86e3542fff18\""), "{said}");
    // The same words to the model, in the other program's spelling.
    let comfy = ["--embedding-folder", folder.as_str(), "--dialect", "comfyui"];
    assert!(draw(home, "a embedding:ink-style cat", "comfy.png", &comfy) == changed);
    let in_negative = draw(home, "a cat", "negative.png", &[&with[..], &["--negative", "ink-style"]].concat());
    assert!(in_negative != draw(home, "a cat", "cat.png", &with));
}

#[test]
fn names_that_are_not_there_are_told_before_the_weights_are_read() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder();
    let model = fixtures().join("tiny-eps");
    let refused = |prompt: &str, more: &[&str], hint: &str| {
        let arguments = ["generate", "--model", model.to_str().unwrap(), "--json", prompt];
        let output = calotype(home.path(), &[&arguments[..], more].concat());
        assert_ends(&output, 2, hint);
        assert!(!text(&output.stdout).contains("loading"), "{}", text(&output.stdout));
    };
    refused("<lora:kohia:1> a cat", &["--lora-folder", &folder], "near are kohya");
    refused("<hypernet:x:1> a cat", &["--lora-folder", &folder], "<hypernet:x> is not applied");
    refused("a cat", &["--lora", "nowhere.safetensors"], "there is no such LoRA");
    refused("a cat", &["--lora-folder", "nowhere"], "could not look into nowhere");
    let comfy = ["--embedding-folder", &folder, "--dialect", "comfyui"];
    refused("a embedding:ink-stile cat", &comfy, "near are ink-style");
}
