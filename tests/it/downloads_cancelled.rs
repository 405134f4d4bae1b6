//! Downloads that are cancelled, dropped or asked for twice while they run.

use calotype::downloads::message::{Command, DownloadId, Event, Order};

use crate::download_desk::{Desk, await_length, to_the_end, weights};
use crate::downloads::{assert_whole, ranges, silent_after, trouble};
use crate::loopback::Reply;

#[test]
fn a_cancelled_download_ends_at_once_and_goes_on_later() {
    let server = trouble(&weights(9000), vec![silent_after(4000)]);
    let desk = Desk::new(&server.origin());
    let url = format!("{}/m.ckpt", server.origin());
    let order = desk.order(&url);
    let cancel = order.cancel.clone();
    let worker = desk.start(order);
    let queued = Order { id: DownloadId(2), ..desk.order(&url) };
    let second = queued.cancel.clone();
    worker.send(Command::Start(Box::new(queued))).unwrap();
    await_length(&desk.path("m.ckpt.part"), 4000);
    second.cancel();
    let is_end = |event: &Event| matches!(event, Event::Cancelled { .. });
    let next = || std::iter::from_fn(|| worker.next()).find(is_end);
    assert_eq!(next(), Some(Event::Cancelled { id: DownloadId(2) }));
    cancel.cancel();
    assert_eq!(next(), Some(Event::Cancelled { id: DownloadId(1) }));
    assert_eq!(desk.names(), ["m.ckpt.part", "m.ckpt.part.json"]);
    let (path, fetched) = desk.fetched(&url);
    assert_whole(&desk, &path, &weights(9000));
    assert_eq!(fetched, 5000);
}

#[test]
fn a_server_that_says_nothing_does_not_hold_up_a_cancel() {
    // Connections wait in the listener's queue: nobody takes them.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let desk = Desk::new(&origin);
    let order = desk.order(&format!("{origin}/m.ckpt"));
    let cancel = order.cancel.clone();
    let worker = desk.start(order);
    assert_eq!(worker.next(), Some(Event::Started { id: DownloadId(1) }));
    cancel.cancel();
    assert_eq!(worker.next(), Some(Event::Cancelled { id: DownloadId(1) }));
    assert!(desk.names().is_empty());
}

#[test]
fn secrets_in_an_address_are_sent_but_neither_stored_nor_told() {
    let server = trouble(&weights(9000), vec![silent_after(4000), Box::new(|_| Reply::new(404, ""))]);
    let desk = Desk::new(&server.origin());
    let url = format!("{}/m.ckpt?type=Model&token=geheim", server.origin());
    let worker = desk.start(desk.order(&url));
    await_length(&desk.path("m.ckpt.part"), 4000);
    drop(worker);
    assert!(server.requests().iter().all(|request| request.path.ends_with("token=geheim")));
    let note = std::fs::read_to_string(desk.path("m.ckpt.part.json")).unwrap();
    assert!(note.contains("type=Model") && !note.contains("geheim"), "{note}");
    let error = desk.error(desk.order(&url));
    assert!(error.contains("no such file") && !error.contains("geheim"), "{error}");
    assert_eq!(desk.fetched(&url).1, 5000);
}

#[test]
fn a_downloader_that_is_dropped_leaves_what_the_next_goes_on_with() {
    let server = trouble(&weights(9000), vec![silent_after(4000)]);
    let desk = Desk::new(&server.origin());
    let url = format!("{}/m.ckpt", server.origin());
    let worker = desk.start(desk.order(&url));
    await_length(&desk.path("m.ckpt.part"), 4000);
    drop(worker);
    let (path, fetched) = desk.fetched(&url);
    assert_whole(&desk, &path, &weights(9000));
    assert_eq!((fetched, ranges(&server)), (5000, vec![None, Some(4000)]));
}

#[test]
fn two_downloads_do_not_write_over_each_other() {
    let server = trouble(&weights(9000), vec![silent_after(4000)]);
    let desk = Desk::new(&server.origin());
    let url = format!("{}/m.ckpt", server.origin());
    let order = desk.order(&url);
    let cancel = order.cancel.clone();
    let first = desk.start(order);
    await_length(&desk.path("m.ckpt.part"), 4000);
    let error = desk.error(desk.order(&url));
    assert!(error.contains("another download is writing"), "{error}");
    cancel.cancel();
    assert!(matches!(to_the_end(&first).last(), Some(Event::Cancelled { .. })));
}
