//! The chosen entry of the library: its picture, its facts, its notes, and what can be done with it.

use egui::{CollapsingHeader, Label, RichText, ScrollArea, Sense, Ui, vec2};

use super::model_rows::Placing;
use super::theme::{self, palette};
use super::{Panels, model_browser, model_parts, model_rows, widgets};
use crate::library::message::{Card, Entry, KindGroup};
use crate::state::Studio;
use crate::state::action::Action;
use crate::state::model::ModelSource;

/// Height of the picture, in points.
const PREVIEW_HEIGHT: f32 = 184.0;
/// Training tags that are shown.
const MOST_TAGS: usize = 12;

/// Draws the column beside the list.
pub fn show(ui: &mut Ui, studio: &Studio, entry: &Entry, panels: &mut Panels, actions: &mut Vec<Action>) {
    if entry.preview.is_some() {
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), PREVIEW_HEIGHT), Sense::hover());
        model_rows::preview(ui, entry, (rect, Placing::Whole), panels, actions);
    }
    ui.add(Label::new(RichText::new(entry.stem()).strong()).wrap());
    buttons(ui, studio, entry, actions);
    ScrollArea::vertical().id_salt(&entry.path).auto_shrink(false).show(ui, |ui| {
        // Room for the scroll bar that floats over the edge.
        ui.set_max_width(ui.available_width() - theme::STEP);
        match &entry.card {
            Ok(card) => {
                if matches!(entry.group, KindGroup::Checkpoint | KindGroup::UNet) {
                    parts(ui, studio, entry, actions);
                }
                facts(ui, entry, card);
            }
            Err(problem) => _ = ui.label(RichText::new(problem).color(palette(ui).error)),
        }
        fact(ui, "File", &entry.path.display().to_string());
    });
}

fn buttons(ui: &mut Ui, studio: &Studio, entry: &Entry, actions: &mut Vec<Action>) {
    ui.horizontal_wrapped(|ui| {
        if let Some(action) = model_browser::use_of(entry) {
            let (words, tip) = match entry.group {
                KindGroup::Checkpoint | KindGroup::UNet => ("Load", "Draw with this model (Enter)".to_owned()),
                KindGroup::Taesd => {
                    ("Use for previews", "Show pictures in progress with this TAESD (Enter)".to_owned())
                }
                _ => {
                    let words = studio.spelled(entry).unwrap_or_default();
                    ("Into the prompt", format!("Put {words} at the end of the prompt (Enter)"))
                }
            };
            if widgets::primary_button(ui, words, String::new()).on_hover_text(tip).clicked() {
                actions.push(action);
            }
        }
        let words = entry.trigger_words().join(", ");
        if !words.is_empty() && ui.button("Copy trigger words").on_hover_text(words.as_str()).clicked() {
            actions.push(Action::CopyText(words));
        }
        if ui.button("Show").on_hover_text("Show the file in the file manager").clicked() {
            actions.push(Action::ShowInFolder(entry.path.clone()));
        }
    });
}

/// Folded unless something is chosen or missing.
fn parts(ui: &mut Ui, studio: &Studio, entry: &Entry, actions: &mut Vec<Action>) {
    let companions = studio.settings.companions_of(&ModelSource::OnDisk(entry.path.clone()));
    let lacks = entry.known().is_some_and(|card| !card.parts.vae || card.parts.text_encoders == 0);
    let name = if companions.is_empty() { "Parts from other files" } else { "Parts from other files (chosen)" };
    CollapsingHeader::new(name)
        .id_salt(("parts", &entry.path))
        .default_open(lacks || !companions.is_empty())
        .show(ui, |ui| model_parts::rows(ui, studio, &entry.path, actions));
}

fn facts(ui: &mut Ui, entry: &Entry, card: &Card) {
    let notes = &card.notes;
    let tags: Vec<&str> = notes.tags.iter().take(MOST_TAGS).map(|(tag, _)| tag.as_str()).collect();
    let texts = [
        ("Family", card.family.map(|family| family.label().to_owned())),
        ("What", Some(model_rows::facts(entry))),
        ("Inside", Some(card.parts.label())),
        ("Stored as", Some(card.stored.join(", "))),
        ("Prediction", card.prediction.map(|prediction| prediction.label().to_owned())),
        ("Trigger words", Some(entry.trigger_words().join(", "))),
        ("Training tags", Some(tags.join(", "))),
        ("Title", notes.title.clone()),
        ("Author", notes.author.clone()),
        ("Description", entry.notes.description.clone().or_else(|| notes.description.clone())),
        ("License", notes.license.clone()),
        ("Base", notes.base.clone()),
        ("Trained on", notes.trained_on.clone()),
        ("SHA256", entry.hashes.as_ref().map(|hashes| hashes.sha256.clone())),
    ];
    for (name, text) in texts {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            fact(ui, name, &text);
        }
    }
}

fn fact(ui: &mut Ui, name: &str, text: &str) {
    widgets::faint(ui, name);
    ui.add(Label::new(text).wrap().selectable(true));
}
