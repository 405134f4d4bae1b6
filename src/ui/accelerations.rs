//! The folded group of what makes a picture sooner and another one.

use egui::{CollapsingHeader, DragValue, Ui};

use super::controls::{LABEL_WIDTH, combo_row};
use super::theme;
use super::widgets::row_label;
use crate::request::{Accelerations, BlockCaching, GuidanceInterval};
use crate::state::form::Setting;

/// Draws it.
pub fn show(ui: &mut Ui, faster: &mut Accelerations) {
    let is_off = *faster == Accelerations::default();
    let name = if is_off { "Faster, with another picture" } else { "Faster, with another picture (on)" };
    let header = CollapsingHeader::new(name).id_salt("faster").show(ui, |ui| {
        guided_steps(ui, &mut faster.guidance_interval);
        block_caching(ui, &mut faster.block_caching);
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

/// From one whole evaluation to the next, in words.
const INTERVALS: [(u32, &str); 10] = [
    (1, "off"),
    (2, "every 2nd whole"),
    (3, "every 3rd whole"),
    (4, "every 4th whole"),
    (5, "every 5th whole"),
    (6, "every 6th whole"),
    (7, "every 7th whole"),
    (8, "every 8th whole"),
    (9, "every 9th whole"),
    (10, "every 10th whole"),
];

fn block_caching(ui: &mut Ui, caching: &mut Option<BlockCaching>) {
    let interval = caching.map_or(1, BlockCaching::interval);
    let mut branch = caching.map_or(0, BlockCaching::branch);
    let words = |interval: u32| INTERVALS.iter().find(|(known, _)| *known == interval).map_or("", |(_, words)| words);
    let mut chosen = Setting { value: interval, is_users: true };
    let names = (
        "Caching",
        "DeepCache: most evaluations compute the outermost blocks alone and take the rest from the last whole one",
    );
    combo_row(ui, names, &INTERVALS.map(|(interval, _)| interval), &mut chosen, |interval| (words(interval), ""));
    if caching.is_some() {
        ui.horizontal(|ui| {
            row_label(ui, "Branch", LABEL_WIDTH);
            let drag = DragValue::new(&mut branch).range(0..=BlockCaching::LAST_BRANCH).speed(0.1);
            let width = ui.available_width();
            ui.add_sized([width, theme::CONTROL_HEIGHT], drag).accessible_name("Cached branch").on_hover_text(
                "How deep the evaluations between them go: 0 is the fastest, higher ones stay nearer to the plain picture",
            );
        });
    }
    *caching = BlockCaching::new(chosen.value, branch).ok();
}
