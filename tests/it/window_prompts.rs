//! The prompt in the window: wildcards, phrases, earlier prompts, brackets.

use calotype::app::read_stored;
use egui::Key;
use egui::accesskit::Role;
use egui_kittest::kittest::Queryable as _;

use crate::studio::Studio;

#[test]
fn wildcards_are_drawn_for_each_picture_and_a_lora_is_said_not_to_be_applied() {
    let mut studio = Studio::open_ready();
    studio.type_prompt("a {fox|fox} <lora:ink:0.8>");
    studio.press_generate();
    let request = studio.one_job().request;
    assert_eq!(request.prompt, "a fox <lora:ink:0.8>");
    assert_eq!(request.template.unwrap().prompt, "a {fox|fox} <lora:ink:0.8>");
    studio.assert_sees("<lora:ink> is not applied");
    studio.type_prompt(" __no such file__");
    studio.press_generate();
    assert!(studio.jobs().is_empty());
    studio.assert_sees("There is no wildcard file \"no such file.txt\"");
}

#[test]
fn the_die_puts_a_prompt_of_the_model_into_the_form_and_the_old_one_into_the_history() {
    let mut studio = Studio::open_ready();
    studio.type_prompt("my own words");
    for _ in 0..3 {
        studio.click("Random prompt");
        let prompt = studio.window().state().studio().form.prompt.clone();
        let drawn = ["a glossy fox", "a flat fox", "a glossy lemon", "a flat lemon"];
        assert!(drawn.contains(&prompt.as_str()), "{prompt}");
    }
    assert!(studio.jobs().is_empty());
    // What the die itself put there is not worth remembering.
    assert_eq!(studio.window().state().studio().history.search(""), ["my own words"]);
}

#[test]
fn the_empty_canvas_makes_a_picture_of_a_prompt_drawn_by_chance() {
    let mut studio = Studio::open_ready();
    studio.click("Surprise me");
    let prompt = studio.one_job().request.prompt;
    assert!(prompt.starts_with("a ") && (prompt.ends_with("fox") || prompt.ends_with("lemon")), "{prompt}");
}

#[test]
fn alt_left_and_right_move_the_phrase_at_the_cursor() {
    let mut studio = Studio::open_ready();
    studio.type_prompt("a fox, red, old");
    let mut press = |modifiers, key| {
        studio.window().key_press_modifiers(modifiers, key);
        studio.window().run();
        studio.window().state().studio().form.prompt.clone()
    };
    assert_eq!(press(egui::Modifiers::ALT, Key::ArrowLeft), "a fox, old, red");
    assert_eq!(press(egui::Modifiers::ALT, Key::ArrowLeft), "old, a fox, red");
    assert_eq!(press(egui::Modifiers::ALT, Key::ArrowRight), "a fox, old, red");
    assert_eq!(press(egui::Modifiers::COMMAND, Key::Z), "old, a fox, red");
}

#[test]
fn an_earlier_prompt_is_found_and_undo_brings_the_new_one_back() {
    let mut studio = Studio::open_ready();
    studio.type_prompt("a fox");
    studio.press_generate();
    studio.type_prompt(" in snow");
    studio.press_generate();
    studio.type_prompt(" at night");
    let prompt = |studio: &mut Studio| studio.window().state().studio().form.prompt.clone();
    studio.window().key_press_modifiers(egui::Modifiers::COMMAND, Key::H);
    studio.window().run();
    studio.window().get_by_role_and_label(Role::TextInput, "Search earlier prompts").type_text("fox");
    studio.window().run();
    studio.assert_sees("a fox in snow");
    studio.press(Key::ArrowDown);
    studio.press(Key::Enter);
    assert_eq!(prompt(&mut studio), "a fox");
    studio.window().run();
    studio.window().key_press_modifiers(egui::Modifiers::COMMAND, Key::Z);
    studio.window().run();
    assert_eq!(prompt(&mut studio), "a fox in snow at night");
    assert_eq!(read_stored(&studio.window().state().stored()).history.search(""), ["a fox in snow", "a fox"]);
}

#[test]
fn a_bracket_without_a_partner_is_hinted_at() {
    let mut studio = Studio::open_ready();
    studio.type_prompt("a (fox");
    studio.assert_sees("is never closed");
    studio.type_prompt(")");
    studio.assert_sees_not("is never closed");
}
