//! How far a loading is, told to the caller, who may stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::CheckpointError;

/// Told how far the loading is, 0 to 1; says whether to go on.
pub type LoadProgress = Arc<dyn Fn(f32) -> bool + Send + Sync>;

/// Counts bytes and asks whether to go on.
pub(super) struct Meter {
    total: AtomicU64,
    done: AtomicU64,
    progress: LoadProgress,
}

/// The count of a meter whose caller said stop.
const STOPPED: u64 = u64::MAX;

impl Meter {
    pub fn new(progress: LoadProgress) -> Self {
        Self { total: AtomicU64::new(0), done: AtomicU64::new(0), progress }
    }

    pub fn expect(&self, bytes: u64) {
        self.total.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn advance(&self, bytes: u64) -> Result<(), CheckpointError> {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let fraction = done as f32 / self.total.load(Ordering::Relaxed).max(1) as f32;
        if (self.progress)(fraction.min(1.0)) {
            return Ok(());
        }
        self.total.store(STOPPED, Ordering::Relaxed);
        Err(CheckpointError::Cancelled)
    }

    pub fn is_stopped(&self) -> bool {
        self.total.load(Ordering::Relaxed) == STOPPED
    }
}
