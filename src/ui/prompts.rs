//! The two prompts: fields that show how the model reads them, and the keys that change them.

use std::ops::Range;

use egui::text::{CCursor, CCursorRange};
use egui::text_edit::{TextEditOutput, TextEditState};
use egui::{Button, EventFilter, Galley, Id, Key, Modifiers, Rect, RichText, ScrollArea, Sides, TextEdit, Ui};

use super::icons::{Icon, bare_icon_button};
use super::theme::palette;
use super::{Panels, lora_rows, prompt_text, theme};
use crate::prompt::{Move, Reweigh, moved, reweighed};
use crate::state::Studio;
use crate::state::action::Action;
use crate::state::tokens::{CountedText, Hint};

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
pub fn show(ui: &mut Ui, studio: &mut Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    let has_die = studio.model.facts().is_some_and(|facts| facts.random_prompt.is_some());
    let mut wants_history = false;
    heading(ui, PROMPT.name, &studio.prompt_tokens, |ui| {
        let button = Button::new(RichText::new("History").small().color(palette(ui).faint_text)).frame(false);
        wants_history = ui.add(button).on_hover_text("Earlier prompts (Ctrl+H)").clicked();
        let tip = "Another prompt that this model draws well; what stands here stays in the history";
        if has_die && bare_icon_button(ui, Icon::Dice, "Random prompt", tip).clicked() {
            actions.push(Action::RollPrompt);
        }
    });
    let key = ui.input_mut(|input| input.consume_key(Modifiers::COMMAND, Key::H));
    if !panels.has_focused_prompt {
        panels.has_focused_prompt = true;
        ui.memory_mut(|memory| memory.request_focus(PROMPT.id()));
    }
    let field = PROMPT.show(ui, &mut studio.form.prompt, &mut studio.prompt_tokens);
    if wants_history || key {
        panels.history.toggle(ui);
    }
    if let Some(prompt) = panels.history.show(ui, &studio.history, field) {
        PROMPT.replace(ui, &mut studio.form.prompt, prompt);
    }
    lora_rows::show(ui, studio);
    heading(ui, NEGATIVE.name, &studio.negative_tokens, |_| ());
    NEGATIVE.show(ui, &mut studio.form.negative_prompt, &mut studio.negative_tokens);
}

/// What a key does to a text and its selection, in bytes.
type Edit = Option<(String, Range<usize>)>;

impl PromptField {
    /// Ctrl+Up and Ctrl+Down change the weight of the selection or of the word at the cursor, Alt+Left and Alt+Right
    /// move the phrase.
    fn read_keys(&self, ui: &Ui, text: &mut String) {
        if !ui.memory(|memory| memory.has_focus(self.id())) {
            return;
        }
        let pressed = |modifiers, key| ui.input_mut(|input| input.consume_key(modifiers, key));
        let edit: &dyn Fn(&str, Range<usize>) -> Edit = if pressed(Modifiers::COMMAND, Key::ArrowUp) {
            &|text, selection| reweighed(text, selection, Reweigh::More)
        } else if pressed(Modifiers::COMMAND, Key::ArrowDown) {
            &|text, selection| reweighed(text, selection, Reweigh::Less)
        } else if pressed(Modifiers::ALT, Key::ArrowLeft) {
            &|text, selection| moved(text, selection, Move::Left)
        } else if pressed(Modifiers::ALT, Key::ArrowRight) {
            &|text, selection| moved(text, selection, Move::Right)
        } else {
            return;
        };
        let Some(cursor) = TextEditState::load(ui.ctx(), self.id()).and_then(|state| state.cursor.char_range()) else {
            return;
        };
        let selected = cursor.as_sorted_char_range();
        let selection = bytes(text, selected.start.0..selected.end.0);
        if let Some((changed, selection)) = edit(text, selection) {
            self.set(ui, text, changed, selection);
        }
    }

    /// Takes another text; undo brings the old one back.
    fn set(&self, ui: &Ui, text: &mut String, changed: String, selection: Range<usize>) {
        let mut state = TextEditState::load(ui.ctx(), self.id()).unwrap_or_default();
        let mut undoer = state.undoer();
        undoer.add_undo(&(state.cursor.char_range().unwrap_or_default(), text.clone()));
        state.set_undoer(undoer);
        let chars = |end: usize| CCursor::new(changed[..end].chars().count());
        state.cursor.set_char_range(Some(CCursorRange::two(chars(selection.start), chars(selection.end))));
        state.store(ui.ctx(), self.id());
        *text = changed;
    }

    /// Takes a whole other prompt and gives it the focus.
    fn replace(&self, ui: &Ui, text: &mut String, prompt: String) {
        let end = prompt.len();
        self.set(ui, text, prompt, end..end);
        ui.memory_mut(|memory| memory.request_focus(self.id()));
    }

    fn id(&self) -> Id {
        Id::unique(self.name)
    }

    /// Gives back where it is.
    fn show(&self, ui: &mut Ui, text: &mut String, counted: &mut CountedText) -> Rect {
        self.read_keys(ui, text);
        // Escape stops the job and must not take the focus away.
        let keys = EventFilter { escape: true, horizontal_arrows: true, vertical_arrows: true, tab: false };
        let mut layouter = |ui: &Ui, buffer: &dyn egui::TextBuffer, wrap_width: f32| -> std::sync::Arc<Galley> {
            counted.update_text(buffer.as_str());
            prompt_text::layout(ui, counted, buffer.as_str(), wrap_width)
        };
        let field = TextEdit::multiline(text)
            .id(self.id())
            .desired_width(f32::INFINITY)
            .desired_rows(self.rows)
            .margin(egui::vec2(8.0, 6.0))
            .event_filter(keys)
            .layouter(&mut layouter)
            .hint_text(RichText::new(self.hint).color(palette(ui).faint_text));
        let area = ScrollArea::vertical().id_salt(self.name).max_height(MOST_HEIGHT).auto_shrink([false, true]);
        let shown = area.show(ui, |ui| field.show(ui));
        let TextEditOutput { response, galley, galley_pos, cursor_range, .. } = shown.inner;
        let tip = prompt_text::tip(ui, counted, text, &galley, galley_pos);
        let has_focus = response.has_focus();
        response.response.accessible_name(self.name).on_hover_text(tip.as_deref().unwrap_or(self.tip));
        let cursor = cursor_range.filter(|_| has_focus).map(|range| range.primary.index.0);
        let cursor = cursor.map(|char| bytes(text, char..char).start);
        // It belongs to the field.
        ui.add_space(-theme::HALF_STEP);
        prompt_text::strip(ui, self.name, counted, cursor);
        shown.inner_rect
    }
}

/// The bytes of a range of characters.
fn bytes(text: &str, chars: Range<usize>) -> Range<usize> {
    let at = |index| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
    at(chars.start)..at(chars.end)
}

/// The name, the tools beside it, and on the right what there is to say.
fn heading(ui: &mut Ui, name: &str, tokens: &CountedText, tools: impl FnOnce(&mut Ui)) {
    Sides::new().height(18.0).show(
        ui,
        |ui| {
            ui.label(RichText::new(name).strong());
            ui.spacing_mut().interact_size.y = 0.0;
            ui.spacing_mut().button_padding = egui::vec2(4.0, 1.0);
            tools(ui);
        },
        |ui| {
            if let Some(Hint { short, more }) = tokens.hint() {
                let tip = format!("{short}: {more}");
                ui.label(RichText::new(short).small().color(palette(ui).accent)).on_hover_text(tip);
            } else if let Some(words) = tokens.words() {
                let tip = "The model reads a prompt in chunks; a longer prompt takes more of them, nothing is cut off";
                ui.label(RichText::new(words).small().color(palette(ui).faint_text)).on_hover_text(tip);
            }
        },
    );
}
