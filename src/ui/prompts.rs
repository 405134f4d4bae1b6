//! The two prompts with their token counts.

use std::ops::Range;

use egui::text::{CCursor, CCursorRange};
use egui::text_edit::TextEditState;
use egui::{EventFilter, Id, Key, Modifiers, RichText, ScrollArea, Sides, TextEdit, Ui};

use super::Panels;
use super::theme::palette;
use crate::prompt::{Reweigh, reweighed};
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
    /// Ctrl+Up and Ctrl+Down change the weight of the selection or of the word at the cursor.
    fn reweigh(&self, ui: &Ui, text: &mut String) {
        if !ui.memory(|memory| memory.has_focus(self.id())) {
            return;
        }
        let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::COMMAND, key));
        let direction = match (pressed(Key::ArrowUp), pressed(Key::ArrowDown)) {
            (true, _) => Reweigh::More,
            (false, true) => Reweigh::Less,
            (false, false) => return,
        };
        let Some(mut state) = TextEditState::load(ui.ctx(), self.id()) else { return };
        let Some(cursor) = state.cursor.char_range() else { return };
        let selected = cursor.as_sorted_char_range();
        let selection = bytes(text, selected.start.0..selected.end.0);
        if let Some((changed, selection)) = reweighed(text, selection, direction) {
            let chars = |end: usize| CCursor::new(changed[..end].chars().count());
            let selected = CCursorRange::two(chars(selection.start), chars(selection.end));
            state.cursor.set_char_range(Some(selected));
            state.store(ui.ctx(), self.id());
            *text = changed;
        }
    }

    fn id(&self) -> Id {
        Id::unique(self.name)
    }

    fn show(&self, ui: &mut Ui, text: &mut String) {
        self.reweigh(ui, text);
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

/// The bytes of a range of characters.
fn bytes(text: &str, chars: Range<usize>) -> Range<usize> {
    let at = |index| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
    at(chars.start)..at(chars.end)
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
