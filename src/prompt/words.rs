//! What counts as white space and as part of a word, as Python's regular expressions have it: the language was first
//! defined by them.

/// `\s`.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// `\w`.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
