//! Earlier prompts, to be searched and taken again.

use egui::{
    Align, Button, Id, Key, Layout, Modifiers, Popup, PopupCloseBehavior, Rect, RectAlign, RichText, ScrollArea,
    TextEdit, Ui,
};

use super::theme::palette;
use super::{theme, widgets};
use crate::state::history::PromptHistory;

/// Height of the list, in points.
const LIST_HEIGHT: f32 = 260.0;
/// Height of one prompt in it, in points.
const ROW_HEIGHT: f32 = 26.0;

/// What is looked for, and which of the found is chosen.
#[derive(Default)]
pub struct HistoryPopup {
    query: String,
    chosen: usize,
    /// True in the frame in which it opens.
    is_new: bool,
    scrolls_to_chosen: bool,
}

impl HistoryPopup {
    fn id() -> Id {
        Id::unique("prompt history")
    }

    /// Opens it, or closes it.
    pub fn toggle(&mut self, ui: &Ui) {
        *self = Self { is_new: true, ..Self::default() };
        Popup::toggle_id(ui, Self::id());
    }

    /// Draws it below the prompt when it is open, and gives back the prompt that was chosen.
    pub fn show(&mut self, ui: &Ui, history: &PromptHistory, prompt: Rect) -> Option<String> {
        let mut taken = None;
        let popup = Popup::new(Self::id(), ui.ctx().clone(), prompt, ui.layer_id())
            .open_memory(None)
            .align(RectAlign::BOTTOM_START)
            .align_alternatives(&[RectAlign::RIGHT_START])
            .close_behavior(PopupCloseBehavior::CloseOnClickOutside)
            .width(prompt.width().max(280.0));
        popup.show(|ui| taken = self.content(ui, history));
        if taken.is_some() {
            Popup::close_id(ui, Self::id());
        }
        taken
    }

    fn content(&mut self, ui: &mut Ui, history: &PromptHistory) -> Option<String> {
        let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        let (up, down, enter) = (pressed(Key::ArrowUp), pressed(Key::ArrowDown), pressed(Key::Enter));
        let field = TextEdit::singleline(&mut self.query)
            .hint_text(RichText::new("Search earlier prompts").color(palette(ui).faint_text))
            .margin(egui::vec2(8.0, 5.0))
            .desired_width(f32::INFINITY);
        let response = ui.add(field).accessible_name("Search earlier prompts");
        if std::mem::take(&mut self.is_new) {
            response.request_focus();
        }
        if response.changed() {
            self.chosen = 0;
            self.scrolls_to_chosen = true;
        }
        let found = history.search(&self.query);
        if up || down {
            self.chosen = if down { self.chosen + 1 } else { self.chosen.saturating_sub(1) };
            self.scrolls_to_chosen = true;
        }
        self.chosen = self.chosen.min(found.len().saturating_sub(1));
        if found.is_empty() {
            let none = if self.query.is_empty() { "No prompts yet" } else { "No prompt has these words" };
            widgets::faint(ui, none);
            return None;
        }
        let clicked = self.list(ui, &found);
        let taken = clicked.or(if enter { Some(self.chosen) } else { None })?;
        found.get(taken).map(|&prompt| prompt.to_owned())
    }

    fn list(&mut self, ui: &mut Ui, found: &[&str]) -> Option<usize> {
        let mut clicked = None;
        let mut area = ScrollArea::vertical().max_height(LIST_HEIGHT).auto_shrink([false, true]);
        ui.spacing_mut().item_spacing.y = 2.0;
        let step = ROW_HEIGHT + ui.spacing().item_spacing.y;
        if std::mem::take(&mut self.scrolls_to_chosen) {
            area = area.vertical_scroll_offset((self.chosen as f32 * step - LIST_HEIGHT / 2.0).max(0.0));
        }
        area.show_rows(ui, ROW_HEIGHT, found.len(), |ui, rows| {
            for index in rows {
                // One line, however many it has.
                let line = found[index].split_whitespace().collect::<Vec<_>>().join(" ");
                // Room for the scroll bar that floats over the edge; the text stands on the left.
                let size = egui::vec2(ui.available_width() - theme::STEP, ROW_HEIGHT);
                let left = Layout::left_to_right(Align::Center).with_main_justify(true).with_main_align(Align::Min);
                let button = Button::selectable(index == self.chosen, line.as_str()).truncate().min_size(size);
                let response = ui.allocate_ui_with_layout(size, left, |ui| ui.add(button)).inner;
                if response.on_hover_text(found[index]).clicked() {
                    clicked = Some(index);
                }
            }
        });
        clicked
    }
}
