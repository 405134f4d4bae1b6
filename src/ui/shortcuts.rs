//! Keys that work wherever the focus is, and files dropped on the window.

use egui::{Align2, FontId, Id, Key, KeyboardShortcut, LayerId, Modifiers, Order, Popup, TextStyle, Ui};

use super::Panels;
use super::theme::palette;
use crate::state::Studio;
use crate::state::action::{Action, Question};
use crate::state::gallery::Purpose;

/// Makes a picture, wherever the focus is.
pub const GENERATE: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Enter);

/// Opens or closes the library of models.
pub const MODELS: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::M);

/// Reads the keys before any panel does, so that Ctrl+Enter never becomes a line break.
pub fn read(ui: &Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    if ui.input_mut(|input| input.consume_shortcut(&GENERATE)) {
        actions.push(Action::Generate);
    }
    if ui.input_mut(|input| input.consume_key(Modifiers::COMMAND, Key::O)) {
        actions.push(Action::Ask(Question::Picture));
    }
    if ui.input_mut(|input| input.consume_key(Modifiers::COMMAND, Key::S)) && studio.canvas.shown_picture().is_some() {
        actions.push(Action::SaveShownAs);
    }
    read_escape(ui, studio, panels, actions);
    if ui.input_mut(|input| input.consume_shortcut(&MODELS)) {
        panels.models.toggle();
    }
    if ui.ctx().text_edit_focused() || panels.settings.is_open() || panels.models.is_open() || panels.parts.is_open() {
        return;
    }
    read_bare_keys(ui, studio, panels, actions);
}

/// Escape closes what lies on top first; only then it stops the job.
fn read_escape(ui: &Ui, studio: &Studio, panels: &Panels, actions: &mut Vec<Action>) {
    let is_covered = panels.settings.is_open() || panels.models.is_open() || panels.parts.is_open();
    if Popup::is_any_open(ui) || is_covered || !ui.input(|input| input.key_pressed(Key::Escape)) {
        return;
    }
    if studio.gallery.to_delete.is_some() {
        actions.push(Action::KeepPicture);
    } else if studio.comparison().is_some() {
        actions.push(Action::StopComparing);
    } else if studio.can_stop() {
        actions.push(Action::Stop);
    } else if let Some(focused) = ui.memory(egui::Memory::focused) {
        // Nothing to stop: leave the field, as Escape does elsewhere.
        ui.memory_mut(|memory| memory.surrender_focus(focused));
    }
    ui.input_mut(|input| input.consume_key(Modifiers::NONE, Key::Escape));
}

fn read_bare_keys(ui: &Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    if pressed(Key::Num0) {
        panels.canvas.fit();
    }
    if pressed(Key::Num1) {
        panels.canvas.show_pixels();
    }
    if ui.memory(egui::Memory::focused).is_some() {
        return;
    }
    let columns = panels.gallery.columns();
    for (key, by) in [(Key::ArrowLeft, -1), (Key::ArrowRight, 1), (Key::ArrowUp, -columns), (Key::ArrowDown, columns)] {
        if pressed(key)
            && let Some(entry) = studio.gallery.neighbour(by)
        {
            panels.gallery.follow_selection();
            actions.push(Action::Select(entry.path.clone()));
        }
    }
    if let Some(path) = &studio.gallery.selected
        && pressed(Key::Delete)
    {
        actions.push(Action::AskToDelete(path.clone()));
    }
}

/// Takes in files dropped on the window and shows where they would go.
pub fn dropped_files(ui: &Ui, panels: &Panels, actions: &mut Vec<Action>) {
    let pointer = ui.input(|input| input.pointer.latest_pos());
    let is_over_well = |well: egui::Rect| pointer.is_some_and(|at| well.contains(at));
    let purpose = if panels.start_image_well.is_some_and(is_over_well) { Purpose::StartImage } else { Purpose::View };
    if ui.input(|input| !input.raw.hovered_files.is_empty()) {
        veil(ui, purpose);
    }
    let dropped = ui.input(|input| input.raw.dropped_files.first().map(|file| file.path().to_owned()));
    if let Some(path) = dropped {
        actions.push(Action::Open(path, purpose));
    }
}

fn veil(ui: &Ui, purpose: Purpose) {
    let painter = ui.ctx().layer_painter(LayerId::new(Order::Foreground, Id::unique("veil")));
    let rect = ui.ctx().content_rect();
    painter.rect_filled(rect, 0.0, palette(ui).veil);
    let text = match purpose {
        Purpose::View | Purpose::Comparison => "Drop a picture to open it and read its recipe",
        Purpose::StartImage => "Drop to use as the start image",
    };
    let font = FontId::new(22.0, TextStyle::Heading.resolve(ui.style()).family);
    painter.text(rect.center(), Align2::CENTER_CENTER, text, font, palette(ui).text);
}
