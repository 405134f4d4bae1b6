//! Changing the weight of a word or a selection in a prompt, for a key: `fox` to `(fox:1.1)` and back.

use std::ops::Range;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reweigh {
    /// By 0.1 up.
    More,
    /// By 0.1 down.
    Less,
}

/// Where words end, as the web UI has it.
const DELIMITERS: &str = ".,\\/!?%^*;:{}=`~()[]| \r\n\t";

/// Gives `text` with the weight of the selection changed, and the new selection; both selections are in bytes. An empty
/// selection means the word around it, or what the round brackets around it hold. None where there is no word.
#[must_use]
pub fn reweighed(text: &str, selection: Range<usize>, direction: Reweigh) -> Option<(String, Range<usize>)> {
    let inner = if selection.is_empty() {
        bracketed(text, selection.start).or_else(|| word(text, selection.start))
    } else {
        Some(selection)
    };
    let inner = trimmed(text, inner?)?;
    let around = brackets(text, &inner);
    let (outer, weight) = around.unwrap_or((inner.clone(), 1.0));
    let changed = match direction {
        Reweigh::More => weight + 0.1,
        Reweigh::Less => weight - 0.1,
    };
    // Without the tail that binary fractions leave.
    let changed = (changed * 1e6).round() / 1e6;
    let (before, words, after) = (&text[..outer.start], &text[inner.clone()], &text[outer.end..]);
    if changed == 1.0 {
        return Some((format!("{before}{words}{after}"), outer.start..outer.start + words.len()));
    }
    let start = outer.start + 1;
    Some((format!("{before}({words}:{changed}){after}"), start..start + words.len()))
}

/// The word that touches `at`.
fn word(text: &str, at: usize) -> Option<Range<usize>> {
    let (before, after) = (text.get(..at)?, text.get(at..)?);
    let is_delimiter = |c| DELIMITERS.contains(c);
    let start = before.rfind(is_delimiter).map_or(0, |found| found + 1);
    let end = after.find(is_delimiter).map_or(text.len(), |found| at + found);
    (start < end).then_some(start..end)
}

/// What stands before the weight in the innermost round brackets around `at`, if they say one.
fn bracketed(text: &str, at: usize) -> Option<Range<usize>> {
    let start = text.get(..at)?.rfind(['(', ')']).filter(|&found| text[found..].starts_with('('))? + 1;
    let close = at + text.get(at..)?.find(['(', ')']).filter(|found| text[at + found..].starts_with(')'))?;
    let colon = start + text[start..close].rfind(':')?;
    text[colon + 1..close].parse::<f64>().ok()?;
    Some(start..colon)
}

fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let words = text.get(range.clone())?;
    let start = range.start + words.len() - words.trim_start().len();
    let end = start + words.trim().len();
    (start < end).then_some(start..end)
}

/// The round brackets right around `inner` with the weight that they say, or 1.1.
fn brackets(text: &str, inner: &Range<usize>) -> Option<(Range<usize>, f64)> {
    if !text[..inner.start].ends_with('(') || text[..inner.start].ends_with("\\(") {
        return None;
    }
    let after = &text[inner.end..];
    let close = after.find(')')?;
    let weight = match after[..close].strip_prefix(':') {
        Some(number) => number.parse().ok().filter(|weight: &f64| weight.is_finite())?,
        None if close == 0 => 1.1,
        None => return None,
    };
    Some((inner.start - 1..inner.end + close + 1, weight))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The selection is written as `<…>`.
    fn press(marked: &str, direction: Reweigh) -> Option<String> {
        let (start, end) = (marked.find('<').unwrap(), marked.find('>').unwrap());
        let text = marked.replace(['<', '>'], "");
        let (text, selection) = reweighed(&text, start..end - 1, direction)?;
        Some(format!("{}<{}>{}", &text[..selection.start], &text[selection.clone()], &text[selection.end..]))
    }

    #[test]
    fn a_weight_goes_up_and_down() {
        for (before, after) in [
            ("a f<>ox runs", "a (<fox>:1.1) runs"),
            ("a <fox runs> off", "a (<fox runs>:1.1) off"),
            ("a < fox >runs", "a  (<fox>:1.1) runs"),
            ("a (<fox>:1.1)", "a (<fox>:1.2)"),
            ("a (fox ru<>ns:1.25)", "a (<fox runs>:1.35)"),
            ("a (<fox>)", "a (<fox>:1.2)"),
            ("a (<fox>:0.9)", "a <fox>"),
            ("é<>", "(<é>:1.1)"),
        ] {
            assert_eq!(press(before, Reweigh::More).as_deref(), Some(after), "{before}");
        }
        assert_eq!(press("a (f<>ox:1.1)", Reweigh::Less).unwrap(), "a <fox>");
        assert_eq!(press("a f<>ox", Reweigh::Less).unwrap(), "a (<fox>:0.9)");
        assert_eq!(press(" <> ", Reweigh::More), None);
    }

    proptest! {
        #[test]
        fn any_selection_of_any_text_keeps_its_letters(text in "[a-c (:.1)é]{0,30}", a in 0_usize..40, b in 0_usize..40) {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            if let Some((changed, selection)) = reweighed(&text, a.min(b)..a.max(b), Reweigh::More) {
                prop_assert_eq!(letters(&changed), letters(&text));
                prop_assert!(changed.get(selection).is_some());
            }
        }
    }
}
