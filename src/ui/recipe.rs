//! The picture's recipe below the canvas, and what can be done with the picture.

use egui::{Grid, Label, Panel, RichText, ScrollArea, Ui};

use super::theme::{self, palette};
use super::{comparison, widgets};
use crate::state::Studio;
use crate::state::action::{Action, Question};
use crate::state::canvas::ShownPicture;
use crate::state::model::ModelSource;
use crate::state::recipe;

/// The width that a name and its value take, in points.
const PAIR_WIDTH: f32 = 180.0;

/// Draws the recipe below and `add_picture` in the space that is left.
pub fn show_below(
    ui: &mut Ui,
    studio: &Studio,
    picture: &ShownPicture,
    actions: &mut Vec<Action>,
    add_picture: impl FnOnce(&mut Ui),
) {
    let most = (ui.available_height() * 0.6).max(97.0);
    Panel::bottom("recipe")
        .frame(theme::panel_frame(ui))
        .resizable(true)
        .default_size((ui.available_height() * 0.3).clamp(96.0, 210.0))
        .size_range(96.0..=most)
        .show(ui, |ui| {
            let comparison = studio.comparison().filter(|_| studio.gallery.to_delete.is_none());
            if let Some(comparison) = comparison {
                return comparison::show(ui, picture, comparison, actions);
            }
            buttons(ui, studio, picture, actions);
            ScrollArea::vertical().auto_shrink(false).show(ui, |ui| facts(ui, picture, actions));
        });
    add_picture(ui);
}

fn buttons(ui: &mut Ui, studio: &Studio, picture: &ShownPicture, actions: &mut Vec<Action>) {
    if let Some(path) = picture.path.as_ref().filter(|path| studio.gallery.to_delete.as_ref() == Some(path)) {
        return confirm_delete(ui, path, actions);
    }
    ui.horizontal_wrapped(|ui| {
        let mut offer = |ui: &mut Ui, text: &str, tip: &str, action: Action| {
            if ui.button(text).on_hover_text(tip).clicked() {
                actions.push(action);
            }
        };
        if picture.recipe.is_some() {
            offer(ui, "Use these settings", "Put this recipe into the form", Action::UseSettings);
        }
        if let Some(path) = studio.offered_model() {
            let tip = format!("Load the model that made this picture: {}", path.display());
            offer(ui, "Load its model", &tip, Action::LoadModel(ModelSource::OnDisk(path.to_owned())));
        }
        offer(ui, "Use as start image", "Begin the next picture from this one", Action::UseAsStartImage);
        if picture.recipe.is_some() {
            let tip = "See in what another picture's recipe differs (Ctrl+click that picture in the gallery)";
            offer(ui, "Compare…", tip, Action::Ask(Question::OtherPicture));
        }
        offer(ui, "Copy", "Copy the picture to the clipboard", Action::CopyPicture);
        offer(ui, "Export…", "Save a copy as PNG, JPEG or WebP, its recipe inside (Ctrl+S)", Action::SaveShownAs);
        if let Some(path) = &picture.path {
            offer(ui, "Show in folder", "Show the file in the file manager", Action::ShowInFolder(path.clone()));
            if studio.gallery.index_of(path).is_some() {
                offer(ui, "Delete", "Move the picture to the trash (Delete)", Action::AskToDelete(path.clone()));
            }
        }
        offer(ui, "Close", "Take the picture off the canvas", Action::CloseCanvas);
    });
}

fn confirm_delete(ui: &mut Ui, path: &std::path::Path, actions: &mut Vec<Action>) {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(format!("Move {name} to the trash?")).color(palette(ui).error));
        if ui.button("Move to trash").on_hover_text("It can be brought back from there").clicked() {
            actions.push(Action::Delete);
        }
        if ui.button("Keep").on_hover_text("Keep the picture (Esc)").clicked() {
            actions.push(Action::KeepPicture);
        }
    });
}

fn facts(ui: &mut Ui, picture: &ShownPicture, actions: &mut Vec<Action>) {
    if let Some(warning) = &picture.warning {
        ui.label(RichText::new(warning).color(palette(ui).error));
    }
    if let Some(recipe) = &picture.recipe {
        if !recipe.prompt.is_empty() {
            ui.add(Label::new(&recipe.prompt).wrap());
        }
        if !recipe.negative_prompt.is_empty() {
            ui.add(
                Label::new(RichText::new(format!("Without: {}", recipe.negative_prompt)).color(palette(ui).faint_text))
                    .wrap(),
            );
        }
        let mut rows = recipe::rows(recipe);
        if let Some(record) = &picture.record {
            // The record knows the version too.
            rows.retain(|(name, _)| *name != "Made with");
            rows.push(("Made with", record.software.clone()));
            if let Some(start) = &record.request.image_to_image {
                rows.push(("Start image", start.source.clone()));
            }
        }
        rows.push((
            "File",
            picture.path.as_ref().map_or_else(|| "not saved yet".to_owned(), |path| path.display().to_string()),
        ));
        table(ui, &rows);
        for part in &recipe.not_understood {
            widgets::faint(ui, format!("Not understood: {part}"));
        }
    } else {
        let words = if picture.unread.is_some() { "No recipe could be read" } else { "This picture holds no recipe" };
        widgets::faint(ui, words);
        if let Some(text) = &picture.unread {
            let tip = "Copy what the file says of itself, for the program that it is of";
            if ui.button("Copy its text").on_hover_text(tip).clicked() {
                actions.push(Action::CopyText(text.clone()));
            }
        }
        if let Some(path) = &picture.path {
            widgets::faint(ui, path.display().to_string());
        }
    }
    if let Some(text) = picture.infotext.as_ref().filter(|_| picture.record.is_none()) {
        widgets::faint(ui, text.as_str());
    }
}

/// As many pairs beside each other as there is room for.
fn table(ui: &mut Ui, rows: &[(&str, String)]) {
    let pairs = (ui.available_width() / PAIR_WIDTH).floor().clamp(1.0, 4.0) as usize;
    ui.spacing_mut().interact_size.y = 0.0;
    let (long, short): (Vec<_>, Vec<_>) = rows.iter().partition(|(_, value)| value.chars().count() > 28);
    Grid::new("recipe rows").num_columns(2 * pairs).spacing([16.0, 4.0]).show(ui, |ui| {
        for line in short.chunks(pairs) {
            for (name, value) in line {
                widgets::faint(ui, *name);
                ui.add(Label::new(value.as_str()).selectable(true));
            }
            ui.end_row();
        }
    });
    for (name, value) in long {
        ui.horizontal_wrapped(|ui| {
            widgets::faint(ui, *name);
            ui.add(Label::new(value.as_str()).selectable(true).wrap());
        });
    }
}
