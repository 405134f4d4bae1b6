//! How far one download is: told to the owner, and asked whether it is still wanted.

use std::time::{Duration, Instant};

use super::message::{DownloadId, Event};
use super::{DownloadError, Surroundings};
use crate::inference::cancel::CancelToken;
use crate::printable;
use crate::worker::{Inbox, Outbox};

/// How often progress is told: more is not seen.
const INTERVAL: Duration = Duration::from_millis(100);

/// One download's way to its owner.
pub(super) struct Progress<'a> {
    pub id: DownloadId,
    pub cancel: CancelToken,
    pub inbox: &'a Inbox<()>,
    pub outbox: &'a Outbox<Event>,
    pub surroundings: &'a Surroundings,
    pub counts: Counts,
}

/// What is counted of it.
#[derive(Debug)]
pub(super) struct Counts {
    done: u64,
    total: Option<u64>,
    /// Bytes that came over the network.
    pub fetched: u64,
    file: String,
    told: Instant,
    since_told: u64,
    bytes_per_second: f64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            done: 0,
            total: None,
            fetched: 0,
            file: String::new(),
            told: Instant::now(),
            since_told: 0,
            bytes_per_second: 0.0,
        }
    }
}

impl Progress<'_> {
    /// # Errors
    /// `Cancelled` once nobody wants the download any more.
    pub fn check(&self) -> Result<(), DownloadError> {
        if self.cancel.is_cancelled() || self.inbox.is_closing() { Err(DownloadError::Cancelled) } else { Ok(()) }
    }

    /// What is to be fetched is known.
    pub fn found(&mut self, name: &str, files: usize, total: Option<u64>) {
        (self.counts.done, self.counts.total) = (0, total);
        self.outbox.send(Event::Found { id: self.id, name: printable::name(name), files, total });
    }

    /// This file is at hand now.
    pub fn file(&mut self, name: &str) {
        self.counts.file = printable::name(name);
        self.tell();
    }

    /// Bytes that need not be fetched.
    pub fn there(&mut self, bytes: u64) {
        self.counts.done += bytes;
        self.tell();
    }

    /// Bytes that were counted and are wanted again.
    pub fn take_back(&mut self, bytes: u64) {
        self.counts.done = self.counts.done.saturating_sub(bytes);
    }

    /// Bytes that came over the network and are written.
    pub fn came(&mut self, bytes: u64) {
        let counts = &mut self.counts;
        counts.done += bytes;
        counts.fetched += bytes;
        counts.since_told += bytes;
        let elapsed = counts.told.elapsed();
        if elapsed >= INTERVAL {
            let now = counts.since_told as f64 / elapsed.as_secs_f64();
            // Smoothed over about a second; the first value stands as it is.
            let share = if counts.bytes_per_second == 0.0 { 1.0 } else { 0.2 };
            counts.bytes_per_second += share * (now - counts.bytes_per_second);
            self.tell();
        }
    }

    /// The file at hand is whole and is being compared.
    pub fn verifying(&self) {
        self.outbox.offer(Event::Verifying { id: self.id, file: self.counts.file.clone() });
    }

    /// The next try comes after a pause.
    pub fn waiting(&self, pause: Duration, why: &DownloadError) {
        let seconds = pause.as_secs();
        self.outbox.send(Event::Waiting { id: self.id, seconds, reason: why.to_string() });
    }

    /// Waits.
    pub fn pause(&self, time: Duration) {
        (self.surroundings.pause)(time);
    }

    fn tell(&mut self) {
        let counts = &mut self.counts;
        (counts.told, counts.since_told) = (Instant::now(), 0);
        self.outbox.offer(Event::Progress {
            id: self.id,
            done: counts.done,
            total: counts.total,
            bytes_per_second: counts.bytes_per_second,
            file: counts.file.clone(),
        });
    }
}
