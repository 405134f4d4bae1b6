//! The LoRAs that the prompt calls, a row each below it: how strongly they act, and taking them off. The prompt is the
//! truth; a row changes its text.

use egui::{Label, RichText, Slider, SliderClamping, Ui, vec2};

use super::icons::{Icon, icon_button};
use super::theme::{self, palette};
use crate::prompt::{NetworkCall, PlacedAdapter, placed_adapters, replaced};
use crate::state::Studio;

/// Width of a name, in points.
const NAME_WIDTH: f32 = 92.0;
/// Width of the number beside a slider, in points.
const NUMBER_WIDTH: f32 = 48.0;

/// Draws the rows, if there are any.
pub fn show(ui: &mut Ui, studio: &mut Studio) {
    let form = &studio.form;
    let placed = placed_adapters(&form.prompt, form.dialect, &studio.library.files.loras);
    let mut changed = None;
    for (index, adapter) in placed.iter().enumerate() {
        ui.push_id(("lora", index), |ui| changed = row(ui, adapter).map(|change| (index, change)).or(changed.take()));
    }
    if let Some((index, change)) = changed {
        let call = match change {
            Change::Rewritten(call) => Some(call),
            Change::TakenOff => None,
        };
        studio.form.prompt = replaced(&studio.form.prompt, placed[index].place.clone(), call.as_ref());
    }
}

/// What becomes of a call.
enum Change {
    Rewritten(NetworkCall),
    TakenOff,
}

fn row(ui: &mut Ui, adapter: &PlacedAdapter) -> Option<Change> {
    let PlacedAdapter { call, path, .. } = adapter;
    let mut changed = None;
    ui.horizontal(|ui| {
        name(ui, adapter);
        let room = ui.available_width() - theme::CONTROL_HEIGHT - ui.spacing().item_spacing.x;
        if let Some(weight) = call.weight.filter(|weight| call.unet_weight == Some(*weight)) {
            let mut value = weight;
            ui.spacing_mut().slider_width = (room - NUMBER_WIDTH - theme::STEP).max(32.0);
            ui.spacing_mut().interact_size.x = NUMBER_WIDTH;
            theme::fill_sliders(ui);
            let slider = Slider::new(&mut value, 0.0..=2.0).step_by(0.01).fixed_decimals(2);
            let label = format!("Weight of {}", call.name);
            ui.name_inputs(&label, |ui| {
                let tip = "How strongly it acts; the model is not loaded again";
                ui.add(slider.clamping(SliderClamping::Never)).accessible_name(label.as_str()).on_hover_text(tip)
            });
            if value.to_bits() != weight.to_bits() {
                let value = (value * 100.0).round() / 100.0;
                changed = Some(Change::Rewritten(NetworkCall {
                    weight: Some(value),
                    unet_weight: Some(value),
                    ..call.clone()
                }));
            }
        } else {
            let said = match (call.weight, call.unet_weight) {
                (Some(text), Some(unet)) => format!("text {text}, picture {unet}"),
                _ => "its weight is no number".to_owned(),
            };
            ui.add_sized(vec2(room, theme::CONTROL_HEIGHT), Label::new(RichText::new(said).small()).truncate());
        }
        let tip = if path.is_some() { "Take it out of the prompt" } else { "It is not in the library: take it out" };
        if icon_button(ui, Icon::Cross, &format!("Take {} off", call.name), tip).clicked() {
            changed = Some(Change::TakenOff);
        }
    });
    changed
}

fn name(ui: &mut Ui, adapter: &PlacedAdapter) {
    let colours = palette(ui);
    let text = RichText::new(&adapter.call.name);
    let (text, tip) = match &adapter.path {
        Some(path) => (text, path.display().to_string()),
        None => (text.color(colours.error), format!("There is no LoRA {} in the library", adapter.call.name)),
    };
    let layout = egui::Layout::left_to_right(egui::Align::Center);
    ui.allocate_ui_with_layout(vec2(NAME_WIDTH, theme::CONTROL_HEIGHT), layout, |ui| {
        ui.set_min_width(NAME_WIDTH);
        ui.add(Label::new(text).truncate()).on_hover_text(tip);
    });
}
