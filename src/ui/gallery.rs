//! The right panel: the pictures of the folder, newest first; only what is in sight costs anything.

use egui::accesskit::Role;
use egui::{Rect, RichText, ScrollArea, Sense, Sides, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2};

use super::Panels;
use super::icons::{Icon, icon_button, paint};
use super::textures::Thumbnail;
use super::theme::{self, palette};
use super::widgets::{self, error_message};
use crate::state::Studio;
use crate::state::action::{Action, Question};
use crate::state::gallery::Entry;

/// The width that a tile would like to have, in points.
const TILE: f32 = 112.0;

/// How the gallery is looked at.
#[derive(Debug, Default)]
pub struct GalleryView {
    columns: usize,
    /// Side of a tile, in points.
    tile_side: f32,
    follows_selection: bool,
}

impl GalleryView {
    /// Tiles in a row.
    #[must_use]
    pub fn columns(&self) -> isize {
        isize::try_from(self.columns.max(1)).unwrap_or(1)
    }

    /// Brings the selected tile into sight.
    pub fn follow_selection(&mut self) {
        self.follows_selection = true;
    }
}

/// Draws the panel.
pub fn show(ui: &mut Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    heading(ui, studio, actions);
    if let Some(error) = &studio.gallery.error {
        error_message(ui, error, actions, |ui, actions| {
            if ui.button("Other folder…").on_hover_text("Choose another gallery folder").clicked() {
                actions.push(Action::Ask(Question::GalleryFolder));
            }
        });
    } else if studio.gallery.entries.is_empty() {
        ui.add_space(theme::STEP);
        let words = if studio.gallery.folder.is_some() {
            "Finished pictures are kept here. Make the first one"
        } else {
            "Reading the gallery folder…"
        };
        ui.label(RichText::new(words).color(palette(ui).faint_text));
    } else {
        grid(ui, studio, panels, actions);
    }
}

fn heading(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    Sides::new().show(
        ui,
        |ui| {
            widgets::section(ui, "Gallery");
            let count = studio.gallery.entries.len();
            if count > 0 {
                widgets::faint(ui, count.to_string());
            }
        },
        |ui| {
            if icon_button(ui, Icon::Picture, "Open a picture…", "Open a picture and read its recipe (Ctrl+O)")
                .clicked()
            {
                actions.push(Action::Ask(Question::Picture));
            }
            if icon_button(ui, Icon::Again, "Read the folder again", "Read the gallery folder again").clicked() {
                actions.push(Action::ReadGalleryAgain);
            }
        },
    );
}

fn grid(ui: &mut Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    ui.spacing_mut().item_spacing = Vec2::splat(theme::HALF_STEP);
    let width = ui.available_width();
    let columns = ((width + theme::HALF_STEP) / (TILE + theme::HALF_STEP)).round().max(1.0) as usize;
    let side = ((width + theme::HALF_STEP) / columns as f32 - theme::HALF_STEP).floor();
    panels.gallery.columns = columns;
    panels.gallery.tile_side = side;
    let entries = &studio.gallery.entries;
    let mut area = ScrollArea::vertical().auto_shrink(false);
    if std::mem::take(&mut panels.gallery.follows_selection)
        && let Some(at) = studio.gallery.selected.as_deref().and_then(|path| studio.gallery.index_of(path))
    {
        let top = (at / columns) as f32 * (side + theme::HALF_STEP);
        area = area.vertical_scroll_offset((top - (ui.available_height() - side) / 2.0).max(0.0));
    }
    area.show_rows(ui, side, entries.len().div_ceil(columns), |ui, rows| {
        for row in rows {
            ui.horizontal(|ui| {
                for entry in entries.iter().skip(row * columns).take(columns) {
                    tile(ui, studio, entry, panels, actions);
                }
            });
        }
    });
}

/// The letters by which a comparison calls its two pictures.
fn mark_compared(ui: &Ui, studio: &Studio, entry: &Entry, rect: Rect) {
    let Some(comparison) = studio.comparison() else { return };
    let is_shown = studio.canvas.shown_picture().is_some_and(|picture| picture.path.as_ref() == Some(&entry.path));
    let letter = match (is_shown, comparison.other == entry.path) {
        (true, _) => "A",
        (_, true) => "B",
        _ => return,
    };
    let colours = palette(ui);
    let badge = Rect::from_min_size(rect.min, Vec2::splat(2.5 * theme::STEP));
    ui.painter().rect_filled(badge, 4.0, colours.accent);
    let font = egui::TextStyle::Button.resolve(ui.style());
    ui.painter().text(badge.center(), egui::Align2::CENTER_CENTER, letter, font, colours.on_accent);
    if letter == "B" {
        ui.painter().rect_stroke(rect, 4.0, Stroke::new(2.0, colours.accent), StrokeKind::Inside);
    }
}

fn tile(ui: &mut Ui, studio: &Studio, entry: &Entry, panels: &mut Panels, actions: &mut Vec<Action>) {
    let side = panels.gallery.tile_side;
    let name = entry.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(side), Sense::click());
    let is_selected = studio.gallery.selected.as_ref() == Some(&entry.path);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_selected, &name));
    let colours = palette(ui);
    ui.painter().rect_filled(rect, 4.0, colours.field);
    let mut hover_text = name.clone();
    match panels.textures.thumbnail(&entry.path) {
        Thumbnail::Missing => actions.push(Action::WantThumbnail(entry.path.clone())),
        Thumbnail::Awaited => {}
        Thumbnail::Ready(texture) => {
            let pixels = texture.size_vec2();
            let fitting = Rect::from_center_size(rect.center(), pixels * (side / pixels.max_elem()));
            let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
            egui::Image::from_texture(&texture).uv(whole).corner_radius(4).paint_at(ui, fitting);
        }
        Thumbnail::Failed(error) => {
            paint(ui.painter(), Icon::Cross, rect.shrink(side / 4.0), Stroke::new(1.5, colours.faint_text));
            hover_text = format!("{name}\n{error}");
        }
    }
    if is_selected {
        ui.painter().rect_stroke(rect, 4.0, Stroke::new(2.0, colours.accent), StrokeKind::Inside);
    } else if response.hovered() || response.has_focus() {
        ui.painter().rect_stroke(rect, 4.0, Stroke::new(1.0, colours.text), StrokeKind::Inside);
    }
    mark_compared(ui, studio, entry, rect);
    let response = response.on_hover_text(hover_text);
    if response.clicked() {
        let path = entry.path.clone();
        let compares = ui.input(|input| input.modifiers.command);
        actions.push(if compares { Action::CompareWith(path) } else { Action::Select(path) });
    }
}
