//! The tokenizer on 166 texts in many scripts, from both kinds of file, and the chunks for the text encoder.

use calotype::checkpoint::{self, ModelFiles};

use super::{fixtures, golden_json};

fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn every_text_has_the_ids_of_transformers() {
    let cases = golden_json("tokens");
    for (name, files) in [
        ("tiny-eps", ModelFiles::at(&fixtures().join("tiny-eps")).unwrap()),
        ("tiny-v", ModelFiles::at(&fixtures().join("tiny-v")).unwrap()),
        ("starter", ModelFiles::Starter),
    ] {
        let tokenizer = checkpoint::describe(&files).unwrap().tokenizer;
        for case in cases.as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.ids(text).unwrap(), ids(&case[name]), "{name}: {text:?}");
        }
    }
}
