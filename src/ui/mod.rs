//! The panels: they draw the state, edit the form, and push an action for anything with consequences.

mod accelerations;
mod banners;
mod canvas;
mod comparison;
mod controls;
mod gallery;
mod history;
mod icons;
mod lora_rows;
mod model_browser;
mod model_details;
mod model_downloads;
mod model_parts;
mod model_rows;
mod more_settings;
mod notices;
mod prompt_text;
mod prompts;
mod recipe;
mod settings;
mod shortcuts;
mod start_image;
mod status_bar;
mod textures;
pub mod theme;
mod top_bar;
mod welcome;
mod widgets;

use egui::{CentralPanel, Panel, Rect, Ui};

use crate::state::Studio;
use crate::state::action::Action;
pub use icons::window_icon;
pub use textures::Textures;

/// What the panels remember that is not part of the truth: how things are looked at.
#[derive(Default)]
pub struct Panels {
    /// The pixels on the graphics card.
    pub textures: Textures,
    canvas: canvas::CanvasView,
    settings: settings::SettingsWindow,
    models: model_browser::ModelBrowser,
    parts: model_parts::PartsWindow,
    gallery: gallery::GalleryView,
    history: history::HistoryPopup,
    /// Where the canvas is, for messages that lie over it.
    canvas_rect: Option<Rect>,
    /// Where the start image's well is, for files that are dropped on it.
    start_image_well: Option<Rect>,
    has_focused_prompt: bool,
}

/// Draws the window and gives back what the user asked for.
pub fn show(ui: &mut Ui, studio: &mut Studio, panels: &mut Panels) -> Vec<Action> {
    let mut actions = Vec::new();
    shortcuts::read(ui, studio, panels, &mut actions);
    // What lies under the library has no pointer: else a tooltip that was open there stays over it.
    let pointer = panels.models.is_open().then(|| ui.input_mut(|input| std::mem::take(&mut input.pointer)));
    Panel::top("top bar").frame(theme::bar_frame(ui)).show(ui, |ui| top_bar::show(ui, studio, panels, &mut actions));
    Panel::bottom("status bar").frame(theme::bar_frame(ui)).show(ui, |ui| status_bar::show(ui, studio));
    let width = ui.available_width();
    // A narrow window leaves the canvas a third; a wide one lets the sides have nearly all that the user wants.
    let side_share = if width < 1100.0 { 0.34 } else { 0.45 };
    Panel::left("controls")
        .frame(theme::panel_frame(ui))
        .default_size((width * 0.27).clamp(272.0, 352.0))
        .size_range(256.0..=(width * side_share).max(257.0))
        .show(ui, |ui| controls::show(ui, studio, panels, &mut actions));
    Panel::right("gallery")
        .frame(theme::panel_frame(ui))
        .default_size((width * 0.24).clamp(208.0, 320.0))
        .size_range(168.0..=(width * (side_share - 0.06)).max(169.0))
        .show(ui, |ui| gallery::show(ui, studio, panels, &mut actions));
    let central = egui::Frame::NONE.fill(theme::palette(ui).canvas);
    panels.canvas_rect = Some(ui.available_rect_before_wrap());
    CentralPanel::no_frame().frame(central).show(ui, |ui| canvas::show(ui, studio, panels, &mut actions));
    if let Some(pointer) = pointer {
        ui.input_mut(|input| input.pointer = pointer);
    }
    panels.settings.show(ui, studio, &mut actions);
    model_browser::show(ui, studio, panels, &mut actions);
    panels.parts.show(ui, studio, &mut actions);
    notices::show(ui, studio, panels.canvas_rect, &mut actions);
    shortcuts::dropped_files(ui, panels, &mut actions);
    actions
}
