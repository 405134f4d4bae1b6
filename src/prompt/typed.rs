//! From what was typed to the prompts of one picture: comments cut out, wildcards drawn.

use super::cut::without_comments;
use super::wildcards::{Stream, WildcardError, WildcardFiles, draw, has_wildcards};
use crate::request::{Dialect, Seed, Template};

/// The two prompts as they were typed.
#[derive(Debug, Clone, Copy)]
pub struct TypedPrompts<'a> {
    /// What to draw.
    pub prompt: &'a str,
    /// What to stay away from.
    pub negative_prompt: &'a str,
    /// Whose language they are in.
    pub dialect: Dialect,
}

/// The two prompts of one picture.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettledPrompts {
    /// What to draw.
    pub prompt: String,
    /// What to stay away from.
    pub negative_prompt: String,
    /// What they were drawn from, if from anything.
    pub template: Option<Template>,
}

impl TypedPrompts<'_> {
    /// What they come to for the picture of a seed. A prompt in which nothing is to be cut, drawn or freed of its
    /// backslash stays to the letter.
    ///
    /// # Errors
    /// When a wildcard file is missing, has no lines, or the files call each other without end.
    pub fn settle(&self, seed: Seed, files: &WildcardFiles) -> Result<SettledPrompts, WildcardError> {
        let (prompt, prompt_template) = self.settle_one(self.prompt, seed, Stream::Prompt, files)?;
        let (negative_prompt, negative_template) =
            self.settle_one(self.negative_prompt, seed, Stream::NegativePrompt, files)?;
        let template = Template { prompt: prompt_template, negative_prompt: negative_template };
        let template = (template != Template::default()).then_some(template);
        Ok(SettledPrompts { prompt, negative_prompt, template })
    }

    /// The prompt, and what was typed if it came to something else.
    fn settle_one(
        &self,
        typed: &str,
        seed: Seed,
        stream: Stream,
        files: &WildcardFiles,
    ) -> Result<(String, String), WildcardError> {
        let text = read_as_typed(typed, self.dialect);
        let drawn = draw(&text, self.dialect, seed, stream, files)?;
        // Freed of a backslash it would, read again, be another prompt.
        let is_another = has_wildcards(&text) || drawn != text;
        Ok((drawn, if is_another { text } else { String::new() }))
    }

    /// The wildcard files that they name.
    pub fn wildcard_files(
        &self,
        folder: std::path::PathBuf,
        read: impl FnMut(&str) -> Option<Vec<String>>,
    ) -> WildcardFiles {
        let texts = [self.prompt, self.negative_prompt].map(|typed| read_as_typed(typed, self.dialect));
        WildcardFiles::gather(folder, &[&texts[0], &texts[1]], read)
    }
}

/// A typed prompt without its comments, where the language has any.
#[must_use]
pub fn read_as_typed(typed: &str, dialect: Dialect) -> String {
    match dialect {
        Dialect::A1111 => without_comments(typed).text,
        Dialect::ComfyUi => typed.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(prompt: &str, negative_prompt: &str, dialect: Dialect) -> SettledPrompts {
        let typed = TypedPrompts { prompt, negative_prompt, dialect };
        typed.settle(Seed(1), &WildcardFiles::default()).unwrap()
    }

    #[test]
    fn comments_are_no_template_and_wildcards_in_them_are_not_drawn() {
        let found = settled("a cat # {x|__y__}", "dark", Dialect::A1111);
        assert_eq!((found.prompt.as_str(), found.negative_prompt.as_str()), ("a cat \n", "dark"));
        assert_eq!(found.template, None);
        assert_eq!(settled("a #cat", "", Dialect::ComfyUi).prompt, "a #cat");
        let freed = settled(r"\{a|b\} cat", "", Dialect::ComfyUi);
        let kept = freed.template.map(|template| template.prompt);
        assert_eq!((freed.prompt.as_str(), kept.as_deref()), ("{a|b} cat", Some(r"\{a|b\} cat")));
    }

    #[test]
    fn the_template_is_kept_of_the_prompt_that_was_drawn() {
        let found = settled("a {cat}", "dark", Dialect::A1111);
        assert_eq!(found.prompt, "a cat");
        assert_eq!(found.template, Some(Template { prompt: "a {cat}".into(), negative_prompt: String::new() }));
    }
}
