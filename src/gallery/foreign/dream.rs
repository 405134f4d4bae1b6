//! InvokeAI 1 and 2: the command line that made the picture, under `Dream`.

use crate::gallery::foreign::fields::{Field, Gathering};
use crate::gallery::foreign::invokeai::take_prompt;
use crate::gallery::record::ReadRecipe;
use crate::request::ScheduleKind;

/// The options of one letter, and what they mean.
const OPTIONS: &[(char, Field)] = &[
    ('s', Field::Steps),
    ('S', Field::Seed),
    ('W', Field::Width),
    ('H', Field::Height),
    ('C', Field::Guidance),
    ('A', Field::Sampler),
    ('f', Field::Denoise),
    ('n', Field::Aside),
    ('g', Field::Aside),
    ('o', Field::Aside),
];

/// `"a fox [fog]" -s 50 -S 42 -W512 …`; `None` for its other commands and for nonsense.
#[must_use]
pub fn read(line: &str) -> Option<ReadRecipe> {
    if line.trim_start().starts_with('!') {
        return None;
    }
    let words = words(line);
    let mut prompt = Vec::new();
    let mut gathering = Gathering::of("InvokeAI");
    gathering.unsaid_schedule_is(ScheduleKind::Model);
    let mut rest = words.iter().peekable();
    let mut known = 0_usize;
    while let Some(word) = rest.next() {
        let Some(option) =
            word.strip_prefix('-').filter(|option| option.starts_with(|c: char| c.is_ascii_alphabetic() || c == '-'))
        else {
            prompt.push(word.as_str());
            continue;
        };
        let letter = option.chars().next().unwrap_or('-');
        // The value may stick to a letter: -s50.
        let stuck = if letter == '-' { "" } else { &option[letter.len_utf8()..] };
        let value = if stuck.is_empty() {
            rest.next_if(|next| !next.starts_with('-')).map(String::as_str).unwrap_or_default()
        } else {
            stuck
        };
        match OPTIONS.iter().find(|(name, _)| *name == letter) {
            Some((_, field)) => {
                known += 1;
                gathering.take(*field, &format!("-{letter}"), value);
            }
            None if letter == '-' => gathering.cannot_follow(word, value),
            None => gathering.cannot_follow(&format!("-{letter}"), value),
        }
    }
    if known == 0 {
        return None;
    }
    take_prompt(&mut gathering, &prompt.join(" "));
    Some(gathering.finish())
}

/// Words as a shell cuts them: quotes hold together, a backslash takes the next mark as it is.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut is_open) = (Vec::new(), String::new(), None, false);
    let mut marks = line.chars();
    while let Some(c) = marks.next() {
        match (c, quote) {
            ('\\', _) => word.extend(marks.next()),
            ('"', None) => (quote, is_open) = (Some(c), true),
            (_, Some(open)) if c == open => quote = None,
            (_, None) if c.is_whitespace() => {
                if !word.is_empty() || is_open {
                    words.push(std::mem::take(&mut word));
                }
                is_open = false;
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() || is_open {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{ImageSize, SamplerKind, Seed};

    #[test]
    fn a_command_line_is_read_with_its_values_apart_or_stuck() {
        let recipe =
            read("\"a fox's den [fog, rain]\" -s 50 -S 42 -W512 -H 768 -C7.5 -A k_euler_a -V 1:0.5 --hires_fix")
                .unwrap();
        assert_eq!((recipe.prompt.as_str(), recipe.negative_prompt.as_str()), ("a fox's den", "fog, rain"));
        assert_eq!((recipe.seed, recipe.size), (Some(Seed(42)), ImageSize::new(512, 768).ok()));
        assert_eq!(recipe.sampler, Some(SamplerKind::EulerAncestral));
        assert_eq!(recipe.not_understood, ["-V: 1:0.5", "--hires_fix: "]);
    }

    #[test]
    fn other_commands_and_nonsense_are_no_recipe() {
        assert!(read("!mask picture.png -tm cat").is_none() && read("hello there").is_none() && read("").is_none());
    }
}
