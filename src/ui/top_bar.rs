//! The bar at the top: the model, Generate, Stop, what waits, settings.

use egui::{Button, ComboBox, RichText, Sides, Ui};

use super::icons::{Icon, icon_button};
use super::model_parts::PartsWindow;
use super::shortcuts::{GENERATE, MODELS};
use super::theme::palette;
use super::{Panels, widgets};
use crate::state::Studio;
use crate::state::action::{Action, Question};
use crate::state::model::{ModelSource, ModelStatus, short_name};

/// Draws the bar.
pub fn show(ui: &mut Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    let (chosen, asked) = Sides::new().shrink_left().truncate().show(
        ui,
        |ui| {
            let asked = model_menu(ui, studio, &mut panels.parts);
            let tip =
                format!("All models, LoRAs and embeddings of your folders ({})", ui.ctx().format_shortcut(&MODELS));
            if ui.button("Models…").on_hover_text(tip).clicked() {
                panels.models.toggle();
            }
            asked.or(state_of_model(ui, studio))
        },
        |ui| {
            if icon_button(ui, Icon::Sliders, "Settings", "Settings: look, size, gallery folder").clicked() {
                panels.settings.toggle();
            }
            jobs(ui, studio)
        },
    );
    actions.extend(chosen.into_iter().chain(asked));
}

/// From right to left.
fn jobs(ui: &mut Ui, studio: &Studio) -> Option<Action> {
    let mut asked = None;
    let empties = studio.queue.empties_on_stop();
    let stop = ui.add_enabled(studio.can_stop(), Button::new(if empties { "Empty queue" } else { "Stop" }));
    let tip = "Stop the picture in progress (Esc); pressed again, empty the queue";
    if stop.on_hover_text(tip).on_disabled_hover_text(tip).clicked() {
        asked = Some(Action::Stop);
    }
    let errors = studio.form.errors();
    let is_busy = studio.can_stop();
    let response = ui
        .add_enabled_ui(errors.is_empty() && studio.is_engine_alive, |ui| {
            widgets::primary_button(ui, "Generate", ui.ctx().format_shortcut(&GENERATE))
        })
        .inner;
    let problem = errors.iter().map(|error| error.message.clone()).collect::<Vec<_>>().join("\n");
    let tip = if is_busy { "Queue the next picture (Ctrl+Enter)" } else { "Make a picture (Ctrl+Enter)" };
    if response.on_hover_text(tip).on_disabled_hover_text(problem).clicked() {
        asked = Some(Action::Generate);
    }
    let waiting = studio.waiting_count();
    if waiting > 0 {
        ui.label(format!("{waiting} in the queue"));
    }
    asked
}

fn model_menu(ui: &mut Ui, studio: &Studio, parts: &mut PartsWindow) -> Option<Action> {
    let mut asked = None;
    let name = studio.model.name();
    let menu = ComboBox::from_id_salt("model menu").selected_text(RichText::new(&name).strong()).truncate();
    let width = ui.available_width().min(240.0);
    let response = menu.width(width).show_ui(ui, |ui| {
        let mut choose = |ui: &mut Ui, source: &ModelSource| {
            let button = Button::selectable(studio.model.source() == source, short_name(source));
            if ui.add(button).on_hover_text(source.to_string()).clicked() {
                asked = Some(Action::LoadModel(source.clone()));
            }
        };
        choose(ui, &ModelSource::BuiltIn);
        for path in &studio.settings.recent_models {
            choose(ui, &ModelSource::OnDisk(path.clone()));
        }
        ui.separator();
        if ui.button("Open model folder…").on_hover_text("A folder in the diffusers layout").clicked() {
            asked = Some(Action::Ask(Question::ModelFolder));
        }
        if ui.button("Open a model file…").on_hover_text("A checkpoint of SD 1, 2 or XL, or a U-Net alone").clicked()
        {
            asked = Some(Action::Ask(Question::ModelFile));
        }
        let is_on_disk = matches!(studio.model.source(), ModelSource::OnDisk(_));
        let button = ui.add_enabled(is_on_disk, Button::new("Parts from other files…"));
        let tip = "Another VAE, other text encoders or another prediction for the model at hand";
        if button.on_hover_text(tip).on_disabled_hover_text("The built-in model has all its parts").clicked() {
            parts.open();
        }
    });
    let tip = format!("The model that draws: {}", studio.model.source());
    response.response.accessible_name("Model").on_hover_text(tip);
    asked
}

fn state_of_model(ui: &mut Ui, studio: &Studio) -> Option<Action> {
    match &studio.model {
        ModelStatus::Failed { .. } => {
            ui.label(RichText::new("Not loaded").color(palette(ui).error));
        }
        ModelStatus::Stopped(source) => {
            widgets::faint(ui, "Not loaded");
            if ui.button("Load").on_hover_text(format!("Load {source} after all")).clicked() {
                return Some(Action::LoadModel(source.clone()));
            }
        }
        ModelStatus::Asked(_) | ModelStatus::Loading { .. } => {
            widgets::faint(ui, "Loading…");
            let button = ui.add_enabled(studio.is_engine_alive, Button::new("Cancel"));
            if button.on_hover_text("Stop loading this model").clicked() {
                return Some(Action::StopLoading);
            }
        }
        ModelStatus::Ready { facts } => {
            let tip = facts.device_notice.as_deref().unwrap_or("Where the pictures are computed");
            widgets::faint(ui, facts.computes_on.as_str()).on_hover_text(tip);
        }
    }
    None
}
