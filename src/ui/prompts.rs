//! The two prompts with their token counts.

use egui::{EventFilter, Id, RichText, ScrollArea, Sides, TextEdit, Ui};

use super::Panels;
use super::theme::palette;
use crate::state::Studio;
use crate::state::tokens::CountedText;

/// A longer prompt scrolls, in points.
const MOST_HEIGHT: f32 = 200.0;

/// Draws both prompts.
pub fn show(ui: &mut Ui, studio: &mut Studio, panels: &mut Panels) {
    heading(ui, "Prompt", &studio.prompt_tokens);
    let id = Id::unique("prompt");
    prompt_field(
        ui,
        id,
        &mut studio.form.prompt,
        4,
        "Prompt",
        "What do you want to see?",
        "What to draw (Ctrl+Enter makes it)",
    );
    if !panels.has_focused_prompt {
        panels.has_focused_prompt = true;
        ui.memory_mut(|memory| memory.request_focus(id));
    }
    heading(ui, "Negative prompt", &studio.negative_tokens);
    let form = &mut studio.form;
    let tip = "What to stay away from; without effect at guidance 1";
    prompt_field(
        ui,
        Id::unique("negative prompt"),
        &mut form.negative_prompt,
        2,
        "Negative prompt",
        "What should not be there?",
        tip,
    );
}

fn heading(ui: &mut Ui, name: &str, tokens: &CountedText) {
    Sides::new().height(18.0).show(
        ui,
        |ui| ui.label(RichText::new(name).strong()),
        |ui| {
            if let Some(words) = tokens.words() {
                let tip = "The model reads a prompt in chunks; a longer prompt takes more of them, nothing is cut off";
                ui.label(RichText::new(words).small().color(palette(ui).faint_text)).on_hover_text(tip);
            }
        },
    );
}

fn prompt_field(ui: &mut Ui, id: Id, text: &mut String, rows: usize, name: &str, hint: &str, tip: &str) {
    // Escape stops the job and must not take the focus away.
    let keys = EventFilter { escape: true, horizontal_arrows: true, vertical_arrows: true, tab: false };
    let field = TextEdit::multiline(text)
        .id(id)
        .desired_width(f32::INFINITY)
        .desired_rows(rows)
        .margin(egui::vec2(8.0, 6.0))
        .event_filter(keys)
        .hint_text(RichText::new(hint).color(palette(ui).faint_text));
    ScrollArea::vertical().id_salt(name).max_height(MOST_HEIGHT).auto_shrink([false, true]).show(ui, |ui| {
        ui.add(field).accessible_name(name).on_hover_text(tip);
    });
}
