//! A thread with a bounded inbox and a bounded outbox, which always ends: the one pattern of every background task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

/// Called after each event, from the worker's thread, so that the reader looks at its inbox.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// How many messages an inbox or an outbox holds.
const CAPACITY: usize = 64;

/// The owner's end of a worker: commands go in, events come out.
///
/// Dropping it tells the thread to stop ([`Inbox::is_closing`]), disconnects both channels so that nothing blocks on
/// them, and waits for the thread's end.
pub struct Worker<C, E> {
    commands: Option<Sender<C>>,
    events: Option<Receiver<E>>,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Why a command was not taken; it is handed back.
#[derive(Debug)]
pub enum Refused<C> {
    /// The inbox is full: offer it again later.
    Full(C),
    /// The thread has ended.
    Ended(C),
}

/// What a wait for an event or a command came to.
#[derive(Debug)]
pub enum Waited<E> {
    /// It came.
    Event(E),
    /// None came in time.
    Nothing,
    /// None will come: the thread has ended.
    Ended,
}

impl<C: Send + 'static, E: Send + 'static> Worker<C, E> {
    /// Starts a thread called `name` that runs `body` until it returns; `wake` is called after each event.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn spawn(
        name: &str,
        wake: Wake,
        body: impl FnOnce(&Inbox<C>, &Outbox<E>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (command_sender, command_receiver) = bounded(CAPACITY);
        let (event_sender, event_receiver) = bounded(CAPACITY);
        let closing = Arc::new(AtomicBool::new(false));
        let inbox = Inbox { commands: command_receiver, closing: Arc::clone(&closing) };
        let outbox = Outbox { events: event_sender, wake };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || body(&inbox, &outbox))?;
        Ok(Self { commands: Some(command_sender), events: Some(event_receiver), closing, thread: Some(thread) })
    }

    /// Hands a command over without ever blocking.
    ///
    /// # Errors
    /// Gives the command back when the inbox is full or the thread has ended.
    pub fn try_send(&self, command: C) -> Result<(), Refused<C>> {
        let Some(commands) = &self.commands else { return Err(Refused::Ended(command)) };
        commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(command) => Refused::Full(command),
            TrySendError::Disconnected(command) => Refused::Ended(command),
        })
    }

    /// Hands a command over, waiting for room. For callers without a window.
    ///
    /// # Errors
    /// Gives the command back when the thread has ended.
    pub fn send(&self, command: C) -> Result<(), Refused<C>> {
        let Some(commands) = &self.commands else { return Err(Refused::Ended(command)) };
        commands.send(command).map_err(|error| Refused::Ended(error.0))
    }

    /// The next event if there is one; never waits.
    #[must_use]
    pub fn try_next(&self) -> Option<E> {
        self.events.as_ref()?.try_recv().ok()
    }

    /// Waits for the next event; `None` when the thread has ended and all is read. For callers without a window.
    #[must_use]
    pub fn next(&self) -> Option<E> {
        self.events.as_ref()?.recv().ok()
    }

    /// Waits for the next event, but no longer than `patience`. For callers without a window.
    #[must_use]
    pub fn next_within(&self, patience: Duration) -> Waited<E> {
        let Some(events) = &self.events else { return Waited::Ended };
        match events.recv_timeout(patience) {
            Ok(event) => Waited::Event(event),
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
            Err(RecvTimeoutError::Disconnected) => Waited::Ended,
        }
    }

    /// Tells the thread to stop like dropping does, but waits no longer than `patience` for it: for the end of the process,
    /// with a thread whose unfinished work nobody will miss.
    pub fn abandon(mut self, patience: Duration) {
        self.closing.store(true, Ordering::Release);
        drop(self.commands.take());
        drop(self.events.take());
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + patience;
        while !thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// True once the thread has returned.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl<C, E> Drop for Worker<C, E> {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        drop(self.commands.take());
        drop(self.events.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a worker thread panicked");
        }
    }
}

/// The thread's end of the commands.
pub struct Inbox<C> {
    commands: Receiver<C>,
    closing: Arc<AtomicBool>,
}

impl<C> Inbox<C> {
    /// Waits for the next command; `None` when the owner is gone, also with commands still waiting.
    #[must_use]
    pub fn next(&self) -> Option<C> {
        if self.is_closing() {
            return None;
        }
        let command = self.commands.recv().ok()?;
        (!self.is_closing()).then_some(command)
    }

    /// The next command if one waits already.
    #[must_use]
    pub fn try_next(&self) -> Option<C> {
        if self.is_closing() { None } else { self.commands.try_recv().ok() }
    }

    /// Waits for the next command, but no longer than `patience`.
    #[must_use]
    pub fn next_within(&self, patience: Duration) -> Waited<C> {
        if self.is_closing() {
            return Waited::Ended;
        }
        match self.commands.recv_timeout(patience) {
            Ok(command) => Waited::Event(command),
            Err(RecvTimeoutError::Timeout) => Waited::Nothing,
            Err(RecvTimeoutError::Disconnected) => Waited::Ended,
        }
    }

    /// Waits for the next command like [`Inbox::next`], but hands out those that wait even when the owner is going: for
    /// work that must not be lost.
    #[must_use]
    pub fn next_to_the_last(&self) -> Option<C> {
        self.commands.recv().ok()
    }

    /// True once the owner wants the thread to end.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// A check to carry into a long computation: true once the owner wants the thread to end.
    #[must_use]
    pub fn closing_check(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.closing)
    }
}

/// The thread's end of the events.
pub struct Outbox<E> {
    events: Sender<E>,
    wake: Wake,
}

impl<E> Clone for Outbox<E> {
    fn clone(&self) -> Self {
        Self { events: self.events.clone(), wake: Arc::clone(&self.wake) }
    }
}

impl<E> Outbox<E> {
    /// Delivers a fact, waiting for room; when the reader is gone it is dropped.
    pub fn send(&self, event: E) {
        if self.events.send(event).is_ok() {
            (self.wake)();
        }
    }

    /// Offers something that a late reader can do without: dropped when the outbox is half full, so that facts find room.
    pub fn offer(&self, event: E) {
        if self.events.len() < CAPACITY / 2 && self.events.try_send(event).is_ok() {
            (self.wake)();
        }
    }

    /// True when the reader has taken all that was sent: what is offered now will be looked at.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.events.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent() -> Wake {
        Arc::new(|| {})
    }

    #[test]
    fn commands_come_back_as_events_in_order() {
        let worker = Worker::spawn("echo", silent(), |inbox: &Inbox<u32>, outbox| {
            while let Some(command) = inbox.next() {
                outbox.send(command * 2);
            }
        })
        .unwrap();
        for value in 0..200 {
            worker.send(value).unwrap();
            assert_eq!(worker.next(), Some(value * 2));
        }
    }

    #[test]
    fn dropping_ends_a_thread_that_is_blocked_on_a_full_outbox() {
        let worker = Worker::spawn("chatty", silent(), |inbox: &Inbox<()>, outbox| {
            while !inbox.is_closing() {
                outbox.send([0u8; 16]);
            }
        })
        .unwrap();
        let _ = worker.next();
        drop(worker);
    }

    #[test]
    fn offers_never_block_and_leave_room_for_facts() {
        let worker = Worker::spawn("offering", silent(), |inbox: &Inbox<()>, outbox| {
            for number in 0..1000 {
                outbox.offer(number);
            }
            outbox.send(-1);
            let _ = inbox.next();
        })
        .unwrap();
        let mut last = 0;
        while let Some(number) = worker.next() {
            last = number;
            if number == -1 {
                break;
            }
        }
        assert_eq!(last, -1);
    }

    #[test]
    fn a_full_inbox_gives_the_command_back() {
        let (hold, held) = bounded::<()>(0);
        let worker: Worker<u32, ()> = Worker::spawn("busy", silent(), move |_, _| {
            let _ = held.recv();
        })
        .unwrap();
        let refused = (0..1000).find_map(|number| worker.try_send(number).err());
        assert!(matches!(refused, Some(Refused::Full(64))));
        drop(hold);
    }

    #[test]
    fn an_abandoned_thread_is_not_waited_for() {
        let (hold, held) = bounded::<()>(0);
        let (ended, has_ended) = bounded::<()>(1);
        let worker: Worker<(), ()> = Worker::spawn("stuck", silent(), move |inbox, _| {
            let _ = held.recv();
            assert!(inbox.is_closing());
            let _ = ended.send(());
        })
        .unwrap();
        worker.abandon(Duration::from_millis(1));
        drop(hold);
        has_ended.recv().unwrap();
    }

    #[test]
    fn a_panic_in_the_thread_does_not_reach_the_owner() {
        let worker: Worker<(), ()> = Worker::spawn("doomed", silent(), |_, _| panic!("on purpose")).unwrap();
        assert_eq!(worker.next(), None);
        assert!(matches!(worker.send(()), Err(Refused::Ended(()))));
    }
}
