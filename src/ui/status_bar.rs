//! The bar at the bottom: what is being done, how fast, and how long it will still take.

use egui::accesskit::Role;
use egui::{ProgressBar, RichText, Sides, Ui, WidgetInfo};

use super::theme::palette;
use crate::state::Studio;
use crate::state::model::ModelStatus;

/// Draws the bar.
pub fn show(ui: &mut Ui, studio: &Studio) {
    let (words, fraction) = status(studio);
    Sides::new().height(20.0).shrink_right().show(
        ui,
        |ui| {
            ui.label(words);
            let job = studio.queue.running().filter(|_| studio.model.waiting_for().is_none());
            if let Some((speed, left)) = job.and_then(crate::state::job::RunningJob::pace) {
                ui.label(RichText::new(speed).color(palette(ui).faint_text));
                ui.label(RichText::new(left).color(palette(ui).faint_text));
            }
        },
        |ui| {
            if let Some(fraction) = fraction {
                let bar = ProgressBar::new(fraction).desired_height(8.0).corner_radius(4).fill(palette(ui).accent);
                let response = ui.add(bar);
                response.widget_info(|| {
                    let mut info = WidgetInfo::labeled(Role::ProgressIndicator, true, "Progress");
                    info.value = Some(f64::from(fraction));
                    info
                });
            }
        },
    );
}

/// In words, and as a share when that is known.
fn status(studio: &Studio) -> (String, Option<f32>) {
    if !studio.is_engine_alive {
        return ("The engine has ended".to_owned(), None);
    }
    if let Some(words) = studio.model.waiting_for() {
        let fraction = match &studio.model {
            ModelStatus::Loading { fraction, .. } => *fraction,
            _ => 0.0,
        };
        return (words, Some(fraction));
    }
    if let Some(job) = studio.queue.running() {
        return (job.words(), Some(job.fraction()));
    }
    match &studio.model {
        model if model.is_missing() && studio.waiting_count() > 0 => {
            (format!("No model is loaded; {} in the queue wait for one", studio.waiting_count()), None)
        }
        model if model.is_missing() => ("No model is loaded".to_owned(), None),
        _ => ("Ready".to_owned(), None),
    }
}
