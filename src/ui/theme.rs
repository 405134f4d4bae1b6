//! The look: the only owner of colours, sizes and spacings, for dark and for light.
#![expect(clippy::disallowed_methods, reason = "the one place where colours are named")]

use crate::state::tokens::Ink;
use egui::{Color32, CornerRadius, FontFamily, FontId, Margin, Shadow, Stroke, Style, TextStyle, Theme, Ui, Vec2};

/// Half a step of the grid that everything is laid out on, in points.
pub const HALF_STEP: f32 = 4.0;
/// A step of that grid, in points.
pub const STEP: f32 = 8.0;
/// Height of buttons and fields, in points.
pub const CONTROL_HEIGHT: f32 = 28.0;
/// Roundness of buttons and fields, in points.
pub const RADIUS: u8 = 6;
/// Space between a panel's edge and its content, in points.
pub const PANEL_MARGIN: i8 = 12;

/// The colours of one theme.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    /// Behind the picture: a neutral grey, so that no colour of the picture is judged wrongly.
    pub canvas: Color32,
    /// Behind the controls.
    pub panel: Color32,
    /// Behind typed text.
    pub field: Color32,
    /// A button at rest.
    pub control: Color32,
    /// A button under the pointer.
    pub control_hovered: Color32,
    /// Lines between and around things.
    pub line: Color32,
    /// Text.
    pub text: Color32,
    /// Text that is less important.
    pub faint_text: Color32,
    /// The one colour that asks for attention.
    pub accent: Color32,
    /// The accent under the pointer.
    pub accent_hovered: Color32,
    /// Text on the accent.
    pub on_accent: Color32,
    /// Behind selected text and chosen things.
    pub selection: Color32,
    /// Text about something that went wrong.
    pub error: Color32,
    /// Behind such text.
    pub error_panel: Color32,
    /// A sign that something was done.
    pub good: Color32,
    /// Over the canvas while a file is dragged.
    pub veil: Color32,
}

const DARK: Palette = Palette {
    canvas: Color32::from_rgb(0x12, 0x12, 0x13),
    panel: Color32::from_rgb(0x1c, 0x1c, 0x1e),
    field: Color32::from_rgb(0x13, 0x13, 0x15),
    control: Color32::from_rgb(0x2d, 0x2d, 0x31),
    control_hovered: Color32::from_rgb(0x3a, 0x3a, 0x3f),
    line: Color32::from_rgb(0x38, 0x38, 0x3d),
    text: Color32::from_rgb(0xe8, 0xe6, 0xe3),
    faint_text: Color32::from_rgb(0xa3, 0xa0, 0x9c),
    accent: Color32::from_rgb(0xdf, 0x9f, 0x5c),
    accent_hovered: Color32::from_rgb(0xec, 0xb3, 0x76),
    on_accent: Color32::from_rgb(0x1d, 0x12, 0x06),
    selection: Color32::from_rgb(0x5a, 0x42, 0x28),
    error: Color32::from_rgb(0xf4, 0x9b, 0x8b),
    error_panel: Color32::from_rgb(0x3a, 0x20, 0x1d),
    good: Color32::from_rgb(0x92, 0xc7, 0x8f),
    veil: Color32::from_black_alpha(0xb0),
};

const LIGHT: Palette = Palette {
    canvas: Color32::from_rgb(0xde, 0xdd, 0xdb),
    panel: Color32::from_rgb(0xf6, 0xf5, 0xf3),
    field: Color32::from_rgb(0xff, 0xff, 0xff),
    control: Color32::from_rgb(0xe6, 0xe4, 0xe0),
    control_hovered: Color32::from_rgb(0xda, 0xd7, 0xd1),
    line: Color32::from_rgb(0xcf, 0xcc, 0xc6),
    text: Color32::from_rgb(0x24, 0x22, 0x1f),
    faint_text: Color32::from_rgb(0x66, 0x62, 0x5c),
    accent: Color32::from_rgb(0x98, 0x54, 0x16),
    accent_hovered: Color32::from_rgb(0x82, 0x46, 0x10),
    on_accent: Color32::from_rgb(0xff, 0xff, 0xff),
    selection: Color32::from_rgb(0xf1, 0xd6, 0xb8),
    error: Color32::from_rgb(0x9c, 0x2a, 0x1a),
    error_panel: Color32::from_rgb(0xfa, 0xe3, 0xde),
    good: Color32::from_rgb(0x2e, 0x76, 0x34),
    veil: Color32::from_rgba_premultiplied(0xc0, 0xc0, 0xc0, 0xc0),
};

/// The colours of the theme at hand.
#[must_use]
pub fn palette(ui: &Ui) -> &'static Palette {
    if ui.visuals().dark_mode { &DARK } else { &LIGHT }
}

/// The colour of a stretch of a prompt: the more weight the nearer to the accent, the less the fainter.
#[must_use]
pub fn ink_colour(ui: &Ui, ink: Ink) -> Color32 {
    let colours = palette(ui);
    match ink {
        Ink::Plain => colours.text,
        Ink::Syntax => colours.faint_text,
        Ink::Unbalanced => colours.error,
        // Half a weight more or less is as strong as it gets.
        Ink::Words(weight) if weight > 1.0 => {
            colours.text.lerp_to_gamma(colours.accent, (0.4 + (weight - 1.0) as f32 * 1.2).min(1.0))
        }
        Ink::Words(weight) => colours.text.lerp_to_gamma(colours.faint_text, ((1.0 - weight) as f32 * 2.0).min(1.0)),
    }
}

/// Gives the context our look, both themes of it.
pub fn install(ctx: &egui::Context) {
    for (theme, palette) in [(Theme::Dark, &DARK), (Theme::Light, &LIGHT)] {
        ctx.style_mut_of(theme, |style| dress(style, palette));
    }
    // Where the desktop does not say: pictures are best judged on dark.
    ctx.options_mut(|options| options.fallback_theme = Theme::Dark);
}

fn dress(style: &mut Style, palette: &Palette) {
    let sizes = [
        (TextStyle::Small, 12.0),
        (TextStyle::Body, 14.0),
        (TextStyle::Button, 14.0),
        (TextStyle::Monospace, 13.0),
        (TextStyle::Heading, 20.0),
    ];
    for (text_style, size) in sizes {
        let family = if text_style == TextStyle::Monospace { FontFamily::Monospace } else { FontFamily::Proportional };
        style.text_styles.insert(text_style, FontId::new(size, family));
    }
    let spacing = &mut style.spacing;
    spacing.item_spacing = Vec2::splat(STEP);
    spacing.button_padding = Vec2::new(10.0, 4.0);
    spacing.interact_size = Vec2::new(36.0, CONTROL_HEIGHT);
    spacing.menu_margin = Margin::same(6);
    spacing.window_margin = Margin::same(16);
    spacing.slider_rail_height = 4.0;
    spacing.combo_height = 320.0;
    spacing.tooltip_width = 320.0;
    spacing.scroll.bar_width = 8.0;
    spacing.scroll.floating = true;
    style.interaction.tooltip_delay = 0.4;
    dress_visuals(style, palette);
}

fn dress_visuals(style: &mut Style, palette: &Palette) {
    let visuals = &mut style.visuals;
    visuals.panel_fill = palette.panel;
    visuals.window_fill = palette.panel;
    visuals.extreme_bg_color = palette.field;
    visuals.text_edit_bg_color = Some(palette.field);
    visuals.faint_bg_color = palette.control;
    visuals.code_bg_color = palette.field;
    visuals.weak_text_color = Some(palette.faint_text);
    visuals.error_fg_color = palette.error;
    visuals.warn_fg_color = palette.accent;
    visuals.hyperlink_color = palette.accent;
    visuals.selection.bg_fill = palette.selection;
    visuals.selection.stroke = Stroke::new(1.0, palette.accent);
    visuals.text_cursor.stroke = Stroke::new(2.0, palette.accent);
    visuals.window_stroke = Stroke::new(1.0, palette.line);
    visuals.window_corner_radius = CornerRadius::same(10);
    visuals.menu_corner_radius = CornerRadius::same(8);
    visuals.slider_trailing_fill = true;
    visuals.handle_shape = egui::style::HandleShape::Circle;
    let shadow = Shadow { offset: [0, 4], blur: 16, spread: 0, color: Color32::from_black_alpha(70) };
    visuals.popup_shadow = shadow;
    visuals.window_shadow = shadow;
    let radius = CornerRadius::same(RADIUS);
    let widgets = &mut visuals.widgets;
    for (widget, fill, line, text) in [
        (&mut widgets.noninteractive, palette.panel, palette.line, palette.text),
        (&mut widgets.inactive, palette.control, palette.line, palette.text),
        (&mut widgets.hovered, palette.control_hovered, palette.faint_text, palette.text),
        (&mut widgets.active, palette.control_hovered, palette.accent, palette.text),
        (&mut widgets.open, palette.control_hovered, palette.line, palette.text),
    ] {
        widget.bg_fill = fill;
        widget.weak_bg_fill = fill;
        widget.bg_stroke = Stroke::new(1.0, line);
        widget.fg_stroke = Stroke::new(1.5, text);
        widget.corner_radius = radius;
        widget.expansion = 0.0;
    }
    widgets.noninteractive.fg_stroke = Stroke::new(1.0, palette.text);
    widgets.inactive.bg_stroke = Stroke::NONE;
    widgets.hovered.bg_stroke = Stroke::NONE;
}

/// Fills the left part of this place's sliders with the accent.
pub fn fill_sliders(ui: &mut Ui) {
    let accent = palette(ui).accent;
    ui.visuals_mut().selection.bg_fill = accent;
}

/// The frame of a side, top or bottom panel.
pub fn panel_frame(ui: &Ui) -> egui::Frame {
    egui::Frame::NONE.fill(palette(ui).panel).inner_margin(Margin::same(PANEL_MARGIN))
}

/// The frame of a bar across the window.
pub fn bar_frame(ui: &Ui) -> egui::Frame {
    egui::Frame::NONE.fill(palette(ui).panel).inner_margin(Margin::symmetric(PANEL_MARGIN, 8))
}

/// The frame of a message; errors are tinted.
pub fn message_frame(ui: &Ui, fill: Color32) -> egui::Frame {
    egui::Frame::NONE
        .fill(fill)
        .stroke(Stroke::new(1.0, palette(ui).line))
        .corner_radius(CornerRadius::same(8))
        .inner_margin(Margin::symmetric(12, 8))
}

/// The colours of the window's icon: paper, ink and light.
pub const ICON_COLOURS: [[u8; 3]; 3] = [[0x1c, 0x1c, 0x1e], [0xdf, 0x9f, 0x5c], [0xf6, 0xf5, 0xf3]];
