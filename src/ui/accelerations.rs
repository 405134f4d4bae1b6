//! The folded group of what makes a picture sooner, or with less memory, and another one.

use egui::{CollapsingHeader, DragValue, Slider, Ui};

use super::controls::{LABEL_WIDTH, combo_row, slider_row};
use super::theme;
use super::widgets::row_label;
use crate::request::{Accelerations, BlockCaching, GuidanceInterval, TokenMerging};
use crate::state::form::Setting;

/// Width of the word between two numbers, in points.
const TO_WIDTH: f32 = 14.0;

/// Draws it.
pub fn show(ui: &mut Ui, faster: &mut Accelerations) {
    let is_off = *faster == Accelerations::default();
    let name =
        if is_off { "Faster or lighter, with another picture" } else { "Faster or lighter, with another picture (on)" };
    let header = CollapsingHeader::new(name).id_salt("faster").show_unindented(ui, |ui| {
        guided_steps(ui, &mut faster.guidance_interval);
        block_caching(ui, &mut faster.block_caching);
        token_merging(ui, &mut faster.token_merging);
        decoding(ui, &mut faster.decoding_in_tiles);
    });
    header
        .header_response
        .on_hover_text("Ways to take less time or memory, each at the price of another picture; all off at first");
}

fn guided_steps(ui: &mut Ui, interval: &mut GuidanceInterval) {
    let tip = "The part of the steps in which guidance acts; in the others the prompt alone is followed, in half the time. The \
               first steps decide the composition, the last ones the details";
    let (mut from, mut to) = (interval.from() * 100.0, interval.to() * 100.0);
    ui.horizontal(|ui| {
        row_label(ui, "Guided", LABEL_WIDTH);
        let room = ((ui.available_width() - TO_WIDTH) / 2.0 - ui.spacing().item_spacing.x).max(0.0);
        let tenths = |percent: f64, _| ((percent * 10.0).round() / 10.0).to_string();
        let end = |ui: &mut Ui, name: &str, percent: &mut f64, range| {
            let drag = DragValue::new(percent).speed(0.5).range(range).custom_formatter(tenths).suffix(" %");
            ui.add_sized([room, theme::CONTROL_HEIGHT], drag).accessible_name(name).on_hover_text(tip);
        };
        end(ui, "Guided from", &mut from, 0.0..=to);
        row_label(ui, "to", TO_WIDTH);
        end(ui, "Guided up to", &mut to, 0.0..=100.0);
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
    (1, "Off"),
    (2, "1 whole in 2"),
    (3, "1 whole in 3"),
    (4, "1 whole in 4"),
    (5, "1 whole in 5"),
    (6, "1 whole in 6"),
    (7, "1 whole in 7"),
    (8, "1 whole in 8"),
    (9, "1 whole in 9"),
    (10, "1 whole in 10"),
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

fn token_merging(ui: &mut Ui, merging: &mut TokenMerging) {
    let tip = "Token merging: before attention this share of the tokens joins those that are most like them; 0 is off. It counts \
               where a model attends on its finest level, as Stable Diffusion 1 and 2 do";
    let mut share = merging.get();
    slider_row(ui, "Merging", tip, |ui| ui.add(Slider::new(&mut share, 0.0..=TokenMerging::MOST).fixed_decimals(2)));
    *merging = TokenMerging::new(share).unwrap_or(*merging);
}

fn decoding(ui: &mut Ui, in_tiles: &mut bool) {
    ui.horizontal(|ui| {
        row_label(ui, "Decoding", LABEL_WIDTH);
        ui.checkbox(in_tiles, "In tiles").on_hover_text(
            "The finished picture is decoded in overlapping tiles of 512 x 512 pixels: a large one then takes no more memory than \
             one of them, and its colours may differ a little",
        );
    });
}
