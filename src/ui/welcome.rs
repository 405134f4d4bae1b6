//! The empty canvas: what this is, and prompts to begin with.

use egui::{Align, Button, Layout, RichText, ScrollArea, Ui, UiBuilder, vec2};

use super::theme::{self, palette};
use super::widgets;
use crate::state::Studio;
use crate::state::action::Action;

/// From this width on, in points, prompts stand side by side.
const TWO_COLUMNS: f32 = 440.0;

/// Draws the invitation, or what is being waited for.
pub fn show(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    let area = ui.available_rect_before_wrap();
    let width = (area.width() - 4.0 * theme::STEP).clamp(120.0, 620.0);
    let left = area.center().x - width / 2.0;
    let top = area.top() + (area.height() * 0.16).max(theme::STEP);
    let rect = egui::Rect::from_min_size(egui::pos2(left, top), vec2(width, area.bottom() - top));
    ui.scope_builder(UiBuilder::new().max_rect(rect), |ui| {
        ScrollArea::vertical().show(ui, |ui| {
            ui.with_layout(Layout::top_down(Align::Center), |ui| invitation(ui, studio, actions));
        });
    });
}

fn invitation(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    ui.spacing_mut().item_spacing.y = theme::STEP;
    ui.label(RichText::new("What shall develop here?").heading().strong());
    let words = match &studio.model {
        model if model.is_missing() => "No model is loaded: choose one in the menu at the top".to_owned(),
        _ if studio.can_stop() => waiting_words(studio),
        model => {
            let has_examples = model.facts().is_some_and(|facts| !facts.example_prompts.is_empty());
            let or = if has_examples { ", or try one of these" } else { "" };
            format!("Write a prompt on the left and press Ctrl+Enter{or}")
        }
    };
    ui.label(RichText::new(words).color(palette(ui).faint_text));
    if !studio.can_stop() {
        ui.add_space(theme::STEP);
        examples(ui, studio, actions);
    }
}

fn waiting_words(studio: &Studio) -> String {
    let waiting = studio.model.waiting_for();
    let running = studio.queue.running().map(crate::state::job::RunningJob::words);
    waiting.map(|words| format!("{words} Your picture is next")).or(running).unwrap_or_default()
}

fn examples(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    let Some(facts) = studio.model.facts() else {
        if let Some(words) = studio.model.waiting_for() {
            widgets::faint(ui, words);
        }
        return;
    };
    if facts.random_prompt.is_some() {
        let button = Button::new(RichText::new("Surprise me").strong()).min_size(vec2(160.0, 32.0));
        if ui.add(button).on_hover_text("Make a picture of a prompt drawn by chance").clicked() {
            actions.push(Action::TryRandomPrompt);
        }
        ui.add_space(theme::HALF_STEP);
    }
    let columns = if ui.available_width() >= TWO_COLUMNS { 2 } else { 1 };
    for row in facts.example_prompts.chunks(columns) {
        ui.columns(columns, |cells| {
            for (cell, prompt) in cells.iter_mut().zip(row) {
                let button = Button::new(prompt.as_str()).min_size(vec2(cell.available_width(), 32.0)).truncate();
                if cell.add(button).on_hover_text(format!("Make a picture of \"{prompt}\"")).clicked() {
                    actions.push(Action::TryPrompt(prompt.clone()));
                }
            }
        });
    }
}
