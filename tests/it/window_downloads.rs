//! Downloads in the window: what is typed, what the rows say, and what comes of their buttons.

use std::sync::Arc;

use calotype::downloads::message::{Command, DownloadId, Event, Order};
use calotype::inference::message::{Command as EngineCommand, ModelOrder, ModelSource};
use calotype::library::index::LibraryIndex;
use calotype::library::message::{Activity, Command as LibraryCommand, Event as LibraryEvent, KindGroup};
use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable as _;

use crate::studio::Studio;
use crate::window_models::{entry, folder};

/// With the page for downloads open.
fn downloading() -> Studio {
    let mut studio = Studio::open_ready();
    studio.library_says(LibraryEvent::Changed(Arc::default()));
    studio.library.take_all();
    studio.click("Models…");
    studio.click("Download…");
    studio
}

fn type_wanted(studio: &mut Studio, text: &str) {
    studio.window().get_by_label("Hugging Face id or address").focus();
    studio.window().run();
    studio.window().get_by_label("Hugging Face id or address").type_text(text);
    studio.window().run();
}

fn orders(studio: &Studio) -> Vec<Order> {
    let script = studio.next_downloads.borrow();
    script.as_ref().unwrap().take_all().into_iter().map(|Command::Start(order)| *order).collect()
}

fn say(studio: &mut Studio, event: Event) {
    studio.next_downloads.borrow().as_ref().unwrap().say(event);
    studio.window().run();
}

/// With this asked for.
fn asked(what: &str) -> (Studio, Order) {
    let mut studio = downloading();
    type_wanted(&mut studio, what);
    studio.click("Download");
    let order = orders(&studio).remove(0);
    (studio, order)
}

fn progress(id: DownloadId, done: u64) -> Event {
    let (total, file) = (Some(4_000_000_000), "fox.safetensors".to_owned());
    Event::Progress { id, done, total, bytes_per_second: 10e6, file }
}

#[test]
fn what_cannot_be_fetched_is_told_as_it_is_typed_and_starts_nothing() {
    let mut studio = downloading();
    type_wanted(&mut studio, "fox");
    studio.assert_sees("neither an id nor an address");
    studio.press(Key::Enter);
    assert!(studio.next_downloads.borrow().is_none(), "the thread runs without a download");
    type_wanted(&mut studio, "/model");
    studio.assert_sees_not("neither an id nor an address");
    studio.press(Key::Enter);
    let orders = orders(&studio);
    assert_eq!(orders.len(), 1);
    assert_eq!((orders[0].what.clone(), orders[0].destination.to_str()), ("fox/model".parse().unwrap(), Some("/own")));
}

#[test]
fn a_download_shows_how_far_it_is_and_offers_to_load_what_it_fetched() {
    let (mut studio, order) = asked("org/foxes");
    let id = order.id;
    studio.assert_sees("Waits for those before it");
    say(&mut studio, Event::Started { id });
    let total = Some(4_000_000_000);
    say(&mut studio, Event::Found { id, name: "fox.safetensors".into(), files: 1, total });
    say(&mut studio, progress(id, 1_000_000_000));
    studio.assert_sees("1.0 GB of 4.0 GB · 10 MB/s · 5 min left");
    studio.assert_sees("Downloading fox.safetensors 25 %");
    say(&mut studio, Event::Verifying { id, file: "fox.safetensors".into() });
    studio.assert_sees("Checking fox.safetensors");
    say(&mut studio, Event::Waiting { id, seconds: 4, reason: "the server is busy".into() });
    studio.assert_sees("the server is busy; again in 4 s");
    let mut fox = entry(KindGroup::Checkpoint, "fox", calotype::library::message::Family::Sd1);
    fox.path = "/own/fox.safetensors".into();
    say(&mut studio, Event::Finished { id, path: fox.path.clone(), fetched: 4_000_000_000 });
    assert!(studio.library.take_all().contains(&LibraryCommand::Rescan));
    let index =
        LibraryIndex { entries: vec![Arc::new(fox)], folders: vec![folder("/own", true)], activity: Activity::Idle };
    studio.library_says(LibraryEvent::Changed(Arc::new(index)));
    studio.click("Load");
    let loads = studio.engine().take_all();
    let path = "/own/fox.safetensors".into();
    assert!(
        matches!(&loads[..], [EngineCommand::Load(ModelOrder { source, .. })] if *source == ModelSource::OnDisk(path))
    );
}

#[test]
fn a_failure_says_why_and_goes_on_when_it_is_tried_again() {
    let (mut studio, order) = asked("org/foxes");
    say(&mut studio, Event::Started { id: order.id });
    say(&mut studio, Event::Failed { id: order.id, error: "the disk is full".into() });
    studio.assert_sees("the disk is full");
    studio.click("Try again");
    let again = orders(&studio).remove(0);
    assert!(again.id != order.id && again.what == order.what && !again.cancel.is_cancelled());
    studio.assert_sees_not("the disk is full");
    say(&mut studio, Event::Failed { id: again.id, error: "the disk is full".into() });
    studio.click("Dismiss");
    studio.assert_sees_not("the disk is full");
}

#[test]
fn cancel_ends_the_right_one_of_two() {
    let (mut studio, first) = asked("org/foxes");
    type_wanted(&mut studio, "org/owls");
    studio.click("Download");
    let second = orders(&studio).remove(0);
    say(&mut studio, Event::Started { id: first.id });
    // The newest is at the top.
    studio.window().get_all_by_label("Cancel").next().unwrap().click();
    studio.window().run();
    assert!(second.cancel.is_cancelled() && !first.cancel.is_cancelled());
    say(&mut studio, Event::Cancelled { id: second.id });
    studio.assert_sees("Cancelled; what has come is kept");
    type_wanted(&mut studio, "org/foxes");
    studio.click("Download");
    assert!(orders(&studio).is_empty(), "one download runs twice");
    studio.assert_sees("It is being downloaded already");
}

#[test]
fn a_thread_that_ended_is_told_and_the_next_try_starts_another() {
    let (mut studio, order) = asked("org/foxes");
    say(&mut studio, Event::Started { id: order.id });
    studio.next_downloads.take().unwrap().end();
    while !studio.sees("what has come is kept") {
        std::thread::yield_now();
        studio.window().step();
    }
    studio.click("Try again");
    assert_eq!(orders(&studio).remove(0).what, order.what);
}

#[test]
fn closing_the_page_leaves_the_download_running() {
    let (mut studio, order) = asked("org/foxes");
    say(&mut studio, Event::Started { id: order.id });
    studio.press(Key::Escape);
    studio.press(Key::Escape);
    studio.assert_sees_not("Download a model");
    assert!(!order.cancel.is_cancelled());
    studio.window().key_press_modifiers(Modifiers::COMMAND, Key::M);
    studio.window().run();
    studio.assert_sees("Downloading org/foxes");
}
