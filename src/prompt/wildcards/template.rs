//! The parts of a template: `{2$$ and $$3::a|b|__c__}` and `__file__`.

use crate::request::Dialect;

/// Braces deeper than this are text.
const MOST_DEPTH: usize = 64;
/// The longest name of a file, in bytes: what is longer is text that happens to have underscores.
const LONGEST_NAME: usize = 200;

/// A part of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Stays as it is.
    Text(String),
    /// Some of these.
    Choice(Choice),
    /// A line of the file of this name.
    File(String),
}

/// Some of several.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    /// How many at least.
    pub least: usize,
    /// How many at most; none means all.
    pub most: Option<usize>,
    /// What stands between them.
    pub separator: String,
    /// At least one.
    pub options: Vec<Weighted>,
}

/// One of them and how often it is drawn, against the others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Weighted {
    /// At least 0.
    pub weight: f64,
    /// What it is.
    pub nodes: Vec<Node>,
}

/// True when there is something to be drawn.
#[must_use]
pub fn has_wildcards(text: &str) -> bool {
    parse(text).iter().any(|node| !matches!(node, Node::Text(_)))
}

/// A text that is to stay as it is, as it would have to be typed: what would be drawn or cut out gets a backslash.
#[must_use]
pub fn as_typed(text: &str, dialect: Dialect) -> String {
    let is_template = has_wildcards(text);
    let mut typed = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_drawn = is_template && (matches!(first, '{' | '}') || rest.starts_with("__"));
        let is_comment = first == '#' && dialect == Dialect::A1111;
        // A backslash and what follows are read together.
        let escaped = rest[first.len_utf8()..].chars().next().filter(|_| first == '\\');
        let length = match escaped {
            _ if rest.starts_with("__") => 2,
            Some(escaped) => 1 + escaped.len_utf8(),
            None => first.len_utf8(),
        };
        if is_drawn || is_comment {
            typed.push('\\');
        }
        typed.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    typed
}

/// Takes any text apart; what is no syntax is text.
pub(super) fn parse(text: &str) -> Vec<Node> {
    let braces = partners(text);
    Parsing { text, braces: &braces }.nodes(0, text.len(), 0)
}

/// For each `{` with a partner its `}`, by position.
fn partners(text: &str) -> Vec<(usize, usize)> {
    let (mut open, mut found) = (Vec::new(), Vec::new());
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'{' => open.push(at),
            b'}' => found.extend(open.pop().map(|open| (open, at))),
            _ => {}
        }
    }
    found.sort_unstable();
    found
}

struct Parsing<'a> {
    text: &'a str,
    braces: &'a [(usize, usize)],
}

impl Parsing<'_> {
    fn close_of(&self, open: usize) -> Option<usize> {
        self.braces.binary_search_by_key(&open, |&(open, _)| open).ok().map(|index| self.braces[index].1)
    }

    fn nodes(&self, start: usize, end: usize, depth: usize) -> Vec<Node> {
        let mut nodes = Vec::new();
        let mut at = start;
        let mut text_from = start;
        while at < end {
            let (node, next) = match self.text.as_bytes()[at] {
                // What is escaped is text together with its backslash.
                b'\\' => (None, at + 1 + self.text[at + 1..].chars().next().map_or(0, char::len_utf8)),
                b'{' if depth < MOST_DEPTH => match self.close_of(at).filter(|&close| close < end) {
                    Some(close) => (Some(Node::Choice(self.choice(at + 1, close, depth + 1))), close + 1),
                    None => (None, at + 1),
                },
                b'_' => match file_name(&self.text[at..end]) {
                    Some(name) => (Some(Node::File(name.trim_start_matches(SAMPLERS).to_owned())), at + name.len() + 4),
                    // A longer run of underscores is none of it.
                    None => (None, end - self.text[at..end].trim_start_matches('_').len()),
                },
                _ => (None, at + 1),
            };
            if let Some(node) = node {
                if text_from < at {
                    nodes.push(Node::Text(self.text[text_from..at].to_owned()));
                }
                nodes.push(node);
                text_from = next;
            }
            at = next;
        }
        if text_from < end {
            nodes.push(Node::Text(self.text[text_from..end].to_owned()));
        }
        nodes
    }

    /// What stands between braces.
    fn choice(&self, start: usize, end: usize, depth: usize) -> Choice {
        let content = &self.text[start..end];
        let bare = content.trim_start();
        let bare = bare.strip_prefix(SAMPLERS).unwrap_or(bare);
        let (bounds, rest) = bounds(bare).unwrap_or((Bounds::default(), bare));
        let mut options = Vec::new();
        let mut from = end - rest.len();
        for at in self.bars(from, end).into_iter().chain([end]) {
            options.push(self.option(from, at, depth));
            from = at + 1;
        }
        Choice { least: bounds.least, most: bounds.most, separator: bounds.separator, options }
    }

    /// The `|` of the outermost level.
    fn bars(&self, start: usize, end: usize) -> Vec<usize> {
        let mut bars = Vec::new();
        let mut at = start;
        while at < end {
            match self.text.as_bytes()[at] {
                b'\\' => at += 1,
                b'{' => at = self.close_of(at).filter(|&close| close < end).unwrap_or(at),
                b'|' => bars.push(at),
                _ => {}
            }
            at += 1;
        }
        bars
    }

    fn option(&self, start: usize, end: usize, depth: usize) -> Weighted {
        let bare = self.text[start..end].trim_start();
        let (weight, rest) = split_weight(bare);
        Weighted { weight, nodes: self.nodes(end - rest.len(), end, depth) }
    }
}

/// How dynamicprompts is told to draw; here all is drawn by chance.
const SAMPLERS: [char; 3] = ['~', '!', '@'];

/// The weight of `3::a` and what follows it; 1 where none stands.
pub(super) fn split_weight(text: &str) -> (f64, &str) {
    let weighted = text.split_once("::").and_then(|(number, rest)| {
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let weight: f64 = number.parse().ok().filter(|weight: &f64| is_plain && weight.is_finite())?;
        Some((weight, rest))
    });
    weighted.unwrap_or((1.0, text))
}

/// How many of a choice.
struct Bounds {
    least: usize,
    most: Option<usize>,
    separator: String,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { least: 1, most: Some(1), separator: String::new() }
    }
}

/// Reads `2$$`, `1-3$$`, `-3$$` or `1-$$`, and a separator with another `$$`.
fn bounds(text: &str) -> Option<(Bounds, &str)> {
    let (range, rest) = text.split_once("$$")?;
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let (least, most) = match range.split_once('-') {
        None => (number(range)?, Some(number(range)?)),
        Some((least, most)) if least.trim().is_empty() => (1, Some(number(most)?)),
        Some((least, most)) if most.trim().is_empty() => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    let separated = rest.split_once("$$").filter(|(separator, _)| !separator.is_empty());
    let separated = separated.filter(|(separator, _)| !separator.contains(['$', '{', '}']));
    let (separator, rest) = separated.unwrap_or((",", rest));
    Some((Bounds { least, most, separator: separator.to_owned() }, rest))
}

/// The name of the `__file__` at the front.
fn file_name(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("__")?;
    let (name, _) = inside.split_once("__")?;
    let is_name = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && name.trim() == name
        && !name.starts_with('_')
        && !name.contains(['(', ')', '$', '{', '}', '#', '|', ',', '<', '>', ':', '"', '\\', '\n']);
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_syntax_is_text() {
        for text in
            ["", "a cat", "{a", "a}", "a {b {c", r"\{a|b\}", r"\__a__", "__", "_____", "a__b", "__ a __", "__a(b)__"]
        {
            assert!(!has_wildcards(text), "{text}");
        }
        for text in ["{a}", "{}", "x {a|b}", "__a__", "a__b__c", "__a/*__", "{a {b}"] {
            assert!(has_wildcards(text), "{text}");
        }
    }

    #[test]
    fn names_may_have_folders_and_stars() {
        assert_eq!(parse("__a/b c-*__"), [Node::File("a/b c-*".into())]);
        assert_eq!(parse("__a____~b__"), [Node::File("a".into()), Node::File("b".into())]);
    }

    #[test]
    fn a_hundred_kilobytes_of_braces_are_read() {
        for unit in ["{", "}", "{a|", "{}", "__", "_a", "{2$$", "\\{", "|"] {
            assert!(!parse(&unit.repeat(100_000 / unit.len())).is_empty());
        }
        let nested = format!("{}x{}", "{".repeat(50_000), "}".repeat(50_000));
        assert!(has_wildcards(&nested));
    }

    proptest! {
        #[test]
        fn what_is_typed_for_a_text_is_not_drawn(text in "[a-c{}|_#\\\\é]{0,30}") {
            for &dialect in Dialect::ALL {
                prop_assert!(!has_wildcards(&as_typed(&text, dialect)));
            }
        }
    }
}
