//! The texts that a picture file carries beside its pixels, whatever its format keeps them in.

/// Where A1111 and its relatives keep their infotext.
pub const PARAMETERS_KEYWORD: &str = "parameters";
/// The most that the texts of one file may take, in bytes, packed and unpacked each; ComfyUI's largest graphs are a tenth.
pub const MAX_TEXT_BYTES: usize = 8 << 20;

/// Keywords and texts in the order in which they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Texts {
    /// Keyword and text.
    texts: Vec<(String, String)>,
    /// How many more bytes of text are taken in.
    room: usize,
}

/// The most texts of one file; Easy Diffusion has one for each of its fields.
const MOST_TEXTS: usize = 1 << 10;

impl Default for Texts {
    fn default() -> Self {
        Self { texts: Vec::new(), room: MAX_TEXT_BYTES }
    }
}

impl Texts {
    /// Takes a text in, without the zero bytes that some programs put around theirs.
    pub fn keep(&mut self, keyword: &str, text: &str) {
        self.room = self.room.saturating_sub(text.len());
        self.texts.push((keyword.to_owned(), text.trim_matches('\0').to_owned()));
    }

    /// How many more bytes of text are taken in.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room
    }

    /// True when nothing more is to be taken in.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.room == 0 || self.texts.len() >= MOST_TEXTS
    }

    /// The first text of this keyword that is not empty.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.texts.iter().find(|(key, text)| key == keyword && !text.is_empty()).map(|(_, text)| text.as_str())
    }

    /// Keyword and text of all that is not empty.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.as_str(), text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_text_that_is_not_empty_counts() {
        let mut texts = Texts::default();
        texts.keep("a", "\0");
        texts.keep("a", "one\0");
        texts.keep("a", "two");
        assert_eq!((texts.get("a"), texts.get("b"), texts.iter().count()), (Some("one"), None, 2));
    }
}
