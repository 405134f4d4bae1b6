//! The list of the library: one row a file, only those in sight are drawn.

use std::sync::Arc;

use egui::accesskit::Role;
use egui::{Align2, Rect, ScrollArea, Sense, Stroke, StrokeKind, TextStyle, Ui, Vec2, WidgetInfo, pos2, vec2};

use super::icons::{Icon, paint};
use super::textures::Thumbnail;
use super::theme::{self, palette};
use super::{Panels, model_browser};
use crate::library::message::{Entry, Family, size_for_people};
use crate::state::Studio;
use crate::state::action::Action;
use crate::state::model::ModelSource;

/// Height of a row, in points.
const ROW: f32 = 48.0;

/// Draws the rows of `entries`.
pub fn show(ui: &mut Ui, studio: &Studio, entries: &[Arc<Entry>], panels: &mut Panels, actions: &mut Vec<Action>) {
    ui.spacing_mut().item_spacing.y = 2.0;
    let step = ROW + ui.spacing().item_spacing.y;
    let mut area = ScrollArea::vertical().id_salt("model rows").auto_shrink(false);
    if std::mem::take(&mut panels.models.follows_chosen)
        && let Some(at) = entries.iter().position(|entry| Some(&entry.path) == panels.models.chosen.as_ref())
    {
        let middle = (at as f32 + 0.5) * step - ui.available_height() / 2.0;
        area = area.vertical_scroll_offset(middle.max(0.0));
    }
    area.show_rows(ui, ROW, entries.len(), |ui, rows| {
        for entry in entries.iter().skip(rows.start).take(rows.len()) {
            row(ui, studio, entry, panels, actions);
        }
    });
}

fn row(ui: &mut Ui, studio: &Studio, entry: &Entry, panels: &mut Panels, actions: &mut Vec<Action>) {
    // The scroll bar floats over the right edge.
    let size = vec2(ui.available_width() - theme::STEP, ROW);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    let is_chosen = panels.models.chosen.as_ref() == Some(&entry.path);
    let is_loaded = matches!(studio.model.source(), ModelSource::OnDisk(path) if *path == entry.path);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, is_chosen, &entry.name));
    let colours = palette(ui);
    if is_chosen {
        ui.painter().rect_filled(rect, 6.0, colours.selection);
    } else if response.hovered() || response.has_focus() {
        ui.painter().rect_filled(rect, 6.0, colours.control);
    }
    let inner = rect.shrink2(vec2(6.0, 5.0));
    let tile = Rect::from_min_size(inner.min, Vec2::splat(inner.height()));
    preview(ui, entry, (tile, Placing::Filling), panels, actions);
    let badge = entry.known().and_then(|card| card.family).map(Family::label);
    let badge = badge.map_or(inner.right(), |text| self::badge(ui, text, inner));
    let left = tile.right() + theme::STEP;
    let room = (badge - theme::STEP - left).max(0.0);
    let name_colour = if is_loaded { colours.accent } else { colours.text };
    line(ui, &entry.name, &TextStyle::Body, name_colour, pos2(left, inner.top()), room);
    let (facts, colour) = match &entry.card {
        Ok(_) => (facts(entry), colours.faint_text),
        Err(problem) => (problem.clone(), colours.error),
    };
    line(ui, &facts, &TextStyle::Small, colour, pos2(left, inner.bottom() - 16.0), room);
    let double = response.double_clicked();
    let clicked = response.clicked();
    let tip = if is_loaded { format!("{} (loaded)", entry.path.display()) } else { entry.path.display().to_string() };
    response.on_hover_text(tip);
    if clicked {
        panels.models.chosen = Some(entry.path.clone());
    }
    if double {
        actions.extend(model_browser::use_of(entry));
    }
}

/// Kind, size, type, short hash.
pub(super) fn facts(entry: &Entry) -> String {
    let Some(card) = entry.known() else { return String::new() };
    let mut facts = vec![card.kind.label()];
    facts.extend(card.purpose.label().map(str::to_owned));
    facts.push(size_for_people(entry.size_bytes));
    facts.extend(card.stored.first().cloned());
    facts.extend(entry.short_hash().map(str::to_owned));
    facts.join(" · ")
}

/// One line, cut where the room ends.
fn line(ui: &Ui, text: &str, style: &TextStyle, colour: egui::Color32, at: egui::Pos2, room: f32) {
    let mut job = egui::text::LayoutJob::single_section(
        text.replace('\n', " "),
        egui::TextFormat::simple(style.resolve(ui.style()), colour),
    );
    job.wrap = egui::text::TextWrapping::truncate_at_width(room);
    let galley = ui.painter().layout_job(job);
    ui.painter().galley(at, galley, colour);
}

/// The family at the right; gives back where it begins.
fn badge(ui: &Ui, text: &str, inner: Rect) -> f32 {
    let colours = palette(ui);
    let font = TextStyle::Small.resolve(ui.style());
    let galley = ui.painter().layout_no_wrap(text.to_owned(), font.clone(), colours.text);
    let size = galley.size() + vec2(12.0, 4.0);
    let rect = Rect::from_center_size(pos2(inner.right() - size.x / 2.0, inner.center().y), size);
    ui.painter().rect(rect, size.y / 2.0, colours.field, Stroke::new(1.0, colours.line), StrokeKind::Inside);
    ui.painter().text(rect.center(), Align2::CENTER_CENTER, text, font, colours.text);
    rect.left()
}

/// How a picture is put into a place of another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placing {
    /// It fills the place, and what stands over is cut off.
    Filling,
    /// All of it is seen.
    Whole,
}

/// The picture beside the file, or an empty tile.
pub(super) fn preview(
    ui: &Ui,
    entry: &Entry,
    (tile, placing): (Rect, Placing),
    panels: &mut Panels,
    actions: &mut Vec<Action>,
) {
    let colours = palette(ui);
    ui.painter().rect_filled(tile, 4.0, colours.field);
    let thumbnail = entry.preview.as_ref().map(|path| (path, panels.textures.thumbnail(path)));
    match thumbnail {
        Some((path, Thumbnail::Missing)) => actions.push(Action::WantThumbnail(path.clone())),
        Some((_, Thumbnail::Ready(texture))) => {
            let pixels = texture.size_vec2();
            if placing == Placing::Whole {
                let size = pixels * (tile.width() / pixels.x).min(tile.height() / pixels.y);
                let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
                let place = Rect::from_center_size(tile.center(), size);
                return egui::Image::from_texture(&texture).uv(whole).corner_radius(4).paint_at(ui, place);
            }
            // Filled, cut at the longer side: faces are above the middle.
            let share = vec2(tile.width() / pixels.x, tile.height() / pixels.y);
            let part = share / share.max_elem();
            let uv = Rect::from_min_size(pos2((1.0 - part.x) / 2.0, (1.0 - part.y) / 4.0), part);
            egui::Image::from_texture(&texture).uv(uv).corner_radius(4).paint_at(ui, tile);
        }
        Some((_, Thumbnail::Awaited)) => {}
        Some((_, Thumbnail::Failed(_))) | None => {
            let icon = tile.shrink(tile.height() / 4.0);
            paint(ui.painter(), Icon::Picture, icon, Stroke::new(1.0, colours.line));
        }
    }
}
