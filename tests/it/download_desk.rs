//! A downloader as the tests use it, and files to download.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use calotype::downloads::message::{Command, DownloadId, Event, Order};
use calotype::downloads::{self, Surroundings};
use calotype::inference::cancel::CancelToken;
use calotype::worker::Worker;
use tempfile::TempDir;

/// A downloader with a folder of its own, a disk without end, and no time to lose.
pub struct Desk {
    pub folder: TempDir,
    pub surroundings: Surroundings,
    /// What was waited for, in milliseconds.
    pub waited: Arc<AtomicU64>,
}

impl Desk {
    pub fn new(endpoint: &str) -> Self {
        let waited: Arc<AtomicU64> = Arc::default();
        let clock = Arc::clone(&waited);
        let surroundings = Surroundings {
            endpoint: endpoint.to_owned(),
            uses_proxy: false,
            free_space: Arc::new(|_| Ok(u64::MAX)),
            pause: Arc::new(move |time: Duration| {
                clock.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
            }),
            ..Surroundings::of(&|_| None)
        };
        Self { folder: tempfile::tempdir().unwrap(), surroundings, waited }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn order(&self, what: &str) -> Order {
        Order {
            id: DownloadId(1),
            what: what.parse().unwrap(),
            destination: self.folder.path().to_owned(),
            variant: None,
            sha256: None,
            cancel: CancelToken::new(),
        }
    }

    pub fn start(&self, order: Order) -> Worker<Command, Event> {
        let worker = downloads::spawn(self.surroundings.clone(), Arc::new(|| {})).unwrap();
        worker.send(Command::Start(Box::new(order))).unwrap();
        worker
    }

    /// Everything that is told up to the end.
    pub fn events(&self, order: Order) -> Vec<Event> {
        to_the_end(&self.start(order))
    }

    /// Where it is, and how many bytes came over the network.
    #[track_caller]
    pub fn fetched(&self, what: &str) -> (PathBuf, u64) {
        match self.events(self.order(what)).pop() {
            Some(Event::Finished { path, fetched, .. }) => (path, fetched),
            other => panic!("not finished: {other:?}"),
        }
    }

    #[track_caller]
    pub fn error(&self, order: Order) -> String {
        match self.events(order).pop() {
            Some(Event::Failed { error, .. }) => error,
            other => panic!("not failed: {other:?}"),
        }
    }

    /// The names in the folder, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub fn to_the_end(worker: &Worker<Command, Event>) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(event) = worker.next() {
        let is_last = matches!(event, Event::Finished { .. } | Event::Cancelled { .. } | Event::Failed { .. });
        events.push(event);
        if is_last {
            break;
        }
    }
    events
}

/// Waits until a file has a size; what it waits for is certain to come.
pub fn await_length(path: &Path, bytes: u64) {
    while std::fs::metadata(path).map_or(0, |found| found.len()) < bytes {
        std::thread::yield_now();
    }
}

/// Bytes that are no text and repeat late.
pub fn weights(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}
