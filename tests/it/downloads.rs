//! Single files over a network that does everything wrong, against a server on this machine.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use calotype::downloads::Patience;
use calotype::downloads::message::{DownloadId, Event, Order};

use proptest::collection;
use proptest::prelude::*;

use crate::download_desk::{Desk, weights};
use crate::loopback::{End, Length, Reply, Request, Server};

const SHA256_OF_WEIGHTS_9000: &str = "e52320cbf77c6732190d7c10ec3eda10a21e3c9e0c901686adc4b233a146aff0";

/// What a server does to an answer.
pub type Trouble = Box<dyn Fn(Reply) -> Reply + Send + Sync>;

/// A connection that ends after some bytes of the body.
fn cut_after(bytes: usize) -> Trouble {
    Box::new(move |reply| reply.cut_after(bytes))
}

/// A connection on which nothing more comes after some bytes of the body.
pub fn silent_after(bytes: usize) -> Trouble {
    Box::new(move |reply| reply.silent_after(bytes))
}

/// A server of one file that treats the first `troubles.len()` requests for its bytes in its own ways.
pub fn trouble(bytes: &[u8], troubles: Vec<Trouble>) -> Server {
    let (bytes, tries) = (bytes.to_vec(), Mutex::new(0));
    Server::start(move |request, _| {
        let reply = Reply::file(request, &bytes, "\"one\"");
        if request.is_first_look() {
            return reply;
        }
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        match troubles.get(*tries - 1) {
            Some(trouble) => trouble(reply),
            None => reply,
        }
    })
}

pub fn ranges(server: &Server) -> Vec<Option<usize>> {
    server.requests().iter().filter(|request| !request.is_first_look()).map(Request::first_byte).collect()
}

#[track_caller]
pub fn assert_whole(desk: &Desk, path: &Path, bytes: &[u8]) {
    assert!(std::fs::read(path).unwrap() == bytes, "the file has other bytes");
    assert_eq!(desk.names(), [path.file_name().unwrap().to_str().unwrap()], "something is left over");
}

#[test]
fn a_file_comes_whole_and_is_not_fetched_twice() {
    let bytes = weights(9000);
    let server = trouble(&bytes, vec![]);
    let desk = Desk::new(&server.origin());
    let url = format!("{}/files/deep/v1.safetensors?x=1", server.origin());
    let events = desk.events(desk.order(&url));
    assert_eq!(events[0], Event::Started { id: DownloadId(1) });
    let found = Event::Found { id: DownloadId(1), name: "v1.safetensors".to_owned(), files: 1, total: Some(9000) };
    assert!(events.contains(&found), "{events:?}");
    let path = desk.path("v1.safetensors");
    assert_eq!(events.last(), Some(&Event::Finished { id: DownloadId(1), path: path.clone(), fetched: 9000 }));
    assert_whole(&desk, &path, &bytes);
    assert_eq!(desk.fetched(&url), (path, 0));
}

#[test]
fn a_cut_connection_is_gone_on_with_where_it_was_cut() {
    let bytes = weights(9000);
    for cut in [1, 2, 63, 64, 4095, 8999] {
        let server = trouble(&bytes, vec![cut_after(cut)]);
        let desk = Desk::new(&server.origin());
        let (path, fetched) = desk.fetched(&format!("{}/m.ckpt", server.origin()));
        assert_whole(&desk, &path, &bytes);
        assert_eq!((ranges(&server), fetched), (vec![None, Some(cut)], 9000));
        assert_eq!(server.requests().last().unwrap().header("if-range"), Some("\"one\""));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wherever_it_is_cut_the_bytes_are_the_same(
        length in 1_usize..20_000,
        cuts in collection::vec(1_usize..8000, 0..5),
        has_ranges in any::<bool>(),
        has_length in any::<bool>(),
    ) {
        let bytes = weights(length);
        let (whole, tries) = (bytes.clone(), AtomicUsize::new(0));
        let server = Server::start(move |request, _| {
            let mut reply = if has_ranges { Reply::file(request, &whole, "\"e\"") } else { Reply::new(200, whole.clone()) };
            if request.is_first_look() {
                return reply;
            }
            let Some(cut) = cuts.get(tries.fetch_add(1, Ordering::Relaxed)) else {
                if !has_length {
                    reply.length = Length::Chunked;
                }
                return reply;
            };
            reply.cut_after(*cut)
        });
        let desk = Desk::new(&server.origin());
        let (path, _) = desk.fetched(&format!("{}/m.ckpt", server.origin()));
        assert_whole(&desk, &path, &bytes);
    }
}

#[test]
fn many_cuts_in_a_row_are_borne_as_long_as_something_comes() {
    let bytes = weights(9000);
    let server = trouble(&bytes, (0..20).map(|_| cut_after(100)).collect());
    let desk = Desk::new(&server.origin());
    let (path, _) = desk.fetched(&format!("{}/m.ckpt", server.origin()));
    assert_whole(&desk, &path, &bytes);
    assert_eq!(ranges(&server).len(), 21);
    let barren = trouble(&bytes, (0..20).map(|_| cut_after(0)).collect());
    let desk = Desk::new(&barren.origin());
    let error = desk.error(desk.order(&format!("{}/m.ckpt", barren.origin())));
    assert!(error.contains("given up after 5 tries"), "{error}");
}

#[test]
fn a_server_without_ranges_begins_again() {
    let bytes = weights(9000);
    let whole = bytes.clone();
    let server = Server::start(move |_, before| {
        let reply = Reply::new(200, whole.clone());
        if before == 1 { reply.cut_after(5000) } else { reply }
    });
    let desk = Desk::new(&server.origin());
    let (path, fetched) = desk.fetched(&format!("{}/m.ckpt", server.origin()));
    assert_whole(&desk, &path, &bytes);
    assert_eq!(fetched, 14000);
}

#[test]
fn a_file_that_changed_in_between_is_not_mixed() {
    let (old, new) = (weights(9000), vec![7; 9000]);
    let expected = new.clone();
    let server = Server::start(move |request, before| match before {
        0 => Reply::file(request, &old, "\"old\""),
        1 => Reply::file(request, &old, "\"old\"").cut_after(5000),
        _ => Reply::file(request, &new, "\"new\""),
    });
    let desk = Desk::new(&server.origin());
    let (path, _) = desk.fetched(&format!("{}/m.ckpt", server.origin()));
    assert_whole(&desk, &path, &expected);
    // The same from a server that overlooks If-Range.
    let (old, new) = (weights(9000), expected.clone());
    let deaf = Server::start(move |request, before| {
        let (bytes, etag) = if before < 2 { (&old, "W/\"old\"") } else { (&new, "W/\"new\"") };
        let reply = Reply::file(request, bytes, etag);
        if before == 1 { reply.cut_after(5000) } else { reply }
    });
    let desk = Desk::new(&deaf.origin());
    let (path, _) = desk.fetched(&format!("{}/m.ckpt", deaf.origin()));
    assert_whole(&desk, &path, &expected);
    assert_eq!(ranges(&deaf), [None, Some(5000), None]);
}

#[test]
fn without_an_etag_the_date_of_the_last_change_tells() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let server = Server::start(move |_, before| {
        let reply = Reply::new(200, weights(9000)).with("Last-Modified", date);
        if before == 1 { reply.cut_after(5000) } else { reply }
    });
    let desk = Desk::new(&server.origin());
    let (path, _) = desk.fetched(&format!("{}/m.ckpt", server.origin()));
    assert_whole(&desk, &path, &weights(9000));
    assert_eq!(server.requests()[2].header("if-range"), Some(date));
}

#[test]
fn lies_about_the_length_are_found() {
    let bytes = weights(9000);
    // Announced longer than it is: the rest is asked for until that is given up.
    let server = Server::start(|_, _| Reply { length: Length::Said(9001), ..Reply::new(200, weights(9000)) });
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(error.contains("given up"), "{error}");
    assert!(!desk.names().contains(&"m.ckpt".to_owned()));
    // Announced with another length by the first look than by the answer.
    let server = Server::start(move |request, _| {
        if request.is_first_look() {
            Reply::new(206, "x").with("Content-Range", "bytes 0-0/8999")
        } else {
            Reply::new(200, bytes.clone())
        }
    });
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(error.contains("9.0 kB"), "{error}");
    // Without a length more comes than was announced, for ever.
    let server = Server::start(|request, _| {
        if request.is_first_look() {
            Reply::new(206, "x").with("Content-Range", "bytes 0-0/9000")
        } else {
            Reply { length: Length::Chunked, end: End::Endless, ..Reply::new(200, weights(5000)) }
        }
    });
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(error.contains("more bytes"), "{error}");
    assert!(!desk.names().contains(&"m.ckpt".to_owned()));
}

#[test]
fn a_file_without_a_length_is_fetched_too() {
    for length in [Length::Chunked, Length::Unsaid] {
        let server = Server::start(move |_, _| Reply { length, ..Reply::new(200, weights(9000)) });
        let desk = Desk::new(&server.origin());
        let (path, _) = desk.fetched(&format!("{}/m.ckpt", server.origin()));
        assert_whole(&desk, &path, &weights(9000));
    }
    // A cut between chunks is seen.
    let server = Server::start(|_, before| {
        let reply = Reply { length: Length::Chunked, ..Reply::new(200, weights(9000)) };
        if before == 1 { Reply { length: Length::Said(9000), ..reply }.cut_after(3000) } else { reply }
    });
    let desk = Desk::new(&server.origin());
    let (path, _) = desk.fetched(&format!("{}/m.ckpt", server.origin()));
    assert_whole(&desk, &path, &weights(9000));
}

#[test]
fn a_server_that_sends_another_part_is_not_said_to_have_another_file() {
    for (reply, why) in [
        (Reply::new(206, weights(8995)).with("Content-Range", "bytes 5-8999/9000"), "at byte 0 and begins at byte 5"),
        (Reply::new(206, weights(9000)), "does not say which part"),
        (Reply::new(416, "").with("Content-Range", "bytes */9000"), "nothing from byte 0 of 9000 on"),
        (Reply::new(416, ""), "nothing from byte 0 on"),
    ] {
        let server = Server::start(move |request, _| {
            if request.is_first_look() {
                Reply::new(206, "x").with("Content-Range", "bytes 0-0/9000")
            } else {
                reply.clone()
            }
        });
        let desk = Desk::new(&server.origin());
        let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
        assert!(error.contains(why) && error.contains("given up") && !error.contains("changed"), "{why}: {error}");
        assert!(desk.names().is_empty(), "{:?}", desk.names());
    }
}

#[test]
fn a_range_that_cannot_be_had_means_whole_or_changed() {
    // A part that is whole already, its size not known: nothing more is there.
    let server = Server::start(|request, _| {
        if request.first_byte().is_some() && !request.is_first_look() {
            Reply::new(416, "").with("Content-Range", "bytes */9000")
        } else {
            Reply { length: Length::Chunked, ..Reply::new(200, weights(9000)) }
        }
    });
    let desk = Desk::new(&server.origin());
    let url = format!("{}/m.ckpt", server.origin());
    let note = |url: &str| format!("{{\"url\": \"{url}\", \"etag\": null, \"size\": null, \"checksum\": null}}");
    std::fs::write(desk.path("m.ckpt.part"), weights(9000)).unwrap();
    std::fs::write(desk.path("m.ckpt.part.json"), note(&url)).unwrap();
    let (path, fetched) = desk.fetched(&url);
    assert_whole(&desk, &path, &weights(9000));
    assert_eq!(fetched, 0);
    // A part that is longer than the file: it is of another one.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(desk.path("m.ckpt.part"), weights(9001)).unwrap();
    std::fs::write(desk.path("m.ckpt.part.json"), note(&url)).unwrap();
    let (path, fetched) = desk.fetched(&url);
    assert_whole(&desk, &path, &weights(9000));
    assert_eq!(fetched, 9000);
    // A part that nothing is known of is not gone on with.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(desk.path("m.ckpt.part"), &weights(9000)[..4000]).unwrap();
    let (path, fetched) = desk.fetched(&url);
    assert_whole(&desk, &path, &weights(9000));
    assert_eq!(fetched, 9000);
}

#[test]
fn a_busy_server_is_waited_for_as_long_as_it_says() {
    let server = Server::start(|request, before| match before {
        0 => Reply::new(429, "").with("Retry-After", "20"),
        1 => Reply::new(503, ""),
        2 | 3 => Reply::new(500, ""),
        _ => Reply::file(request, &weights(9000), "\"e\""),
    });
    let desk = Desk::new(&server.origin());
    let events = desk.events(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(matches!(events.last(), Some(Event::Finished { .. })), "{events:?}");
    let waits: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Waiting { seconds, .. } => Some(*seconds),
            _ => None,
        })
        .collect();
    assert_eq!(waits, [20, 2, 4, 8]);
    assert_eq!(desk.waited.load(Ordering::Relaxed), 34_000);
}

#[test]
fn a_server_that_stays_broken_or_is_away_for_long_is_given_up() {
    let server = Server::start(|_, _| Reply::new(502, ""));
    let desk = Desk::new(&server.origin());
    let order = || desk.order(&format!("{}/m.ckpt", server.origin()));
    let error = desk.error(order());
    assert!(error.contains("given up after 5 tries") && error.contains("502"), "{error}");
    assert_eq!(server.requests().len(), 5);
    let server = Server::start(|_, _| Reply::new(429, "").with("Retry-After", "3600"));
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(error.contains("60 minutes"), "{error}");
    let server = Server::start(|_, _| Reply::new(418, ""));
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(error.contains("418") && server.requests().len() == 1, "{error}");
}

#[test]
fn silence_and_headers_without_end_do_not_hold_for_ever() {
    let server = Server::start(|request, _| Reply::file(request, &weights(9000), "\"e\"").silent_after(0));
    let mut desk = Desk::new(&server.origin());
    desk.surroundings.patience = Patience { silence: Duration::from_millis(40), ..Patience::default() };
    let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(error.contains("given up"), "{error}");
    let server = Server::start(|_, _| Reply::new(200, "").with("X-Long", "x".repeat(1 << 20)));
    let desk = Desk::new(&server.origin());
    let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(error.contains("not understood"), "{error}");
}

#[test]
fn redirections_are_followed_until_they_go_in_circles() {
    let server = Server::start(|request, _| match request.path.as_str() {
        "/a" => Reply::redirect("/b/m.ckpt"),
        "/b/m.ckpt" => Reply::file(request, &weights(9000), "\"e\""),
        "/unsafe" => Reply::redirect("file:///etc/passwd"),
        _ => Reply::redirect("/again"),
    });
    let desk = Desk::new(&server.origin());
    let (path, _) = desk.fetched(&format!("{}/a", server.origin()));
    assert_eq!(path, desk.path("a"));
    let error = desk.error(desk.order(&format!("{}/again", server.origin())));
    assert!(error.contains("ever new addresses"), "{error}");
    let error = desk.error(desk.order(&format!("{}/unsafe", server.origin())));
    assert!(error.contains("not safe"), "{error}");
}

#[test]
fn the_bytes_are_held_against_their_checksum() {
    let server = trouble(&weights(9000), vec![cut_after(4000)]);
    let desk = Desk::new(&server.origin());
    let url = format!("{}/m.ckpt", server.origin());
    let with = |sha: &str| Order { sha256: Some(sha.parse().unwrap()), ..desk.order(&url) };
    let error = desk.error(with(&"0".repeat(64)));
    assert!(error.contains("checksum") && error.contains(SHA256_OF_WEIGHTS_9000), "{error}");
    assert!(desk.names().is_empty(), "{:?}", desk.names());
    let events = desk.events(with(SHA256_OF_WEIGHTS_9000));
    assert!(matches!(events.last(), Some(Event::Finished { fetched: 9000, .. })), "{events:?}");
    assert_whole(&desk, &desk.path("m.ckpt"), &weights(9000));
}

#[test]
fn pages_and_pointers_are_no_models() {
    for (body, kind, what) in [
        ("<!doctype html><title>Log in</title>", "text/html; charset=utf-8", "a web page"),
        ("\n <html> and then a lot of words that say how sorry this site is", "application/octet-stream", "a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "text/plain", "Git LFS"),
        ("", "application/octet-stream", "an empty file"),
    ] {
        let server = Server::start(move |_, _| Reply::new(200, body).with("Content-Type", kind));
        let desk = Desk::new(&server.origin());
        let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
        assert!(error.contains(what), "{error}");
        assert!(desk.names().is_empty(), "{:?}", desk.names());
    }
}

#[test]
fn a_server_cannot_write_outside_the_folder() {
    for (said, name) in [
        ("attachment; filename=\"../../evil.ckpt\"", "evil.ckpt"),
        ("attachment; filename=\"/etc/evil.ckpt\"", "evil.ckpt"),
        ("attachment; filename*=UTF-8''..%2F..%2Fevil.ckpt", "evil.ckpt"),
        ("attachment; filename=\"..\"", "download"),
        ("attachment; filename=\"NUL.ckpt\"", "_NUL.ckpt"),
    ] {
        let server = Server::start(move |request, _| {
            Reply::file(request, &weights(9000), "\"e\"").with("Content-Disposition", said)
        });
        let desk = Desk::new(&server.origin());
        let (path, _) = desk.fetched(&format!("{}/api/download/7", server.origin()));
        assert_eq!(path, desk.path(name));
        assert_whole(&desk, &path, &weights(9000));
    }
}

#[test]
fn another_file_of_the_name_is_left_alone() {
    let server = trouble(&weights(9000), vec![]);
    let desk = Desk::new(&server.origin());
    std::fs::write(desk.path("m.ckpt"), "mine").unwrap();
    let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(error.contains("another file of this name"), "{error}");
    assert_eq!(std::fs::read(desk.path("m.ckpt")).unwrap(), b"mine");
    assert_eq!(desk.names(), ["m.ckpt"]);
}

#[test]
fn room_is_looked_for_before_anything_is_fetched() {
    let server = trouble(&weights(9000), vec![]);
    let mut desk = Desk::new(&server.origin());
    desk.surroundings.free_space = Arc::new(|_| Ok(8999));
    let error = desk.error(desk.order(&format!("{}/m.ckpt", server.origin())));
    assert!(error.contains("not enough room") && error.contains("9.0 kB are free"), "{error}");
    assert!(desk.names().is_empty());
    assert!(ranges(&server).is_empty());
}
