//! What a model takes from other files: choosers for its VAE, its text encoders and its prediction, beside the model in
//! the library and, for the model at hand, in a window of their own.

use std::path::Path;

use egui::{ComboBox, Id, Label, Modal, RichText, Sides, Ui};

use super::icons::{Icon, icon_button};
use super::theme;
use super::widgets::{faint, section};
use crate::inference::message::ModelSource;
use crate::library::message::KindGroup;
use crate::request::{Companions, PredictionOverride};
use crate::state::Studio;
use crate::state::action::{Action, Question};

/// Width of the window, in points.
const WIDTH: f32 = 360.0;

/// Whether the window is open.
#[derive(Debug, Default)]
pub struct PartsWindow {
    is_open: bool,
}

impl PartsWindow {
    /// Opens it.
    pub fn open(&mut self) {
        self.is_open = true;
    }

    /// True while it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Draws it when it is open and there is a model on disk.
    pub fn show(&mut self, ui: &Ui, studio: &Studio, actions: &mut Vec<Action>) {
        let ModelSource::OnDisk(model) = &studio.settings.model else {
            self.is_open = false;
            return;
        };
        if !self.is_open {
            return;
        }
        let modal = Modal::new(Id::unique("model parts")).frame(egui::Frame::window(ui.style())).show(ui, |ui| {
            ui.set_width(WIDTH);
            ui.label(RichText::new("Parts from other files").heading());
            faint(ui, model.display().to_string());
            rows(ui, studio, model, actions);
            ui.add_space(theme::STEP);
            ui.button("Close").on_hover_text("Close the parts (Esc)").clicked()
        });
        if modal.inner || modal.should_close() {
            self.is_open = false;
        }
    }
}

/// The choosers for the model at a path. A choice loads the model again when it is the one at hand.
pub fn rows(ui: &mut Ui, studio: &Studio, model: &Path, actions: &mut Vec<Action>) {
    let now = studio.settings.companions_of(&ModelSource::OnDisk(model.to_owned()));
    let mut chosen = now.clone();
    ui.add_space(theme::HALF_STEP);
    vae(ui, studio, model, &mut chosen, actions);
    text_encoders(ui, studio, model, &mut chosen, actions);
    prediction(ui, &mut chosen);
    if chosen != now {
        actions.push(Action::SetCompanions(model.to_owned(), chosen));
    }
}

fn vae(ui: &mut Ui, studio: &Studio, model: &Path, chosen: &mut Companions, actions: &mut Vec<Action>) {
    section(ui, "VAE");
    let own = "The model's own";
    let shown = match &chosen.vae {
        None => "Automatic".to_owned(),
        Some(path) if path == model => own.to_owned(),
        Some(path) => file_name(path),
    };
    let combo = ComboBox::from_id_salt(("vae", model)).width(ui.available_width()).selected_text(shown).truncate();
    let response = combo.show_ui(ui, |ui| {
        let tip = "The model's own, or the VAE that lies beside it under its name";
        if ui.selectable_label(chosen.vae.is_none(), "Automatic").on_hover_text(tip).clicked() {
            chosen.vae = None;
        }
        let is_own = chosen.vae.as_deref() == Some(model);
        if ui.selectable_label(is_own, own).on_hover_text("Whatever lies beside it").clicked() {
            chosen.vae = Some(model.to_owned());
        }
        for (name, path) in listed(studio, KindGroup::Vae) {
            let is_chosen = chosen.vae.as_deref() == Some(path);
            if ui.selectable_label(is_chosen, name).on_hover_text(path.display().to_string()).clicked() {
                chosen.vae = Some(path.to_owned());
            }
        }
        ui.separator();
        let tip = "A VAE in a file, or a whole model of which only the VAE is taken";
        if ui.button("Choose file…").on_hover_text(tip).clicked() {
            actions.push(Action::Ask(Question::Vae(model.to_owned())));
        }
    });
    response.response.accessible_name("VAE").on_hover_text("What turns latents into pixels");
    let loaded = studio.model.facts().filter(|facts| facts.source == ModelSource::OnDisk(model.to_owned()));
    if let Some(vae) = loaded.filter(|facts| facts.companions.vae.is_none()).and_then(|facts| facts.vae.as_ref()) {
        faint(ui, format!("{} lies beside the model and is used", vae.name));
    }
}

fn text_encoders(ui: &mut Ui, studio: &Studio, model: &Path, chosen: &mut Companions, actions: &mut Vec<Action>) {
    section(ui, "Text encoders");
    let mut removed = None;
    for (at, path) in chosen.text_encoders.iter().enumerate() {
        let name = file_name(path);
        Sides::new().shrink_left().truncate().show(
            ui,
            |ui| ui.add(Label::new(&name).truncate()).on_hover_text(path.display().to_string()),
            |ui| {
                let tip = "Take it off; the file is not touched";
                if icon_button(ui, Icon::Cross, &format!("Take {name} off"), tip).clicked() {
                    removed = Some(at);
                }
            },
        );
    }
    if let Some(at) = removed {
        chosen.text_encoders.remove(at);
    }
    let shown = if chosen.text_encoders.is_empty() { "The model's own" } else { "Add another…" };
    let salt = ("text encoders", model);
    let combo = ComboBox::from_id_salt(salt).width(ui.available_width()).selected_text(shown).truncate();
    let response = combo.show_ui(ui, |ui| {
        if ui.selectable_label(chosen.text_encoders.is_empty(), "The model's own").clicked() {
            chosen.text_encoders.clear();
        }
        for (name, path) in listed(studio, KindGroup::TextEncoder) {
            let is_chosen = chosen.text_encoders.iter().any(|known| known == path);
            let response = ui.selectable_label(is_chosen, name).on_hover_text(path.display().to_string());
            if response.clicked() && !is_chosen {
                chosen.text_encoders.push(path.to_owned());
            }
        }
        ui.separator();
        if ui.button("Choose file…").on_hover_text("A text encoder of CLIP; SDXL has two").clicked() {
            actions.push(Action::Ask(Question::TextEncoder(model.to_owned())));
        }
    });
    response.response.accessible_name("Text encoders").on_hover_text("What reads the prompts; SDXL has two");
}

fn prediction(ui: &mut Ui, chosen: &mut Companions) {
    section(ui, "Prediction");
    ui.horizontal(|ui| {
        let mut offer = |ui: &mut Ui, name: &str, tip: &str, value: Option<PredictionOverride>| {
            let response = ui.selectable_label(chosen.prediction == value, name);
            if response.on_hover_text(format!("Predicts {tip}")).clicked() {
                chosen.prediction = value;
            }
        };
        offer(ui, "Automatic", "what the model's files say", None);
        for kind in PredictionOverride::ALL {
            offer(ui, kind.label(), kind.summary(), Some(*kind));
        }
    });
}

/// Name and place of what the library has of a kind.
fn listed(studio: &Studio, group: KindGroup) -> impl Iterator<Item = (&str, &Path)> {
    let entries = studio.library.index.entries.iter();
    entries.filter(move |entry| entry.group == group).map(|entry| (entry.name.as_str(), entry.path.as_path()))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
