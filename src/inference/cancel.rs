//! The token that ends a job: set on one thread, looked at between the blocks of a computation on another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(test)]
type OnCheck = Arc<dyn Fn(&AtomicBool) + Send + Sync>;

/// Cancels one job; its clones share the decision.
#[derive(Clone, Default)]
pub struct CancelToken {
    is_cancelled: Arc<AtomicBool>,
    /// Lets a test act at the very moment a computation asks.
    #[cfg(test)]
    on_check: Option<OnCheck>,
}

impl CancelToken {
    /// A token that nobody has used.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that calls `on_check` with its flag each time it is looked at.
    #[cfg(test)]
    pub(super) fn watched(on_check: impl Fn(&AtomicBool) + Send + Sync + 'static) -> Self {
        Self { is_cancelled: Arc::default(), on_check: Some(Arc::new(on_check)) }
    }

    /// Asks the job to end; it cannot be taken back.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Release);
    }

    /// True once [`CancelToken::cancel`] was called on any clone.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        #[cfg(test)]
        if let Some(on_check) = &self.on_check {
            on_check(&self.is_cancelled);
        }
        self.is_cancelled.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CancelToken").field(&self.is_cancelled.load(Ordering::Acquire)).finish()
    }
}
