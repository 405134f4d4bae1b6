//! The folded part of the left panel: what most pictures want as it is.

use egui::{CollapsingHeader, DragValue, Slider, TextEdit, Ui};

use super::accelerations;
use super::controls::{LABEL_WIDTH, combo_row, slider_row};
use super::theme;
use super::widgets::{field_errors, row_label};
use crate::request::{
    ClipSkip, Dialect, Emphasis, GuidanceRescale, ImageSize, LONGEST_TOLD, MicroConditioning, NoiseSourceKind,
    SamplerKind, SamplerOptions, Seed, SeedOptions, ToldSize, Variation, VariationStrength,
};
use crate::state::fine::FineSettings;
use crate::state::form::{Field, FieldError, Form, Setting};

/// Draws it.
pub fn show(ui: &mut Ui, form: &mut Form, is_xl: bool, errors: &[FieldError]) {
    let usual = Form::default();
    let is_usual = (form.clip_skip, form.dialect, form.emphasis, form.noise_source, &form.fine)
        == (usual.clip_skip, usual.dialect, usual.emphasis, usual.noise_source, &usual.fine);
    let name = if is_usual { "More settings" } else { "More settings (changed)" };
    let response = CollapsingHeader::new(name).id_salt("more settings").show(ui, |ui| {
        clip_skip(ui, form);
        let mut dialect = Setting { value: form.dialect, is_users: true };
        let names = ("Language", "Whose program the prompts are written for: what their brackets and signs mean");
        combo_row(ui, names, Dialect::ALL, &mut dialect, |dialect| (dialect.label(), ""));
        form.speak(dialect.value);
        let mut emphasis = Setting { value: form.emphasis, is_users: true };
        let names = ("Emphasis", "What the weights in the prompts do");
        combo_row(ui, names, Emphasis::ALL, &mut emphasis, |emphasis| (emphasis.label(), ""));
        form.emphasis = emphasis.value;
        rescale(ui, &mut form.fine);
        solver(ui, form.sampler.value, &mut form.fine.sampler_options);
        sigmas(ui, &mut form.fine, errors);
        let mut noise = Setting { value: form.noise_source, is_users: true };
        let names =
            ("Noise", "The generator of the noise: a seed of AUTOMATIC1111 means its GPU noise unless it says CPU");
        combo_row(ui, names, NoiseSourceKind::ALL, &mut noise, |source| (source.label(), source.summary()));
        form.noise_source = noise.value;
        variation(ui, &mut form.fine.seed_options);
        resized_noise(ui, &mut form.fine.seed_options);
        delta(ui, &mut form.fine.seed_options);
        if is_xl {
            told_sizes(ui, &mut form.fine.micro_conditioning);
        }
        accelerations::show(ui, &mut form.fine.accelerations);
    });
    if response.body_returned.is_none() {
        // What is wrong must be seen also where it is folded away.
        field_errors(ui, errors, &[Field::Sigmas]);
    }
}

fn clip_skip(ui: &mut Ui, form: &mut Form) {
    ui.horizontal(|ui| {
        row_label(ui, "Clip skip", LABEL_WIDTH);
        let mut layer = form.clip_skip.get();
        let drag = DragValue::new(&mut layer).range(ClipSkip::MIN..=ClipSkip::MAX).speed(0.1);
        let width = ui.available_width();
        ui.add_sized([width, theme::CONTROL_HEIGHT], drag)
            .accessible_name("Clip skip")
            .on_hover_text("Which layer of the text encoder is taken, counted from its end; some models want 2");
        if let Ok(layer) = ClipSkip::new(layer) {
            form.clip_skip = layer;
        }
    });
}

fn rescale(ui: &mut Ui, fine: &mut FineSettings) {
    let tip = "Keeps strong guidance from overdriving contrast; models with zero terminal SNR want about 0.7";
    let share = number_row(ui, ("Rescale", tip), fine.guidance_rescale.get(), 0.0..=1.0);
    fine.guidance_rescale = GuidanceRescale::new(share).unwrap_or(fine.guidance_rescale);
}

/// Only what this solver looks at.
fn solver(ui: &mut Ui, kind: SamplerKind, options: &mut SamplerOptions) {
    if let Some(usual) = kind.usual_eta() {
        let tip = format!("The share of fresh noise in a step; {} takes {usual} unless told", kind.label());
        let eta = number_row(ui, ("Eta", &tip), options.eta().unwrap_or(usual), 0.0..=1.0);
        if eta != options.eta().unwrap_or(usual) {
            *options = options.with_eta(eta).unwrap_or(*options);
        }
    }
    if kind.takes_churn() {
        let tip = "Noise put on top before the steps, and taken away again";
        let churn = number_row(ui, ("Churn", tip), options.churn(), 0.0..=SamplerOptions::MOST_CHURN);
        *options = options.with_churn(churn, options.churn_from(), options.churn_to()).unwrap_or(*options);
    }
    if kind.may_add_noise() {
        let tip = "A factor on all noise that the sampler adds";
        let factor = number_row(ui, ("Noise ×", tip), options.noise_factor(), 0.0..=SamplerOptions::MOST_NOISE);
        *options = options.with_noise_factor(factor).unwrap_or(*options);
    }
}

fn sigmas(ui: &mut Ui, fine: &mut FineSettings, errors: &[FieldError]) {
    ui.horizontal(|ui| {
        row_label(ui, "Sigmas", LABEL_WIDTH);
        let field = TextEdit::singleline(&mut fine.sigmas).hint_text("as scheduled").margin(egui::vec2(8.0, 5.0));
        ui.add_sized([ui.available_width(), theme::CONTROL_HEIGHT], field).accessible_name("Sigmas").on_hover_text(
            "Noise levels by hand, falling: 14.6, 7, 3, 1, 0. They take the place of schedule and steps",
        );
    });
    field_errors(ui, errors, &[Field::Sigmas]);
}

fn variation(ui: &mut Ui, options: &mut SeedOptions) {
    let strength = options.variation.map_or(0.0, |variation| variation.strength.get());
    let tip = "How much of another seed's noise is mixed in: nearby pictures of one seed";
    let strength = number_row(ui, ("Variation", tip), strength, 0.0..=1.0);
    let mut seed = options.variation.map_or(0, |variation| variation.seed.0);
    if strength > 0.0 {
        ui.horizontal(|ui| {
            row_label(ui, "Its seed", LABEL_WIDTH);
            let drag = DragValue::new(&mut seed).speed(1.0);
            let width = ui.available_width();
            ui.add_sized([width, theme::CONTROL_HEIGHT], drag).accessible_name("Variation seed").on_hover_text(
                "The other seed; with a count above one it is this that goes on, and the seed that stays",
            );
        });
    }
    let is_none = strength == 0.0 && seed == 0;
    let made = VariationStrength::new(strength).ok().filter(|_| !is_none);
    options.variation = made.map(|strength| Variation { seed: Seed(seed), strength });
}

fn resized_noise(ui: &mut Ui, options: &mut SeedOptions) {
    let size = options.resize_from.map_or((0, 0), |size| (size.width(), size.height()));
    let tip =
        "Puts the noise of this size into the middle, so that a seed keeps its picture at another size; 0 for none";
    let names = ["Width of the noise", "Height of the noise"];
    let (width, height) = pixels_row(ui, ("Noise of", tip), names, (size, "own size"));
    let nothing = (width == 0 && size.0 != 0) || (height == 0 && size.1 != 0) || (width, height) == (0, 0);
    options.resize_from = (!nothing).then(|| ImageSize::nearest(width, height));
}

fn delta(ui: &mut Ui, options: &mut SeedOptions) {
    ui.horizontal(|ui| {
        row_label(ui, "ENSD", LABEL_WIDTH);
        let drag = DragValue::new(&mut options.noise_delta).speed(1.0);
        let width = ui.available_width();
        ui.add_sized([width, theme::CONTROL_HEIGHT], drag).accessible_name("Noise seed delta").on_hover_text(
            "AUTOMATIC1111's eta noise seed delta: the sampler's own noise has the seed plus this; 0 for none",
        );
    });
}

/// What Stable Diffusion XL is told.
fn told_sizes(ui: &mut Ui, told: &mut MicroConditioning) {
    let sides = |size: Option<ToldSize>| size.map_or((0, 0), <(u32, u32)>::from);
    let as_size = |sides: (u32, u32), before: (u32, u32)| match sides {
        (0, 0) => None,
        // A side at 0 takes the other with it.
        (0, _) if before.0 != 0 => None,
        (_, 0) if before.1 != 0 => None,
        (width, height) => {
            ToldSize::new(if width == 0 { height } else { width }, if height == 0 { width } else { height }).ok()
        }
    };
    let tip = "The size that the model is told the picture had before it was scaled: small ones blur, large ones sharpen; 0 \
               for the picture's own";
    let before = sides(told.original_size);
    let names = ["Told original width", "Told original height"];
    told.original_size = as_size(pixels_row(ui, ("Original", tip), names, (before, "own size")), before);
    let tip = "What the model is told was cut off at the top and at the left: more moves the subject off the picture";
    let crop =
        pixels_row(ui, ("Crop", tip), ["Told crop at the top", "Told crop at the left"], (told.crop.into(), "0"));
    told.crop = crop.try_into().unwrap_or(told.crop);
    let tip = "The size that the model is told the picture was cut to; 0 for the picture's own";
    let before = sides(told.target_size);
    let names = ["Told target width", "Told target height"];
    told.target_size = as_size(pixels_row(ui, ("Target", tip), names, (before, "own size")), before);
}

/// Two numbers of pixels beside each other; `zero` is what is written for 0.
fn pixels_row(
    ui: &mut Ui,
    (label, tip): (&str, &str),
    names: [&str; 2],
    ((mut first, mut second), zero): ((u32, u32), &str),
) -> (u32, u32) {
    ui.horizontal(|ui| {
        row_label(ui, label, LABEL_WIDTH);
        let room = (ui.available_width() - ui.spacing().item_spacing.x) / 2.0;
        for (name, side) in names.into_iter().zip([&mut first, &mut second]) {
            let drag = DragValue::new(side).speed(4.0).range(0..=LONGEST_TOLD).custom_formatter(|side, _| match side {
                0.0 => zero.to_owned(),
                _ => format!("{side}"),
            });
            ui.add_sized([room, theme::CONTROL_HEIGHT], drag).accessible_name(name).on_hover_text(tip);
        }
    });
    (first, second)
}

/// A slider for a share or a factor.
fn number_row(ui: &mut Ui, (name, tip): (&str, &str), value: f64, range: std::ops::RangeInclusive<f64>) -> f64 {
    let mut changed = value;
    slider_row(ui, name, tip, |ui| ui.add(Slider::new(&mut changed, range).fixed_decimals(2)));
    changed
}
