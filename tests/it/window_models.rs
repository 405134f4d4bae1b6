//! The library in the window: what it lists, how it is searched, what a choice does.

use std::sync::Arc;

use calotype::app::{Errand, Report};
use calotype::gallery::message as gallery;
use calotype::inference::message::{Command as EngineCommand, Event as EngineEvent, ModelSource};
use calotype::library::index::LibraryIndex;
use calotype::library::message::{
    Activity, Card, Command, Container, Entry, Event, Family, Folder, Hashes, KindGroup, MakersNotes, ModelKind, Parts,
    Purpose, SideNotes,
};
use calotype::request::RecordedAdapter;
use calotype::state::Persisted;
use calotype::state::action::Question;
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;

use crate::studio::{Studio, facts, opened, picture, ready_event};

pub fn entry(group: KindGroup, name: &str, family: Family) -> Entry {
    let kind = match group {
        KindGroup::Lora => ModelKind::Lora { network: "LoCon".into(), rank: Some(16) },
        KindGroup::Embedding => ModelKind::Embedding { vectors: 3 },
        _ => ModelKind::Checkpoint,
    };
    let card = Card {
        kind,
        family: Some(family),
        purpose: Purpose::Pictures,
        container: Container::Safetensors,
        stored: vec!["F16".into()],
        parts: Parts { unet: true, text_encoders: 1, vae: true, ema: false },
        size_bytes: 2_130_000_000,
        parameters: 1,
        prediction: None,
        notes: MakersNotes { author: Some("A. Maker".into()), ..MakersNotes::default() },
    };
    Entry {
        path: format!("/m/{name}.safetensors").into(),
        name: name.to_owned(),
        size_bytes: 2_130_000_000,
        group,
        card: Ok(card),
        hashes: None,
        preview: None,
        notes: SideNotes::default(),
    }
}

pub fn folder(path: &str, is_own: bool) -> Folder {
    let program = (!is_own).then_some("ComfyUI");
    Folder { path: path.into(), program, is_own, problem: None, is_watched: true }
}

fn index(entries: Vec<Entry>) -> Event {
    Event::Changed(Arc::new(LibraryIndex {
        entries: entries.into_iter().map(Arc::new).collect(),
        folders: vec![folder("/own", true), folder("/m", false)],
        activity: Activity::Idle,
    }))
}

fn some() -> Vec<Entry> {
    let mut fox = entry(KindGroup::Checkpoint, "foxes", Family::Sd1);
    fox.hashes = Some(Hashes { sha256: "ab".repeat(32), old: None, after_header: None });
    let mut ink = entry(KindGroup::Lora, "styles/ink", Family::Sdxl);
    ink.notes.trigger_words = vec!["ink style".into()];
    vec![fox, ink, entry(KindGroup::Embedding, "neg", Family::Sd1)]
}

/// With the library open and these entries in it.
fn browsing(entries: Vec<Entry>) -> Studio {
    let mut studio = Studio::open_ready();
    studio.library.take_all();
    studio.library_says(index(entries));
    studio.click("Models…");
    studio
}

fn loads(studio: &Studio) -> Vec<ModelSource> {
    let commands = studio.engine().take_all().into_iter();
    let loads = commands.filter_map(|command| match command {
        EngineCommand::Load(order) => Some(order.source),
        EngineCommand::Generate(_) => None,
    });
    loads.collect()
}

#[test]
fn the_library_lists_searches_and_filters() {
    let mut studio = browsing(some());
    for name in ["foxes", "styles/ink", "neg"] {
        studio.assert_sees(name);
    }
    studio.assert_sees("3 of 3 files");
    studio.window().get_by_label("Search models").type_text("INK style");
    studio.window().run();
    studio.assert_sees("1 of 3 files");
    studio.assert_sees_not("foxes");
    let mut studio = browsing(some());
    studio.click("LoRAs");
    studio.assert_sees("styles/ink");
    studio.assert_sees_not("foxes");
    let mut studio = browsing(some());
    studio.window().get_by_label("Search models").type_text("ababab");
    studio.window().run();
    studio.assert_sees("foxes");
    studio.assert_sees_not("styles/ink");
}

#[test]
fn keys_choose_and_enter_loads_a_checkpoint() {
    let mut studio = browsing(some());
    studio.press(Key::ArrowDown);
    studio.assert_sees("A. Maker");
    studio.press(Key::Enter);
    assert_eq!(loads(&studio), [ModelSource::OnDisk("/m/foxes.safetensors".into())]);
    studio.assert_sees_not("3 of 3 files");
}

#[test]
fn a_double_click_loads_and_escape_closes() {
    let mut studio = browsing(some());
    let pos = studio.window().get_by_label("foxes").rect().center();
    // In one frame: the harness' frames are too long for a double click.
    let (button, modifiers) = (egui::PointerButton::Primary, Modifiers::NONE);
    let press = |pressed| egui::Event::PointerButton { pos, button, pressed, modifiers };
    let clicks = [true, false, true, false].map(press);
    studio.window().hover_at(pos);
    studio.window().run();
    studio.window().input_mut().events.extend(clicks);
    studio.window().run();
    assert_eq!(loads(&studio), [ModelSource::OnDisk("/m/foxes.safetensors".into())]);
    let mut studio = browsing(some());
    studio.press(Key::Escape);
    studio.assert_sees_not("3 of 3 files");
    studio.window().key_press_modifiers(Modifiers::COMMAND, Key::M);
    studio.window().run();
    studio.assert_sees("3 of 3 files");
}

#[test]
fn a_tooltip_that_is_open_goes_when_the_library_opens() {
    let mut studio = Studio::open_ready();
    studio.library_says(index(some()));
    let button = studio.window().get_by_role_and_label(Role::Button, "Settings").rect().center();
    studio.window().hover_at(button);
    let tooltip = "Settings: look, size, gallery folder";
    for _ in 0..60 {
        studio.window().step();
    }
    studio.assert_sees(tooltip);
    studio.window().key_press_modifiers(Modifiers::COMMAND, Key::M);
    studio.window().run();
    studio.assert_sees("3 of 3 files");
    studio.assert_sees_not(tooltip);
}

#[test]
fn a_lora_and_an_embedding_go_into_the_prompt() {
    let mut studio = browsing(some());
    studio.click("styles/ink");
    studio.click("Into the prompt");
    studio.click("neg");
    studio.click("Into the prompt");
    let prompt = studio.window().state().studio().form.prompt.clone();
    assert_eq!(prompt, "<lora:ink:1> neg");
}

#[test]
fn folders_are_added_and_removed() {
    let mut studio = browsing(some());
    studio.click("Folders…");
    studio.assert_sees("the folders of ComfyUI");
    studio.click("Remove");
    studio.click("Add folder…");
    assert!(matches!(studio.desktop.take(), Some(Errand::Ask(Question::LibraryFolder))));
    studio.desktop.say(Report::Chosen(Question::LibraryFolder, "/new".into()));
    studio.window().run();
    let commands: Vec<Command> =
        studio.library.take_all().into_iter().filter(|command| !matches!(command, Command::Hash(_))).collect();
    assert_eq!(commands, [Command::RemoveFolder("/m".into()), Command::AddFolder("/new".into())]);
    studio.library_says(Event::Refused { error: "this is no folder: /new".into() });
    studio.assert_sees("this is no folder: /new");
}

#[test]
fn a_library_thread_that_ended_is_started_again() {
    let mut studio = browsing(some());
    studio.library.end();
    while studio.next_library.borrow().is_none() {
        std::thread::yield_now();
        studio.window().step();
    }
    studio.library = studio.next_library.take().unwrap();
    studio.window().run();
    assert_eq!(studio.library.take_all(), [Command::Hash(true)]);
    studio.assert_sees("foxes");
    studio.click("Read the model folders again");
    assert_eq!(studio.library.take_all(), [Command::Rescan]);
}

#[test]
fn an_empty_library_says_what_to_do() {
    let mut studio = browsing(Vec::new());
    studio.assert_sees("No models yet");
    studio.assert_sees("/own");
    studio.click("Add folder…");
    assert!(matches!(studio.desktop.take(), Some(Errand::Ask(Question::LibraryFolder))));
}

#[test]
fn files_that_cannot_be_read_are_listed_with_the_reason_and_not_loaded() {
    let mut broken = entry(KindGroup::Checkpoint, "broken", Family::Sd1);
    broken.card = Err("it is cut off".into());
    let mut studio = browsing(vec![broken]);
    studio.press(Key::ArrowDown);
    studio.assert_sees("it is cut off");
    studio.press(Key::Enter);
    assert!(loads(&studio).is_empty());
}

#[test]
fn five_thousand_files_draw_no_more_rows_than_fit() {
    let many = (0..5000).map(|i| entry(KindGroup::Checkpoint, &format!("file-{i:04}"), Family::Sd1)).collect();
    let mut studio = browsing(many);
    let rows = |studio: &mut Studio| studio.window().query_all_by_label_contains("file-").count();
    assert!((5..40).contains(&rows(&mut studio)));
    for _ in 0..30 {
        studio.window().key_press(Key::PageDown);
    }
    studio.window().run();
    studio.assert_sees("file-0232");
    assert!(rows(&mut studio) < 40);
}

#[test]
fn hashes_wait_until_nothing_is_drawn() {
    let mut studio = Studio::open_with(Persisted::default(), [1280.0, 800.0]);
    studio.window().run();
    assert_eq!(studio.library.take_all(), []);
    studio.ready();
    assert_eq!(studio.library.take_all(), [Command::Hash(true)]);
    studio.type_prompt("a fox");
    studio.press_generate();
    assert_eq!(studio.library.take_all(), [Command::Hash(false)]);
    let job = studio.one_job().id;
    studio.finish(job);
    assert_eq!(studio.library.take_all(), [Command::Hash(true)]);
}

#[test]
fn a_recipe_whose_model_has_another_name_here_offers_to_load_it() {
    let mut studio = Studio::open_ready();
    studio.library_says(index(some()));
    let mut picture = opened("/p.png");
    let recipe = picture.recipe.as_mut().unwrap();
    recipe.model = Some("oldName".into());
    recipe.model_hash = Some("ababababab".into());
    studio.window().get_by_label("Open a picture…").click();
    studio.window().run();
    studio.desktop.say(Report::Chosen(Question::Picture, "/p.png".into()));
    studio.window().run();
    studio.gallery_says(gallery::Event::Opened(Box::new(picture)));
    studio.click("Load its model");
    assert_eq!(loads(&studio), [ModelSource::OnDisk("/m/foxes.safetensors".into())]);
    // Loaded under its name here, it is the right one.
    let calotype::inference::message::Event::ModelReady { mut facts, colours, seconds } = ready_event() else {
        panic!("no model")
    };
    facts.source = ModelSource::OnDisk("/m/foxes.safetensors".into());
    facts.name = "foxes".into();
    studio.engine_says(calotype::inference::message::Event::ModelReady { facts, colours, seconds });
    studio.assert_sees_not("Load its model");
    studio.click("Use these settings");
    studio.assert_sees_not("it was made with the model");
}

#[test]
fn a_called_lora_goes_to_the_engine_and_into_the_recipe() {
    let mut studio = browsing(some());
    studio.engine_says(ready_event());
    studio.press(Key::Escape);
    studio.type_prompt("a fox <lora:ink:0.5> <lora:nowhere:1>");
    studio.assert_sees("LoRA not applied");
    studio.press_generate();
    studio.assert_sees("<lora:nowhere> is not applied");
    let job = studio.one_job();
    let [used] = &job.adapters[..] else { panic!("{:?}", job.adapters) };
    assert_eq!((used.name.as_str(), used.unet_weight, used.text_weight), ("ink", 0.5, 0.5));
    assert_eq!(used.path.as_os_str(), "/m/styles/ink.safetensors");
    let recorded = RecordedAdapter { name: "ink".into(), hash: "abc".into(), unet_weight: 0.5, text_weight: 0.5 };
    let adapters = vec![recorded.clone()];
    studio.engine_says(EngineEvent::Sampling { job: job.id, steps: 20, adapters, embeddings: Vec::new(), vae: None });
    studio.engine_says(EngineEvent::Finished { job: job.id, image: picture(), seconds: 1.0 });
    let saved = studio.gallery.take_all().into_iter().find_map(|command| match command {
        gallery::Command::Save { record, .. } => Some(record),
        _ => None,
    });
    assert_eq!(saved.unwrap().adapters, [recorded]);
}

#[test]
fn the_loras_of_the_prompt_stand_below_it_with_their_weights() {
    let mut studio = browsing(some());
    studio.engine_says(ready_event());
    studio.press(Key::Escape);
    studio.type_prompt("a fox <lora:ink:0.5> <lora:nowhere:1>");
    let prompt = |studio: &mut Studio| studio.window().state().studio().form.prompt.clone();
    let weight = |studio: &mut Studio| {
        studio.window().get_by_role_and_label(Role::Slider, "Weight of ink").focus();
        studio.window().run();
        studio.press(Key::ArrowRight);
    };
    weight(&mut studio);
    assert_eq!(prompt(&mut studio), "a fox <lora:ink:0.51> <lora:nowhere:1>");
    studio.click("Take nowhere off");
    assert_eq!(prompt(&mut studio), "a fox <lora:ink:0.51>");
    studio.click("Take ink off");
    assert_eq!(prompt(&mut studio), "a fox");
}

#[test]
fn a_recipe_has_the_short_hash_of_its_model_where_the_library_knows_it() {
    let path = "/m/foxes.safetensors";
    let mut foxes = entry(KindGroup::Checkpoint, "foxes", Family::Sd1);
    foxes.hashes = Some(Hashes { sha256: "0123456789abcdef".into(), old: None, after_header: None });
    let mut studio = browsing(vec![foxes]);
    studio.press(Key::ArrowDown);
    studio.press(Key::Enter);
    let mut facts = facts(ModelSource::OnDisk(path.into()));
    facts.name = "foxes".into();
    studio.engine_says(EngineEvent::ModelFound(Box::new(facts)));
    studio.type_prompt("a fox");
    studio.press_generate();
    let job = studio.one_job();
    studio.engine_says(EngineEvent::Finished { job: job.id, image: picture(), seconds: 1.0 });
    let hash = studio.gallery.take_all().into_iter().find_map(|command| match command {
        gallery::Command::Save { record, .. } => record.model_hash,
        _ => None,
    });
    assert_eq!(hash.as_deref(), Some("0123456789"));
}
