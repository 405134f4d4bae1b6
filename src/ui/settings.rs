//! The settings: look, size of everything, previews, precision, gallery folder, exported JPEGs.

use egui::{Id, Modal, RichText, Ui};

use super::theme::{self, palette};
use super::widgets::{faint, section};
use crate::gallery::message::JpegQuality;
use crate::request::{DeviceChoice, Precision, PrecisionChoice, ThreadCount};
use crate::state::Studio;
use crate::state::action::{Action, Question};
use crate::state::previews::PreviewChoice;
use crate::state::settings::{Settings, ThemeChoice};

/// Title, button and margins, above and below the settings.
const ROOM_AROUND: f32 = 140.0;

/// Whether the settings are open.
#[derive(Debug, Default)]
pub struct SettingsWindow {
    is_open: bool,
}

impl SettingsWindow {
    /// Opens or closes the settings.
    pub fn toggle(&mut self) {
        self.is_open = !self.is_open;
    }

    /// True while they are open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Draws the settings when they are open.
    pub fn show(&mut self, ui: &Ui, studio: &Studio, actions: &mut Vec<Action>) {
        if !self.is_open {
            return;
        }
        let modal = Modal::new(Id::unique("settings")).frame(egui::Frame::window(ui.style())).show(ui, |ui| {
            ui.set_width(360.0);
            ui.label(RichText::new("Settings").heading());
            ui.add_space(theme::HALF_STEP);
            // What does not fit into a small window is scrolled; the title and the button stay.
            let most = ui.ctx().content_rect().height() - ROOM_AROUND;
            // Whatever room the window has had in the frame before.
            let area = egui::ScrollArea::vertical().max_height(most).min_scrolled_height(most);
            area.show(ui, |ui| {
                look(ui, studio, actions);
                previews(ui, studio, actions);
                device(ui, studio, actions);
                precision(ui, studio, actions);
                threads(ui, studio, actions);
                folder(ui, studio, actions);
                jpeg_quality(ui, studio, actions);
            });
            ui.add_space(theme::STEP);
            ui.button("Close").on_hover_text("Close the settings (Esc)").clicked()
        });
        if modal.inner || modal.should_close() {
            self.is_open = false;
        }
    }
}

fn look(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    section(ui, "Look");
    ui.horizontal(|ui| {
        for theme in ThemeChoice::ALL {
            let response = ui.selectable_label(studio.settings.theme == theme, theme.label());
            if response.on_hover_text(format!("Look: {}", theme.label())).clicked() {
                actions.push(Action::SetTheme(theme));
            }
        }
    });
    section(ui, "Size of text and controls");
    ui.horizontal(|ui| {
        for scale in Settings::SCALES {
            let is_chosen = (studio.settings.ui_scale - scale).abs() < 0.01;
            let words = format!("{:.0} %", scale * 100.0);
            if ui.selectable_label(is_chosen, &words).on_hover_text(format!("Draw everything at {words}")).clicked() {
                actions.push(Action::SetScale(scale));
            }
        }
    });
}

fn previews(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    section(ui, "Pictures in progress");
    let chosen = &studio.settings.previews;
    ui.horizontal(|ui| {
        let tips = [
            (
                PreviewChoice::Automatic,
                "Automatic",
                "Sharp where the model folders hold a TAESD for the model, else rough",
            ),
            (PreviewChoice::Quick, "Quick", "Rough colours, at no cost"),
        ];
        for (choice, words, tip) in tips {
            if ui.selectable_label(*chosen == choice, words).on_hover_text(tip).clicked() {
                actions.push(Action::SetPreviews(choice));
            }
        }
        let is_file = matches!(chosen, PreviewChoice::File(_));
        let tip = "Choose a TAESD, a small decoder; it may take a tenth of the time of the steps";
        if ui.selectable_label(is_file, "TAESD file…").on_hover_text(tip).clicked() {
            actions.push(Action::Ask(Question::PreviewDecoder));
        }
    });
    ui.add(egui::Label::new(RichText::new(studio.previews_in_words()).color(palette(ui).faint_text)).wrap());
}

/// Only where there is a card, or one was chosen.
fn device(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    let chosen = studio.settings.device;
    let others = (!studio.devices.contains(&chosen)).then_some(chosen);
    let devices: Vec<DeviceChoice> = studio.devices.iter().copied().chain(others).collect();
    if !has_cards(studio) {
        return;
    }
    section(ui, "Computed on");
    ui.horizontal_wrapped(|ui| {
        for choice in devices {
            let (words, tip) = match choice {
                DeviceChoice::Auto => ("Automatic".to_owned(), "The first card that can be used, else the processor"),
                DeviceChoice::Cpu => ("Processor".to_owned(), "Slower, and in the machine's own memory"),
                DeviceChoice::Cuda(number) => (format!("NVIDIA card {number}"), "The number is the driver's"),
                DeviceChoice::Metal => ("Metal".to_owned(), "This Mac's graphics"),
            };
            let response = ui.selectable_label(chosen == choice, &words).on_hover_text(tip);
            // "Automatic" stands in other sections too.
            let name = format!("Computed on: {words}");
            if response.accessible_name(name).clicked() {
                actions.push(Action::SetDevice(choice));
            }
        }
    });
    faint(ui, "A change loads the model again");
}

fn has_cards(studio: &Studio) -> bool {
    let is_card = |choice: &DeviceChoice| matches!(choice, DeviceChoice::Cuda(_) | DeviceChoice::Metal);
    studio.devices.iter().chain([&studio.settings.device]).any(is_card)
}

fn precision(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    section(ui, "Precision");
    ui.horizontal(|ui| {
        for (choice, words, tip) in [
            (PrecisionChoice::Automatic, "Automatic", "The faster one on this machine"),
            (PrecisionChoice::Always(Precision::F32), "f32", "The reference, in twice the memory"),
            (
                PrecisionChoice::Always(Precision::Bf16),
                "bf16",
                "Half the memory; pictures differ a little, hardly to the eye",
            ),
            (
                PrecisionChoice::Always(Precision::Int8),
                "int8",
                "The fastest where the processor multiplies bytes (VNNI); pictures differ, details to the eye",
            ),
            (PrecisionChoice::Always(Precision::F16), "f16", "For cards without bf16: half the memory"),
        ] {
            if choice == PrecisionChoice::Always(Precision::F16) && !has_cards(studio) {
                continue;
            }
            let response = ui.selectable_label(studio.settings.precision == choice, words);
            if response.on_hover_text(format!("{tip}. A change loads the model again")).clicked() {
                actions.push(Action::SetPrecision(choice));
            }
        }
    });
    if let Some(facts) = studio.model.facts().filter(|_| studio.settings.precision == PrecisionChoice::Automatic) {
        let words = format!("On this machine Automatic means {}", facts.precision.label());
        ui.label(RichText::new(words).color(palette(ui).faint_text));
    }
}

fn threads(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    section(ui, "Threads");
    ui.horizontal(|ui| {
        let chosen = studio.settings.threads;
        let automatic = ui.selectable_label(chosen == ThreadCount::default(), "One for each core");
        if automatic.on_hover_text("The fastest, as a rule").clicked() {
            actions.push(Action::SetThreads(ThreadCount::default()));
        }
        let mut count = chosen.get().unwrap_or(1);
        let label = ui.selectable_label(chosen.get().is_some(), "As many as");
        let tip = "Fewer leave more of the machine to other programs";
        let field = ui.add(egui::DragValue::new(&mut count).range(1..=ThreadCount::MAX).speed(0.1));
        let field = field.accessible_name("Threads").on_hover_text(tip);
        if (field.changed() || label.on_hover_text(tip).clicked())
            && let Ok(count) = ThreadCount::new(count)
        {
            actions.push(Action::SetThreads(count));
        }
    });
    faint(ui, "Counts from the next start of Calotype");
}

fn folder(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    section(ui, "Gallery folder");
    if let Some(folder) = &studio.gallery.folder {
        ui.add(egui::Label::new(RichText::new(folder.display().to_string()).color(palette(ui).faint_text)).wrap());
    } else {
        faint(ui, "Not read yet");
    }
    ui.horizontal(|ui| {
        if ui.button("Choose a folder…").on_hover_text("Keep pictures in another folder from now on").clicked() {
            actions.push(Action::Ask(Question::GalleryFolder));
        }
        let is_other = studio.settings.gallery_folder.is_some();
        let button = ui.add_enabled(is_other, egui::Button::new("Use the usual folder"));
        if button.on_hover_text("Keep pictures where Calotype usually keeps them").clicked() {
            actions.push(Action::UseUsualGallery);
        }
    });
}

fn jpeg_quality(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    section(ui, "Quality of exported JPEGs");
    let mut quality = studio.settings.jpeg_quality.get();
    let slider = egui::Slider::new(&mut quality, JpegQuality::MIN..=JpegQuality::MAX);
    let response = ui.add(slider).on_hover_text("Higher keeps more and takes more bytes; PNG and WebP keep everything");
    response.widget_info(|| egui::WidgetInfo::slider(true, f64::from(quality), "Quality of exported JPEGs"));
    if response.changed()
        && let Ok(quality) = JpegQuality::new(quality)
    {
        actions.push(Action::SetJpegQuality(quality));
    }
}
