//! Cuts a prompt's tokens into chunks that fit the text encoder, so that no word is ever silently dropped.

use std::ops::Range;

use serde::Serialize;

use super::emphasis::Piece;
use super::tokenizer::{Learned, Marks, Tokenizer, TokenizerError};
use super::words::is_space;

/// So many tokens before a full chunk's end a comma is looked for, as in AUTOMATIC1111's web UI: what stands behind it
/// moves on to the next chunk.
const COMMA_BACKTRACK: usize = 20;

/// A piece of fewer tokens is never parted by ComfyUI.
const LEAST_TO_PART: usize = 8;

/// How many tokens a prompt takes, for showing beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenCount {
    /// Tokens of the text itself, without begin and end marks.
    pub tokens: usize,
    /// Tokens that one chunk holds, 75 for CLIP.
    pub chunk_capacity: usize,
    /// Chunks that the prompt needs, at least 1.
    pub chunks: usize,
}

/// What the text encoder reads at once: `[begin, tokens.., end, padding..]` of its full length.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chunk {
    /// The ids, marks and padding included, 77 for CLIP.
    pub tokens: Vec<u32>,
    /// The tokens of the text as the vocabulary writes them, without marks and padding.
    pub words: Vec<String>,
    /// As many as `tokens`; marks and padding have 1.
    pub weights: Vec<f64>,
    /// Where each of the `words` stood in the text that was read into pieces, in bytes.
    #[serde(skip)]
    pub places: Vec<Range<usize>>,
}

/// The chunks of `pieces` as AUTOMATIC1111 cuts them, at least one; nothing is dropped.
///
/// # Errors
/// As [`Tokenizer::tokens`].
pub fn chunks(pieces: &[Piece], tokenizer: &Tokenizer) -> Result<Vec<Chunk>, TokenizerError> {
    let mut cutter = Cutter::new(tokenizer.marks());
    for piece in pieces {
        if piece.is_break() {
            cutter.close();
            continue;
        }
        for group in with_learned_words(tokens(piece, tokenizer)?, tokenizer) {
            cutter.add(group);
        }
    }
    Ok(cutter.end())
}

/// The chunks of `pieces` as ComfyUI cuts them, at least one; nothing is dropped.
///
/// # Errors
/// As [`Tokenizer::tokens`].
pub fn chunks_of_whole_pieces(pieces: &[Piece], tokenizer: &Tokenizer) -> Result<Vec<Chunk>, TokenizerError> {
    let mut cutter = Cutter::new(tokenizer.marks());
    for piece in pieces {
        for group in comfyuis_words(piece, tokenizer)? {
            cutter.add_whole(group);
        }
    }
    Ok(cutter.end())
}

/// The tokens one by one, but those of a learned word together, wherever they are spelled.
fn with_learned_words(tokens: Vec<Token>, tokenizer: &Tokenizer) -> Vec<Vec<Token>> {
    let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
    let mut groups = Vec::with_capacity(tokens.len());
    let mut ahead = tokens.into_iter().enumerate();
    while let Some((at, token)) = ahead.next() {
        let Some(learned) = tokenizer.learned_at(&ids[at..]) else {
            groups.push(vec![token]);
            continue;
        };
        let last = (1..learned.spelled.len()).filter_map(|_| ahead.next()).last();
        let end = last.map_or(token.place.end, |(_, last)| last.place.end);
        groups.push(vectors(learned, token.place.start..end, token.weight));
    }
    groups
}

/// A token for each vector of a learned word; the first stands where the word was written.
fn vectors(learned: &Learned, place: Range<usize>, weight: f64) -> Vec<Token> {
    let token = |id| {
        let place = if id == learned.ids.start { place.clone() } else { place.end..place.end };
        Token { id, word: format!("{}</w>", learned.word), weight, place }
    };
    learned.ids.clone().map(token).collect()
}

/// A piece's tokens, parted where ComfyUI's `embedding:name` calls a word that is known; other names stay text.
fn comfyuis_words(piece: &Piece, tokenizer: &Tokenizer) -> Result<Vec<Vec<Token>>, TokenizerError> {
    const CALL: &str = "embedding:";
    let mut groups = Vec::new();
    let mut from = 0;
    for (at, _) in piece.text.match_indices(CALL) {
        if at < from || at > 0 && !piece.text[..at].ends_with([' ', '\n']) {
            continue;
        }
        let name = piece.text[at + CALL.len()..].split(is_space).next().unwrap_or_default();
        let bare = |name: &str| {
            let ending = [".safetensors", ".pt", ".bin"].into_iter().find_map(|ending| name.strip_suffix(ending));
            tokenizer.learned_called(ending.unwrap_or(name))
        };
        let stripped = name.trim_end_matches(',');
        let Some((learned, name)) = [name, stripped].into_iter().find_map(|name| Some((bare(name)?, name))) else {
            continue;
        };
        let end = at + CALL.len() + name.len();
        groups.push(tokens_of(piece, from..at, tokenizer)?);
        groups.push(vectors(learned, piece.origins.of_range(at..end), piece.weight));
        from = end;
    }
    groups.push(tokens_of(piece, from..piece.text.len(), tokenizer)?);
    groups.retain(|group| !group.is_empty());
    Ok(groups)
}

fn tokens(piece: &Piece, tokenizer: &Tokenizer) -> Result<Vec<Token>, TokenizerError> {
    tokens_of(piece, 0..piece.text.len(), tokenizer)
}

/// The tokens of a part of a piece.
fn tokens_of(piece: &Piece, part: Range<usize>, tokenizer: &Tokenizer) -> Result<Vec<Token>, TokenizerError> {
    let token = |(id, word, place): (u32, String, Range<usize>)| {
        let place = piece.origins.of_range(part.start + place.start..part.start + place.end);
        Token { id, word, weight: piece.weight, place }
    };
    Ok(tokenizer.tokens(&piece.text[part.clone()])?.into_iter().map(token).collect())
}

/// The chunk of the empty prompt.
#[must_use]
pub fn empty_chunk(marks: &Marks) -> Chunk {
    close(marks, Vec::new())
}

struct Token {
    id: u32,
    word: String,
    weight: f64,
    /// In the text that was read into pieces.
    place: Range<usize>,
}

struct Cutter<'a> {
    marks: &'a Marks,
    done: Vec<Chunk>,
    /// The tokens of the chunk at work, at most the capacity.
    open: Vec<Token>,
    /// The position of its last comma.
    last_comma: Option<usize>,
}

impl<'a> Cutter<'a> {
    fn new(marks: &'a Marks) -> Self {
        Self { marks, done: Vec::new(), open: Vec::new(), last_comma: None }
    }

    /// Tokens of one piece: few of them are never parted, they move to the next chunk together.
    fn add_whole(&mut self, tokens: Vec<Token>) {
        let capacity = self.marks.capacity();
        let is_short = tokens.len() < LEAST_TO_PART.min(capacity + 1);
        if is_short && self.open.len() + tokens.len() > capacity {
            self.close();
        }
        self.push_all(tokens);
    }

    /// A token, or those of a learned word, which are not parted.
    fn add(&mut self, group: Vec<Token>) {
        let capacity = self.marks.capacity();
        let is_full = self.open.len() == capacity;
        if group.first().is_some_and(|token| token.word == ",</w>") {
            self.last_comma = Some(self.open.len());
        } else if let Some(comma) =
            self.last_comma.filter(|comma| is_full && self.open.len() - comma <= COMMA_BACKTRACK)
        {
            let moved = self.open.split_off(comma + 1);
            self.close();
            self.open = moved;
        }
        if self.open.len() == capacity || !self.open.is_empty() && self.open.len() + group.len() > capacity {
            self.close();
        }
        self.push_all(group);
    }

    fn push_all(&mut self, tokens: Vec<Token>) {
        for token in tokens {
            if self.open.len() == self.marks.capacity() {
                self.close();
            }
            self.open.push(token);
        }
    }

    fn close(&mut self) {
        self.last_comma = None;
        self.done.push(close(self.marks, std::mem::take(&mut self.open)));
    }

    fn end(mut self) -> Vec<Chunk> {
        if !self.open.is_empty() || self.done.is_empty() {
            self.close();
        }
        self.done
    }
}

fn close(marks: &Marks, open: Vec<Token>) -> Chunk {
    let mut chunk = Chunk { tokens: vec![marks.begin], words: Vec::new(), weights: vec![1.0], places: Vec::new() };
    for token in open {
        chunk.tokens.push(token.id);
        chunk.weights.push(token.weight);
        chunk.words.push(token.word);
        chunk.places.push(token.place);
    }
    chunk.tokens.push(marks.end);
    chunk.tokens.resize(marks.length, marks.padding);
    chunk.weights.resize(marks.length, 1.0);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks = Marks { begin: 1, end: 2, padding: 0, length: 32 };

    fn token(word: &str) -> Token {
        Token { id: 9, word: word.to_owned(), weight: 1.0, place: 0..0 }
    }

    fn cut(words: &[&str]) -> Vec<Vec<String>> {
        let mut cutter = Cutter::new(&MARKS);
        for word in words {
            match *word {
                "BREAK" => cutter.close(),
                word => cutter.add(vec![token(word)]),
            }
        }
        let chunks = cutter.end();
        assert!(chunks.iter().all(|chunk| chunk.tokens.len() == 32 && chunk.weights.len() == 32));
        chunks.into_iter().map(|chunk| chunk.words).collect()
    }

    fn lengths(words: &[&str]) -> Vec<usize> {
        cut(words).iter().map(Vec::len).collect()
    }

    #[test]
    fn an_empty_prompt_is_one_padded_chunk() {
        let chunk = empty_chunk(&MARKS);
        assert_eq!((&chunk.tokens[..3], chunk.words.len()), (&[1, 2, 0][..], 0));
        assert_eq!(cut(&[]), [Vec::<String>::new()]);
    }

    #[test]
    fn a_long_prompt_loses_no_token() {
        assert_eq!(lengths(&["a"; 30]), [30]);
        assert_eq!(lengths(&["a"; 31]), [30, 1]);
        assert_eq!(lengths(&["a"; 95]), [30, 30, 30, 5]);
    }

    #[test]
    fn text_after_a_comma_near_the_end_moves_on() {
        let with_comma = |before: usize, after: usize| {
            let mut words = vec!["a"; before];
            words.push(",</w>");
            words.extend(vec!["b"; after]);
            lengths(&words)
        };
        assert_eq!(with_comma(15, 14), [30]);
        assert_eq!(with_comma(15, 15), [16, 15]);
        // 20 tokens from the comma to the end are near enough, 21 are not.
        assert_eq!(with_comma(10, 20), [11, 20]);
        assert_eq!(with_comma(9, 21), [30, 1]);
        // A comma that opens a chunk is not remembered.
        assert_eq!(with_comma(30, 30), [30, 30, 1]);
    }

    #[test]
    fn a_break_starts_a_chunk_and_moves_nothing() {
        assert_eq!(lengths(&["a", ",</w>", "b", "BREAK", "c"]), [3, 1]);
        assert_eq!(lengths(&["BREAK", "a"]), [0, 1]);
        assert_eq!(lengths(&["a", "BREAK"]), [1]);
        assert_eq!(lengths(&["a", "BREAK", "BREAK", "b"]), [1, 0, 1]);
    }

    #[test]
    fn a_short_piece_stays_whole_and_a_long_one_is_cut() {
        let lengths = |pieces: &[usize]| -> Vec<usize> {
            let mut cutter = Cutter::new(&MARKS);
            for &length in pieces {
                cutter.add_whole((0..length).map(|_| token("a")).collect());
            }
            cutter.end().iter().map(|chunk| chunk.words.len()).collect()
        };
        assert_eq!(lengths(&[]), [0]);
        assert_eq!(lengths(&[30]), [30]);
        assert_eq!(lengths(&[28, 7]), [28, 7]);
        assert_eq!(lengths(&[28, 8]), [30, 6]);
        assert_eq!(lengths(&[23, 7, 1]), [30, 1]);
        assert_eq!(lengths(&[95]), [30, 30, 30, 5]);
    }
}
