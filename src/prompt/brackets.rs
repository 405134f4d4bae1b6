//! Brackets without a partner, for a hint beside the prompt: they are allowed, but seldom meant.

/// A bracket that has no partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnbalancedBracket {
    /// It acts to the end of the text.
    NeverClosed(char),
    /// It is text.
    NeverOpened(char),
}

/// The first bracket of `text` without a partner; round and square ones are counted apart, as emphasis has them, and
/// a backslash makes a bracket text.
#[must_use]
pub fn unbalanced_bracket(text: &str) -> Option<UnbalancedBracket> {
    let (mut round, mut square) = (0_usize, 0_usize);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let (open, is_opening) = match c {
            '\\' => {
                chars.next();
                continue;
            }
            '(' | ')' => (&mut round, c == '('),
            '[' | ']' => (&mut square, c == '['),
            _ => continue,
        };
        if is_opening {
            *open += 1;
        } else if *open == 0 {
            return Some(UnbalancedBracket::NeverOpened(c));
        } else {
            *open -= 1;
        }
    }
    match (round, square) {
        (0, 0) => None,
        (0, _) => Some(UnbalancedBracket::NeverClosed('[')),
        _ => Some(UnbalancedBracket::NeverClosed('(')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bracket_without_a_partner_is_named() {
        for (text, expected) in [
            ("", None),
            ("a (b [c:d:2]:1.2)", None),
            (r"a \(b :\)", None),
            ("a (b", Some(UnbalancedBracket::NeverClosed('('))),
            ("a [b (c)", Some(UnbalancedBracket::NeverClosed('['))),
            ("a) b", Some(UnbalancedBracket::NeverOpened(')'))),
            (r"\[a]", Some(UnbalancedBracket::NeverOpened(']'))),
        ] {
            assert_eq!(unbalanced_bracket(text), expected, "{text}");
        }
    }
}
