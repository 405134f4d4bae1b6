//! `calotype prompt` and what `calotype generate` makes of a prompt's own language.

use crate::command_line::{assert_ends, calotype, generate, json_lines, text};
use crate::golden::fixtures;

#[test]
fn a_prompt_is_explained_in_json() {
    let home = tempfile::tempdir().unwrap();
    let output = calotype(home.path(), &["prompt", "a [red:(blue:1.2):2] cat AND a dog :.5", "--steps", "4", "--json"]);
    assert_ends(&output, 0, "");
    let found = &json_lines(&output)[0]["parts"];
    assert_eq!((&found[0]["weight"], &found[1]["weight"]), (&1.0.into(), &0.5.into()));
    assert_eq!(found[0]["calls"], serde_json::json!([0, 0, 0, 1]));
    assert_eq!(found[1]["text"], " a dog");
    let second = &found[0]["schedule"][1];
    assert_eq!((&second["end_step"], &second["text"]), (&4.into(), &"a (blue:1.2) cat".into()));
    assert_eq!(second["pieces"][1], serde_json::json!({"text": "blue", "weight": 1.2}));
    let chunk = &second["chunks"][0];
    assert_eq!(chunk["words"], serde_json::json!(["a</w>", "blue</w>", "cat</w>"]));
    assert_eq!(chunk["tokens"].as_array().unwrap()[..5], [49406, 320, 1746, 2368, 49407]);
    assert_eq!(chunk["tokens"].as_array().unwrap().len(), 77);
    assert_eq!(chunk["weights"].as_array().unwrap()[..4], [1.0, 1.0, 1.2, 1.0]);
}

#[test]
fn a_prompt_is_explained_to_people() {
    let home = tempfile::tempdir().unwrap();
    let output = calotype(home.path(), &["prompt", "a (red) cat BREAK [big:small:2]", "--steps", "4"]);
    assert_ends(&output, 0, "");
    let said = text(&output.stdout);
    assert!(said.contains("steps 1 to 3: a (red:1.1000) cat BREAK big"), "{said}");
    assert!(said.contains("  chunk 2, 1 tokens: small"), "{said}");
    assert_ends(&calotype(home.path(), &["prompt", "a", "--model", "nowhere"]), 2, "no such model");
}

#[test]
fn a_prompt_in_comfyuis_language_is_explained() {
    let home = tempfile::tempdir().unwrap();
    let output = calotype(home.path(), &["prompt", "(a (b:1.5)) AND [c]", "--dialect", "comfyui", "--json"]);
    assert_ends(&output, 0, "");
    let found = &json_lines(&output)[0];
    assert_eq!((found["parts"].as_array().unwrap().len(), &found["loras"]), (1, &serde_json::json!([])));
    let expected =
        [("a ", 1.1), ("b", 1.5), (" AND [c]", 1.0)].map(|(t, w)| serde_json::json!({"text": t, "weight": w}));
    assert_eq!(found["parts"][0]["schedule"][0]["pieces"], serde_json::json!(expected));
    assert_ends(&calotype(home.path(), &["prompt", "a", "--dialect", "x"]), 2, "a1111, comfyui");
}

#[test]
fn comments_are_cut_and_loras_are_listed() {
    let home = tempfile::tempdir().unwrap();
    let output = calotype(home.path(), &["prompt", "a <lora:ink:0.8> fox # not this", "--json"]);
    let found = &json_lines(&output)[0];
    assert_eq!(found["loras"][0]["name"], "ink");
    assert_eq!((&found["loras"][0]["weight"], &found["parts"][0]["text"]), (&0.8.into(), &"a  fox".into()));
    let said = generate(home.path(), &["--seed", "1", "--output", "a.png", "--negative", "<lora:x:1>"]);
    assert_ends(&said, 0, "");
    let model = fixtures().join("tiny-eps");
    let arguments =
        ["generate", "--steps", "1", "--output", "b.png", "--model", model.to_str().unwrap(), "<lora:ink:1> a"];
    assert_ends(&calotype(home.path(), &arguments), 2, "<lora:ink> is not applied");
}

#[test]
fn wildcards_are_drawn_from_the_data_folder_and_the_recipe_tells_both() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("data/wildcards/animals");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("cats.txt"), "# cats\n\nred cat\nblue cat\n").unwrap();
    let model = fixtures().join("tiny-eps");
    let draw = |prompt: &str, more: &[&str]| {
        let mut arguments = vec!["generate", "--steps", "1", "--model", model.to_str().unwrap(), prompt];
        arguments.extend(more);
        calotype(home.path(), &arguments)
    };
    assert_ends(&draw("a __animals/cats__", &["--seed", "3", "--count", "8", "--output", "out", "--json"]), 0, "");
    let mut prompts = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(home.path().join("out")).unwrap() {
        let path = file.unwrap().path();
        let info = text(&calotype(home.path(), &["info", path.to_str().unwrap()]).stdout);
        assert!(info.contains("Template: \"a __animals/cats__\""), "{info}");
        prompts.insert(info.lines().next().unwrap().to_owned());
    }
    assert_eq!(prompts, ["a blue cat".to_owned(), "a red cat".to_owned()].into());
    let missing = draw("a __animals/dogs__", &["--output", "x.png"]);
    assert_ends(&missing, 2, "no wildcard file \"animals/dogs.txt\"");
    assert!(text(&missing.stderr).contains("wildcards"), "the folder is not named");
    let explained = calotype(home.path(), &["prompt", "{x|x} __animals/c*__", "--seed", "1"]);
    assert!(text(&explained.stdout).contains("cat"), "{explained:?}");
}
