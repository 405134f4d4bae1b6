//! Two pictures' recipes beside each other, and copies of a picture, in the window.

use calotype::app::{Errand, Report};
use calotype::gallery::message::{self as gallery, Caption, Entry};
use calotype::request::Seed;
use calotype::state::action::Question;
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;

use crate::studio::{Studio, opened};

/// A window that shows 1.png, with 2.png in the gallery too.
fn showing_a_picture() -> Studio {
    let mut studio = Studio::open_ready();
    let entries = vec![Entry { path: "/usual/2.png".into() }, Entry { path: "/usual/1.png".into() }];
    studio.gallery_says(gallery::Event::Listed { folder: "/usual".into(), entries });
    studio.click("1.png");
    studio.gallery_says(gallery::Event::Opened(Box::new(opened("/usual/1.png"))));
    studio.gallery().take_all();
    studio
}

/// Ctrl+click on 2.png, whose recipe differs in prompt and seed.
fn compare(studio: &mut Studio) {
    studio.window().get_by_role_and_label(Role::Button, "2.png").click_modifiers(Modifiers::COMMAND);
    studio.window().run();
    studio.assert_sees("Reading the other picture…");
    assert!(matches!(&studio.gallery().take_all()[..], [gallery::Command::Open(path)] if path.ends_with("2.png")));
    let mut other = opened("/usual/2.png");
    if let Some(recipe) = &mut other.recipe {
        recipe.prompt = "a wild lake".into();
        recipe.seed = Some(Seed(78));
    }
    studio.gallery_says(gallery::Event::Opened(Box::new(other)));
}

#[test]
fn ctrl_click_on_a_second_picture_shows_in_what_the_recipes_differ() {
    let mut studio = showing_a_picture();
    compare(&mut studio);
    for part in ["In what the recipes differ", "A  1.png", "B  2.png", "a quiet lake", "a wild lake", "78"] {
        studio.assert_sees(part);
    }
    // Steps agree.
    studio.assert_sees_not("31");
    studio.assert_sees("Picture: 1.png");
    studio.click("Stop comparing");
    studio.assert_sees_not("a wild lake");
    studio.assert_sees("31");
}

#[test]
fn escape_and_another_picture_end_the_comparison() {
    let mut studio = showing_a_picture();
    compare(&mut studio);
    studio.press(Key::Escape);
    studio.assert_sees_not("a wild lake");
    compare(&mut studio);
    studio.click("2.png");
    studio.gallery_says(gallery::Event::Opened(Box::new(opened("/usual/2.png"))));
    studio.assert_sees("Picture: 2.png");
    studio.assert_sees_not("Stop comparing");
}

#[test]
fn a_picture_from_elsewhere_can_be_compared_too() {
    let mut studio = showing_a_picture();
    studio.click("Compare…");
    let Some(Errand::Ask(question)) = studio.desktop.take() else { panic!("no dialog was opened") };
    studio.desktop.say(Report::Chosen(question, "/other/mine.jpg".into()));
    studio.window().run();
    assert!(matches!(&studio.gallery().take_all()[..], [gallery::Command::Open(path)] if path.ends_with("mine.jpg")));
    studio.gallery_says(gallery::Event::Opened(Box::new(opened("/other/mine.jpg"))));
    studio.assert_sees("The recipes are the same");
}

#[test]
fn a_copy_is_exported_with_what_is_known_of_the_picture() {
    let mut studio = showing_a_picture();
    studio.click("Export…");
    let Some(Errand::Ask(question)) = studio.desktop.take() else { panic!("no dialog was opened") };
    studio.desktop.say(Report::Chosen(question, "/other/mine.jpg".into()));
    studio.window().run();
    let commands = studio.gallery().take_all();
    let [gallery::Command::SaveAs { path, caption, quality, .. }] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!((path.to_str(), quality.get()), (Some("/other/mine.jpg"), 92));
    assert_eq!(caption, &Caption::Infotext("a quiet lake\nSteps: 31".into()));
}

#[test]
fn a_copy_that_cannot_hold_the_recipe_says_so_and_gets_a_name_that_can_be_written() {
    let mut studio = Studio::open_ready();
    studio.click("Open a picture…");
    let Some(Errand::Ask(question)) = studio.desktop.take() else { panic!("no dialog was opened") };
    studio.desktop.say(Report::Chosen(question, "/other/mine.tif".into()));
    studio.window().run();
    let mut picture = opened("/other/mine.tif");
    picture.infotext = None;
    if let Some(recipe) = &mut picture.recipe {
        recipe.tool = Some("ComfyUI".into());
    }
    studio.gallery_says(gallery::Event::Opened(Box::new(picture)));
    studio.click("Export…");
    studio.assert_sees("The copy will hold no recipe: that of ComfyUI stays in its file");
    let Some(Errand::Ask(question)) = studio.desktop.take() else { panic!("no dialog was opened") };
    assert!(matches!(question, Question::SaveAs { name, .. } if name == "mine.png"));
}
