//! Small pictures for buttons, drawn as lines: no font has to have them, and they take the text's colour.

use egui::accesskit::Role;
use egui::{Painter, Pos2, Rect, Response, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2};

use super::theme::{self, palette};

/// The pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    /// Settings.
    Sliders,
    /// Chance.
    Dice,
    /// Kept as it is.
    Locked,
    /// Free to change.
    Unlocked,
    /// Exchange.
    Swap,
    /// Close, clear.
    Cross,
    /// Back to the defaults, read again.
    Again,
    /// A picture.
    Picture,
}

/// A square button with a picture; `name` is its accessible name, `tip` the tooltip.
pub fn icon_button(ui: &mut Ui, icon: Icon, name: &str, tip: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(theme::CONTROL_HEIGHT), Sense::click());
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, name));
    if ui.is_rect_visible(rect) {
        let visuals = *ui.style().interact(&response);
        ui.painter().rect(rect, visuals.corner_radius, visuals.bg_fill, visuals.bg_stroke, StrokeKind::Inside);
        paint(ui.painter(), icon, rect, Stroke::new(1.5, visuals.text_color()));
    }
    response.on_hover_text(tip)
}

/// A picture without a button around it, for headings, as high as a line.
pub fn bare_icon_button(ui: &mut Ui, icon: Icon, name: &str, tip: &str) -> Response {
    let (rect, response) =
        ui.allocate_exact_size(Vec2::splat(ui.available_height().min(theme::CONTROL_HEIGHT)), Sense::click());
    let enabled = ui.is_enabled();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, name));
    if ui.is_rect_visible(rect) {
        let colour = if response.hovered() || response.has_focus() {
            ui.visuals().strong_text_color()
        } else {
            palette(ui).faint_text
        };
        paint(ui.painter(), icon, rect.expand(3.0), Stroke::new(1.2, colour));
    }
    response.on_hover_text(tip)
}

/// Paints an icon into the middle of `rect`.
pub fn paint(painter: &Painter, icon: Icon, rect: Rect, stroke: Stroke) {
    let side = (rect.width().min(rect.height()) * 0.5).round();
    let area = Rect::from_center_size(rect.center(), Vec2::splat(side));
    // From the unit square to the screen.
    let at = |x: f32, y: f32| area.min + vec2(x * side, y * side);
    match icon {
        Icon::Sliders => sliders(painter, at, stroke),
        Icon::Dice => dice(painter, area, at, stroke),
        Icon::Locked => lock(painter, at, stroke, 0.0),
        Icon::Unlocked => lock(painter, at, stroke, 0.32),
        Icon::Swap => swap(painter, at, stroke),
        Icon::Cross => {
            painter.line_segment([at(0.1, 0.1), at(0.9, 0.9)], stroke);
            painter.line_segment([at(0.9, 0.1), at(0.1, 0.9)], stroke);
        }
        Icon::Again => again(painter, area, at, stroke),
        Icon::Picture => picture(painter, area, at, stroke),
    }
}

fn sliders(painter: &Painter, at: impl Fn(f32, f32) -> Pos2, stroke: Stroke) {
    for (y, knob) in [(0.15, 0.7), (0.5, 0.25), (0.85, 0.6)] {
        painter.line_segment([at(0.0, y), at(1.0, y)], stroke);
        painter.circle_filled(at(knob, y), stroke.width * 1.6, stroke.color);
    }
}

fn dice(painter: &Painter, area: Rect, at: impl Fn(f32, f32) -> Pos2, stroke: Stroke) {
    painter.rect_stroke(area, 3.0, stroke, StrokeKind::Middle);
    for (x, y) in [(0.28, 0.28), (0.72, 0.28), (0.5, 0.5), (0.28, 0.72), (0.72, 0.72)] {
        painter.circle_filled(at(x, y), stroke.width * 0.9, stroke.color);
    }
}

/// `lift` is how far the bow is turned away, in parts of the icon.
fn lock(painter: &Painter, at: impl Fn(f32, f32) -> Pos2, stroke: Stroke, lift: f32) {
    painter.rect_filled(Rect::from_min_max(at(0.12, 0.45), at(0.88, 1.0)), 2.0, stroke.color);
    let arc = (0..=12_u8).map(|i| {
        let angle = std::f32::consts::PI * (1.0 + f32::from(i) / 12.0);
        at(0.5 + lift + 0.26 * angle.cos(), 0.3 + 0.26 * angle.sin())
    });
    let mut bow: Vec<Pos2> = arc.collect();
    bow.insert(0, at(0.24 + lift, 0.5));
    if lift == 0.0 {
        bow.push(at(0.76, 0.5));
    }
    painter.line(bow, stroke);
}

fn swap(painter: &Painter, at: impl Fn(f32, f32) -> Pos2, stroke: Stroke) {
    for (y, from, to) in [(0.28, 0.0, 1.0), (0.72, 1.0, 0.0)] {
        painter.line_segment([at(from, y), at(to, y)], stroke);
        let back = if to > from { -0.24 } else { 0.24 };
        painter.line_segment([at(to, y), at(to + back, y - 0.2)], stroke);
        painter.line_segment([at(to, y), at(to + back, y + 0.2)], stroke);
    }
}

fn again(painter: &Painter, area: Rect, at: impl Fn(f32, f32) -> Pos2, stroke: Stroke) {
    let radius = area.width() * 0.45;
    let arc: Vec<Pos2> = (0..=20_u8)
        .map(|i| {
            let angle = -0.6 + 5.2 * f32::from(i) / 20.0;
            area.center() + radius * vec2(angle.cos(), angle.sin())
        })
        .collect();
    painter.line(arc, stroke);
    painter.line_segment([at(0.98, 0.0), at(0.9, 0.28)], stroke);
    painter.line_segment([at(0.6, 0.24), at(0.9, 0.28)], stroke);
}

fn picture(painter: &Painter, area: Rect, at: impl Fn(f32, f32) -> Pos2, stroke: Stroke) {
    painter.rect_stroke(area, 2.0, stroke, StrokeKind::Middle);
    painter.line(vec![at(0.0, 0.85), at(0.35, 0.45), at(0.6, 0.75), at(0.75, 0.6), at(1.0, 0.9)], stroke);
    painter.circle_filled(at(0.7, 0.3), stroke.width, stroke.color);
}

/// The window's icon, `side` pixels square: a print developing from dark to light.
#[must_use]
pub fn window_icon(side: u32) -> egui::IconData {
    let [paper, ink, light] = theme::ICON_COLOURS;
    let mut rgba = Vec::with_capacity((side * side * 4) as usize);
    let unit = |v: u32| (v as f32 + 0.5) / side as f32;
    for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
        let at = pos2(unit(x), unit(y));
        let from_centre = (at - pos2(0.5, 0.5)).length();
        let is_inside = at.x.min(at.y).min(1.0 - at.x).min(1.0 - at.y) > 0.06;
        let colour = if !(0.3..=0.4).contains(&from_centre) && from_centre > 0.3 || !is_inside {
            paper
        } else if from_centre >= 0.3 || at.x + at.y < 1.0 {
            ink
        } else {
            light
        };
        rgba.extend_from_slice(&[colour[0], colour[1], colour[2], if is_inside { 255 } else { 0 }]);
    }
    egui::IconData { rgba, width: side, height: side }
}
