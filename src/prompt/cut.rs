//! What AUTOMATIC1111's web UI takes out of a prompt before it reads it: comments, and calls of extra networks.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::origins::Origins;
use super::words::is_word;

/// A text with something taken out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CutText {
    /// What is left.
    pub text: String,
    /// Where it stood.
    pub origins: Origins,
}

impl CutText {
    fn push(&mut self, from: &str, start: usize, end: usize) {
        self.origins.note(self.text.len(), start);
        self.text.push_str(&from[start..end]);
    }
}

/// Takes every `#` and the rest of its line out, and puts one line break in its place. A line that is a comment takes the
/// line break before it along, unless the comment before it did so with that one. `\#` is a sign that stays; the
/// backslash vanishes with the others when the text is read.
#[must_use]
pub fn without_comments(prompt: &str) -> CutText {
    let mut kept = CutText::default();
    let mut at = 0;
    let mut was_whole_line = false;
    while let Some(sign) = next_sign(prompt, at) {
        let end = prompt[sign..].find('\n').map_or(prompt.len(), |length| sign + length);
        let follows_comment = sign == at && sign > 0;
        let is_whole_line = if follows_comment { !was_whole_line } else { sign == 0 || prompt[..sign].ends_with('\n') };
        // The line break that a comment left is the one that a whole line behind it takes along and puts back.
        if !(follows_comment && is_whole_line) {
            let takes_break = is_whole_line && sign > at;
            kept.push(prompt, at, if takes_break { sign - 1 } else { sign });
            kept.origins.note(kept.text.len(), end.min(prompt.len() - 1));
            kept.text.push('\n');
        }
        at = (end + 1).min(prompt.len());
        was_whole_line = is_whole_line;
    }
    kept.push(prompt, at, prompt.len());
    kept
}

/// The next `#` from `at` on that no backslash stands before.
fn next_sign(prompt: &str, at: usize) -> Option<usize> {
    let bytes = prompt.as_bytes();
    let is_escaped = |sign: usize| sign > 0 && bytes[sign - 1] == b'\\';
    (at..bytes.len()).find(|&sign| bytes[sign] == b'#' && !is_escaped(sign))
}

/// A call of something that changes the model: `<lora:name:weight>`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NetworkCall {
    /// `lora`, `lyco`, `hypernet`, or whatever stands there.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How strongly it acts, on the text encoder if the U-Net has a weight of its own; none where no number stands.
    pub weight: Option<f64>,
    /// How strongly it acts on the U-Net.
    pub unet_weight: Option<f64>,
}

impl NetworkCall {
    fn read(kind: &str, arguments: &str) -> Self {
        let mut places = Vec::new();
        let mut named = Vec::new();
        for argument in arguments.split(':') {
            match argument.split_once('=') {
                Some((key, value)) => named.push((key, value)),
                None => places.push(argument),
            }
        }
        let number = |text: &str| text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        let said = |place: usize, key: &str| {
            let by_name = named.iter().find(|(known, _)| *known == key).map(|(_, value)| *value);
            by_name.or_else(|| places.get(place).copied())
        };
        let weight = said(1, "te").map_or(Some(1.0), number);
        let unet_weight = said(2, "unet").map_or(weight, number);
        let name = places.first().copied().unwrap_or_default().to_owned();
        Self { kind: kind.to_owned(), name, weight, unet_weight }
    }
}

/// As it is written in a prompt.
impl fmt::Display for NetworkCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, weight, unet_weight } = self;
        match (weight, unet_weight) {
            (Some(text), Some(unet)) if text == unet => write!(f, "<{kind}:{name}:{text}>"),
            (Some(text), Some(unet)) => write!(f, "<{kind}:{name}:te={text}:unet={unet}>"),
            (Some(text), None) => write!(f, "<{kind}:{name}:{text}>"),
            (None, _) => write!(f, "<{kind}:{name}>"),
        }
    }
}

/// Every `<word:…>` of a prompt, and where it stands, in bytes.
#[must_use]
pub fn network_calls(prompt: &str) -> Vec<(Range<usize>, NetworkCall)> {
    let mut calls = Vec::new();
    let mut look = 0;
    while let Some(open) = prompt[look..].find('<').map(|found| look + found) {
        let inside = &prompt[open + 1..];
        let kind = &inside[..inside.find(|c| !is_word(c)).unwrap_or(inside.len())];
        let arguments = inside[kind.len()..].strip_prefix(':').filter(|_| !kind.is_empty());
        look = open + 1;
        let Some(arguments) = arguments else { continue };
        let Some(length) = arguments.find('>') else {
            // Without another `>` there is no call behind this either.
            break;
        };
        if length > 0 {
            look = open + 1 + kind.len() + 1 + length + 1;
            calls.push((open..look, NetworkCall::read(kind, &arguments[..length])));
        }
    }
    calls
}

/// Takes every `<word:…>` out of a prompt; the spaces and commas around it stay.
#[must_use]
pub fn without_networks(prompt: &str) -> (CutText, Vec<NetworkCall>) {
    let (mut kept, mut at) = (CutText::default(), 0);
    let calls = network_calls(prompt).into_iter().map(|(place, call)| {
        kept.push(prompt, at, place.start);
        at = place.end;
        call
    });
    let calls = calls.collect();
    kept.push(prompt, at, prompt.len());
    (kept, calls)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn comments_go_as_in_the_web_ui() {
        for (prompt, expected) in [
            ("a cat", "a cat"),
            ("a # b", "a \n"),
            ("a # b\nc", "a \nc"),
            ("# a\nb", "\nb"),
            ("a\n# b\nc", "a\nc"),
            ("a\n# b\n# c\nd", "a\n\nd"),
            ("a\n#b\n#c\n#d\ne", "a\n\ne"),
            ("a #b\n#c\nd", "a \nd"),
            ("#", "\n"),
            ("##\n\n#", "\n\n"),
            ("a \\# b", "a \\# b"),
        ] {
            assert_eq!(without_comments(prompt).text, expected, "{prompt:?}");
        }
    }

    /// First whole lines with the line breaks on both sides, then what is left of comments with the one behind it.
    fn in_two_rounds(prompt: &str) -> String {
        let round = |text: &str, are_whole: bool| {
            let (mut done, mut rest) = (String::new(), text);
            'next: while let Some(first) = rest.chars().next() {
                let breaks = if done.is_empty() && rest.len() == text.len() { &["\n#", "#"][..] } else { &["\n#"] };
                for begin in if are_whole { breaks } else { &["#"] } {
                    if rest.starts_with(begin) {
                        let line = &rest[begin.len()..];
                        done.push('\n');
                        rest = line.split_once('\n').map_or("", |(_, after)| after);
                        continue 'next;
                    }
                }
                done.push(first);
                rest = &rest[first.len_utf8()..];
            }
            done
        };
        round(&round(prompt, true), false)
    }

    #[test]
    fn what_is_left_knows_where_it_stood() {
        let cut = without_comments("ab # c\nde");
        assert_eq!((cut.text.as_str(), cut.origins.of(1), cut.origins.of(4)), ("ab \nde", 1, 7));
        let (cut, _) = without_networks("a <lora:x:1> fox");
        assert_eq!((cut.text.as_str(), cut.origins.of(3)), ("a  fox", 13));
    }

    #[test]
    fn networks_are_cut_out_and_listed() {
        let (cut, calls) = without_networks("a fox <lora:ink:0.8>, <lyco:snow:.5:1> <hypernet:h> <b> <:c> <lora:> x<y");
        assert_eq!(cut.text, "a fox ,   <b> <:c> <lora:> x<y");
        let calls: Vec<_> = calls.iter().map(|c| (&*c.kind, &*c.name, c.weight, c.unet_weight)).collect();
        let expected = [
            ("lora", "ink", Some(0.8), Some(0.8)),
            ("lyco", "snow", Some(0.5), Some(1.0)),
            ("hypernet", "h", Some(1.0), Some(1.0)),
        ];
        assert_eq!(calls, expected);
        let (_, calls) = without_networks("<lora:ink:unet=0.4:te=.2:x> <lora:ink:much>");
        assert_eq!((calls[0].weight, calls[0].unet_weight), (Some(0.2), Some(0.4)));
        assert_eq!((calls[1].weight, calls[1].unet_weight), (None, None));
    }

    #[test]
    fn a_hundred_kilobytes_of_signs_are_cut() {
        for unit in ["#", "<", "<a:", "<a:b>", "#\n", "\\#"] {
            let long = unit.repeat(100_000 / unit.len());
            let _ = without_comments(&long);
            let _ = without_networks(&long);
        }
    }

    proptest! {
        #[test]
        fn comments_go_in_the_two_rounds_of_the_web_ui(prompt in "[a#\n]{0,12}") {
            prop_assert_eq!(without_comments(&prompt).text, in_two_rounds(&prompt), "{:?}", prompt);
        }

        #[test]
        fn what_has_no_sign_stays(prompt in "[a-z \n(:>]{0,40}") {
            prop_assert_eq!(&without_comments(&prompt).text, &prompt);
            prop_assert_eq!(&without_networks(&prompt).0.text, &prompt);
        }

        #[test]
        fn any_text_is_cut_and_its_letters_are_found_again(prompt in "[a-c#\\\\\n<:>é]{0,40}") {
            for cut in [without_comments(&prompt), without_networks(&prompt).0] {
                for (at, letter) in cut.text.char_indices().filter(|(_, c)| *c != '\n') {
                    prop_assert!(prompt[cut.origins.of(at)..].starts_with(letter));
                }
            }
        }
    }
}
