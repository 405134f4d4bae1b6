//! The middle: the picture in progress or the finished one, zoomed and moved, with what can be done about it.

use std::sync::Arc;

use egui::accesskit::Role;
use egui::{Rect, Response, RichText, Sense, Ui, Vec2, WidgetInfo, pos2, vec2};

use super::textures::Enlarging;
use super::theme::{self, palette};
use super::{Panels, banners, recipe, welcome, widgets};
use crate::state::Studio;
use crate::state::action::Action;
use crate::state::canvas::{Developing, ShownPicture};

/// From this magnification on a finished picture that the user zooms into shows its pixels as they are.
const PIXELS_FROM: f32 = 3.0;
/// The least and the most magnification, in display pixels a picture pixel.
const ZOOM_RANGE: std::ops::RangeInclusive<f32> = 0.05..=40.0;

/// How the picture lies on the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Zoom {
    /// As large as it fits.
    #[default]
    Fit,
    /// Display pixels a picture pixel, and where its middle is, from the canvas's middle, in points.
    Free { magnification: f32, offset: Vec2 },
}

/// How the canvas is looked at.
#[derive(Debug, Default)]
pub struct CanvasView {
    zoom: Zoom,
}

impl CanvasView {
    /// Shows the whole picture.
    pub fn fit(&mut self) {
        self.zoom = Zoom::Fit;
    }

    /// Shows one picture pixel as one display pixel.
    pub fn show_pixels(&mut self) {
        self.zoom = Zoom::Free { magnification: 1.0, offset: Vec2::ZERO };
    }
}

/// Draws the canvas.
pub fn show(ui: &mut Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    banners::show(ui, studio, panels, actions);
    if let Some(picture) = studio.canvas.shown_picture() {
        recipe::show_below(ui, studio, picture, actions, |ui| picture_area(ui, studio, picture, panels));
    } else if let Some(developing) =
        studio.canvas.shown_developing().filter(|d| d.preview.is_some() && studio.colours.is_some())
    {
        developing_area(ui, studio, developing, panels, actions);
    } else {
        welcome::show(ui, studio, actions);
    }
}

fn picture_area(ui: &mut Ui, studio: &Studio, picture: &ShownPicture, panels: &mut Panels) {
    let size = vec2_of(picture.image.width(), picture.image.height());
    let name = format!("Picture: {}", picture.name());
    let placed = place(ui, &mut panels.canvas, size, &name);
    let shows_pixels = panels.canvas.zoom != Zoom::Fit && placed.magnification >= PIXELS_FROM;
    let enlarging = if shows_pixels { Enlarging::Hard } else { Enlarging::Smooth };
    let texture = panels.textures.canvas(ui, studio.canvas.revision(), enlarging, || Arc::clone(&picture.image));
    paint(ui, &placed, texture.id());
}

fn developing_area(
    ui: &mut Ui,
    studio: &Studio,
    developing: &Developing,
    panels: &mut Panels,
    actions: &mut Vec<Action>,
) {
    if let Some(note) = &developing.end {
        theme::bar_frame(ui).show(ui, |ui| {
            ui.take_available_width();
            ui.horizontal(|ui| {
                ui.label(RichText::new(note).strong());
                widgets::faint(ui, "This is the last preview");
                if ui.button("Close").on_hover_text("Take the preview away").clicked() {
                    actions.push(Action::CloseCanvas);
                }
            });
        });
    }
    let (Some(latents), Some(colours)) = (&developing.preview, &studio.colours) else { return };
    let size = vec2_of(developing.size.width(), developing.size.height());
    let placed = place(ui, &mut panels.canvas, size, "Preview of the picture in progress");
    let texture =
        panels.textures.canvas(ui, studio.canvas.revision(), Enlarging::Smooth, || match &developing.picture {
            Some(picture) => Arc::clone(picture),
            None => Arc::new(colours.paint(latents)),
        });
    paint(ui, &placed, texture.id());
}

/// Where the picture is to be painted.
struct Placed {
    response: Response,
    rect: Rect,
    /// Display pixels a picture pixel.
    magnification: f32,
}

/// Takes all space that is left, reads wheel and drags, and works out where the picture goes.
fn place(ui: &mut Ui, view: &mut CanvasView, size_px: Vec2, name: &str) -> Placed {
    let (area, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, name));
    let pixels_per_point = ui.pixels_per_point();
    let room = (area.size() - Vec2::splat(4.0 * theme::STEP)).max(Vec2::splat(32.0));
    let fitting = (room / size_px).min_elem() * pixels_per_point;
    let (mut magnification, mut offset) = match view.zoom {
        Zoom::Fit => (fitting, Vec2::ZERO),
        Zoom::Free { magnification, offset } => (magnification, offset),
    };
    let before = (magnification, offset);
    if response.dragged() {
        offset += response.drag_delta();
    }
    if let Some(pointer) = response.hover_pos() {
        let factor = ui.input(|input| input.zoom_delta() * (input.smooth_scroll_delta().y / 240.0).exp());
        let wanted = (magnification * factor).clamp(*ZOOM_RANGE.start(), *ZOOM_RANGE.end());
        // What is under the pointer stays there.
        let from_middle = pointer - area.center() - offset;
        offset -= from_middle * (wanted / magnification - 1.0);
        magnification = wanted;
    }
    if (magnification, offset) != before {
        // At least a corner stays in sight.
        let reach = (area.size() + size_px * magnification / pixels_per_point) / 2.0 - Vec2::splat(2.0 * theme::STEP);
        offset = offset.clamp(-reach.max(Vec2::ZERO), reach.max(Vec2::ZERO));
        view.zoom = Zoom::Free { magnification, offset };
    }
    if response.double_clicked() {
        view.fit();
    }
    let rect = Rect::from_center_size(area.center() + offset, size_px * magnification / pixels_per_point);
    let response = response.on_hover_cursor(if view.zoom == Zoom::Fit {
        egui::CursorIcon::Default
    } else {
        egui::CursorIcon::Grab
    });
    Placed { response, rect, magnification }
}

fn paint(ui: &Ui, placed: &Placed, texture: egui::TextureId) {
    let painter = ui.painter_at(placed.response.rect);
    let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    painter.image(texture, placed.rect, whole, egui::Color32::WHITE);
    if placed.response.hovered() {
        let text = format!("{:.0} %", placed.magnification * 100.0);
        let font = egui::TextStyle::Small.resolve(ui.style());
        let at = placed.response.rect.right_bottom() - vec2(theme::STEP, theme::STEP);
        let galley = painter.layout_no_wrap(text, font, palette(ui).faint_text);
        let label = egui::Align2::RIGHT_BOTTOM.anchor_size(at, galley.size());
        painter.rect_filled(label.expand(theme::HALF_STEP), theme::HALF_STEP, palette(ui).panel);
        painter.galley(label.min, galley, palette(ui).faint_text);
    }
}

fn vec2_of(width: u32, height: u32) -> Vec2 {
    vec2(width.max(1) as f32, height.max(1) as f32)
}
