//! The recipes of two pictures beside each other: the fields that differ, and nothing else.

use egui::text::LayoutJob;
use egui::{Align, Label, Layout, RichText, ScrollArea, TextFormat, TextStyle, Ui};

use super::theme::{self, palette};
use super::widgets;
use crate::state::action::Action;
use crate::state::canvas::ShownPicture;
use crate::state::comparison::{Comparison, DifferentField};
use crate::state::word_difference::Piece;

/// Width of the fields' names, in points.
const NAMES_WIDTH: f32 = 96.0;
/// A panel of less than this, in points, has no room for three columns.
const NARROW: f32 = 480.0;

/// Draws what differs between the picture on the canvas and the other one.
pub fn show(ui: &mut Ui, picture: &ShownPicture, comparison: &Comparison, actions: &mut Vec<Action>) {
    ui.horizontal_wrapped(|ui| {
        let words = match &comparison.fields {
            None => "Reading the other picture…",
            Some(fields) if fields.is_empty() => "The recipes are the same",
            Some(_) => "In what the recipes differ",
        };
        widgets::section(ui, words);
        if ui.button("Stop comparing").on_hover_text("Show the recipe again (Esc)").clicked() {
            actions.push(Action::StopComparing);
        }
    });
    let Some(fields) = comparison.fields.as_ref().filter(|fields| !fields.is_empty()) else { return };
    let other = comparison.other.file_name().unwrap_or(comparison.other.as_os_str()).to_string_lossy();
    let name = |ui: &mut Ui, letter: &str, name: &str| {
        let text = RichText::new(format!("{letter}  {name}")).small().strong();
        ui.add(Label::new(text).truncate()).on_hover_text(name);
    };
    row(ui, |_| {}, |ui| name(ui, "A", &picture.name()), |ui| name(ui, "B", &other));
    ui.separator();
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        for field in fields {
            difference(ui, field);
        }
    });
}

fn difference(ui: &mut Ui, field: &DifferentField) {
    let left = |ui: &mut Ui| {
        widgets::faint(ui, field.name.as_str());
    };
    row(ui, left, |ui| value(ui, field.shown.as_deref()), |ui| value(ui, field.other.as_deref()));
}

/// A name and two values, in columns that are the same in every row. In a narrow panel the name stands above.
fn row(ui: &mut Ui, name: impl FnOnce(&mut Ui), left: impl FnOnce(&mut Ui), right: impl FnOnce(&mut Ui)) {
    let gap = 2.0 * theme::STEP;
    let room = ui.available_width();
    let is_narrow = room < NARROW;
    let names_width = if is_narrow { 0.0 } else { NAMES_WIDTH + gap };
    let width = ((room - names_width - gap) / 2.0).max(64.0);
    let beside = if is_narrow {
        name(ui);
        None
    } else {
        Some(name)
    };
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = gap;
        if let Some(name) = beside {
            column(ui, NAMES_WIDTH, name);
        }
        column(ui, width, left);
        column(ui, width, right);
    });
}

fn column(ui: &mut Ui, width: f32, add: impl FnOnce(&mut Ui)) {
    ui.allocate_ui_with_layout(egui::vec2(width, 0.0), Layout::top_down(Align::Min), |ui| {
        ui.set_width(width);
        add(ui);
    });
}

fn value(ui: &mut Ui, pieces: Option<&[Piece]>) {
    let Some(pieces) = pieces else {
        widgets::faint(ui, "not said");
        return;
    };
    let colours = palette(ui);
    let font = TextStyle::Body.resolve(ui.style());
    let mut job = LayoutJob::default();
    let has_shared = pieces.iter().any(|piece| piece.is_shared);
    for piece in pieces {
        let mut format = TextFormat::simple(font.clone(), colours.text);
        if piece.is_shared {
            format.color = colours.faint_text;
        } else if has_shared {
            format.background = colours.selection;
        }
        // Blanks behind a word belong to the line, not to the mark.
        let (word, blanks) = piece.text.split_at(piece.text.trim_end().len());
        job.append(word, 0.0, format);
        job.append(blanks, 0.0, TextFormat::simple(font.clone(), colours.text));
    }
    ui.add(Label::new(job).wrap().selectable(true));
}
