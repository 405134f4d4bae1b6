//! The prompt language against the web UI's grammar, and weighted hidden states against torch.

use calotype::prompt::schedule;

use super::golden_json;

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
