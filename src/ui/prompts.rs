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
    let field = PromptField {
        id,
        rows: 4,
        name: "Prompt",
        hint: "What do you want to see?",
        tip: "What to draw (Ctrl+Enter makes it)",
    };
    field.show(ui, &mut studio.form.prompt);
    if !panels.has_focused_prompt {
        panels.has_focused_prompt = true;
        ui.memory_mut(|memory| memory.request_focus(id));
    }
    heading(ui, "Negative prompt", &studio.negative_tokens);
    let field = PromptField {
        id: Id::unique("negative prompt"),
        rows: 2,
        name: "Negative prompt",
        hint: "What should not be there?",
        tip: "What to stay away from; without effect at guidance 1",
    };
    field.show(ui, &mut studio.form.negative_prompt);
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

/// What the two text fields differ in.
struct PromptField {
    id: Id,
    rows: usize,
    name: &'static str,
    hint: &'static str,
    tip: &'static str,
}

impl PromptField {
    fn show(&self, ui: &mut Ui, text: &mut String) {
        // Escape stops the job and must not take the focus away.
        let keys = EventFilter { escape: true, horizontal_arrows: true, vertical_arrows: true, tab: false };
        let field = TextEdit::multiline(text)
            .id(self.id)
            .desired_width(f32::INFINITY)
            .desired_rows(self.rows)
            .margin(egui::vec2(8.0, 6.0))
            .event_filter(keys)
            .hint_text(RichText::new(self.hint).color(palette(ui).faint_text));
        ScrollArea::vertical().id_salt(self.name).max_height(MOST_HEIGHT).auto_shrink([false, true]).show(ui, |ui| {
            ui.add(field).accessible_name(self.name).on_hover_text(self.tip);
        });
    }
}
