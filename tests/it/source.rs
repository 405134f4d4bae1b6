//! Reads a Rust source file as far as the architecture test needs it: which paths its code mentions.

/// The code of a file as words and single marks; comments, strings and characters are gone, `::` is one mark.
pub struct Tokens(Vec<String>);

impl Tokens {
    /// Cuts up any text; broken Rust gives broken tokens, never a panic.
    pub fn of(source: &str) -> Self {
        let mut tokens = Vec::new();
        let mut rest = source;
        while let Some(first) = rest.chars().next() {
            let length = if let Some(length) = skipped_length(rest) {
                length
            } else if first.is_alphanumeric() || first == '_' {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                tokens.push(rest[..end].to_owned());
                end
            } else {
                let end = if rest.starts_with("::") { 2 } else { first.len_utf8() };
                tokens.push(rest[..end].to_owned());
                end
            };
            rest = &rest[length..];
        }
        Self(tokens)
    }

    /// The same without what is only built for tests.
    pub fn without_tests(self) -> Self {
        let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
        let mut kept = Vec::new();
        let mut rest = self.0.as_slice();
        while let Some(first) = rest.first() {
            if rest.len() >= mark.len() && rest.iter().zip(mark).all(|(token, wanted)| token == wanted) {
                rest = &rest[mark.len()..];
                rest = &rest[item_length(rest)..];
            } else {
                kept.push(first.clone());
                rest = &rest[1..];
            }
        }
        Self(kept)
    }

    /// True when the word stands somewhere.
    pub fn has(&self, word: &str) -> bool {
        self.0.iter().any(|token| token == word)
    }

    /// Every path of at least two parts, and every bare name of a `use`, groups spread out: `a::{b, c::d}` is `a::b`
    /// and `a::c::d`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        let tokens = &self.0;
        let mut at = 0;
        while at < tokens.len() {
            let before = at.checked_sub(1).map(|at| tokens[at].as_str());
            let begins = is_name(&tokens[at]) && !matches!(before, Some("::" | "."));
            let goes_on = tokens.get(at + 1).is_some_and(|next| next == "::");
            let is_path = begins && (goes_on || before == Some("use"));
            at = if is_path { spread(tokens, at, "", &mut paths) } else { at + 1 };
        }
        paths
    }
}

/// The length of a blank, comment, string, character or lifetime that `text` begins with.
fn skipped_length(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    if first.is_whitespace() {
        return Some(first.len_utf8());
    }
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment_length(text));
    }
    let unprefixed = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - unprefixed.len();
    if prefix <= 1 {
        if let Some(raw) = unprefixed.strip_prefix('r') {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            if raw[hashes..].starts_with('"') {
                let close = format!("\"{}", "#".repeat(hashes));
                let open = prefix + 1 + hashes + 1;
                return Some(text[open..].find(&close).map_or(text.len(), |end| open + end + close.len()));
            }
        }
        if unprefixed.starts_with('"') {
            return Some(prefix + quoted_length(unprefixed, '"'));
        }
        if unprefixed.starts_with('\'') {
            let mut inside = unprefixed.chars().skip(1);
            let is_character = inside.next() == Some('\\') || inside.next() == Some('\'');
            return Some(prefix + if is_character { quoted_length(unprefixed, '\'') } else { 1 });
        }
    }
    None
}

fn block_comment_length(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

fn quoted_length(text: &str, mark: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == mark && !is_escaped {
            return at + mark.len_utf8();
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    text.len()
}

/// How many tokens the item at the beginning has: up to its `;`, or its closing brace.
fn item_length(tokens: &[String]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        let ends = token == ";" || token == "}";
        if ends && depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Adds the paths that begin at `at`, each behind `prefix`; returns where they end.
fn spread(tokens: &[String], at: usize, prefix: &str, paths: &mut Vec<String>) -> usize {
    let is = |at: usize, mark: &str| tokens.get(at).is_some_and(|token| token == mark);
    if is(at, "{") {
        let mut at = at + 1;
        while at < tokens.len() && !is(at, "}") {
            at = if is(at, ",") { at + 1 } else { spread(tokens, at, prefix, paths) };
        }
        return at + 1;
    }
    let Some(name) = tokens.get(at) else { return at };
    let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}::{name}") };
    if is(at + 1, "::") && tokens.get(at + 2).is_some_and(|next| is_name(next) || next == "{" || next == "*") {
        return spread(tokens, at + 2, &path, paths);
    }
    paths.push(path);
    if is(at + 1, "as") { at + 3 } else { at + 1 }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[test]
fn the_reader_sees_through_groups_comments_and_strings() {
    let source = r##"
        //! use crate::doc;
        use crate::{request::{Seed, Steps as S}, worker};
        use std::{fs, io::Write as _};
        /* crate::comment /* nested */ crate::comment */
        fn f<'a>(x: &'a str) -> char { let _ = "crate::string \" "; let _ = r#"crate::raw "#; let _ = b'\''; 'x' }
        fn g() { crate::kernels::linear::<f32>(image::open()); self.crate_::x(); Vec::<u8>::new(); }
        #[cfg(test)]
        mod tests { use crate::secret; fn h() { crate::secret::x(); } }
        use tail;
    "##;
    let tokens = Tokens::of(source).without_tests();
    assert_eq!(
        tokens.paths(),
        [
            "crate::request::Seed",
            "crate::request::Steps",
            "crate::worker",
            "std::fs",
            "std::io::Write",
            "crate::kernels::linear",
            "image::open",
            "Vec",
            "tail"
        ]
    );
    assert!(tokens.has("char") && !tokens.has("secret") && !tokens.has("raw"));
}
