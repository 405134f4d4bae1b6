//! Moving a phrase of a prompt, for a key: `a cat, red, old` to `red, a cat, old`.

use std::ops::Range;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Before the phrase in front of it.
    Left,
    /// Behind the phrase after it.
    Right,
}

/// An open bracket during the reading, or the whole text.
struct Frame {
    /// What would close it; none for the whole text.
    closing: Option<char>,
    start: usize,
    commas: Vec<usize>,
    /// Colons and bars: inside brackets they end phrases, and what they part is not exchanged.
    stops: Vec<usize>,
}

/// Gives `text` with the phrases that the selection touches moved past a neighbour, and the new selection; both
/// selections are in bytes. Phrases are what commas part, within the innermost brackets around the selection; what fills
/// its brackets moves with them. None where there is no neighbour.
#[must_use]
pub fn moved(text: &str, selection: Range<usize>, direction: Move) -> Option<(String, Range<usize>)> {
    /// Brackets around a lone phrase; more than people write.
    const MOST_BRACKETS: usize = 8;
    text.get(selection.clone())?;
    let mut selection = selection;
    let (mut section, mut commas) = find_section(text, &selection)?;
    for _ in 0..MOST_BRACKETS {
        if !commas.is_empty() || section.start == 0 {
            break;
        }
        selection = around(text, &section)?;
        (section, commas) = find_section(text, &selection)?;
    }
    let starts = std::iter::once(section.start).chain(commas.iter().map(|comma| comma + 1));
    let ends = commas.iter().copied().chain([section.end]);
    let phrases: Vec<Range<usize>> = starts.zip(ends).map(|(start, end)| core(text, start..end)).collect();
    let index = |at: usize| commas.iter().filter(|&&comma| comma < at).count();
    let (first, last) = (index(selection.start), index(selection.end));
    let mut order: Vec<usize> = (0..phrases.len()).collect();
    let to = match direction {
        Move::Left => {
            order[first.checked_sub(1)?..=last].rotate_left(1);
            first - 1
        }
        Move::Right => {
            order.get_mut(first..last + 2)?.rotate_right(1);
            first + 1
        }
    };
    // The white space between phrases stays where it is.
    let mut changed = text[..phrases[0].start].to_owned();
    let mut places = Vec::new();
    for (place, &phrase) in order.iter().enumerate() {
        let start = changed.len();
        changed.push_str(&text[phrases[phrase].clone()]);
        places.push(start..changed.len());
        let next = phrases.get(place + 1).map_or(text.len(), |next| next.start);
        changed.push_str(&text[phrases[place].end..next]);
    }
    let start = places[to].start;
    let new = if selection.is_empty() {
        // The cursor stays at its letter.
        let at = start + selection.start.clamp(phrases[first].start, phrases[first].end) - phrases[first].start;
        at..at
    } else {
        start..places[to + last - first].end
    };
    Some((changed, new))
}

/// The innermost stretch around the selection in which phrases can change places, and its commas.
fn find_section(text: &str, selection: &Range<usize>) -> Option<(Range<usize>, Vec<usize>)> {
    let frame = |closing, start| Frame { closing, start, commas: Vec::new(), stops: Vec::new() };
    let mut frames = vec![frame(None, 0)];
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '(' => frames.push(frame(Some(')'), at + 1)),
            '[' => frames.push(frame(Some(']'), at + 1)),
            '{' => frames.push(frame(Some('}'), at + 1)),
            ',' => frames.last_mut()?.commas.push(at),
            ':' | '|' => frames.last_mut()?.stops.push(at),
            _ if frames.last()?.closing == Some(c) => {
                let closed = frames.pop()?;
                if closed.start <= selection.start && selection.end <= at {
                    return within(&closed, at, selection);
                }
            }
            _ => {}
        }
    }
    let open = frames.iter().rev().find(|frame| frame.start <= selection.start)?;
    // An open bracket reaches to the end, with what stands in the ones that opened later.
    within(open, text.len(), selection)
}

fn within(frame: &Frame, end: usize, selection: &Range<usize>) -> Option<(Range<usize>, Vec<usize>)> {
    let stops: &[usize] = if frame.closing.is_some() { &frame.stops } else { &[] };
    let start = stops.iter().rev().find(|&&stop| stop < selection.start).map_or(frame.start, |stop| stop + 1);
    let end = stops.iter().find(|&&stop| stop >= selection.start).map_or(end, |&stop| stop);
    if selection.end > end {
        return None;
    }
    Some((start..end, frame.commas.iter().copied().filter(|comma| (start..end).contains(comma)).collect()))
}

/// The brackets around a section, themselves included.
fn around(text: &str, section: &Range<usize>) -> Option<Range<usize>> {
    let mut open = Vec::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '(' | '[' | '{' => open.push(at),
            ')' | ']' | '}' => {
                let start = open.pop()?;
                if start < section.start && section.end <= at {
                    return Some(start..at + 1);
                }
            }
            _ => {}
        }
    }
    open.into_iter().rev().find(|&start| start < section.start).map(|start| start..text.len())
}

/// Without the white space around it; where there is nothing else, its begin.
fn core(text: &str, range: Range<usize>) -> Range<usize> {
    let phrase = &text[range.clone()];
    let start = range.start + phrase.len() - phrase.trim_start().len();
    start.min(range.end)..(start + phrase.trim().len()).min(range.end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The selection is written as `<…>`.
    fn press(marked: &str, direction: Move) -> Option<String> {
        let (start, end) = (marked.find('<').unwrap(), marked.find('>').unwrap());
        let text = marked.replace(['<', '>'], "");
        let (text, selection) = moved(&text, start..end - 1, direction)?;
        Some(format!("{}<{}>{}", &text[..selection.start], &text[selection.clone()], &text[selection.end..]))
    }

    #[test]
    fn a_phrase_changes_places_with_its_neighbour() {
        for (before, left, right) in [
            ("a cat, r<>ed, old", Some("r<>ed, a cat, old"), Some("a cat, old, r<>ed")),
            ("a<>, b", None, Some("b, a<>")),
            ("a, <b, c>, d", Some("<b, c>, a, d"), Some("a, d, <b, c>")),
            ("x, (a, b<>:1.2), y", Some("x, (b<>, a:1.2), y"), None),
            ("x, (a:1<>.2), y", Some("<(a:1.2)>, x, y"), Some("x, y, <(a:1.2)>")),
            ("x, ((<a>:1.1)), y", Some("<((a:1.1))>, x, y"), Some("x, y, <((a:1.1))>")),
            ("x, (<a>", Some("<(a>, x"), None),
            ("x, (a, b), <>y", Some("x, <>y, (a, b)"), None),
            ("x, [cat, d<>og|bird, fish:3]", Some("x, [d<>og, cat|bird, fish:3]"), None),
            (r"a, \(b, c<>\)", Some(r"a, c<>\), \(b"), None),
            ("é, <>ü", Some("<>ü, é"), None),
            ("a:1, b<>", Some("b<>, a:1"), None),
            ("<>", None, None),
        ] {
            assert_eq!(press(before, Move::Left).as_deref(), left, "{before}");
            assert_eq!(press(before, Move::Right).as_deref(), right, "{before}");
        }
    }

    #[test]
    fn a_phrase_comes_back_the_other_way() {
        let there = press("a, <b>,  c", Move::Right).unwrap();
        assert_eq!(there, "a, c,  <b>");
        assert_eq!(press(&there, Move::Left).unwrap(), "a, <b>,  c");
    }

    #[test]
    fn a_hundred_kilobytes_of_brackets_are_read() {
        for unit in ["(", ")", ",", "(a,", "[a|", ":"] {
            let long = unit.repeat(100_000 / unit.len());
            let _ = moved(&long, 50_000..50_000, Move::Left);
        }
    }

    proptest! {
        #[test]
        fn any_selection_of_any_text_keeps_its_letters(
            text in "[a-c(),:|\\[\\]{ \\\\é]{0,30}", a in 0_usize..40, b in 0_usize..40, is_left in any::<bool>(),
        ) {
            let direction = if is_left { Move::Left } else { Move::Right };
            let letters = |text: &str| {
                let mut letters: Vec<char> = text.chars().collect();
                letters.sort_unstable();
                letters
            };
            if let Some((changed, selection)) = moved(&text, a.min(b)..a.max(b), direction) {
                prop_assert_eq!(letters(&changed), letters(&text));
                prop_assert!(changed.get(selection).is_some());
            }
        }
    }
}
