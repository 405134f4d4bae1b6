//! Small pictures with the recipes of other programs, written by those programs' writers where there are any: what
//! `calotype info --json` tells of each is what tests/reference/recipe_texts.py says that it holds.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::command_line::{assert_ends, calotype, json_lines, text};
use crate::golden::fixtures;

/// Every picture and what it says, none where no recipe is to be found.
fn pictures() -> Vec<(PathBuf, Option<Map<String, Value>>)> {
    let folder = fixtures().join("recipes");
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: Map<String, Value> = serde_json::from_str(&expected).unwrap();
    assert!(expected.len() > 40, "only {} pictures", expected.len());
    expected.into_iter().map(|(name, said)| (folder.join(name), said.as_object().cloned())).collect()
}

#[test]
fn every_field_of_every_format_is_read_and_the_rest_is_named() {
    let home = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for (path, said) in pictures() {
        let output = calotype(home.path(), &["info", "--json", path.to_str().unwrap()]);
        let Some(said) = said else {
            assert_ends(&output, 1, "no recipe that can be read");
            continue;
        };
        assert_ends(&output, 0, "");
        assert_eq!(text(&output.stderr), "", "{}", path.display());
        for (key, found) in json_lines(&output)[0].as_object().unwrap() {
            // What is not said is null.
            let expected = said.get(key).unwrap_or(&Value::Null);
            if found != expected {
                wrong.push(format!("{}: {key} is {found}, not {expected}", path.file_name().unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_refused_graph_is_handed_out_as_it_stands() {
    let home = tempfile::tempdir().unwrap();
    let path = fixtures().join("recipes/comfyui-workflow-alone.png");
    let output = calotype(home.path(), &["info", path.to_str().unwrap()]);
    assert_ends(&output, 1, "whose values have no names");
    assert_eq!(text(&output.stdout).trim(), "{\"nodes\": []}");
}
