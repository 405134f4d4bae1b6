//! Brackets without a partner, for marking them in the prompt: they are allowed, but seldom meant.

use crate::request::Dialect;

/// A bracket that has no partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnbalancedBracket {
    /// It acts to the end of the text, or in ComfyUI's language is text.
    NeverClosed(char),
    /// It is text.
    NeverOpened(char),
}

/// The brackets of `text` without a partner and their places, in order; round and square ones are counted apart, as
/// emphasis has them, and a backslash makes a bracket text.
#[must_use]
pub fn unbalanced_brackets(text: &str, dialect: Dialect) -> Vec<(usize, UnbalancedBracket)> {
    let (mut round, mut square) = (Vec::new(), Vec::new());
    let mut found = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let (open, is_opening) = match c {
            '\\' => {
                // In ComfyUI's language a backslash acts on round brackets alone.
                chars.next_if(|(_, escaped)| dialect == Dialect::A1111 || matches!(escaped, '(' | ')'));
                continue;
            }
            '(' | ')' => (&mut round, c == '('),
            '[' | ']' if dialect == Dialect::A1111 => (&mut square, c == '['),
            _ => continue,
        };
        if is_opening {
            open.push(at);
        } else if open.pop().is_none() {
            found.push((at, UnbalancedBracket::NeverOpened(c)));
        }
    }
    found.extend(round.into_iter().map(|at| (at, UnbalancedBracket::NeverClosed('('))));
    found.extend(square.into_iter().map(|at| (at, UnbalancedBracket::NeverClosed('['))));
    found.sort_by_key(|(at, _)| *at);
    found
}

#[cfg(test)]
mod tests {
    use super::UnbalancedBracket::{NeverClosed, NeverOpened};
    use super::*;

    #[test]
    fn every_bracket_without_a_partner_is_found() {
        let cases: &[(&str, &[(usize, UnbalancedBracket)])] = &[
            ("", &[]),
            ("a (b [c:d:2]:1.2)", &[]),
            (r"a \(b :\)", &[]),
            ("a (b", &[(2, NeverClosed('('))]),
            ("a [b (c)", &[(2, NeverClosed('['))]),
            ("a) (b", &[(1, NeverOpened(')')), (3, NeverClosed('('))]),
            (r"\[a]", &[(3, NeverOpened(']'))]),
            ("((a)", &[(0, NeverClosed('('))]),
        ];
        for (text, expected) in cases {
            assert_eq!(unbalanced_brackets(text, Dialect::A1111), *expected, "{text}");
        }
        assert_eq!(unbalanced_brackets(r"[a \[ \\(b", Dialect::ComfyUi), []);
        assert_eq!(unbalanced_brackets(r"\a(b", Dialect::ComfyUi), [(2, NeverClosed('('))]);
    }
}
