//! The thread that takes orders: it has each carried out on a second thread, so that a cancel never waits for a network.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::client::Client;
use super::job::{self, Task};
use super::message::{Command, DownloadId, Event, Order};
use super::progress::{Counts, Progress};
use super::{DownloadError, Surroundings};
use crate::inference::cancel::CancelToken;
use crate::worker::{Inbox, Outbox, Waited, Worker};

/// How often it is looked whether an order is cancelled or a new one has come.
const INTERVAL: Duration = Duration::from_millis(50);
/// How many orders are taken out of the inbox ahead of their turn; with as many waiting the sender is told so.
const MOST_WAITING: usize = 256;
/// How long a cancelled download may take to close its files before it is left behind: it writes nothing any more.
const GRACE: Duration = Duration::from_millis(300);

/// A download on its own thread.
struct AtWork {
    id: DownloadId,
    cancel: CancelToken,
    client: Client,
    thread: Worker<(), Event>,
    /// When its connections were cut.
    cut: Option<Instant>,
}

/// Takes orders until the owner is gone.
pub(super) fn run(surroundings: &Surroundings, inbox: &Inbox<Command>, outbox: &Outbox<Event>) {
    let mut waiting: VecDeque<Order> = VecDeque::new();
    let mut at_work: Option<AtWork> = None;
    loop {
        if inbox.is_closing() {
            return at_work.map_or((), AtWork::leave);
        }
        while waiting.len() < MOST_WAITING
            && let Some(Command::Start(order)) = inbox.try_next()
        {
            waiting.push_back(*order);
        }
        waiting.retain(|order| {
            let is_cancelled = order.cancel.is_cancelled();
            if is_cancelled {
                outbox.send(Event::Cancelled { id: order.id });
            }
            !is_cancelled
        });
        at_work = if let Some(work) = at_work.take() {
            work.go_on(outbox)
        } else if let Some(order) = waiting.pop_front() {
            start(order, surroundings, outbox)
        } else {
            let Some(Command::Start(order)) = inbox.next() else { return };
            waiting.push_back(*order);
            None
        };
    }
}

fn start(order: Order, surroundings: &Surroundings, outbox: &Outbox<Event>) -> Option<AtWork> {
    let Order { id, what, destination, variant, sha256, cancel } = order;
    let task = Task { what, destination, variant, sha256 };
    let failed = |error: String| {
        outbox.send(Event::Failed { id, error });
        None
    };
    outbox.send(Event::Started { id });
    let client = match Client::new(surroundings) {
        Ok(client) => client,
        Err(error) => return failed(error.to_string()),
    };
    let (its_client, its_cancel, its_surroundings) = (client.clone(), cancel.clone(), surroundings.clone());
    // The events are fetched by looking, not by waking.
    let wake = std::sync::Arc::new(|| {});
    let spawned = Worker::spawn("download", wake, move |inbox, outbox| {
        let surroundings = &its_surroundings;
        let mut progress = Progress { id, cancel: its_cancel, inbox, outbox, surroundings, counts: Counts::default() };
        let done = job::carry_out(task, &its_client, surroundings, &mut progress);
        let fetched = progress.counts.fetched;
        outbox.send(end(id, done, fetched));
    });
    match spawned {
        Ok(thread) => Some(AtWork { id, cancel, client, thread, cut: None }),
        Err(error) => failed(format!("no thread could be started: {error}")),
    }
}

fn end(id: DownloadId, done: Result<PathBuf, DownloadError>, fetched: u64) -> Event {
    match done {
        Ok(path) => Event::Finished { id, path, fetched },
        Err(DownloadError::Cancelled) => Event::Cancelled { id },
        Err(error) => Event::Failed { id, error: error.to_string() },
    }
}

impl AtWork {
    /// Passes one event on; none is left when it was the last.
    fn go_on(mut self, outbox: &Outbox<Event>) -> Option<Self> {
        let id = self.id;
        if self.cancel.is_cancelled() {
            let cut = *self.cut.get_or_insert_with(|| {
                self.client.shut_down();
                Instant::now()
            });
            if cut.elapsed() > GRACE {
                outbox.send(Event::Cancelled { id });
                self.thread.abandon(Duration::ZERO);
                return None;
            }
        }
        match self.thread.next_within(INTERVAL) {
            Waited::Nothing => Some(self),
            Waited::Event(event @ (Event::Progress { .. } | Event::Verifying { .. })) => {
                outbox.offer(event);
                Some(self)
            }
            Waited::Event(event) => {
                let is_last = matches!(event, Event::Finished { .. } | Event::Cancelled { .. } | Event::Failed { .. });
                outbox.send(event);
                (!is_last).then_some(self)
            }
            Waited::Ended => {
                let error = "a fault inside Calotype ended the download; try again, and report it if it stays";
                outbox.send(Event::Failed { id, error: error.to_owned() });
                None
            }
        }
    }

    /// The owner is gone: what is on the disk stays.
    fn leave(self) {
        self.client.shut_down();
        self.thread.abandon(GRACE);
    }
}
