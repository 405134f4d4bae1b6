//! Which words of two texts they share, in order: the longest common subsequence, within limits.

/// The most pairs of words that are weighed up; prompts of a thousand words each are below it.
const MOST_PAIRS: usize = 1 << 21;

/// A run of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// True when the other text has it too, at its place.
    pub is_shared: bool,
}

impl Piece {
    /// A text of which nothing is shared.
    #[must_use]
    pub fn whole(text: &str) -> Vec<Self> {
        vec![Self { text: text.to_owned(), is_shared: false }]
    }
}

/// Both texts cut into what they share and what they do not. Texts too long to be weighed up share only how they begin and
/// end.
#[must_use]
pub fn word_difference(left: &str, right: &str) -> [Vec<Piece>; 2] {
    let (left, right) = (words(left), words(right));
    let begin = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
    let rest = left.len().min(right.len()) - begin;
    let end = left.iter().rev().zip(right.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    let mut is_shared = [vec![true; left.len()], vec![true; right.len()]];
    let (l, r) = (begin..left.len() - end, begin..right.len() - end);
    let in_the_middle = shared(&left[l.clone()], &right[r.clone()]);
    is_shared[0][l].copy_from_slice(&in_the_middle[0]);
    is_shared[1][r].copy_from_slice(&in_the_middle[1]);
    [pieces(&left, &is_shared[0]), pieces(&right, &is_shared[1])]
}

/// Words with the blanks behind them, and every mark for itself.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '\'';
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len()).max(first.len_utf8());
        let blanks = rest[length..].find(|c: char| !c.is_whitespace()).unwrap_or(rest.len() - length);
        let (word, after) = rest.split_at(length + blanks);
        words.push(word);
        rest = after;
    }
    words
}

/// Which words of each side belong to the longest common subsequence.
fn shared(left: &[&str], right: &[&str]) -> [Vec<bool>; 2] {
    let mut is_shared = [vec![false; left.len()], vec![false; right.len()]];
    if left.len().saturating_mul(right.len()) > MOST_PAIRS {
        return is_shared;
    }
    // lengths[l][r]: of the longest subsequence of left[l..] and right[r..].
    let width = right.len() + 1;
    let mut lengths = vec![0_u32; (left.len() + 1) * width];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            lengths[l * width + r] = if left[l].trim_end() == right[r].trim_end() {
                lengths[(l + 1) * width + r + 1] + 1
            } else {
                lengths[(l + 1) * width + r].max(lengths[l * width + r + 1])
            };
        }
    }
    let (mut l, mut r) = (0, 0);
    while l < left.len() && r < right.len() {
        if left[l].trim_end() == right[r].trim_end() {
            (is_shared[0][l], is_shared[1][r]) = (true, true);
            (l, r) = (l + 1, r + 1);
        } else if lengths[(l + 1) * width + r] >= lengths[l * width + r + 1] {
            l += 1;
        } else {
            r += 1;
        }
    }
    is_shared
}

fn pieces(words: &[&str], is_shared: &[bool]) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (word, &is_shared) in words.iter().zip(is_shared) {
        match pieces.last_mut().filter(|last| last.is_shared == is_shared) {
            Some(last) => last.text.push_str(word),
            None => pieces.push(Piece { text: (*word).to_owned(), is_shared }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marked(pieces: &[Piece]) -> String {
        let piece =
            |piece: &Piece| if piece.is_shared { piece.text.clone() } else { format!("<{}>", piece.text.trim()) };
        pieces.iter().map(piece).collect()
    }

    #[test]
    fn words_that_differ_are_marked() {
        let [left, right] = word_difference("a red fox, in snow", "a fox, in deep snow");
        assert_eq!((marked(&left).as_str(), marked(&right).as_str()), ("a <red>fox, in snow", "a fox, in <deep>snow"));
        let [left, right] = word_difference("(fox:1.2)", "(fox:1.4)");
        assert_eq!((marked(&left).as_str(), marked(&right).as_str()), ("(fox:1.<2>)", "(fox:1.<4>)"));
        let [left, right] = word_difference("", "x");
        assert_eq!((left.len(), marked(&right).as_str()), (0, "<x>"));
    }

    #[test]
    fn texts_beyond_the_limit_still_share_their_ends() {
        let long = |seed: usize| (0..3000).map(|at| (at * seed).to_string() + " ").collect::<String>();
        let [left, _] = word_difference(&format!("begin {}end", long(7)), &format!("begin {}end", long(11)));
        assert_eq!(left.len(), 3);
        assert!(left[0].text.starts_with("begin") && left[0].is_shared && !left[1].is_shared && left[2].is_shared);
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_texts_and_the_shared_words_agree(left in "[ab ,é]{0,20}", right in "[ab ,é]{0,20}") {
            let both = word_difference(&left, &right);
            let joined = both.clone().map(|pieces| pieces.into_iter().map(|piece| piece.text).collect::<String>());
            prop_assert_eq!(joined, [left, right]);
            let shared = both.map(|pieces| {
                let shared = pieces.into_iter().filter(|piece| piece.is_shared).map(|piece| piece.text);
                shared.collect::<String>().split_whitespace().collect::<String>()
            });
            prop_assert_eq!(&shared[0], &shared[1]);
        }
    }
}
