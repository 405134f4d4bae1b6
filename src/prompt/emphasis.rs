//! Attention weights: `(more)`, `[less]`, `(as said:1.3)`, escapes and `BREAK`, with AUTOMATIC1111's arithmetic to the
//! last bit.

use serde::Serialize;

use super::origins::Origins;
use super::words::{is_space, is_word};

/// What round brackets multiply by, and square brackets divide by, when they say no number.
const BRACKET_FACTOR: f64 = 1.1;

/// A stretch of text with one weight.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Piece {
    /// The text without the brackets, or `BREAK`.
    pub text: String,
    /// 1 means as the model has it; -1 with the text `BREAK` means that a new chunk starts here.
    pub weight: f64,
    /// Where it stood in the text that was read.
    #[serde(skip)]
    pub origins: Origins,
}

impl Piece {
    /// True for the mark that starts a new chunk. As in the web UI it is one only where nothing multiplies its weight.
    #[must_use]
    pub fn is_break(&self) -> bool {
        self.text == "BREAK" && self.weight == -1.0
    }
}

/// The stretches of `text` with their weights, at least one. Never fails: what is no syntax is text.
#[must_use]
pub fn weighted_pieces(text: &str) -> Vec<Piece> {
    let mut scan = Scan::default();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        scan.at = text.len() - rest.len();
        let length = scan.item(rest, first);
        rest = &rest[length..];
    }
    scan.end()
}

/// The work of one reading.
#[derive(Default)]
struct Scan<'a> {
    /// Where the item at work begins, in bytes.
    at: usize,
    /// Each with where it begins.
    texts: Vec<(usize, &'a str)>,
    /// Beside the texts, so that the brackets' multiplications run over plain numbers.
    weights: Vec<f64>,
    /// How many texts stood before each open bracket.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl<'a> Scan<'a> {
    /// Reads one item off the front of `rest` and gives its length in bytes.
    fn item(&mut self, rest: &'a str, first: char) -> usize {
        match first {
            // A lone backslash vanishes, whatever follows; as a piece of no text it still parts its neighbours.
            '\\' => {
                let is_escape = rest[1..].starts_with(['(', ')', '[', ']', '\\']);
                let length = if is_escape { 2 } else { 1 };
                self.push(1, &rest[1..length], 1.0);
                length
            }
            '(' => {
                self.round.push(self.texts.len());
                1
            }
            '[' => {
                self.square.push(self.texts.len());
                1
            }
            ':' => match explicit_weight(rest) {
                Some((weight, length)) if !self.round.is_empty() => {
                    let start = self.round.pop();
                    self.multiply(start, weight);
                    length
                }
                _ => self.text(&rest[..1]),
            },
            ')' if !self.round.is_empty() => {
                let start = self.round.pop();
                self.multiply(start, BRACKET_FACTOR);
                1
            }
            ']' if !self.square.is_empty() => {
                let start = self.square.pop();
                self.multiply(start, 1.0 / BRACKET_FACTOR);
                1
            }
            ')' | ']' => self.text(&rest[..1]),
            _ => self.text(&rest[..rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len())]),
        }
    }

    /// A text that begins so many bytes behind the item's begin.
    fn push(&mut self, offset: usize, text: &'a str, weight: f64) {
        self.texts.push((self.at + offset, text));
        self.weights.push(weight);
    }

    /// Plain text, in which `BREAK` is a mark.
    fn text(&mut self, text: &'a str) -> usize {
        let mut rest = text;
        while let Some((before, after)) = split_at_break(rest) {
            let offset = text.len() - rest.len();
            self.push(offset, before, 1.0);
            self.push(offset + before.len(), "BREAK", -1.0);
            rest = after;
        }
        self.push(text.len() - rest.len(), rest, 1.0);
        text.len()
    }

    fn multiply(&mut self, start: Option<usize>, factor: f64) {
        let start = start.unwrap_or(self.weights.len());
        self.weights[start..].iter_mut().for_each(|weight| *weight *= factor);
    }

    /// Open brackets act to the end of the text; neighbours of one weight become one piece.
    fn end(mut self) -> Vec<Piece> {
        for start in std::mem::take(&mut self.round) {
            self.multiply(Some(start), BRACKET_FACTOR);
        }
        for start in std::mem::take(&mut self.square) {
            self.multiply(Some(start), 1.0 / BRACKET_FACTOR);
        }
        let mut pieces: Vec<Piece> = Vec::new();
        for ((at, text), weight) in self.texts.into_iter().zip(self.weights) {
            if pieces.last().is_none_or(|last| last.weight != weight) {
                pieces.push(Piece { text: String::new(), weight, origins: Origins::default() });
            }
            if let Some(last) = pieces.last_mut() {
                last.origins.note(last.text.len(), at);
                last.text.push_str(text);
            }
        }
        if pieces.is_empty() {
            pieces.push(Piece { text: String::new(), weight: 1.0, origins: Origins::default() });
        }
        pieces
    }
}

/// The number of `:1.2)` at the front and the length of all of it. What is no number, `:1.2.3)`, is text; the web UI
/// fails on it.
fn explicit_weight(rest: &str) -> Option<(f64, usize)> {
    let digits = rest[1..].find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))? + 1;
    if !rest[digits..].starts_with(')') {
        return None;
    }
    let weight: f64 = rest[1..digits].parse().ok()?;
    weight.is_finite().then_some((weight, digits + 1))
}

/// What stands before and after the first `BREAK` that is a word of its own, without the white space around it.
fn split_at_break(text: &str) -> Option<(&str, &str)> {
    let found = text.match_indices("BREAK").find(|(at, word)| {
        let before = text[..*at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    });
    let (at, word) = found?;
    Some((text[..at].trim_end_matches(is_space), text[at + word.len()..].trim_start_matches(is_space)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> Vec<(String, f64)> {
        weighted_pieces(text).into_iter().map(|piece| (piece.text, piece.weight)).collect()
    }

    /// The results that AUTOMATIC1111 documents and those that its parser gave for the rest.
    #[test]
    fn weights_are_those_of_the_web_ui() {
        let cases: &[(&str, &[(&str, f64)])] = &[
            ("normal text", &[("normal text", 1.0)]),
            ("an (important) word", &[("an ", 1.0), ("important", 1.1), (" word", 1.0)]),
            ("(unbalanced", &[("unbalanced", 1.1)]),
            (r"\(literal\]", &[("(literal]", 1.0)]),
            ("(unnecessary)(parens)", &[("unnecessaryparens", 1.1)]),
            (
                "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
                &[
                    ("a ", 1.0),
                    ("house", 1.5730000000000004),
                    (" ", 1.1),
                    ("on", 1.0),
                    (" a ", 1.1),
                    ("hill", 0.55),
                    (", sun, ", 1.1),
                    ("sky", 1.4641000000000006),
                    (".", 1.1),
                ],
            ),
            ("[x]", &[("x", 0.9090909090909091)]),
            ("[x:1.2]", &[("x:1.2", 0.9090909090909091)]),
            ("x:1.2)", &[("x:1.2)", 1.0)]),
            ("(x:1.2.3)", &[("x:1.2.3", 1.1)]),
            ("(x:+.5)", &[("x", 0.5)]),
            ("(x: 1.2)", &[("x: 1.2", 1.1)]),
            (r"a\b", &[("ab", 1.0)]),
            (r"(a\:1.2)", &[("a", 1.2)]),
            ("", &[("", 1.0)]),
            ("()", &[("", 1.0)]),
            ("a BREAK b", &[("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]),
            ("BREAK", &[("", 1.0), ("BREAK", -1.0), ("", 1.0)]),
            ("xBREAK BREAK_", &[("xBREAK BREAK_", 1.0)]),
            ("(a BREAK b:2)", &[("a", 2.0), ("BREAK", -2.0), ("b", 2.0)]),
        ];
        for (text, expected) in cases {
            let expected: Vec<(String, f64)> = expected.iter().map(|(text, w)| ((*text).to_owned(), *w)).collect();
            assert_eq!(pieces(text), expected, "{text}");
        }
    }

    #[test]
    fn a_break_inside_brackets_is_a_word() {
        let is_break = |text: &str| weighted_pieces(text).iter().any(Piece::is_break);
        assert!(is_break("a BREAK b"));
        assert!(!is_break("(a BREAK b)"));
    }

    #[test]
    fn a_hundred_kilobytes_of_brackets_are_read() {
        for unit in ["(", "[", ")", "(a", "[(", "\\", ":1)", "(a:1.1)"] {
            assert!(!weighted_pieces(&unit.repeat(100_000 / unit.len())).is_empty());
        }
    }

    proptest! {
        #[test]
        fn only_syntax_is_taken_out_of_a_text(text in "[a-c ()\\[\\]:.1\\\\é]{0,60}") {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            let all: String = weighted_pieces(&text).into_iter().map(|piece| piece.text).collect();
            prop_assert_eq!(letters(&all), letters(&text));
        }

        #[test]
        fn every_letter_is_found_again_where_it_stood(text in "[a-c ()\\[\\]:.1\\\\é]{0,40}") {
            for piece in weighted_pieces(&text).iter().filter(|piece| !piece.is_break()) {
                for (at, letter) in piece.text.char_indices() {
                    prop_assert!(text[piece.origins.of(at)..].starts_with(letter));
                }
            }
        }

        #[test]
        fn any_text_is_read(text in any::<String>()) {
            prop_assert!(!weighted_pieces(&text).is_empty());
        }
    }
}
