//! How the model reads a prompt, shown in the text itself and on a strip below it: weights, chunks, stray brackets.

use std::fmt::Write as _;
use std::sync::Arc;

use egui::text::{LayoutJob, TextFormat};
use egui::{Galley, Pos2, Rect, Sense, Stroke, TextStyle, Ui, WidgetInfo, accesskit, pos2, vec2};

use super::theme::{self, palette};
use crate::state::tokens::{CountedText, Ink, ReadChunk, Stretch};

/// Height of the strip, in points.
const STRIP_HEIGHT: f32 = 5.0;
/// The narrowest chunk on the strip, in points; more of them than fit are not drawn.
const LEAST_WIDTH: f32 = 4.0;
/// The most characters of a chunk in its tooltip.
const LONGEST_TIP: usize = 600;

/// Lays out the text with what it is to the model; every second chunk has a ground of its own.
pub fn layout(ui: &Ui, counted: &CountedText, text: &str, wrap_width: f32) -> Arc<Galley> {
    let font = TextStyle::Body.resolve(ui.style());
    let mut job = LayoutJob::default();
    job.wrap.max_width = wrap_width;
    for Stretch { range, ink, chunk } in counted.stretches() {
        let mut format = TextFormat::simple(font.clone(), theme::ink_colour(ui, *ink));
        if chunk % 2 == 1 {
            format.background = palette(ui).control;
        }
        match ink {
            Ink::Unbalanced => format.background = palette(ui).error_panel,
            Ink::Words(weight) if *weight < 0.0 => format.strikethrough = Stroke::new(1.0, format.color),
            _ => {}
        }
        job.append(&text[range.clone()], 0.0, format);
    }
    if text.is_empty() {
        job.append("", 0.0, TextFormat::simple(font, palette(ui).text));
    }
    ui.fonts_mut(|fonts| fonts.layout_job(job))
}

/// What is to be said of the word under the pointer: its weight and its chunk, where either is not the usual.
pub fn tip(ui: &Ui, counted: &CountedText, text: &str, galley: &Galley, galley_pos: Pos2) -> Option<String> {
    let pointer = ui.input(|input| input.pointer.hover_pos())? - galley_pos;
    if !galley.rect.contains(pointer.to_pos2()) {
        return None;
    }
    let at = byte_of(text, galley.cursor_from_pos(pointer).index.0);
    let chunks = counted.chunks();
    let holds = |chunk: &ReadChunk| chunk.words.iter().find(|word| word.place.contains(&at)).cloned();
    let (index, word) = chunks.iter().enumerate().find_map(|(index, chunk)| Some((index, holds(chunk)?)))?;
    let mut said = Vec::new();
    if word.weight != 1.0 {
        said.push(format!("weight {}", short(word.weight)));
    }
    if chunks.len() > 1 {
        said.push(format!("chunk {} of {}", index + 1, chunks.len()));
    }
    let word = text.get(word.place)?;
    (!said.is_empty()).then(|| format!("{word}: {}", said.join(", ")))
}

fn byte_of(text: &str, char: usize) -> usize {
    text.char_indices().nth(char).map_or(text.len(), |(at, _)| at)
}

/// Without the tail of binary fractions.
fn short(weight: f64) -> String {
    ((weight * 1000.0).round() / 1000.0).to_string()
}

/// A gauge for each chunk, as full as it is; the one at the cursor stands out.
pub fn strip(ui: &mut Ui, name: &str, counted: &CountedText, cursor: Option<usize>) {
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), STRIP_HEIGHT), Sense::hover());
    let chunks = counted.chunks();
    let most = ((rect.width() / LEAST_WIDTH) as usize).max(1);
    let shown = &chunks[..chunks.len().min(most)];
    if shown.is_empty() {
        return;
    }
    let begins_before = |chunk: &&ReadChunk| {
        chunk.words.first().is_some_and(|word| cursor.is_some_and(|cursor| word.place.start <= cursor))
    };
    let current = shown.iter().rposition(|chunk| begins_before(&chunk)).or(cursor.map(|_| 0));
    let step = rect.width() / shown.len() as f32;
    let gap = if step > 12.0 { 3.0 } else { 1.0 };
    for (index, chunk) in shown.iter().enumerate() {
        let left = rect.left() + step * index as f32;
        let right = if index + 1 == shown.len() { rect.right() } else { left + step - gap };
        let gauge = Rect::from_min_max(pos2(left, rect.top()), pos2(right, rect.bottom()));
        one_gauge(ui, name, (index, chunk), counted, gauge, current == Some(index) && shown.len() > 1);
    }
}

fn one_gauge(
    ui: &Ui,
    name: &str,
    (index, chunk): (usize, &ReadChunk),
    counted: &CountedText,
    gauge: Rect,
    is_current: bool,
) {
    let colours = palette(ui);
    let share = chunk.words.len() as f32 / counted.chunk_capacity().max(1) as f32;
    let mut full = gauge;
    full.set_width(gauge.width() * share.clamp(0.0, 1.0));
    ui.painter().rect_filled(gauge, STRIP_HEIGHT / 2.0, colours.control_hovered);
    ui.painter().rect_filled(full, STRIP_HEIGHT / 2.0, if is_current { colours.accent } else { colours.faint_text });
    // Easier to hit than it is to see.
    let response =
        ui.interact(gauge.expand2(vec2(0.0, 3.0)), ui.scope_id().with((name, "chunk", index)), Sense::hover());
    let capacity = counted.chunk_capacity();
    let label =
        format!("{name}: chunk {} of {}, {} / {capacity} tokens", index + 1, counted.chunks().len(), chunk.words.len());
    response.widget_info(|| WidgetInfo::labeled(accesskit::Role::Meter, true, &label));
    response.on_hover_ui(|ui| {
        ui.label(&label);
        ui.label(egui::RichText::new(words(chunk)).small().color(palette(ui).faint_text));
    });
}

/// The words of a chunk with their weights, as one would type them.
fn words(chunk: &ReadChunk) -> String {
    let mut text = String::new();
    for run in chunk.words.chunk_by(|a, b| a.weight == b.weight) {
        let words: String = run.iter().map(|word| word.word.replace("</w>", " ")).collect();
        // Writing to a String cannot fail.
        let _ = match run[0].weight {
            1.0 => write!(text, "{words}"),
            weight => write!(text, "({}:{}) ", words.trim_end(), short(weight)),
        };
        if text.chars().nth(LONGEST_TIP).is_some() {
            return text.chars().take(LONGEST_TIP).chain(['…']).collect();
        }
    }
    text.trim_end().to_owned()
}
