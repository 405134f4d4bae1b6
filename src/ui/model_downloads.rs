//! Models from the network: the field for what to fetch, and a row for each download.

use egui::accesskit::Role;
use egui::{Id, Key, ProgressBar, RichText, Sides, TextEdit, Ui, WidgetInfo};

use super::theme::{self, palette};
use super::{model_browser, widgets};
use crate::downloads::message::Wanted;
use crate::library::message::size_for_people;
use crate::state::Studio;
use crate::state::action::Action;
use crate::state::downloads::{Download, Stage};

/// Width of the bar of a download, in points.
const BAR_WIDTH: f32 = 240.0;

/// Width of the button beside the field, in points.
const BUTTON_WIDTH: f32 = 84.0;

/// What is typed into the field.
#[derive(Default)]
pub struct DownloadField {
    text: String,
}

/// Draws the field and the rows.
pub fn show(ui: &mut Ui, studio: &Studio, field: &mut DownloadField, actions: &mut Vec<Action>) {
    self::field(ui, field, actions);
    ui.add_space(theme::STEP);
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        for download in studio.downloads.rows.iter().rev() {
            ui.push_id(download.id.0, |ui| row(ui, studio, download, actions));
        }
    });
}

fn field(ui: &mut Ui, field: &mut DownloadField, actions: &mut Vec<Action>) {
    let wanted = ui.horizontal(|ui| {
        let room = (ui.available_width() - BUTTON_WIDTH - theme::STEP).max(160.0);
        let edit = TextEdit::singleline(&mut field.text)
            .id(Id::unique("what to download"))
            .hint_text(RichText::new("org/name, org/name/file, or an address").color(palette(ui).faint_text))
            .margin(egui::vec2(8.0, 5.0))
            .desired_width(room);
        let response = ui.add(edit).accessible_name("Hugging Face id or address");
        // What came with the same frame as Enter counts.
        let wanted = field.text.parse::<Wanted>();
        let is_entered = response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let is_clicked = ui
            .add_enabled_ui(wanted.is_ok(), |ui| {
                let tip = "Fetch it into Calotype's model folder";
                widgets::primary_button(ui, "Download", String::new()).on_hover_text(tip).clicked()
            })
            .inner;
        if let Ok(wanted) = &wanted
            && (is_clicked || is_entered)
        {
            actions.push(Action::Download(wanted.clone()));
            field.text.clear();
        }
        wanted
    });
    let is_empty = field.text.trim().is_empty();
    match wanted.inner {
        Err(error) if !is_empty => {
            ui.label(RichText::new(error.to_string()).small().color(palette(ui).error));
        }
        _ => _ = widgets::faint(ui, "A Hugging Face id, its page, a file in it, or the address of a file"),
    }
}

fn row(ui: &mut Ui, studio: &Studio, download: &Download, actions: &mut Vec<Action>) {
    let what = download.what.to_string();
    Sides::new().shrink_left().truncate().show(
        ui,
        |ui| ui.label(RichText::new(&download.name).strong()).on_hover_text(&what),
        |ui| buttons(ui, studio, download, actions),
    );
    let colours = palette(ui);
    match &download.stage {
        Stage::Queued => _ = widgets::faint(ui, "Waits for those before it"),
        Stage::Running { words, .. } => {
            if let Some(fraction) = download.fraction() {
                let bar = ProgressBar::new(fraction).desired_width(BAR_WIDTH).desired_height(8.0).corner_radius(4);
                let response = ui.add(bar.fill(colours.accent));
                response.widget_info(|| {
                    let name = format!("{} of {}", size_of(download), download.name);
                    let mut info = WidgetInfo::labeled(Role::ProgressIndicator, true, name);
                    info.value = Some(f64::from(fraction));
                    info
                });
            }
            let facts: Vec<String> = facts(download).into_iter().chain(words.clone()).collect();
            widgets::faint(ui, facts.join(" · "));
        }
        Stage::Finished(path) => _ = widgets::faint(ui, path.display().to_string()),
        Stage::Cancelled => _ = widgets::faint(ui, "Cancelled; what has come is kept"),
        Stage::Failed(error) => _ = ui.label(RichText::new(error).small().color(colours.error)),
    }
    ui.separator();
}

fn buttons(ui: &mut Ui, studio: &Studio, download: &Download, actions: &mut Vec<Action>) {
    let id = download.id;
    if download.stage.is_open() {
        if ui.button("Cancel").on_hover_text("End it; what has come is kept").clicked() {
            actions.push(Action::CancelDownload(id));
        }
        return;
    }
    if ui.button("Dismiss").on_hover_text("Take it off this list; no file is touched").clicked() {
        actions.push(Action::DismissDownload(id));
    }
    match &download.stage {
        Stage::Finished(path) => {
            if ui.button("Show").on_hover_text("Show it in the file manager").clicked() {
                actions.push(Action::ShowInFolder(path.clone()));
            }
            // What it is shows as soon as the library has read it.
            let action = studio.library.index.at(path).and_then(model_browser::use_of);
            if let Some(action) = action {
                let is_model = matches!(action, Action::LoadModel(_));
                let (words, tip) = if is_model {
                    ("Load", "Draw with this model")
                } else {
                    ("Into the prompt", "Put it into the prompt")
                };
                if widgets::primary_button(ui, words, String::new()).on_hover_text(tip).clicked() {
                    actions.push(action);
                }
            }
        }
        _ => {
            if ui.button("Try again").on_hover_text("Go on where it stopped").clicked() {
                actions.push(Action::DownloadAgain(id));
            }
        }
    }
}

/// "1.2 GB of 4.3 GB".
fn size_of(download: &Download) -> String {
    match download.stage {
        Stage::Running { done, total: Some(total), .. } => {
            format!("{} of {}", size_for_people(done), size_for_people(total))
        }
        Stage::Running { done, .. } if done > 0 => size_for_people(done),
        _ => String::new(),
    }
}

/// Size, speed and time left, as far as they are known.
fn facts(download: &Download) -> Vec<String> {
    let mut facts = vec![size_of(download)];
    if let Stage::Running { bytes_per_second, .. } = download.stage
        && bytes_per_second > 0.0
    {
        facts.push(format!("{}/s", size_for_people(bytes_per_second as u64)));
    }
    facts.extend(download.seconds_left().map(|seconds| format!("{} left", time_for_people(seconds))));
    facts.retain(|fact| !fact.is_empty());
    facts
}

/// "40 s", "3 min", "2 h 10 min".
fn time_for_people(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

/// What goes on, in a few words, while something is fetched.
pub fn in_short(studio: &Studio) -> Option<String> {
    let download = studio.downloads.running()?;
    let share = download.fraction().map(|fraction| format!(" {:.0} %", fraction * 100.0)).unwrap_or_default();
    Some(format!("Downloading {}{share}", download.name))
}
