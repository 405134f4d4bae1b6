//! Why do these two pictures differ: the recipe of the picture on the canvas beside that of another one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use super::Studio;
use super::action::Effect;
use super::gallery::Purpose;
use super::word_difference::{Piece, word_difference};
use crate::gallery::message::OpenedPicture;
use crate::gallery::record::{ReadRecipe, differences};

/// The fields whose words are compared one by one.
const PROMPTS: [&str; 2] = ["Prompt", "Negative prompt"];

/// The picture on the canvas and another one.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The other picture.
    pub other: PathBuf,
    /// The fields that differ; none while the other picture is being read.
    pub fields: Option<Vec<DifferentField>>,
    /// What is on the canvas: with another picture the comparison is over.
    shown: Arc<RgbImage>,
}

/// A field that two recipes do not agree in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DifferentField {
    /// Its name.
    pub name: String,
    /// What the picture on the canvas says, if anything.
    pub shown: Option<Vec<Piece>>,
    /// What the other picture says, if anything.
    pub other: Option<Vec<Piece>>,
}

impl Studio {
    /// The comparison, while the picture that it was begun with is on the canvas.
    #[must_use]
    pub fn comparison(&self) -> Option<&Comparison> {
        let shown = self.canvas.shown_picture()?;
        self.comparison.as_ref().filter(|comparison| Arc::ptr_eq(&comparison.shown, &shown.image))
    }

    /// Compares the picture on the canvas with another; with the same one once more, or with itself, the comparison
    /// ends. Without a picture on the canvas there is nothing to compare with, and the other one is shown.
    pub(super) fn compare_with(&mut self, path: &Path, now_secs: f64) -> Vec<Effect> {
        let is_compared = self.comparison().is_some_and(|comparison| comparison.other == path);
        let Some(shown) = self.canvas.shown_picture() else {
            self.gallery.selected = Some(path.to_owned());
            return self.open(path, Purpose::View);
        };
        if is_compared || shown.path.as_deref() == Some(path) {
            self.comparison = None;
            return Vec::new();
        }
        if shown.recipe.is_none() {
            self.notices.tell("The picture on the canvas holds no recipe to compare", now_secs);
            return Vec::new();
        }
        let shown = Arc::clone(&shown.image);
        self.comparison = Some(Comparison { other: path.to_owned(), fields: None, shown });
        self.open(path, Purpose::Comparison)
    }

    /// The other picture is there.
    pub(super) fn compare(&mut self, opened: &OpenedPicture, now_secs: f64) {
        let Some(shown) = self.canvas.shown_picture().and_then(|shown| shown.recipe.as_ref()) else { return };
        let Some(comparison) = self.comparison.as_mut().filter(|comparison| comparison.other == opened.path) else {
            return;
        };
        if let Some(other) = &opened.recipe {
            comparison.fields = Some(different_fields(shown, other));
        } else {
            self.notices.tell("The other picture holds no recipe to compare", now_secs);
            self.comparison = None;
        }
    }

    /// The other picture could not be read.
    pub(super) fn cannot_compare(&mut self, path: &Path) {
        self.comparison.take_if(|comparison| comparison.other == path);
    }
}

fn different_fields(shown: &ReadRecipe, other: &ReadRecipe) -> Vec<DifferentField> {
    let field = |(name, shown, other): (String, Option<String>, Option<String>)| {
        let (shown, other) = match (shown, other) {
            (Some(shown), Some(other)) if PROMPTS.contains(&name.as_str()) => {
                let [shown, other] = word_difference(&shown, &other);
                (Some(shown), Some(other))
            }
            (shown, other) => (shown.map(|text| Piece::whole(&text)), other.map(|text| Piece::whole(&text))),
        };
        DifferentField { name, shown, other }
    };
    differences(shown, other).into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Seed, Steps};
    use crate::state::Persisted;
    use crate::state::canvas::ShownPicture;

    fn opened(name: &str, recipe: Option<ReadRecipe>) -> OpenedPicture {
        OpenedPicture {
            path: name.into(),
            image: Arc::new(RgbImage::new(8, 8)),
            is_lossy: false,
            record: None,
            recipe,
            infotext: None,
            unread: None,
            warning: None,
        }
    }

    fn fox() -> ReadRecipe {
        ReadRecipe { prompt: "a red fox".into(), seed: Some(Seed(1)), ..ReadRecipe::default() }
    }

    /// A studio that shows "a.png" and is about to compare it with "b.png".
    fn comparing() -> Studio {
        let mut studio = Studio::new(Persisted::default());
        studio.canvas.show_opened(ShownPicture::opened(opened("a.png", Some(fox()))));
        assert_eq!(studio.compare_with(Path::new("b.png"), 0.0).len(), 1);
        assert_eq!(studio.comparison().unwrap().fields, None);
        studio
    }

    #[test]
    fn only_the_fields_that_differ_are_told_and_the_words_of_prompts() {
        let mut studio = comparing();
        let other = ReadRecipe { prompt: "a blue fox".into(), steps: Steps::new(20).ok(), ..fox() };
        studio.compare(&opened("b.png", Some(other)), 0.0);
        let fields = studio.comparison().unwrap().fields.as_ref().unwrap();
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["Prompt", "Steps"]);
        let changed = fields[0].other.as_ref().unwrap().iter().find(|piece| !piece.is_shared).unwrap();
        assert_eq!(changed.text, "blue ");
        assert_eq!((&fields[1].shown, &fields[1].other), (&None, &Some(Piece::whole("20"))));
    }

    #[test]
    fn asking_again_or_showing_another_picture_ends_it() {
        let mut studio = comparing();
        studio.compare_with(Path::new("b.png"), 0.0);
        assert!(studio.comparison().is_none());
        let mut studio = comparing();
        studio.canvas.show_opened(ShownPicture::opened(opened("c.png", Some(fox()))));
        assert!(studio.comparison().is_none());
        studio.compare(&opened("b.png", Some(fox())), 0.0);
        assert!(studio.comparison().is_none(), "a picture that comes late");
    }

    #[test]
    fn pictures_without_recipes_are_not_compared() {
        let mut studio = comparing();
        studio.compare(&opened("b.png", None), 0.0);
        assert!(studio.comparison().is_none());
        studio.canvas.show_opened(ShownPicture::opened(opened("a.png", None)));
        assert!(studio.compare_with(Path::new("b.png"), 0.0).is_empty());
        assert!(studio.comparison().is_none());
    }
}
