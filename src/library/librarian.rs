//! The library's thread: lists, watches, and hashes while there is nothing else to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::library::catalogue::Catalogue;
use crate::library::error::LibraryError;
use crate::library::folder_list::Places;
use crate::library::message::{Activity, Command, Event};
use crate::library::watch::Watch;
use crate::worker::{Inbox, Outbox, Waited, Wake, Worker};

/// How often the watch is looked at while nothing happens.
const LOOK: Duration = Duration::from_millis(500);
/// How often news of a long work is told.
const NEWS: Duration = Duration::from_millis(200);
/// How often new hashes are written down: a crash loses no more.
const SAVES: Duration = Duration::from_secs(20);

/// Starts the library's thread, which lists all folders at once.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(places: Places, wake: Wake) -> std::io::Result<Worker<Command, Event>> {
    Worker::spawn("library", wake, move |inbox, outbox| {
        let librarian = Librarian {
            catalogue: Catalogue::open(places),
            watch: Watch::new(),
            waiting: None,
            wants_scan: true,
            may_hash: false,
            told_at: Instant::now(),
            saved_at: Instant::now(),
        };
        librarian.work(inbox, outbox);
    })
}

struct Librarian {
    catalogue: Catalogue,
    watch: Watch,
    /// A command that came in the middle of something else.
    waiting: Option<Command>,
    wants_scan: bool,
    may_hash: bool,
    told_at: Instant,
    saved_at: Instant,
}

impl Librarian {
    fn work(mut self, inbox: &Inbox<Command>, outbox: &Outbox<Event>) {
        while !inbox.is_closing() {
            if let Some(command) = self.waiting.take().or_else(|| inbox.try_next()) {
                self.obey(command, outbox);
            } else if std::mem::take(&mut self.wants_scan) || self.watch.has_settled() {
                self.scan(inbox, outbox);
            } else if let Some((path, left)) = self.next_to_hash() {
                self.hash(&path, left, inbox, outbox);
            } else if self.watch.is_on() {
                match inbox.next_within(LOOK) {
                    Waited::Event(command) => self.waiting = Some(command),
                    Waited::Nothing => {}
                    Waited::Ended => break,
                }
            } else {
                self.waiting = inbox.next();
            }
        }
        self.catalogue.save();
    }

    fn obey(&mut self, command: Command, outbox: &Outbox<Event>) {
        let done = match command {
            Command::Rescan => Ok(()),
            Command::AddFolder(folder) => self.catalogue.add_folder(&folder),
            Command::RemoveFolder(folder) => self.catalogue.remove_folder(&folder),
            Command::Hash(may_hash) => {
                self.may_hash = may_hash;
                if !may_hash {
                    // No hash is on its way any more.
                    outbox.send(Event::Changed(Arc::new(self.catalogue.index(Activity::Idle))));
                }
                return;
            }
        };
        match done {
            Ok(()) => self.wants_scan = true,
            Err(error) => outbox.send(Event::Refused { error: error.to_string() }),
        }
    }

    fn scan(&mut self, inbox: &Inbox<Command>, outbox: &Outbox<Event>) {
        let mut told_at = Instant::now();
        let mut waiting = None;
        let is_whole = self.catalogue.scan(&mut |catalogue, done, of| {
            if of > 0 && told_at.elapsed() >= NEWS {
                told_at = Instant::now();
                outbox.offer(Event::Changed(Arc::new(catalogue.index(Activity::Scanning { done, of }))));
            }
            waiting = waiting.take().or_else(|| inbox.try_next());
            inbox.is_closing() || waiting.is_some()
        });
        self.waiting = waiting;
        if is_whole {
            let folders: Vec<PathBuf> = self.catalogue.folders().iter().map(|folder| folder.path.clone()).collect();
            self.watch.set(&folders);
            self.catalogue.note_watched(|folder| self.watch.is_watching(folder));
        } else {
            self.wants_scan = true;
        }
        outbox.send(Event::Changed(Arc::new(self.catalogue.index(Activity::Idle))));
    }

    fn next_to_hash(&self) -> Option<(PathBuf, usize)> {
        if !self.may_hash {
            return None;
        }
        let waiting = self.catalogue.unhashed();
        Some((waiting.first()?.clone(), waiting.len()))
    }

    fn hash(&mut self, path: &Path, left: usize, inbox: &Inbox<Command>, outbox: &Outbox<Event>) {
        let size = self.catalogue.size_of(path).max(1);
        // Large files tell how far they are; the list itself does not change meanwhile.
        let index = self.catalogue.index(Activity::Idle);
        let told_at = &mut self.told_at;
        let mut waiting = None;
        let done = self.catalogue.hash(path, &mut |done| {
            if told_at.elapsed() >= NEWS {
                *told_at = Instant::now();
                let percent = (done.saturating_mul(100) / size).min(100) as u8;
                let mut index = index.clone();
                index.activity = Activity::Hashing { left, percent };
                outbox.offer(Event::Changed(Arc::new(index)));
            }
            waiting = waiting.take().or_else(|| inbox.try_next());
            inbox.is_closing() || waiting.is_some()
        });
        self.waiting = waiting;
        match done {
            Ok(()) | Err(LibraryError::Cancelled) => {}
            Err(error) => tracing::debug!(%error, "a model could not be hashed"),
        }
        let is_last = left <= 1;
        if is_last || self.saved_at.elapsed() >= SAVES {
            self.saved_at = Instant::now();
            self.catalogue.save();
        }
        if !is_last && self.told_at.elapsed() < NEWS {
            return;
        }
        self.told_at = Instant::now();
        let activity = if is_last { Activity::Idle } else { Activity::Hashing { left: left - 1, percent: 0 } };
        let event = Event::Changed(Arc::new(self.catalogue.index(activity)));
        if is_last { outbox.send(event) } else { outbox.offer(event) }
    }
}
