//! Draws a prompt from its template: the same seed gives the same prompt, on every machine.

use std::path::PathBuf;

use super::files::WildcardFiles;
use super::template::{Choice, Node, Weighted, parse, split_weight};
use crate::request::{Dialect, Seed};

/// So many draws make one prompt: files that call each other have no end.
const MOST_DRAWS: usize = 10_000;
/// The longest prompt that is drawn, in bytes.
const LONGEST: usize = 1 << 20;
/// So deep may lines call other files.
const MOST_DEPTH: usize = 32;

/// Which of a picture's prompts is drawn; each has chances of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The prompt.
    Prompt,
    /// The negative prompt.
    NegativePrompt,
}

/// Why a prompt could not be drawn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WildcardError {
    /// A file is missing.
    #[error("there is no wildcard file \"{name}.txt\" in {}", folder.display())]
    NoFile {
        /// As it stands between the underscores.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A file has no lines.
    #[error("the wildcard file \"{name}.txt\" in {} has no line to draw", folder.display())]
    NoLines {
        /// As it stands between the underscores.
        name: String,
        /// Where it is.
        folder: PathBuf,
    },
    /// The prompt has no end, or nearly none.
    #[error("the wildcards call each other without end, or make a prompt that is too long")]
    Endless,
}

/// The prompt that `template` gives for a seed.
///
/// # Errors
/// When a file is missing or empty, or the files call each other without end.
pub fn draw(
    template: &str,
    dialect: Dialect,
    seed: Seed,
    stream: Stream,
    files: &WildcardFiles,
) -> Result<String, WildcardError> {
    // A constant beside the seed, so that prompt and negative prompt do not draw alike.
    let own = if stream == Stream::Prompt { 0 } else { 0x6e65_6761_7469_7665 };
    let mut drawing = Drawing { dialect, files, state: seed.0 ^ own, draws: 0, drawn: String::new() };
    drawing.nodes(&parse(template), 0)?;
    if drawing.drawn.len() > LONGEST {
        return Err(WildcardError::Endless);
    }
    Ok(drawing.drawn)
}

struct Drawing<'a> {
    dialect: Dialect,
    files: &'a WildcardFiles,
    /// Of SplitMix64.
    state: u64,
    draws: usize,
    drawn: String,
}

impl<'a> Drawing<'a> {
    fn nodes(&mut self, nodes: &[Node], depth: usize) -> Result<(), WildcardError> {
        if depth > MOST_DEPTH || self.draws > MOST_DRAWS || self.drawn.len() > LONGEST {
            return Err(WildcardError::Endless);
        }
        for node in nodes {
            self.draws += 1;
            match node {
                Node::Text(text) => self.text(text),
                Node::File(name) => {
                    let lines = self.lines_of(name)?;
                    let weights: Vec<f64> = lines.iter().map(|line| split_weight(line).0).collect();
                    let line = &lines[self.one_of(&weights)];
                    self.nodes(&parse(split_weight(line).1), depth + 1)?;
                }
                Node::Choice(choice) => self.choice(choice, depth)?,
            }
        }
        Ok(())
    }

    /// In AUTOMATIC1111's language backslashes stay: there they vanish when the prompt is read.
    fn text(&mut self, text: &str) {
        if self.dialect == Dialect::A1111 {
            return self.drawn.push_str(text);
        }
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('\\') {
            self.drawn.push_str(before);
            let is_ours = after.starts_with(['{', '}', '|']) || after.starts_with("__");
            if !is_ours {
                self.drawn.push('\\');
            }
            // What is escaped is no backslash that escapes.
            let length = after.chars().next().map_or(0, char::len_utf8);
            self.drawn.push_str(&after[..length]);
            rest = &after[length..];
        }
        self.drawn.push_str(rest);
    }

    fn lines_of(&self, name: &str) -> Result<&'a [String], WildcardError> {
        let folder = || self.files.folder().to_owned();
        let lines = self.files.lines(name);
        let lines = lines.ok_or_else(|| WildcardError::NoFile { name: name.to_owned(), folder: folder() })?;
        if lines.is_empty() {
            return Err(WildcardError::NoLines { name: name.to_owned(), folder: folder() });
        }
        Ok(lines)
    }

    fn choice(&mut self, choice: &Choice, depth: usize) -> Result<(), WildcardError> {
        // Several of one file are several of its lines.
        let lines = match &choice.options[..] {
            [Weighted { nodes, .. }] if choice.most != Some(1) => match &nodes[..] {
                [Node::File(name)] => Some(self.lines_of(name)?.iter().map(|line| weighted(line)).collect::<Vec<_>>()),
                _ => None,
            },
            _ => None,
        };
        let options = lines.as_ref().unwrap_or(&choice.options);
        let mut left: Vec<usize> = (0..options.len()).collect();
        let begin = self.drawn.len();
        for _ in 0..self.count_of(choice, options.len()) {
            let weights: Vec<f64> = left.iter().map(|&option| options[option].weight).collect();
            let option = left.remove(self.one_of(&weights));
            let end = self.drawn.len();
            if end > begin {
                self.drawn.push_str(&choice.separator);
            }
            let separated = self.drawn.len();
            self.nodes(&options[option].nodes, depth + 1)?;
            if self.drawn.len() == separated {
                // Nothing needs no separator.
                self.drawn.truncate(end);
            }
        }
        Ok(())
    }

    /// How many of `all` options.
    fn count_of(&mut self, choice: &Choice, all: usize) -> usize {
        let most = choice.most.unwrap_or(all).min(all);
        let least = choice.least.min(all);
        let (least, most) = (least.min(most), least.max(most));
        least + self.below(most - least + 1)
    }

    /// The index of one, each as likely as its weight says; all alike where no weight is above 0.
    fn one_of(&mut self, weights: &[f64]) -> usize {
        let sum: f64 = weights.iter().sum();
        if sum <= 0.0 || !sum.is_finite() {
            return self.below(weights.len());
        }
        // 53 bits: every number from 0 to 1 that f64 has at that spacing.
        let mut left = (self.next() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        for (index, &weight) in weights.iter().enumerate() {
            if left < weight {
                return index;
            }
            left -= weight;
        }
        // Rounding at the very end; the last that may be drawn.
        weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0)
    }

    fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }

    /// SplitMix64 (Steele, Lea, Flood 2014), with its published constants.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

fn weighted(line: &str) -> Weighted {
    let (weight, rest) = split_weight(line);
    Weighted { weight, nodes: parse(rest) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::prompt::wildcards::{as_typed, has_wildcards};

    fn files() -> WildcardFiles {
        WildcardFiles::gather(PathBuf::from("/w"), &["__c__ __e__ __loop__ __bomb__ __w__"], |name| {
            let lines: &[&str] = match name {
                "c" => &["red", "blue", "{dark|light} green"],
                "e" => &[],
                "loop" => &["__loop__"],
                "bomb" => &["__bomb__ __bomb__ __bomb__"],
                "w" => &["0::never", "1::always"],
                _ => return None,
            };
            Some(lines.iter().map(|&line| line.to_owned()).collect())
        })
    }

    fn drawn(template: &str, seed: u64) -> Result<String, WildcardError> {
        draw(template, Dialect::A1111, Seed(seed), Stream::Prompt, &files())
    }

    /// All that a template can give, as far as 400 seeds tell.
    fn all(template: &str) -> BTreeSet<String> {
        (0..400).map(|seed| drawn(template, seed).unwrap()).collect()
    }

    /// The lists are what the combinatorial generator of dynamicprompts 0.31.0 gives.
    #[test]
    fn what_can_be_drawn_is_what_dynamicprompts_can_draw() {
        let cases: &[(&str, &[&str])] = &[
            ("{a|b}", &["a", "b"]),
            ("{ a | b }", &["a ", "b "]),
            ("{2$$a|b|c}", &["a,b", "a,c", "b,a", "b,c", "c,a", "c,b"]),
            ("{1-2$$ and $$a|b}", &["a", "b", "a and b", "b and a"]),
            ("{3::a|b}", &["a", "b"]),
            ("x {a} y", &["x a y"]),
            ("{}", &[""]),
            ("{a|}", &["a", ""]),
            ("a{b|{c|d}}e", &["abe", "ace", "ade"]),
            ("{2$$a}", &["a"]),
            ("{0-1$$a|b}", &["", "a", "b"]),
            ("{-1$$a|b}", &["a", "b"]),
            ("{2-$$a|b}", &["a,b", "b,a"]),
            ("{2$$|$$a|b}", &["a|b", "b|a"]),
            ("a}", &["a}"]),
            ("{[a|b]|c}", &["[a", "b]", "c"]),
            ("{a::b|c}", &["a::b", "c"]),
            ("{1-3$$a|b}", &["a", "b", "a,b", "b,a"]),
            ("{2$$ a|b }", &["a,b ", "b ,a"]),
            ("{a|b} {c|d}", &["a c", "a d", "b c", "b d"]),
            ("{3-1$$a|b}", &["a", "b", "a,b", "b,a"]),
        ];
        for (template, expected) in cases {
            assert_eq!(all(template), expected.iter().map(|&text| text.to_owned()).collect(), "{template}");
        }
    }

    #[test]
    fn a_file_gives_one_of_its_lines_or_several() {
        let lines = ["red", "blue", "dark green", "light green"];
        assert_eq!(all("a __c__ cat"), lines.map(|line| format!("a {line} cat")).into());
        assert_eq!(all("__w__"), ["always".to_owned()].into());
        let pairs = all("{2$$ and $$__c__}");
        assert!(pairs.contains("red and blue") && !pairs.contains("red and red"), "{pairs:?}");
    }

    #[test]
    fn a_weight_makes_one_more_likely() {
        let often = (0..1000).filter(|&seed| drawn("{9::a|b}", seed).unwrap() == "a").count();
        assert!((870..930).contains(&often), "{often}");
        assert_eq!(all("{0::a|b}"), ["b".to_owned()].into());
        assert_eq!(all("{0::a|0::b}").len(), 2);
    }

    #[test]
    fn a_seed_draws_the_same_and_each_prompt_its_own() {
        let negative = |seed| draw("{a|b}", Dialect::A1111, Seed(seed), Stream::NegativePrompt, &files()).unwrap();
        assert!((0..50).any(|seed| negative(seed) != drawn("{a|b}", seed).unwrap()));
        // Kept for ever: recipes of templates are made again by it.
        let first: Vec<String> = (0..8).map(|seed| drawn("{a|b|c|d}", seed).unwrap()).collect();
        assert_eq!(first.concat(), "bcccddba");
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name_and_folder() {
        let error = |template: &str| drawn(template, 1).unwrap_err().to_string();
        assert_eq!(error("a __gone/x__"), "there is no wildcard file \"gone/x.txt\" in /w");
        assert_eq!(error("__e__"), "the wildcard file \"e.txt\" in /w has no line to draw");
        assert!(error("__loop__").contains("without end"));
        assert!(error("__bomb__").contains("without end"));
    }

    #[test]
    fn escaped_braces_survive_in_both_languages() {
        let text = r"\{a|b\} \(c\) \__c__";
        assert_eq!(drawn(text, 1).unwrap(), text);
        let drawn = draw(text, Dialect::ComfyUi, Seed(1), Stream::Prompt, &files()).unwrap();
        assert_eq!(drawn, r"{a|b} \(c\) __c__");
    }

    proptest! {
        #[test]
        fn a_text_without_wildcards_stays(text in "[a-c|:$é ]{0,30}", seed in any::<u64>()) {
            prop_assert_eq!(drawn(&text, seed).unwrap(), text);
        }

        #[test]
        fn any_template_is_drawn_or_refused(text in "[a-c{}|_$1:\\\\-]{0,40}|\\PC{0,40}", seed in any::<u64>()) {
            let _ = drawn(&text, seed);
        }

        #[test]
        fn a_drawn_text_typed_again_is_drawn_again(text in "[a-c{}|_ é]{0,30}", seed in any::<u64>()) {
            for &dialect in Dialect::ALL {
                let typed = as_typed(&text, dialect);
                let again = draw(&typed, dialect, Seed(seed), Stream::Prompt, &files()).unwrap();
                prop_assert_eq!(again.replace('\\', ""), text.clone());
                if dialect == Dialect::ComfyUi && has_wildcards(&text) {
                    prop_assert_eq!(again, text.clone());
                }
            }
        }
    }
}
