//! `calotype models`, and models that other commands find in the library.

use serde_json::{Value, json};

use crate::command_line::{assert_ends, calotype, json_lines, text};
use crate::golden::fixtures;
use crate::library::{LORA, SD1, put, safetensors};

#[test]
fn the_command_line_lists_inspects_adds_and_removes() {
    let home = tempfile::tempdir().unwrap();
    let models = |arguments: &[&str]| calotype(home.path(), &[&["models"], arguments].concat());
    let none = models(&["list"]);
    assert_ends(&none, 0, "models add FOLDER");
    put(&home.path().join("comfy/models/checkpoints/fox.safetensors"), &safetensors(SD1, &Value::Null));
    let ink = safetensors(LORA, &json!({"ss_output_name": "ink_v1", "ss_tag_frequency": r#"{"1_a":{"fox":7}}"#}));
    put(&home.path().join("comfy/models/loras/ink.safetensors"), &ink);
    let added = models(&["add", "comfy"]);
    assert_ends(&added, 0, "");
    assert_eq!(text(&added.stdout), "added the folder of ComfyUI: 2 models\n");
    assert!(text(&models(&["list"]).stdout).contains("fox  [Checkpoint, SD 1"));
    let loras = json_lines(&models(&["list", "--kind", "lora", "--json"]));
    assert_eq!(loras.len(), 1);
    assert_eq!(
        (&loras[0]["name"], &loras[0]["network"], &loras[0]["rank"]),
        (&"ink".into(), &"LoRA".into(), &4.into())
    );
    let told = json_lines(&models(&["inspect", "comfy/models/loras/ink.safetensors", "--hash", "--json"])).remove(0);
    assert_eq!((&told["alias"], &told["tags"]), (&"ink_v1".into(), &json!([["fox", 7]])));
    assert_eq!(told["sha256"].as_str().unwrap().len(), 64);
    assert!(
        text(&models(&["inspect", "comfy/models/loras/ink.safetensors"]).stdout).contains("Training tags: fox (7)")
    );
    assert_ends(&models(&["inspect", "none"]), 1, "none");
    assert_ends(&models(&["remove", "elsewhere"]), 1, "not in the library");
    assert_ends(&models(&["remove", "comfy"]), 0, "");
    assert!(text(&models(&["list"]).stdout).is_empty());
    assert!(home.path().join("comfy/models/loras/ink.safetensors").exists());
}

#[test]
fn generate_finds_its_model_by_name_in_the_library() {
    let home = tempfile::tempdir().unwrap();
    assert_ends(&calotype(home.path(), &["models", "add", fixtures().to_str().unwrap()]), 0, "");
    let draw = |model: &str| {
        let arguments = ["generate", "--model", model, "--steps", "2", "--seed", "1", "--output", "a.png", "a red cat"];
        calotype(home.path(), &arguments)
    };
    assert_ends(&draw("tiny-eps"), 0, "");
    assert!(home.path().join("a.png").exists());
    for command in [&["prompt", "--model", "tiny-eps", "a red cat"][..], &["verify", "--model", "tiny-eps", "a.png"]] {
        assert_ends(&calotype(home.path(), command), 0, "");
    }
    assert_ends(&draw("tiny-none"), 2, "no name or hash of the library");
    assert_ends(&draw("0123456789"), 2, "no name or hash of the library");
}
