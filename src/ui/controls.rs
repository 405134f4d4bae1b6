//! The left panel: everything that a request is made of.

use egui::{ComboBox, DragValue, ScrollArea, Slider, SliderClamping, TextEdit, Ui};

use super::icons::{Icon, icon_button};
use super::theme;
use super::widgets::{field_errors, row_label};
use super::{Panels, more_settings, prompts, start_image};
use crate::request::{ImageSize, SamplerKind, ScheduleKind};
use crate::state::Studio;
use crate::state::action::Action;
use crate::state::form::{Field, FieldError, Form, Setting, TypedSize, sentence};

/// Width of the first column, in points.
pub const LABEL_WIDTH: f32 = 72.0;

/// The most of a list that is seen at once, in points.
const LIST_HEIGHT: f32 = 480.0;

/// Width of the number beside a slider, in points.
const NUMBER_WIDTH: f32 = 52.0;

/// Height of a slider, which sizes its handle, in points.
const SLIDER_HEIGHT: f32 = 24.0;

/// Draws the panel.
pub fn show(ui: &mut Ui, studio: &mut Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        // Room for the scroll bar that floats over the edge.
        ui.set_max_width(ui.available_width() - theme::HALF_STEP);
        prompts::show(ui, studio, panels, actions);
        ui.add_space(theme::HALF_STEP);
        let errors = studio.form.errors();
        let is_xl = studio.model.facts().is_some_and(|facts| facts.has_xl_latents);
        let native = studio.model.facts().map(|facts| facts.defaults.size);
        let form = &mut studio.form;
        size(ui, form, native, &errors, actions);
        steps(ui, form, &errors);
        guidance(ui, form, &errors);
        kinds(ui, form);
        more_settings::show(ui, form, is_xl, &errors);
        seed(ui, form, &errors, actions);
        count(ui, form);
        ui.add_space(theme::HALF_STEP);
        start_image::show(ui, form, panels, &errors, actions);
    });
}

fn size(ui: &mut Ui, form: &mut Form, native: Option<ImageSize>, errors: &[FieldError], actions: &mut Vec<Action>) {
    ui.horizontal(|ui| {
        row_label(ui, "Size", LABEL_WIDTH);
        side(ui, form, Field::Width);
        if icon_button(ui, Icon::Swap, "Swap width and height", "Swap width and height").clicked() {
            form.swap_sides();
        }
        side(ui, form, Field::Height);
    });
    if let Some(native) = native {
        ui.horizontal(|ui| {
            row_label(ui, "", LABEL_WIDTH);
            presets(ui, form, native);
            let tip = "Take the model's own size, steps, guidance, sampler and schedule again";
            if icon_button(ui, Icon::Again, "Use the model's defaults", tip).clicked() {
                actions.push(Action::UseModelDefaults);
            }
        });
    }
    field_errors(ui, errors, &[Field::Width, Field::Height]);
}

fn side(ui: &mut Ui, form: &mut Form, field: Field) {
    let mut typed = form.size.value;
    let (name, value) = if field == Field::Width { ("Width", &mut typed.width) } else { ("Height", &mut typed.height) };
    let room =
        ui.available_width() - if field == Field::Width { theme::CONTROL_HEIGHT + 2.0 * theme::STEP } else { 0.0 };
    let width = if field == Field::Width { (room / 2.0).max(44.0) } else { room.max(44.0) };
    // Not clamped: what was typed stays, and what is wrong with it is said below.
    let drag = DragValue::new(value).speed(4.0).range(0..=99_999);
    let response = ui.add_sized([width, theme::CONTROL_HEIGHT], drag).accessible_name(name);
    let tip =
        format!("{name} in pixels: a multiple of {} from {} to {}", ImageSize::STEP, ImageSize::MIN, ImageSize::MAX);
    if response.dragged() {
        *value = ImageSize::nearest_side(*value);
    }
    response.on_hover_text(tip);
    if typed != form.size.value {
        form.size.choose(typed);
    }
}

fn presets(ui: &mut Ui, form: &mut Form, native: ImageSize) {
    let width = (ui.available_width() - theme::CONTROL_HEIGHT - theme::STEP).max(60.0);
    let chosen = form.size.value;
    let response = ComboBox::from_id_salt("size presets")
        .width(width)
        .truncate()
        .selected_text(shape_name(chosen, native))
        .show_ui(ui, |ui| {
            for preset in preset_sizes(native) {
                if ui.selectable_label(preset == chosen, preset_name(preset, native)).clicked() {
                    form.size.choose(preset);
                }
            }
        })
        .response;
    response.accessible_name("Size presets").on_hover_text("Sizes that suit the model");
}

/// The native size, its halves and its longer neighbours, as multiples of 8.
fn preset_sizes(native: ImageSize) -> Vec<TypedSize> {
    let (width, height) = (native.width(), native.height());
    let longer = |side: u32| ImageSize::nearest_side(side * 3 / 2);
    [
        (width, height),
        (width, longer(height)),
        (longer(width), height),
        (longer(width), longer(height)),
        (2 * width, 2 * height),
    ]
    .map(|(width, height)| TypedSize { width: ImageSize::nearest_side(width), height: ImageSize::nearest_side(height) })
    .to_vec()
}

fn preset_name(size: TypedSize, native: ImageSize) -> String {
    format!("{}: {} × {}", shape_name(size, native), size.width, size.height)
}

fn shape_name(TypedSize { width, height }: TypedSize, native: ImageSize) -> &'static str {
    match width.cmp(&height) {
        _ if (width, height) == (native.width(), native.height()) => "Native",
        std::cmp::Ordering::Equal => "Square",
        std::cmp::Ordering::Less => "Portrait",
        std::cmp::Ordering::Greater => "Landscape",
    }
}

fn steps(ui: &mut Ui, form: &mut Form, errors: &[FieldError]) {
    slider_row(ui, "Steps", "More steps take longer and draw finer; 20 to 30 are usually enough", |ui| {
        let mut value = form.steps.value;
        let response = ui.add(Slider::new(&mut value, 1..=60).clamping(SliderClamping::Never));
        if value != form.steps.value {
            form.steps.choose(value);
        }
        response
    });
    field_errors(ui, errors, &[Field::Steps]);
}

fn guidance(ui: &mut Ui, form: &mut Form, errors: &[FieldError]) {
    slider_row(ui, "Guidance", "How strictly the prompt is followed; 1 follows it freely and is twice as fast", |ui| {
        let mut value = form.guidance.value;
        let slider = Slider::new(&mut value, 1.0..=15.0).step_by(0.1).fixed_decimals(1).clamping(SliderClamping::Never);
        let response = ui.add(slider);
        if value.to_bits() != form.guidance.value.to_bits() {
            form.guidance.choose(value);
        }
        response
    });
    field_errors(ui, errors, &[Field::Guidance]);
}

/// A label and a slider that takes the rest of the row.
pub fn slider_row(ui: &mut Ui, name: &str, tip: &str, add: impl FnOnce(&mut Ui) -> egui::Response) {
    ui.horizontal(|ui| {
        row_label(ui, name, LABEL_WIDTH);
        let room = ui.available_width();
        let spacing = ui.spacing_mut();
        spacing.interact_size = egui::vec2(NUMBER_WIDTH, SLIDER_HEIGHT);
        spacing.button_padding.y = 3.0;
        spacing.slider_width = (room - NUMBER_WIDTH - theme::STEP).max(48.0);
        theme::fill_sliders(ui);
        ui.name_inputs(name, |ui| add(ui).accessible_name(name).on_hover_text(tip));
    });
}

fn kinds(ui: &mut Ui, form: &mut Form) {
    let sampler = ("Sampler", "How the noise is taken away, step by step");
    combo_row(ui, sampler, SamplerKind::ALL, &mut form.sampler, |kind| (kind.label(), kind.summary()));
    let schedule = ("Schedule", "Which noise levels the steps visit");
    combo_row(ui, schedule, ScheduleKind::ALL, &mut form.schedule, |kind| (kind.label(), kind.summary()));
}

/// A label and a list to choose from; `words` are an entry's name and what it is, which may be nothing.
pub fn combo_row<T: Copy + PartialEq>(
    ui: &mut Ui,
    (name, tip): (&str, &str),
    all: &[T],
    setting: &mut Setting<T>,
    words: impl Fn(T) -> (&'static str, &'static str),
) {
    ui.horizontal(|ui| {
        row_label(ui, name, LABEL_WIDTH);
        let combo = ComboBox::from_id_salt(name)
            .width(ui.available_width())
            .height(LIST_HEIGHT)
            .selected_text(words(setting.value).0);
        let response = combo
            .show_ui(ui, |ui| {
                for &kind in all {
                    let (name, summary) = words(kind);
                    let mut entry = ui.selectable_label(kind == setting.value, name);
                    if !summary.is_empty() {
                        entry = entry.on_hover_text(sentence(summary));
                    }
                    if entry.clicked() {
                        setting.choose(kind);
                    }
                }
            })
            .response;
        response.accessible_name(name).on_hover_text(tip);
    });
}

fn seed(ui: &mut Ui, form: &mut Form, errors: &[FieldError], actions: &mut Vec<Action>) {
    ui.horizontal(|ui| {
        row_label(ui, "Seed", LABEL_WIDTH);
        let width = ui.available_width() - 2.0 * (theme::CONTROL_HEIGHT + theme::STEP);
        let field = TextEdit::singleline(&mut form.seed)
            .hint_text("random")
            .margin(egui::vec2(8.0, 5.0))
            .desired_width(width)
            .min_size(egui::vec2(0.0, theme::CONTROL_HEIGHT));
        let response = ui.add(field).accessible_name("Seed");
        if response.changed() {
            form.is_seed_locked = !form.seed.trim().is_empty();
        }
        response.on_hover_text("The same seed and settings give the same picture; typing one locks it");
        if icon_button(ui, Icon::Dice, "Draw a new seed", "Draw a new seed and keep it").clicked() {
            actions.push(Action::DrawSeed);
        }
        let (icon, name, tip) = if form.is_seed_locked {
            (
                Icon::Locked,
                "Unlock the seed",
                "The seed is locked: every press uses it. Click to draw a new one each time",
            )
        } else {
            (Icon::Unlocked, "Lock the seed", "Every press draws a new seed. Click to keep the one shown")
        };
        if icon_button(ui, icon, name, tip).clicked() {
            form.is_seed_locked = !form.is_seed_locked;
        }
    });
    field_errors(ui, errors, &[Field::Seed]);
}

fn count(ui: &mut Ui, form: &mut Form) {
    ui.horizontal(|ui| {
        row_label(ui, "Count", LABEL_WIDTH);
        let drag = DragValue::new(&mut form.count).range(1..=Form::MAX_COUNT).speed(0.1);
        let width = ui.available_width();
        ui.add_sized([width, theme::CONTROL_HEIGHT], drag)
            .accessible_name("Count")
            .on_hover_text("How many pictures one press makes, with consecutive seeds");
    });
}
