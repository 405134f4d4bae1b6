//! Attention weights as ComfyUI reads them: `(more)`, `(as said:1.3)`, `\(` and `\)`; everything else is text.
//!
//! A number replaces the weight around it, where AUTOMATIC1111 multiplies.

use super::emphasis::Piece;
use super::origins::Origins;

/// What round brackets multiply by when they say no number.
const BRACKET_FACTOR: f64 = 1.1;
/// Brackets deeper than this are text; ComfyUI itself fails on them, at Python's limit of recursion.
const MOST_DEPTH: usize = 400;

/// A stretch of the prompt that is still to be taken apart.
struct Stretch {
    start: usize,
    end: usize,
    weight: f64,
    depth: usize,
}

/// The stretches of `text` with their weights; neighbours of one weight stay apart, as they are cut into chunks apart.
/// Never fails: what is no syntax is text. None for an empty text.
#[must_use]
pub fn weighted_pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    // What is still to be read, the next on top.
    let mut ahead = vec![Stretch { start: 0, end: text.len(), weight: 1.0, depth: 0 }];
    while let Some(stretch) = ahead.pop() {
        let mut inner = Vec::new();
        for (start, end) in items(text, &stretch) {
            let is_bracket = end - start >= 2 && is_bracket(text, start, b'(') && is_bracket(text, end - 1, b')');
            if is_bracket && stretch.depth < MOST_DEPTH {
                inner.push(bracketed(text, start + 1, end - 1, &stretch));
            } else {
                // Kept in order with the brackets: a depth that is not taken apart again.
                inner.push(Stretch { start, end, weight: stretch.weight, depth: usize::MAX });
            }
        }
        if stretch.depth == usize::MAX {
            pieces.push(piece(text, &stretch));
        } else {
            ahead.extend(inner.into_iter().rev());
        }
    }
    pieces
}

/// What stands between brackets, with the weight that it says.
fn bracketed(text: &str, start: usize, end: usize, around: &Stretch) -> Stretch {
    let depth = around.depth + 1;
    // A weight stands behind at least one sign.
    let colon = text[start..end].rfind(':').filter(|&at| at > 0);
    match colon.and_then(|at| Some((at, python_float(&text[start + at + 1..end])?))) {
        Some((at, weight)) => Stretch { start, end: start + at, weight, depth },
        None => Stretch { start, end, weight: around.weight * BRACKET_FACTOR, depth },
    }
}

/// True for a bracket that no backslash makes text.
fn is_bracket(text: &str, at: usize, bracket: u8) -> bool {
    let bytes = text.as_bytes();
    bytes[at] == bracket && !(at > 0 && bytes[at - 1] == b'\\')
}

/// The brackets of the outermost level and what stands between them. A closing bracket too many shifts the level, so
/// that what would be outermost later on is text.
fn items(text: &str, stretch: &Stretch) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    if stretch.depth == usize::MAX {
        return found;
    }
    let mut level = 0_i64;
    let mut start = stretch.start;
    for at in stretch.start..stretch.end {
        if is_bracket(text, at, b'(') {
            if level == 0 && at > start {
                found.push((start, at));
                start = at;
            }
            level += 1;
        } else if is_bracket(text, at, b')') {
            level -= 1;
            if level == 0 {
                found.push((start, at + 1));
                start = at + 1;
            }
        }
    }
    if start < stretch.end {
        found.push((start, stretch.end));
    }
    found
}

/// Without the backslashes in front of brackets.
fn piece(text: &str, stretch: &Stretch) -> Piece {
    let mut kept = String::new();
    let mut origins = Origins::default();
    let source = &text[..stretch.end];
    let mut from = stretch.start;
    for (at, _) in source[from..].match_indices(['(', ')']).map(|(at, found)| (from + at, found)).collect::<Vec<_>>() {
        if at > from && source.as_bytes()[at - 1] == b'\\' {
            origins.note(kept.len(), from);
            kept.push_str(&source[from..at - 1]);
            from = at;
        }
    }
    origins.note(kept.len(), from);
    kept.push_str(&source[from..]);
    Piece { text: kept, weight: stretch.weight, origins }
}

/// What Python's `float` takes, but for infinities and NaN, which no picture survives.
fn python_float(text: &str) -> Option<f64> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let is_between_digits = |at: usize| {
        let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        digit(at.checked_sub(1)) && digit(Some(at + 1))
    };
    let are_underscores_right = bytes.iter().enumerate().all(|(at, &byte)| byte != b'_' || is_between_digits(at));
    let number: f64 = text.replace('_', "").parse().ok()?;
    (are_underscores_right && number.is_finite()).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> Vec<(String, f64)> {
        weighted_pieces(text).into_iter().map(|piece| (piece.text, piece.weight)).collect()
    }

    #[test]
    fn weights_are_those_of_comfyui() {
        let cases: &[(&str, &[(&str, f64)])] = &[
            ("", &[]),
            ("a cat", &[("a cat", 1.0)]),
            ("a (red) cat", &[("a ", 1.0), ("red", 1.1), (" cat", 1.0)]),
            ("((a))", &[("a", 1.1 * 1.1)]),
            ("(a (b:1.5) c:0.5)", &[("a ", 0.5), ("b", 1.5), (" c", 0.5)]),
            ("(a:1.2:x)", &[("a:1.2:x", 1.1)]),
            ("(a:b:1.2)", &[("a:b", 1.2)]),
            ("(a:1e1)", &[("a", 10.0)]),
            ("(a:1_0)", &[("a", 10.0)]),
            ("(a:_1)", &[("a:_1", 1.1)]),
            ("(a: -.5 )", &[("a", -0.5)]),
            ("(a:inf)(b:nan)", &[("a:inf", 1.1), ("b:nan", 1.1)]),
            ("(:1.2)", &[(":1.2", 1.1)]),
            ("()", &[]),
            ("(a", &[("(a", 1.0)]),
            ("(a (b)", &[("a ", 1.1), ("(b", 1.1)]),
            ("a) (b)", &[("a) (b)", 1.0)]),
            ("a) ((b))", &[("a) (", 1.0), ("b", 1.1), (")", 1.0)]),
            (r"\(a\) \b (c\))", &[(r"(a) \b ", 1.0), ("c)", 1.1)]),
            (r"\\(a)", &[(r"\(a)", 1.0)]),
            ("[a] AND b BREAK [c:d:2] # e", &[("[a] AND b BREAK [c:d:2] # e", 1.0)]),
            ("(a)(b)", &[("a", 1.1), ("b", 1.1)]),
        ];
        for (text, expected) in cases {
            let expected: Vec<(String, f64)> = expected.iter().map(|(text, w)| ((*text).to_owned(), *w)).collect();
            assert_eq!(pieces(text), expected, "{text}");
        }
    }

    #[test]
    fn a_piece_knows_where_it_stood() {
        let text = r"a \(b (c)";
        let found = weighted_pieces(text);
        assert_eq!((found[0].text.as_str(), found[0].origins.of(2)), ("a (b ", 3));
        assert_eq!((found[1].text.as_str(), found[1].origins.of(0)), ("c", 7));
    }

    #[test]
    fn a_hundred_kilobytes_of_brackets_are_read() {
        for unit in ["(", ")", "(a", "(a:1)", "\\(", ")(", "((a)"] {
            assert!(!weighted_pieces(&unit.repeat(100_000 / unit.len())).is_empty());
        }
        let nested = format!("{}x{}", "(".repeat(50_000), ")".repeat(50_000));
        assert!(!weighted_pieces(&nested).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_its_letters_are_found_again(text in "[a-c():.1_e\\\\é]{0,40}") {
            for piece in weighted_pieces(&text) {
                prop_assert!(piece.weight.is_finite());
                for (at, letter) in piece.text.char_indices() {
                    prop_assert!(text[piece.origins.of(at)..].starts_with(letter));
                }
            }
        }

        #[test]
        fn a_text_without_brackets_is_one_piece(text in "[^()]{1,40}") {
            prop_assert_eq!(pieces(&text), [(text, 1.0)]);
        }
    }
}
