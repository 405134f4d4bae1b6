//! The library in the window: search, kinds, the list, what is chosen, and the folders.

use std::path::PathBuf;
use std::sync::Arc;

use egui::{Button, Id, Key, Modal, Modifiers, RichText, Sides, TextEdit, Ui};

use super::icons::{Icon, icon_button};
use super::theme::{self, palette};
use super::{Panels, model_details, model_downloads, model_rows, widgets};
use crate::library::index::LibraryIndex;
use crate::library::message::{Activity, Entry, Folder, KindGroup};
use crate::state::Studio;
use crate::state::action::{Action, Question};
use crate::state::model::ModelSource;
use crate::state::previews::PreviewChoice;

/// Width of the column beside the list, in points.
const DETAILS_WIDTH: f32 = 264.0;
/// The kinds that have a button of their own.
const OFFERED: [KindGroup; 4] = [KindGroup::Checkpoint, KindGroup::Lora, KindGroup::Embedding, KindGroup::Vae];

/// What is shown of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    Models,
    Folders,
    Downloads,
}

/// How the library is looked at.
#[derive(Default)]
pub struct ModelBrowser {
    /// None while it is closed.
    page: Option<Page>,
    /// True until the search has the focus for the first time.
    is_new: bool,
    query: String,
    group: Option<KindGroup>,
    /// The entry that is chosen.
    pub(super) chosen: Option<PathBuf>,
    /// True when the list is to bring it into sight.
    pub(super) follows_chosen: bool,
    found: Found,
    download: model_downloads::DownloadField,
}

/// The entries that the search leaves, kept until something of it changes.
#[derive(Default)]
struct Found {
    index: Arc<LibraryIndex>,
    query: String,
    group: Option<KindGroup>,
    entries: Vec<Arc<Entry>>,
}

impl ModelBrowser {
    /// Opens it, or closes it.
    pub fn toggle(&mut self) {
        self.page = if self.is_open() { None } else { Some(Page::Models) };
        self.is_new = self.is_open();
    }

    /// True while it is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.page.is_some()
    }

    fn shows_models(&self) -> bool {
        self.page == Some(Page::Models)
    }

    fn find(&mut self, index: &Arc<LibraryIndex>) {
        let found = &mut self.found;
        if Arc::ptr_eq(&found.index, index) && found.query == self.query && found.group == self.group {
            return;
        }
        let query = self.query.to_lowercase();
        let words: Vec<&str> = query.split_whitespace().collect();
        let group = self.group;
        let is_found = |entry: &&Arc<Entry>| {
            group.is_none_or(|group| entry.group == group) && words.iter().all(|word| has_word(entry, word))
        };
        let entries = index.entries.iter().filter(is_found).cloned().collect();
        *found = Found { index: Arc::clone(index), query: self.query.clone(), group, entries };
    }

    fn chosen_at(&self) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        self.found.entries.iter().position(|entry| &entry.path == chosen)
    }

    fn choose_at(&mut self, at: usize) {
        self.chosen = self.found.entries.get(at).map(|entry| entry.path.clone());
        self.follows_chosen = true;
    }
}

/// True when the word, in lower case, is in what the list or the notes say.
fn has_word(entry: &Entry, word: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(word);
    let of_card = || {
        let Some(card) = entry.known() else { return false };
        let family = card.family.is_some_and(|family| has(family.label()));
        family || [&card.notes.title, &card.notes.alias].into_iter().flatten().any(|text| has(text))
    };
    let is_hash = || entry.hashes.as_ref().is_some_and(|hashes| word.len() >= 4 && hashes.sha256.starts_with(word));
    has(&entry.name) || of_card() || is_hash() || entry.notes.trigger_words.iter().any(|text| has(text))
}

/// What Enter and a double click do with an entry.
pub(super) fn use_of(entry: &Entry) -> Option<Action> {
    entry.known()?;
    match entry.group {
        KindGroup::Checkpoint | KindGroup::UNet => Some(Action::LoadModel(ModelSource::OnDisk(entry.path.clone()))),
        KindGroup::Lora | KindGroup::Embedding => Some(Action::InsertIntoPrompt(entry.path.clone())),
        KindGroup::Taesd => Some(Action::SetPreviews(PreviewChoice::File(entry.path.clone()))),
        _ => None,
    }
}

/// Draws the library when it is open.
pub fn show(ui: &Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    if !panels.models.is_open() {
        return;
    }
    let room = ui.ctx().content_rect().size();
    let size = egui::vec2((room.x - 80.0).min(1080.0), (room.y - 96.0).min(720.0));
    let modal = Modal::new(Id::unique("models")).frame(egui::Frame::window(ui.style())).show(ui, |ui| {
        ui.set_min_size(size);
        ui.set_max_size(size);
        panels.models.find(&studio.library.index);
        let used = keys(ui, panels);
        let is_closed = heading(ui, studio, &mut panels.models, actions);
        ui.separator();
        let body = egui::vec2(size.x, ui.available_height() - theme::CONTROL_HEIGHT - theme::STEP);
        ui.allocate_ui(body, |ui| {
            ui.set_min_size(body);
            match panels.models.page {
                Some(Page::Folders) => folders(ui, studio, actions),
                Some(Page::Downloads) => model_downloads::show(ui, studio, &mut panels.models.download, actions),
                _ => models(ui, studio, panels, actions),
            }
        });
        let is_closed = footer(ui, studio, &mut panels.models) || is_closed;
        let has_loaded = used.is_some_and(|action| {
            let loads = matches!(action, Action::LoadModel(_));
            actions.push(action);
            loads
        });
        is_closed || has_loaded
    });
    let loads = actions.iter().any(|action| matches!(action, Action::LoadModel(_)));
    if modal.inner || loads || modal.should_close() {
        panels.models.page = None;
    }
}

/// Up and down choose, Enter uses; read before the search field sees them.
fn keys(ui: &Ui, panels: &mut Panels) -> Option<Action> {
    let browser = &mut panels.models;
    let count = browser.found.entries.len();
    if !browser.shows_models() || count == 0 {
        return None;
    }
    let pressed = |key| ui.input_mut(|input| input.consume_key(Modifiers::NONE, key));
    let page = 8;
    for (key, forward, by) in
        [(Key::ArrowDown, true, 1), (Key::ArrowUp, false, 1), (Key::PageDown, true, page), (Key::PageUp, false, page)]
    {
        if pressed(key) {
            let at = browser.chosen_at();
            let next = if forward { at.map_or(0, |at| at + by) } else { at.unwrap_or(0).saturating_sub(by) };
            browser.choose_at(next.min(count - 1));
        }
    }
    // A focused button takes Enter for itself.
    let is_free = ui.ctx().text_edit_focused() || ui.memory(egui::Memory::focused).is_none();
    let chosen = browser.chosen_at().and_then(|at| browser.found.entries.get(at));
    chosen.filter(|_| is_free && pressed(Key::Enter)).and_then(|entry| use_of(entry))
}

fn heading(ui: &mut Ui, studio: &Studio, browser: &mut ModelBrowser, actions: &mut Vec<Action>) -> bool {
    let mut is_closed = false;
    Sides::new().shrink_left().show(
        ui,
        |ui| {
            let title = match browser.page {
                Some(Page::Folders) => "Model folders",
                Some(Page::Downloads) => "Download a model",
                _ => "Models",
            };
            ui.label(RichText::new(title).heading());
            if browser.shows_models() {
                search(ui, browser);
                kinds(ui, browser);
            }
        },
        |ui| {
            is_closed = icon_button(ui, Icon::Cross, "Close the models", "Close (Esc)").clicked();
            if icon_button(ui, Icon::Again, "Read the model folders again", "Look at the folders again").clicked() {
                actions.push(Action::ReadModelsAgain);
            }
        },
    );
    browser.find(&studio.library.index);
    is_closed
}

fn search(ui: &mut Ui, browser: &mut ModelBrowser) {
    let field = TextEdit::singleline(&mut browser.query)
        .id(Id::unique("search models"))
        .hint_text(RichText::new("Search").color(palette(ui).faint_text))
        .margin(egui::vec2(8.0, 5.0))
        .desired_width(168.0);
    let response = ui.add(field).accessible_name("Search models");
    if browser.is_new {
        // What is asked for in the first frame, which only measures, does not last.
        browser.is_new = !response.has_focus();
        response.request_focus();
    }
}

fn kinds(ui: &mut Ui, browser: &mut ModelBrowser) {
    if ui.selectable_label(browser.group.is_none(), "All").on_hover_text("Everything in the folders").clicked() {
        browser.group = None;
    }
    for group in OFFERED {
        let response = ui.selectable_label(browser.group == Some(group), format!("{}s", group.label()));
        if response.on_hover_text(format!("Only {}s", group.label())).clicked() {
            browser.group = Some(group);
        }
    }
}

fn models(ui: &mut Ui, studio: &Studio, panels: &mut Panels, actions: &mut Vec<Action>) {
    let entries = std::mem::take(&mut panels.models.found.entries);
    if entries.is_empty() {
        empty(ui, studio, actions);
    } else {
        let size = ui.available_size();
        ui.horizontal_top(|ui| {
            let list = egui::vec2(size.x - DETAILS_WIDTH - 2.0 * theme::STEP, size.y);
            ui.allocate_ui(list, |ui| {
                ui.set_min_size(list);
                ui.vertical(|ui| model_rows::show(ui, studio, &entries, panels, actions));
            });
            let chosen = panels.models.chosen.as_ref();
            let chosen = chosen.and_then(|path| entries.iter().find(|entry| &entry.path == path)).cloned();
            ui.allocate_ui(egui::vec2(DETAILS_WIDTH, size.y), |ui| {
                ui.set_width(DETAILS_WIDTH);
                ui.vertical(|ui| match &chosen {
                    Some(entry) => model_details::show(ui, studio, entry, panels, actions),
                    None => _ = widgets::faint(ui, "Choose one to see what it is; Enter or a double click uses it"),
                });
            });
        });
    }
    panels.models.found.entries = entries;
}

/// Why there is nothing to see, and what to do about it.
fn empty(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    ui.add_space(4.0 * theme::STEP);
    let library = &studio.library;
    if !library.index.entries.is_empty() {
        ui.vertical_centered(|ui| {
            ui.label("Nothing has these words");
            widgets::faint(ui, format!("There are {} files of all kinds", library.index.entries.len()));
        });
        return;
    }
    ui.vertical_centered(|ui| {
        if !library.is_listed || matches!(library.index.activity, Activity::Scanning { .. }) {
            ui.label(if library.has_ended {
                "The library has ended: start Calotype again"
            } else {
                "Reading the folders…"
            });
            return;
        }
        ui.label(RichText::new("No models yet").strong());
        let own = library.index.folders.iter().find(|folder| folder.is_own);
        let own = own.map(|folder| format!(" Or put files into {}.", folder.path.display())).unwrap_or_default();
        ui.label(
            RichText::new(format!(
                "Add the folder in which your models lie. Those of AUTOMATIC1111, Forge, ComfyUI and Fooocus are \
                 understood as they are; nothing is copied or changed.{own} \"Download…\" below fetches one."
            ))
            .color(palette(ui).faint_text),
        );
        ui.add_space(theme::STEP);
        if widgets::primary_button(ui, "Add folder…", String::new()).clicked() {
            actions.push(Action::Ask(Question::LibraryFolder));
        }
    });
}

fn folders(ui: &mut Ui, studio: &Studio, actions: &mut Vec<Action>) {
    egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
        for folder in &studio.library.index.folders {
            self::folder(ui, studio, folder, actions);
        }
        ui.add_space(theme::STEP);
        if ui.button("Add folder…").on_hover_text("List the models of another folder; nothing is copied").clicked() {
            actions.push(Action::Ask(Question::LibraryFolder));
        }
    });
}

fn folder(ui: &mut Ui, studio: &Studio, folder: &Folder, actions: &mut Vec<Action>) {
    let name = folder.path.display().to_string();
    Sides::new().shrink_left().truncate().show(
        ui,
        |ui| ui.label(RichText::new(name.as_str()).strong()).on_hover_text(name.as_str()),
        |ui| {
            let tip = "Take it off the list; no file is touched";
            if !folder.is_own && ui.add(Button::new("Remove")).on_hover_text(tip).clicked() {
                actions.push(Action::RemoveModelFolder(folder.path.clone()));
            }
        },
    );
    let count = studio.library.index.entries.iter().filter(|entry| entry.path.starts_with(&folder.path)).count();
    let mut facts = vec![format!("{count} files")];
    facts.extend(folder.program.map(|program| format!("the folders of {program}")));
    if folder.is_own {
        facts.push("Calotype's own".to_owned());
    }
    if !folder.is_watched && count > 0 {
        facts.push("changes are seen when you come back to the window".to_owned());
    }
    widgets::faint(ui, facts.join(" · "));
    if let Some(problem) = &folder.problem {
        ui.label(RichText::new(problem).small().color(palette(ui).error));
    }
    ui.separator();
}

/// What goes on at the left, and the way to the folders; true when it is to close.
fn footer(ui: &mut Ui, studio: &Studio, browser: &mut ModelBrowser) -> bool {
    let mut is_closed = false;
    let shown = browser.found.entries.len();
    Sides::new().shrink_left().truncate().show(
        ui,
        |ui| {
            let activity = match studio.library.index.activity {
                Activity::Scanning { done, of } => format!("Reading {done} of {of} files…"),
                Activity::Hashing { left, percent } => format!("Computing hashes: {left} left, this one {percent} %"),
                Activity::Idle => format!("{shown} of {} files", studio.library.index.entries.len()),
            };
            let words: Vec<String> = model_downloads::in_short(studio).into_iter().chain([activity]).collect();
            widgets::faint(ui, words.join(" · "));
        },
        |ui| {
            is_closed = ui.button("Close").on_hover_text("Close the models (Esc)").clicked();
            if !browser.shows_models() {
                if ui.button("Back to the models").on_hover_text("Show the list of models").clicked() {
                    browser.page = Some(Page::Models);
                }
                return;
            }
            if ui.button("Folders…").on_hover_text("Which folders are listed").clicked() {
                browser.page = Some(Page::Folders);
            }
            if ui.button("Download…").on_hover_text("Fetch a model from Hugging Face or any address").clicked() {
                browser.page = Some(Page::Downloads);
            }
        },
    );
    is_closed
}
