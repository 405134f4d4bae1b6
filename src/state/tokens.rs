//! How the model reads the prompts while they are typed: counts, chunks and weights, found out again only when a prompt,
//! the steps, the language or the tokenizer change.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::prompt::wildcards::{Stream, WildcardFiles, draw, has_wildcards};
use crate::prompt::{
    CutText, Origins, ParsedPrompt, PlacedWord, TokenCount, Tokenizer, UnbalancedBracket, called_adapters,
    unbalanced_brackets, without_comments,
};
use crate::request::{Dialect, Seed};
use crate::state::networks::NetworkFiles;

/// How a text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// With `AND` and weights at the end.
    Positive,
    Negative,
}

/// What a stretch of a prompt is to the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ink {
    /// Not known yet.
    Plain,
    /// Words with this weight.
    Words(f64),
    /// Brackets, numbers, comments: nothing that is read as text.
    Syntax,
    /// A bracket without a partner.
    Unbalanced,
}

/// A stretch of a prompt that is one thing to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// Its bytes.
    pub range: Range<usize>,
    /// What it is.
    pub ink: Ink,
    /// The chunk that it is read in at the first step, or whose words stand around it.
    pub chunk: usize,
}

/// One chunk of the prompt, as it is at the first step.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadChunk {
    /// Its words, where they were typed.
    pub words: Vec<PlacedWord>,
}

/// Something that is allowed and seldom meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// A few words.
    pub short: String,
    /// What follows from it.
    pub more: String,
}

/// One prompt as it is read.
#[derive(Debug)]
pub struct CountedText {
    reading: Reading,
    text: String,
    steps: u32,
    dialect: Dialect,
    tokenizer: Option<Arc<Tokenizer>>,
    /// What the prompt can call.
    files: Arc<NetworkFiles>,
    /// The tokenizer with the embeddings' words.
    learned: Option<Tokenizer>,
    count: Option<TokenCount>,
    /// True when the count is that of one of many prompts that may be drawn.
    is_example: bool,
    chunks: Vec<ReadChunk>,
    stretches: Vec<Stretch>,
    unbalanced: Option<UnbalancedBracket>,
    missing: Option<String>,
}

impl CountedText {
    /// For the prompt.
    #[must_use]
    pub fn prompt() -> Self {
        Self::new(Reading::Positive)
    }

    /// For the negative prompt.
    #[must_use]
    pub fn negative_prompt() -> Self {
        Self::new(Reading::Negative)
    }

    fn new(reading: Reading) -> Self {
        Self {
            reading,
            text: String::new(),
            steps: 0,
            dialect: Dialect::default(),
            tokenizer: None,
            files: Arc::default(),
            learned: None,
            count: None,
            is_example: false,
            chunks: Vec::new(),
            stretches: Vec::new(),
            unbalanced: None,
            missing: None,
        }
    }

    /// Brings everything up to date; `steps` are those of the form, for the schedules in the prompt, and `words` the
    /// model's tokenizer and what prompts can call.
    pub fn update(
        &mut self,
        text: &str,
        steps: u32,
        dialect: Dialect,
        words: (Option<&Arc<Tokenizer>>, &Arc<NetworkFiles>),
    ) {
        let (tokenizer, files) = words;
        let is_same_tokenizer = Arc::ptr_eq(&self.files, files)
            && match (&self.tokenizer, tokenizer) {
                (Some(known), Some(now)) => Arc::ptr_eq(known, now),
                (None, None) => true,
                _ => false,
            };
        if is_same_tokenizer && self.text == text && self.steps == steps && self.dialect == dialect {
            return;
        }
        self.steps = steps;
        self.dialect = dialect;
        if !is_same_tokenizer {
            self.tokenizer = tokenizer.cloned();
            self.files = Arc::clone(files);
            self.learned = tokenizer.and_then(|tokenizer| tokenizer.with_learned(&files.words).ok());
        }
        self.read(text);
    }

    /// Brings everything up to date for a text that is being typed.
    pub fn update_text(&mut self, text: &str) {
        if self.text != text {
            self.read(text);
        }
    }

    fn read(&mut self, text: &str) {
        text.clone_into(&mut self.text);
        let cut = match self.dialect {
            Dialect::A1111 => without_comments(text),
            Dialect::ComfyUi => CutText { text: text.to_owned(), origins: Origins::default() },
        };
        self.is_example = has_wildcards(&cut.text);
        let read = if self.is_example { example(&cut.text, self.dialect) } else { cut.text.clone() };
        let parsed = self.learned.as_ref().and_then(|tokenizer| {
            let parsed = self.reading.parse(&read, self.steps, self.dialect, tokenizer)?;
            Some((parsed.count(tokenizer), parsed))
        });
        let (count, parsed) = parsed.unzip();
        self.count = count;
        self.missing = match self.reading {
            Reading::Positive => called_adapters(&read, self.dialect, &self.files.loras).missing.into_iter().next(),
            Reading::Negative => None,
        };
        let unbalanced = unbalanced_brackets(&cut.text, self.dialect);
        self.unbalanced = unbalanced.first().map(|(_, bracket)| *bracket);
        let places = parsed.as_ref().filter(|_| !self.is_example);
        self.chunks = places.map_or_else(Vec::new, |parsed| chunks(parsed, &cut.origins));
        let unbalanced: Vec<usize> = unbalanced.into_iter().map(|(at, _)| cut.origins.of(at)).collect();
        let later = places.map(|parsed| later(parsed, &cut.origins));
        self.stretches = stretches(text, &self.chunks, later.as_deref(), &unbalanced);
    }

    /// The count in words; none before the model is known.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let words = self.count.map(count_in_words)?;
        Some(if self.is_example { format!("about {words}") } else { words })
    }

    /// What is wrong with the brackets, or not done as asked. The prompt can be drawn all the same.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        let is_text = self.dialect == Dialect::ComfyUi;
        let bracket = self.unbalanced.map(|bracket| match bracket {
            UnbalancedBracket::NeverClosed(bracket) => {
                let what = if is_text { "it is text" } else { "it acts to the end" };
                Hint { short: format!("\"{bracket}\" is never closed"), more: what.to_owned() }
            }
            UnbalancedBracket::NeverOpened(bracket) => {
                Hint { short: format!("\"{bracket}\" closes nothing"), more: "it is read as text".to_owned() }
            }
        });
        let missing = |more: &String| Hint { short: "LoRA not applied".to_owned(), more: more.clone() };
        bracket.or_else(|| self.missing.as_ref().map(missing))
    }

    /// Every byte of the text in stretches, in order.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// The chunks at the first step; none before the model is known, and for a text that is yet to be drawn.
    #[must_use]
    pub fn chunks(&self) -> &[ReadChunk] {
        &self.chunks
    }

    /// Tokens that one chunk holds.
    #[must_use]
    pub fn chunk_capacity(&self) -> usize {
        self.count.map_or(0, |count| count.chunk_capacity)
    }
}

impl Reading {
    fn parse(self, text: &str, steps: u32, dialect: Dialect, tokenizer: &Tokenizer) -> Option<ParsedPrompt> {
        // A form may hold any number; a request holds at most 1000.
        let steps = steps.clamp(1, 1000) as usize;
        // The engine trims the prompt too; space in front makes no token and would only move the places.
        let text = text.trim_end();
        let parsed = match self {
            Self::Positive => ParsedPrompt::positive(text, steps, dialect, tokenizer),
            Self::Negative => ParsedPrompt::negative(text, steps, dialect, tokenizer),
        };
        parsed.ok()
    }
}

/// One of the prompts that may be drawn, with the names of files in place of their lines.
fn example(template: &str, dialect: Dialect) -> String {
    let files = WildcardFiles::gather(PathBuf::new(), &[template], |name| Some(vec![name.to_owned()]));
    draw(template, dialect, Seed(0), Stream::Prompt, &files).unwrap_or_else(|_| template.to_owned())
}

fn placed(mut word: PlacedWord, origins: &Origins) -> PlacedWord {
    word.place = origins.of_range(word.place);
    word
}

fn chunks(parsed: &ParsedPrompt, origins: &Origins) -> Vec<ReadChunk> {
    let chunk = |words: Vec<PlacedWord>| words.into_iter().map(|word| placed(word, origins)).collect();
    parsed.first_words().into_iter().map(|words| ReadChunk { words: chunk(words) }).collect()
}

fn later(parsed: &ParsedPrompt, origins: &Origins) -> Vec<PlacedWord> {
    parsed.later_words().into_iter().map(|word| placed(word, origins)).collect()
}

/// What every byte of the text is, in stretches; `later` is none where nothing is known of the words.
fn stretches(text: &str, chunks: &[ReadChunk], later: Option<&[PlacedWord]>, unbalanced: &[usize]) -> Vec<Stretch> {
    let unknown = if later.is_some() { Ink::Syntax } else { Ink::Plain };
    let mut bytes = vec![(unknown, 0); text.len()];
    for (index, chunk) in chunks.iter().enumerate() {
        if let (Some(first), Some(last)) = (chunk.words.first(), chunk.words.last())
            && let Some(bytes) = bytes.get_mut(first.place.start..last.place.end)
        {
            for (_, chunk) in bytes {
                *chunk = index;
            }
        }
    }
    // What is in force first counts for a word that stands in several texts of a schedule.
    let words = later.into_iter().flatten().chain(chunks.iter().flat_map(|chunk| &chunk.words));
    for PlacedWord { place, weight, .. } in words {
        for (ink, _) in bytes.get_mut(place.clone()).into_iter().flatten() {
            *ink = Ink::Words(*weight);
        }
    }
    for &at in unbalanced {
        bytes[at].0 = Ink::Unbalanced;
    }
    let mut stretches: Vec<Stretch> = Vec::new();
    for (at, letter) in text.char_indices() {
        let (ink, chunk) = bytes[at];
        let end = at + letter.len_utf8();
        match stretches.last_mut() {
            Some(last) if (last.ink, last.chunk) == (ink, chunk) => last.range.end = end,
            _ => stretches.push(Stretch { range: at..end, ink, chunk }),
        }
    }
    stretches
}

/// "12 / 75 tokens", or "81 tokens, 2 chunks" so that nobody believes that the rest is cut off.
fn count_in_words(count: TokenCount) -> String {
    if count.chunks > 1 {
        format!("{} tokens, {} chunks", count.tokens, count.chunks)
    } else {
        format!("{} / {} tokens", count.tokens, count.chunk_capacity)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_prompt_is_told_in_chunks() {
        assert_eq!(count_in_words(TokenCount { tokens: 12, chunk_capacity: 75, chunks: 1 }), "12 / 75 tokens");
        assert_eq!(count_in_words(TokenCount { tokens: 81, chunk_capacity: 75, chunks: 2 }), "81 tokens, 2 chunks");
    }

    fn tokenizer() -> Arc<Tokenizer> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-eps/tokenizer/tokenizer.json");
        let json = std::fs::read(folder).unwrap();
        Arc::new(Tokenizer::from_json(&json, &crate::prompt::SpecialTokens::default(), 77).unwrap())
    }

    fn read(text: &str) -> CountedText {
        let mut counted = CountedText::prompt();
        counted.update(text, 20, Dialect::A1111, (Some(&tokenizer()), &Arc::default()));
        counted
    }

    #[test]
    fn without_a_tokenizer_there_is_no_count_but_a_hint() {
        let mut counted = CountedText::prompt();
        counted.update("a (fox", 20, Dialect::A1111, (None, &Arc::default()));
        assert_eq!(counted.words(), None);
        let Hint { short, more } = counted.hint().unwrap();
        assert_eq!((short.as_str(), more.as_str()), ("\"(\" is never closed", "it acts to the end"));
        let inks: Vec<_> = counted.stretches().iter().map(|stretch| (stretch.range.clone(), stretch.ink)).collect();
        assert_eq!(inks, [(0..2, Ink::Plain), (2..3, Ink::Unbalanced), (3..6, Ink::Plain)]);
        counted.update("a (fox)", 20, Dialect::A1111, (None, &Arc::default()));
        assert_eq!(counted.hint(), None);
        counted.update("a [fox", 20, Dialect::ComfyUi, (None, &Arc::default()));
        assert_eq!(counted.hint(), None);
    }

    #[test]
    fn words_and_syntax_are_told_apart_where_they_were_typed() {
        let text = "a (red:1.5) [cat:dog:3] # c\nAND mat <lora:x:1>";
        let counted = read(text);
        let ink = |part: &str| {
            let at = text.find(part).unwrap();
            counted.stretches().iter().find(|stretch| stretch.range.contains(&at)).unwrap().ink
        };
        assert_eq!([ink("a "), ink("red"), ink("cat")], [Ink::Words(1.0), Ink::Words(1.5), Ink::Words(1.0)]);
        assert_eq!([ink("dog"), ink("mat")], [Ink::Words(1.0), Ink::Words(1.0)]);
        for syntax in ["(", ":1.5", "[", ":dog", ":3", "# c", "AND", "<lora", "x:1"] {
            assert_eq!(ink(syntax), Ink::Syntax, "{syntax}");
        }
        assert_eq!(counted.chunks().len(), 2);
        assert_eq!(counted.chunks()[1].words[0].place.start, text.find("mat").unwrap());
        assert_eq!(counted.stretches().last().unwrap().chunk, 0, "what is behind the last word is in no chunk");
        assert!(counted.stretches().iter().any(|stretch| stretch.chunk == 1));
        assert!(counted.hint().unwrap().more.starts_with("<lora:x> is not applied"));
    }

    #[test]
    fn a_template_is_counted_by_an_example() {
        let counted = read("a {red|blue} __cats__");
        assert!(counted.words().unwrap().starts_with("about "));
        assert!(counted.chunks().is_empty());
        assert_eq!(counted.stretches(), [Stretch { range: 0..21, ink: Ink::Plain, chunk: 0 }]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_stretches_cover_any_text_without_a_gap(text in "[a-c()\\[\\]:|#<>1{} \n\\\\éA-D]{0,30}|\\PC{0,30}") {
            for dialect in [Dialect::A1111, Dialect::ComfyUi] {
                let mut counted = CountedText::prompt();
                counted.update(&text, 5, dialect, (Some(&tokenizer()), &Arc::default()));
                let mut at = 0;
                for Stretch { range, .. } in counted.stretches() {
                    prop_assert_eq!(range.start, at);
                    prop_assert!(text.get(range.clone()).is_some_and(|stretch| !stretch.is_empty()));
                    at = range.end;
                }
                prop_assert_eq!(at, text.len());
            }
        }
    }
}
