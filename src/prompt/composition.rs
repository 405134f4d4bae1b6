//! `AND`: prompts that steer together, each with its weight.

use super::words::{is_space, is_word};

/// One prompt of a composition.
#[derive(Debug, Clone, PartialEq)]
pub struct Subprompt {
    /// The prompt, without white space at its end.
    pub text: String,
    /// Where it begins, in bytes of the whole prompt.
    pub start: usize,
    /// How strongly it steers; negative steers away.
    pub weight: f64,
}

/// Splits a prompt at every `AND` that is a word of its own, inside brackets too. A part that ends in `: number` has
/// that weight, even the only one: a clock time at the very end of a prompt is taken for it, as in the web UI.
#[must_use]
pub fn subprompts(prompt: &str) -> Vec<Subprompt> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, word) in prompt.match_indices("AND") {
        let end = at + word.len();
        let before = prompt[..at].chars().next_back();
        let after = prompt[end..].chars().next();
        if !before.is_some_and(is_word) && !after.is_some_and(is_word) {
            parts.push(subprompt(&prompt[start..at], start));
            start = end;
        }
    }
    parts.push(subprompt(&prompt[start..], start));
    parts
}

fn subprompt(part: &str, start: usize) -> Subprompt {
    let text = part.trim_end_matches(is_space);
    let weighted = text.rsplit_once(':').and_then(|(before, number)| {
        let weight = plain_number(number.trim_start_matches(is_space))?;
        Some(Subprompt { text: before.trim_end_matches(is_space).to_owned(), start, weight })
    });
    weighted.unwrap_or_else(|| Subprompt { text: text.to_owned(), start, weight: 1.0 })
}

/// `1`, `1.`, `1.5`, `.5`, each with or without a sign; no exponent.
fn plain_number(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = unsigned.chars().all(|c| c.is_ascii_digit() || c == '.') && unsigned != ".";
    let weight: f64 = text.parse().ok().filter(|_| is_number)?;
    weight.is_finite().then_some(weight)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_and_weights_are_those_of_the_web_ui() {
        let cases: &[(&str, &[(&str, f64)])] = &[
            ("a cat", &[("a cat", 1.0)]),
            ("a cat AND a dog", &[("a cat", 1.0), (" a dog", 1.0)]),
            ("a cat :1.2 AND a dog:-.5 AND x", &[("a cat", 1.2), (" a dog", -0.5), (" x", 1.0)]),
            ("(a AND b)", &[("(a", 1.0), (" b)", 1.0)]),
            ("GRAND ANDES AND_", &[("GRAND ANDES AND_", 1.0)]),
            ("a clock showing 12:30", &[("a clock showing 12", 30.0)]),
            ("a : 1 : 2", &[("a : 1", 2.0)]),
            ("a: 1.\n", &[("a", 1.0)]),
            ("a:1e3", &[("a:1e3", 1.0)]),
            ("a:.", &[("a:.", 1.0)]),
            ("a:1.2.3", &[("a:1.2.3", 1.0)]),
            ("a:+-1", &[("a:+-1", 1.0)]),
            (":3", &[("", 3.0)]),
            ("AND", &[("", 1.0), ("", 1.0)]),
            ("  a ", &[("  a", 1.0)]),
        ];
        for (prompt, expected) in cases {
            let found = subprompts(prompt);
            let found: Vec<(&str, f64)> = found.iter().map(|part| (part.text.as_str(), part.weight)).collect();
            assert_eq!(&found, expected, "{prompt}");
        }
    }

    proptest! {
        #[test]
        fn any_prompt_has_a_part_and_finite_weights(prompt in any::<String>()) {
            let parts = subprompts(&prompt);
            prop_assert!(!parts.is_empty() && parts.iter().all(|part| part.weight.is_finite()));
        }

        #[test]
        fn a_prompt_without_a_colon_keeps_every_letter(prompt in "[a-zA-Z ,\\[\\]()]{0,60}") {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            let texts: Vec<String> = subprompts(&prompt).into_iter().map(|part| part.text).collect();
            prop_assert_eq!(letters(&texts.join("AND")), letters(&prompt));
        }
    }
}
