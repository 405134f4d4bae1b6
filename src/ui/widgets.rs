//! Controls that several panels share: the one important button, error lines, copyable messages.

use egui::{Button, Response, RichText, Ui};

use super::theme::{self, palette};
use crate::state::action::Action;
use crate::state::form::{Field, FieldError};

/// The one button of a place that matters most, with its shortcut on it if it has one.
pub fn primary_button(ui: &mut Ui, name: &str, shortcut: String) -> Response {
    let colours = palette(ui);
    ui.scope(|ui| {
        let widgets = &mut ui.visuals_mut().widgets;
        for (widget, fill) in [
            (&mut widgets.inactive, colours.accent),
            (&mut widgets.hovered, colours.accent_hovered),
            (&mut widgets.active, colours.accent_hovered),
        ] {
            widget.weak_bg_fill = fill;
            widget.fg_stroke.color = colours.on_accent;
        }
        let text = RichText::new(name).strong().color(colours.on_accent);
        let mut button = Button::new(text).min_size(egui::vec2(0.0, theme::CONTROL_HEIGHT));
        if !shortcut.is_empty() {
            button = button.shortcut_text(RichText::new(shortcut).small().color(colours.on_accent));
        }
        ui.add(button).accessible_name(name)
    })
    .inner
}

/// A heading inside a panel.
pub fn section(ui: &mut Ui, text: &str) -> Response {
    ui.label(RichText::new(text).strong())
}

/// Less important text.
pub fn faint(ui: &mut Ui, text: impl Into<String>) -> Response {
    ui.label(RichText::new(text.into()).small().color(palette(ui).faint_text))
}

/// What is wrong with a field, right below it.
pub fn field_errors(ui: &mut Ui, errors: &[FieldError], fields: &[Field]) {
    for error in errors.iter().filter(|error| fields.contains(&error.field)) {
        ui.label(RichText::new(&error.message).small().color(palette(ui).error));
    }
}

/// A message about something that went wrong, with a copy button and whatever else can be done about it.
pub fn error_message(
    ui: &mut Ui,
    text: &str,
    actions: &mut Vec<Action>,
    buttons: impl FnOnce(&mut Ui, &mut Vec<Action>),
) {
    let colours = palette(ui);
    theme::message_frame(ui, colours.error_panel).show(ui, |ui| {
        ui.take_available_width();
        egui::ScrollArea::vertical().max_height(160.0).id_salt(text).show(ui, |ui| {
            ui.take_available_width();
            ui.label(RichText::new(text).color(colours.error));
        });
        ui.horizontal_wrapped(|ui| {
            buttons(ui, actions);
            if ui.button("Copy").on_hover_text("Copy this message").clicked() {
                actions.push(Action::CopyText(text.to_owned()));
            }
        });
    });
}

/// A label in the first column of the form.
pub fn row_label(ui: &mut Ui, text: &str, width: f32) -> Response {
    ui.allocate_ui_with_layout(
        egui::vec2(width, theme::CONTROL_HEIGHT),
        egui::Layout::left_to_right(egui::Align::Center),
        |ui| {
            ui.set_min_width(width);
            ui.label(text)
        },
    )
    .inner
}
