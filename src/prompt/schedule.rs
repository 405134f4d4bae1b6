//! Prompts that change on the way: `[from:to:when]`, `[to:when]`, `[from::when]` and `[this|that|other]`, in brackets of
//! any depth.
//!
//! The grammar is that of AUTOMATIC1111's web UI. A bracket that is none of these stays in the text, where it is
//! emphasis. One reading finds the brackets that act; the text in force at a step is put together from them.

use std::ops::Range;

use super::origins::Origins;
use super::words::is_space;

/// A text and how long it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheduled {
    /// The last step of it, counted from 1 as the web UI has it.
    pub end_step: usize,
    /// What is left when the schedules are settled; its emphasis is not read yet.
    pub text: String,
    /// Where it stands in the prompt.
    pub origins: Origins,
}

/// The texts of `prompt` over `steps` steps, in order, at least one. Never fails: what is no schedule is text.
#[must_use]
pub fn schedule(prompt: &str, steps: usize) -> Vec<Scheduled> {
    let steps = steps.max(1);
    // A prompt with a stray `|` is literal as a whole.
    let brackets = acting_brackets(prompt, steps).unwrap_or_default();
    let mut ends = vec![steps];
    for bracket in &brackets {
        match &bracket.choice {
            Choice::Switch { when, .. } if *when >= 1 => ends.push(*when as usize),
            Choice::Switch { .. } => {}
            Choice::Alternate(_) => ends.extend(1..=steps),
        }
        if ends.len() > steps * 4 {
            ends.sort_unstable();
            ends.dedup();
        }
    }
    ends.sort_unstable();
    ends.dedup();
    let scheduled = |end_step| {
        let (text, origins) = text_at(prompt, &brackets, end_step);
        Scheduled { end_step, text, origins }
    };
    ends.into_iter().map(scheduled).collect()
}

/// A pair of brackets that changes the text; positions are bytes of the prompt.
struct Bracket {
    open: usize,
    /// The first byte after the closing bracket.
    end: usize,
    choice: Choice,
}

enum Choice {
    Switch {
        before: Range<usize>,
        after: Range<usize>,
        /// The last step of `before`, at most the number of steps.
        when: i64,
    },
    Alternate(Vec<Range<usize>>),
}

/// An open bracket during the reading.
struct Frame {
    is_square: bool,
    open: usize,
    /// The colons or bars at its own level.
    separators: Vec<usize>,
    has_colon: bool,
    has_bar: bool,
}

/// The brackets that act, by their position; none when a `|` or a backslash makes the whole prompt literal.
fn acting_brackets(prompt: &str, steps: usize) -> Option<Vec<Bracket>> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut found = Vec::new();
    let mut chars = prompt.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next().filter(|(_, escaped)| *escaped != '\n')?;
            }
            '(' | '[' => {
                let is_square = c == '[';
                frames.push(Frame { is_square, open: at, separators: Vec::new(), has_colon: false, has_bar: false });
            }
            ':' => {
                if let Some(frame) = frames.last_mut() {
                    frame.separators.push(at);
                    frame.has_colon = true;
                }
            }
            '|' => {
                let frame = frames.last_mut()?;
                frame.separators.push(at);
                frame.has_bar = true;
            }
            ')' | ']' => {
                let Some(frame) = frames.pop() else { continue };
                match closed(prompt, &frame, at, steps) {
                    Closed::Acts(choice) => found.push(Bracket { open: frame.open, end: at + 1, choice }),
                    Closed::Plain => {}
                    // No bracket around a broken one can be whole either.
                    Closed::Broken => give_up(&mut frames, &frame)?,
                }
            }
            _ => {}
        }
    }
    if let Some(frame) = frames.pop() {
        give_up(&mut frames, &frame)?;
    }
    found.sort_by_key(|bracket| bracket.open);
    Some(found)
}

enum Closed {
    Acts(Choice),
    /// Emphasis.
    Plain,
    Broken,
}

/// Takes all open brackets for text; none when one of them has a `|`, which is no text.
fn give_up(frames: &mut Vec<Frame>, last: &Frame) -> Option<()> {
    let has_bar = last.has_bar || frames.iter().any(|frame| frame.has_bar);
    frames.clear();
    (!has_bar).then_some(())
}

/// What a bracket is whose closing one stands at `close`.
fn closed(prompt: &str, frame: &Frame, close: usize, steps: usize) -> Closed {
    if frame.is_square != prompt[close..].starts_with(']') {
        return Closed::Broken;
    }
    let separators = &frame.separators;
    match (frame.is_square, frame.has_colon, frame.has_bar) {
        (_, false, false) => Closed::Plain,
        (false, true, false) if separators.len() == 1 => Closed::Plain,
        (true, false, true) => {
            let starts = std::iter::once(frame.open).chain(separators.iter().copied()).map(|at| at + 1);
            let ends = separators.iter().copied().chain([close]);
            Closed::Acts(Choice::Alternate(starts.zip(ends).map(|(start, end)| start..end).collect()))
        }
        (true, true, false) if separators.len() <= 2 => {
            let last = separators[separators.len() - 1];
            let Some(when) = when(&prompt[last + 1..close], steps) else { return Closed::Broken };
            let (before, after) = match separators[..] {
                [first, _] => (frame.open + 1..first, first + 1..last),
                _ => (frame.open + 1..frame.open + 1, frame.open + 1..last),
            };
            Closed::Acts(Choice::Switch { before, after, when })
        }
        _ => Closed::Broken,
    }
}

/// The step that a number stands for: with a decimal point a share of the steps, cut to a whole number.
fn when(text: &str, steps: usize) -> Option<i64> {
    let text = text.trim_matches(is_space);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_number = are_digits(&format!("{whole}{fraction}"))
        && exponent.is_none_or(are_digits)
        && !unsigned.starts_with(['+', '-']);
    let value: f64 = text.parse().ok().filter(|_| is_number)?;
    let value = if mantissa.contains('.') { value * steps as f64 } else { value };
    // The cast cuts toward zero and stops at the type's ends.
    Some((value as i64).min(steps as i64))
}

/// The text in force at `step`, counted from 1.
fn text_at(prompt: &str, brackets: &[Bracket], step: usize) -> (String, Origins) {
    let mut text = String::new();
    let mut origins = Origins::default();
    // What is still to be read, the next on top.
    let mut ahead: Vec<Range<usize>> = std::iter::once(0..prompt.len()).collect();
    while let Some(range) = ahead.pop() {
        origins.note(text.len(), range.start);
        let next = brackets.partition_point(|bracket| bracket.open < range.start);
        let Some(bracket) = brackets.get(next).filter(|bracket| bracket.open < range.end) else {
            text.push_str(&prompt[range]);
            continue;
        };
        text.push_str(&prompt[range.start..bracket.open]);
        ahead.push(bracket.end..range.end);
        ahead.push(match &bracket.choice {
            Choice::Switch { before, when, .. } if step as i64 <= *when => before.clone(),
            Choice::Switch { after, .. } => after.clone(),
            Choice::Alternate(choices) => choices[(step - 1) % choices.len()].clone(),
        });
    }
    (text, origins)
}

/// Which of the entries that end at `end_steps` is in force at a call of the model, counted from 0. The web UI compares
/// the call with the end by `<=`, so that the first entry lasts one call longer than its number says; past the last end
/// it is the first entry again.
#[must_use]
pub fn entry_at(end_steps: impl IntoIterator<Item = usize>, call: usize) -> usize {
    end_steps.into_iter().position(|end| call <= end).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(prompt: &str, steps: usize) -> Vec<(usize, String)> {
        schedule(prompt, steps).into_iter().map(|entry| (entry.end_step, entry.text)).collect()
    }

    #[test]
    fn an_entry_lasts_one_call_longer_than_its_number() {
        let calls = |prompt: &str, steps: usize| -> Vec<usize> {
            let entries = schedule(prompt, steps);
            (0..steps).map(|call| entry_at(entries.iter().map(|entry| entry.end_step), call)).collect()
        };
        assert_eq!(calls("[a:b:3]", 6), [0, 0, 0, 0, 1, 1]);
        // a a b a b …
        assert_eq!(calls("[a|b]", 6), [0, 0, 1, 2, 3, 4]);
        assert_eq!(entry_at([3, 6], 7), 0);
    }

    #[test]
    fn a_number_beyond_every_type_is_never_or_at_once() {
        assert_eq!(texts("[a:b:1e999]", 10), [(10, "a".to_owned())]);
        assert_eq!(texts("[a:b:-1e999]", 10), [(10, "b".to_owned())]);
    }

    #[test]
    fn a_hundred_kilobytes_of_brackets_are_read() {
        for unit in ["[", "(", "]", "[a:", "[a|", "[(", "[a:b:1]", "[a|b]", "\\[", ":1]", "|"] {
            assert!(!schedule(&unit.repeat(100_000 / unit.len()), 10).is_empty());
        }
        let nested = format!("{}x{}", "[a:".repeat(20_000), ":5]".repeat(20_000));
        assert_eq!(texts(&nested, 10).len(), 2);
    }

    proptest! {
        #[test]
        fn a_text_without_separators_is_left_as_it_is(prompt in "[a-c ()\\[\\]é]{0,60}") {
            prop_assert_eq!(texts(&prompt, 10), [(10, prompt)]);
        }

        #[test]
        fn every_letter_of_a_schedule_is_shown_at_some_step(prompt in "[a-c ()\\[\\]:|.1é]{0,60}") {
            // Alternations are as short as the text, so that 100 steps reach each of their choices.
            let shown: String = schedule(&prompt, 100).into_iter().map(|entry| entry.text).collect();
            let is_timed = prompt.contains(':');
            for letter in prompt.chars().filter(|c| c.is_alphabetic()) {
                prop_assert!(is_timed || shown.contains(letter));
            }
        }

        #[test]
        fn any_text_has_entries_that_end_with_the_last_step(prompt in any::<String>(), steps in 1_usize..50) {
            let entries = schedule(&prompt, steps);
            prop_assert_eq!(entries.last().unwrap().end_step, steps);
            prop_assert!(entries.is_sorted_by(|a, b| a.end_step < b.end_step));
        }
    }
}
