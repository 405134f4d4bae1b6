//! A worker and the commands that its full inbox did not take: kept in order and offered again, so that the window
//! never waits.

use std::collections::VecDeque;
use std::time::Duration;

use crate::worker::{Refused, Worker};

/// A worker as the window sees it.
pub struct Outgoing<C, E> {
    worker: Option<Worker<C, E>>,
    waiting: VecDeque<C>,
}

impl<C: Send + 'static, E: Send + 'static> Outgoing<C, E> {
    /// Nothing waits yet.
    pub fn new(worker: Worker<C, E>) -> Self {
        Self { worker: Some(worker), waiting: VecDeque::new() }
    }

    /// Sends a command now or as soon as there is room.
    pub fn send(&mut self, command: C) {
        self.waiting.push_back(command);
        self.flush();
    }

    /// Offers what waits, in order.
    pub fn flush(&mut self) {
        let Some(worker) = &self.worker else { return };
        while let Some(command) = self.waiting.pop_front() {
            match worker.try_send(command) {
                // A thread that has ended will never take it: the window tells about that.
                Ok(()) | Err(Refused::Ended(_)) => {}
                Err(Refused::Full(command)) => {
                    self.waiting.push_front(command);
                    return;
                }
            }
        }
    }

    /// True when commands wait for room.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next event if there is one.
    pub fn next(&self) -> Option<E> {
        self.worker.as_ref()?.try_next()
    }

    /// True once the thread has ended.
    pub fn is_over(&self) -> bool {
        self.worker.as_ref().is_some_and(Worker::is_ended)
    }

    /// Uses a new thread; what waited for the old one is dropped.
    pub fn replace(&mut self, worker: Worker<C, E>) {
        self.waiting.clear();
        self.worker = Some(worker);
    }

    /// Sends what waits, waiting for room: for the end.
    pub fn send_to_the_last(&mut self) {
        let Some(worker) = &self.worker else { return };
        for command in self.waiting.drain(..) {
            if worker.send(command).is_err() {
                return;
            }
        }
    }

    /// Lets the thread go, waiting no longer than `patience` for its end.
    pub fn abandon(&mut self, patience: Duration) {
        if let Some(worker) = self.worker.take() {
            worker.abandon(patience);
        }
    }
}
