//! The two prompts with their token counts.

use egui::{EventFilter, Id, RichText, ScrollArea, Sides, TextEdit, Ui};

use super::Panels;
use super::theme::palette;
use crate::state::Studio;
use crate::state::tokens::CountedText;

/// A longer prompt scrolls, in points.
const MOST_HEIGHT: f32 = 200.0;

/// One of the two fields.
struct PromptField {
    name: &'static str,
    rows: usize,
    hint: &'static str,
    tip: &'static str,
}

const PROMPT: PromptField = PromptField {
    name: "Prompt",
    rows: 4,
    hint: "What do you want to see?",
    tip: "What to draw (Ctrl+Enter makes it)",
};

const NEGATIVE: PromptField = PromptField {
    name: "Negative prompt",
    rows: 2,
    hint: "What should not be there?",
    tip: "What to stay away from; without effect at guidance 1",
};

/// Draws both prompts.
pub fn show(ui: &mut Ui, studio: &mut Studio, panels: &mut Panels) {
    heading(ui, PROMPT.name, &studio.prompt_tokens);
    if !panels.has_focused_prompt {
        panels.has_focused_prompt = true;
        ui.memory_mut(|memory| memory.request_focus(PROMPT.id()));
    }
    PROMPT.show(ui, &mut studio.form.prompt);
    heading(ui, NEGATIVE.name, &studio.negative_tokens);
    NEGATIVE.show(ui, &mut studio.form.negative_prompt);
}

impl PromptField {
    fn id(&self) -> Id {
        Id::unique(self.name)
    }

    fn show(&self, ui: &mut Ui, text: &mut String) {
        // Escape stops the job and must not take the focus away.
        let keys = EventFilter { escape: true, horizontal_arrows: true, vertical_arrows: true, tab: false };
        let field = TextEdit::multiline(text)
            .id(self.id())
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

fn heading(ui: &mut Ui, name: &str, tokens: &CountedText) {
    Sides::new().height(18.0).show(
        ui,
        |ui| ui.label(RichText::new(name).strong()),
        |ui| {
            if let Some(hint) = tokens.hint() {
                ui.label(RichText::new(hint).small().color(palette(ui).accent));
            } else if let Some(words) = tokens.words() {
                let tip = "The model reads a prompt in chunks; a longer prompt takes more of them, nothing is cut off";
                ui.label(RichText::new(words).small().color(palette(ui).faint_text)).on_hover_text(tip);
            }
        },
    );
}
