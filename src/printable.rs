//! A stranger's text made fit to be shown: names in files and answers of servers can hold what a terminal obeys, or megabytes.

use std::path::Path;

/// Longer names are cut: nothing real is as long.
const MOST_CHARACTERS: usize = 120;
/// Where a sentence of a library or a server is cut.
const MOST_OF_A_SENTENCE: usize = 500;
/// Where the text of a whole message is cut.
const MOST_OF_A_MESSAGE: usize = 8000;

/// A name or another short text: on one line, control characters escaped, cut with `…`.
#[must_use]
pub fn name(text: &str) -> String {
    cut(text, MOST_CHARACTERS, |_| false)
}

/// A path: on one line, control characters escaped, whole.
#[must_use]
pub fn path(path: &Path) -> String {
    cut(&path.to_string_lossy(), usize::MAX, |_| false)
}

/// A sentence that may hold a stranger's words: on one line, control characters escaped, cut with `…`.
#[must_use]
pub fn sentence(text: &str) -> String {
    cut(text, MOST_OF_A_SENTENCE, |_| false)
}

/// A message of many lines: control characters but for ends of lines and tabs escaped.
#[must_use]
pub fn message(text: &str) -> String {
    cut(text, MOST_OF_A_MESSAGE, |c| matches!(c, '\n' | '\t'))
}

/// A text of any length and many lines: control characters but for ends of lines and tabs escaped.
#[must_use]
pub fn text(text: &str) -> String {
    cut(text, usize::MAX, |c| matches!(c, '\n' | '\t'))
}

/// At most so many characters as they are shown, and the sign that some are missing.
fn cut(text: &str, most: usize, may_stay: fn(char) -> bool) -> String {
    let (mut shown, mut count) = (String::new(), 0);
    for c in text.chars() {
        let is_escaped = is_obeyed(c) && !may_stay(c);
        count += if is_escaped { c.escape_debug().count() } else { 1 };
        if count > most {
            shown.push('…');
            break;
        }
        if is_escaped {
            shown.extend(c.escape_debug());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Control characters, and marks that turn the direction of writing: they make one name look like another.
fn is_obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(
            name("\u{1b}]0;pwned\u{7}\u{202e}a\n\"ü\" \u{9b}m"),
            "\\u{1b}]0;pwned\\u{7}\\u{202e}a\\n\"ü\" \\u{9b}m"
        );
        assert_eq!(path(Path::new("a/\u{1b}[31m.ckpt")), "a/\\u{1b}[31m.ckpt");
        assert_eq!(message("one\n\ttwo\r\u{7}"), "one\n\ttwo\\r\\u{7}");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(name(&"x".repeat(120)), "x".repeat(120));
        assert_eq!(name(&"ü".repeat(1 << 20)), format!("{}…", "ü".repeat(120)));
        assert_eq!(name(&"\u{1b}".repeat(99)), format!("{}…", "\\u{1b}".repeat(20)));
        assert_eq!(name(&name(&"ü\u{7}".repeat(99))), name(&"ü\u{7}".repeat(99)));
        assert_eq!(path(Path::new(&"x".repeat(4000))).len(), 4000);
        let long = "x".repeat(1 << 20);
        assert_eq!(text(&long), long);
        assert!(message(&long).len() < 9000 && sentence(&long).len() < 600);
    }

    proptest! {
        #[test]
        fn nothing_that_is_shown_is_obeyed(text in "\\PC{0,20}[\\x00-\\x1f\\x7f-\\x9f]{0,9}\\PC{0,200}") {
            let is_harmless = |text: String| !text.chars().any(is_obeyed);
            prop_assert!(is_harmless(name(&text)) && is_harmless(path(Path::new(&text))) && is_harmless(sentence(&text)));
            let lines = super::text(&text);
            prop_assert!(is_harmless(lines.replace(['\n', '\t'], "")));
            prop_assert!(is_harmless(message(&text).replace(['\n', '\t'], "")));
        }
    }
}
