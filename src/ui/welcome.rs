//! The empty canvas: what this is, and prompts to begin with.

use egui::{Align, Button, Layout, RichText, Ui, UiBuilder, vec2};

use super::theme::{self, palette};
use super::widgets;
use crate::state::Studio;
use crate::state::action::Action;

/// Draws the invitation, or what is being waited for.
pub fn show(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    let area = ui.available_rect_before_wrap();
    let width = (area.width() - 4.0 * theme::STEP).clamp(120.0, 460.0);
    let left = area.center().x - width / 2.0;
    let top = area.top() + (area.height() * 0.28).max(theme::STEP);
    let rect = egui::Rect::from_min_size(egui::pos2(left, top), vec2(width, area.bottom() - top));
    ui.scope_builder(UiBuilder::new().max_rect(rect).layout(Layout::top_down(Align::Center)), |ui| {
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
    });
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
    for prompt in &facts.example_prompts {
        let button = Button::new(prompt.as_str()).min_size(vec2(ui.available_width().min(320.0), 32.0)).truncate();
        if ui.add(button).on_hover_text(format!("Make a picture of \"{prompt}\"")).clicked() {
            actions.push(Action::TryPrompt(prompt.clone()));
        }
    }
}
