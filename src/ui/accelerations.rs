//! The folded group of what makes a picture sooner and another one.

use egui::{CollapsingHeader, DragValue, Ui};

use super::controls::LABEL_WIDTH;
use super::theme;
use super::widgets::row_label;
use crate::request::{Accelerations, GuidanceInterval};

/// Draws it.
pub fn show(ui: &mut Ui, faster: &mut Accelerations) {
    let is_off = *faster == Accelerations::default();
    let name = if is_off { "Faster, with another picture" } else { "Faster, with another picture (on)" };
    let header = CollapsingHeader::new(name).id_salt("faster").show(ui, |ui| {
        guided_steps(ui, &mut faster.guidance_interval);
    });
    header
        .header_response
        .on_hover_text("Ways to take less time, each at the price of another picture; all off at first");
}

fn guided_steps(ui: &mut Ui, interval: &mut GuidanceInterval) {
    let tip = "The part of the steps in which guidance acts; in the others the prompt alone is followed, in half the time. Late \
               guidance leaves more freedom to the composition, early endings soften the details";
    let (mut from, mut to) = (interval.from() * 100.0, interval.to() * 100.0);
    ui.horizontal(|ui| {
        row_label(ui, "Guided", LABEL_WIDTH);
        let room = (ui.available_width() - ui.spacing().item_spacing.x) / 2.0;
        let upper = to;
        let ends = [(&mut from, "from ", "Guided from", 0.0..=upper), (&mut to, "to ", "Guided up to", 0.0..=100.0)];
        for (percent, prefix, name, range) in ends {
            let drag = DragValue::new(percent).speed(0.5).range(range).max_decimals(1).prefix(prefix).suffix(" %");
            ui.add_sized([room, theme::CONTROL_HEIGHT], drag).accessible_name(name).on_hover_text(tip);
        }
    });
    // What was not touched stays to the last bit.
    let is_touched = (from, to) != (interval.from() * 100.0, interval.to() * 100.0);
    let (from, to) = (from.min(to) / 100.0, to / 100.0);
    if is_touched && let Ok(changed) = GuidanceInterval::new(from, to) {
        *interval = changed;
    }
}
