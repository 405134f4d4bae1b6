//! The downloading thread as the window has it: started with the first download, and again when it has ended.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::options::{Downloader, Start};
use super::outgoing::Outgoing;
use crate::downloads::message::{Command, DownloadId, Event, Order, Wanted};
use crate::inference::cancel::CancelToken;
use crate::worker::Wake;

/// The thread, if anything was asked of it, and the tokens that end its orders.
#[derive(Default)]
pub(super) struct Downloading {
    thread: Option<Outgoing<Command, Event>>,
    cancels: HashMap<DownloadId, CancelToken>,
}

impl Downloading {
    /// Hands an order over.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        &mut self,
        (id, what): (DownloadId, Wanted),
        destination: &Path,
        (spawn, wake): (&mut Start<Downloader>, &Wake),
    ) -> std::io::Result<()> {
        let thread = match &mut self.thread {
            Some(thread) => thread,
            none => none.insert(Outgoing::new(spawn(Arc::clone(wake))?)),
        };
        let cancel = CancelToken::new();
        self.cancels.insert(id, cancel.clone());
        let destination = destination.to_owned();
        thread.send(Command::Start(Box::new(Order { id, what, destination, variant: None, sha256: None, cancel })));
        Ok(())
    }

    /// Ends an order; what is there stays.
    pub fn cancel(&self, id: DownloadId) {
        if let Some(cancel) = self.cancels.get(&id) {
            cancel.cancel();
        }
    }

    /// The next event if there is one.
    pub fn next(&mut self) -> Option<Event> {
        let event = self.thread.as_ref()?.next()?;
        if let Event::Finished { id, .. } | Event::Cancelled { id } | Event::Failed { id, .. } = &event {
            self.cancels.remove(id);
        }
        Some(event)
    }

    /// True once when the thread has ended; the next order starts another.
    pub fn has_ended(&mut self) -> bool {
        let has_ended = self.thread.as_ref().is_some_and(Outgoing::is_over);
        if has_ended {
            self.thread = None;
            self.cancels.clear();
        }
        has_ended
    }

    /// Offers what waits.
    pub fn flush(&mut self) {
        if let Some(thread) = &mut self.thread {
            thread.flush();
        }
    }

    /// True when orders wait for room.
    pub fn has_waiting(&self) -> bool {
        self.thread.as_ref().is_some_and(Outgoing::has_waiting)
    }

    /// Lets the thread go; what is half there is gone on with another time.
    pub fn abandon(&mut self, patience: Duration) {
        if let Some(mut thread) = self.thread.take() {
            thread.abandon(patience);
        }
    }
}
