//! The well for the start image, and how much of it is given up.

use egui::accesskit::Role;
use egui::{Rect, RichText, Sense, Slider, SliderClamping, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2};

use super::icons::{Icon, icon_button, paint};
use super::theme::{self, palette};
use super::widgets::{field_errors, section};
use super::{Panels, controls};
use crate::state::action::{Action, Question};
use crate::state::form::{Field, FieldError, Form, StartImage};

const TIP: &str =
    "The picture to start from; it is resized to the size above. Click to choose a file, or drop one here";

/// Draws the well and, when it is filled, the strength.
pub fn show(ui: &mut Ui, form: &mut Form, panels: &mut Panels, errors: &[FieldError], actions: &mut Vec<Action>) {
    section(ui, "Start image");
    let Some(start) = &form.start_image else {
        panels.textures.forget_start_image();
        panels.start_image_well = Some(empty_well(ui, actions));
        return;
    };
    panels.start_image_well = Some(filled_well(ui, start, panels, actions));
    let tip = "How much of the start image is given up: low keeps it, 1 keeps only a trace";
    controls::slider_row(ui, "Strength", tip, |ui| {
        ui.add(Slider::new(&mut form.strength, 0.0..=1.0).step_by(0.01).max_decimals(2).clamping(SliderClamping::Never))
    });
    field_errors(ui, errors, &[Field::Strength]);
}

fn empty_well(ui: &mut Ui, actions: &mut Vec<Action>) -> Rect {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 56.0), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Choose a start image"));
    let colours = palette(ui);
    let text_colour = if response.hovered() || response.has_focus() { colours.text } else { colours.faint_text };
    ui.painter().rect(rect, 8.0, colours.field, Stroke::new(1.0, colours.line), StrokeKind::Inside);
    let icon = Rect::from_center_size(rect.left_center() + vec2(28.0, 0.0), Vec2::splat(36.0));
    paint(ui.painter(), Icon::Picture, icon, Stroke::new(1.5, text_colour));
    let font = egui::TextStyle::Body.resolve(ui.style());
    let room = rect.width() - 64.0;
    let galley = ui.painter().layout("Drop a picture or click to choose".to_owned(), font, text_colour, room);
    ui.painter().galley(pos2(rect.left() + 56.0, rect.center().y - galley.size().y / 2.0), galley, text_colour);
    if response.on_hover_text(TIP).clicked() {
        actions.push(Action::Ask(Question::StartImage));
    }
    rect
}

fn filled_well(ui: &mut Ui, start: &StartImage, panels: &mut Panels, actions: &mut Vec<Action>) -> Rect {
    let frame = egui::Frame::NONE.fill(palette(ui).field).corner_radius(8).inner_margin(theme::STEP);
    frame
        .show(ui, |ui| {
            ui.take_available_width();
            ui.horizontal(|ui| {
                let texture = panels.textures.start_image(ui, &start.pixels);
                let image = egui::Image::from_texture(&texture)
                    .max_size(Vec2::splat(64.0))
                    .corner_radius(4)
                    .alt_text("Start image");
                ui.add(image).on_hover_text(TIP);
                ui.vertical(|ui| {
                    ui.add(egui::Label::new(&start.name).truncate());
                    let size = format!("{} × {}", start.pixels.width(), start.pixels.height());
                    ui.label(RichText::new(size).small().color(palette(ui).faint_text));
                    ui.horizontal(|ui| {
                        if ui.button("Change…").on_hover_text(TIP).clicked() {
                            actions.push(Action::Ask(Question::StartImage));
                        }
                        if icon_button(ui, Icon::Cross, "Remove the start image", "Start from noise alone").clicked() {
                            actions.push(Action::ClearStartImage);
                        }
                    });
                });
            });
        })
        .response
        .rect
}
