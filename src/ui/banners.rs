//! What went wrong with the model, the engine, the last job or a save: above the canvas, until it is dealt with.

use egui::{Frame, Margin, RichText, Ui};

use super::Panels;
use super::theme::{self, palette};
use super::widgets::error_message;
use crate::state::Studio;
use crate::state::action::Action;
use crate::state::model::{ModelSource, ModelStatus};

/// Draws the banners.
pub fn show(ui: &mut Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    let has_save_trouble = studio.canvas.not_saved().next().is_some();
    let has_model_trouble = matches!(studio.model, ModelStatus::Failed { .. });
    if !studio.is_engine_alive || has_model_trouble || studio.failure.is_some() || has_save_trouble {
        Frame::NONE.inner_margin(Margin::same(12)).show(ui, |ui| {
            engine(ui, studio, actions);
            model(ui, studio, panels, actions);
            job(ui, studio, actions);
            save(ui, studio, actions);
        });
    }
    if studio.canvas.has_hidden_progress() {
        theme::bar_frame(ui).show(ui, |ui| {
            ui.take_available_width();
            ui.horizontal(|ui| {
                ui.label(RichText::new("A picture is in progress").color(palette(ui).faint_text));
                let button = ui.button("Show it").on_hover_text("Show the picture in progress");
                if button.clicked() {
                    actions.push(Action::ShowProgress);
                }
            });
        });
    }
}

fn engine(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    if studio.is_engine_alive {
        return;
    }
    let text = "The engine has ended. Everything else still works; nothing that is in the gallery is lost";
    error_message(ui, text, actions, |ui, actions| {
        if ui.button("Restart the engine").on_hover_text("Start the engine and load the model again").clicked() {
            actions.push(Action::RestartEngine);
        }
    });
}

fn model(ui: &mut Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    let ModelStatus::Failed { source, error } = &studio.model else { return };
    let text = format!("The model could not be loaded: {error}");
    error_message(ui, &text, actions, |ui, actions| {
        if ui.button("Try again").on_hover_text(format!("Load {source} again")).clicked() {
            actions.push(Action::LoadModel(source.clone()));
        }
        let tip = "Choose a VAE or text encoders that the model has not inside";
        if *source != ModelSource::BuiltIn && ui.button("Parts from other files…").on_hover_text(tip).clicked() {
            panels.parts.open();
        }
        if *source != ModelSource::BuiltIn
            && ui.button("Use the built-in model").on_hover_text("Load the model inside Calotype").clicked()
        {
            actions.push(Action::LoadModel(ModelSource::BuiltIn));
        }
    });
}

fn job(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    let Some(failure) = &studio.failure else { return };
    error_message(ui, &failure.message, actions, |ui, actions| {
        if ui.button("Dismiss").on_hover_text("Take this message away").clicked() {
            actions.push(Action::DismissFailure);
        }
    });
}

fn save(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    let count = studio.canvas.not_saved().count();
    // The newest tells what is wrong now.
    let Some((id, _, error)) = studio.canvas.not_saved().last() else { return };
    let text = match count {
        1 => format!("The picture is not saved: {error}"),
        _ => format!("{count} pictures are not saved: {error}"),
    };
    error_message(ui, &text, actions, |ui, actions| {
        if ui.button("Save as…").on_hover_text("Save the picture somewhere else").clicked() {
            actions.push(Action::SaveUnsavedAs(id));
        }
        if ui.button("Try again").on_hover_text("Save what is not saved in the gallery").clicked() {
            actions.extend(studio.canvas.not_saved().map(|(id, _, _)| Action::SaveAgain(id)));
        }
        let is_shown = studio.canvas.shown_picture().is_some_and(|picture| picture.save == Some(id));
        if !is_shown && ui.button("Show").on_hover_text("Show the picture").clicked() {
            actions.push(Action::ShowUnsaved(id));
        }
        if ui.button("Discard").on_hover_text("Let the picture go without saving it").clicked() {
            actions.push(Action::GiveUpUnsaved(id));
        }
    });
}
