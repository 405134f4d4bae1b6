//! In what two recipes differ.

use super::ReadRecipe;

/// Why two pictures differ: every field whose values are not the same, with the value of each; `None` where a picture
/// does not say it.
#[must_use]
pub fn differences(left: &ReadRecipe, right: &ReadRecipe) -> Vec<(String, Option<String>, Option<String>)> {
    let facts = |recipe: &ReadRecipe| -> Vec<(String, String)> {
        let rest = recipe.not_understood.iter().filter_map(|part| part.split_once(": "));
        let mut facts: Vec<(String, String)> =
            recipe.facts().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let known = facts.len();
        for (name, value) in rest {
            match facts.iter().position(|(other, _)| other.eq_ignore_ascii_case(name)) {
                // Of nodes and further passes there are several.
                Some(at) if at >= known => facts[at].1 = format!("{}; {value}", facts[at].1),
                Some(_) => {}
                // They are among the facts, all of them together.
                None if name == "LoRA" => {}
                None => facts.push((name.to_owned(), value.to_owned())),
            }
        }
        facts
    };
    let (left, mut right) = (facts(left), facts(right));
    let mut found = Vec::new();
    for (name, value) in left {
        let at = right.iter().position(|(other, _)| *other == name);
        let other = at.map(|at| right.remove(at).1);
        if other.as_ref() != Some(&value) {
            found.push((name, Some(value), other));
        }
    }
    found.extend(right.into_iter().map(|(name, value)| (name, None, Some(value))));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Seed, Steps};

    #[test]
    fn two_pictures_differ_in_what_only_one_says_too() {
        let left = ReadRecipe {
            prompt: "a fox".into(),
            steps: Steps::new(20).ok(),
            not_understood: vec!["ENSD: 31337".into()],
            ..ReadRecipe::default()
        };
        let right = ReadRecipe { steps: Steps::new(30).ok(), seed: Some(Seed(1)), ..left.clone() };
        let right = ReadRecipe { not_understood: Vec::new(), ..right };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            differences(&left, &right),
            [
                ("Steps".to_owned(), some("20"), some("30")),
                ("ENSD".to_owned(), some("31337"), None),
                ("Seed".to_owned(), None, some("1"))
            ]
        );
        assert_eq!(differences(&left, &left), []);
    }
}
