//! Sees changes in the folders: counts them, and says when they have settled.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::library::network_drive::is_elsewhere;

/// How long nothing may happen before a change counts as over: a copy or a download comes in many writes.
const SETTLED: Duration = Duration::from_millis(700);

/// A watch on some folders. The system's own thread calls in; nothing but a number passes from it to us.
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: HashSet<PathBuf>,
    changes: Arc<AtomicU64>,
    seen: u64,
    since: Option<Instant>,
}

impl Watch {
    /// Nothing is watched yet.
    pub fn new() -> Self {
        let changes = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&changes);
        let on_event = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| matters(&event)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .inspect_err(|error| tracing::warn!(%error, "changes in model folders are not seen by themselves"))
            .ok();
        Self { watcher, watched: HashSet::new(), changes, seen: 0, since: None }
    }

    /// Watches these folders and no others.
    pub fn set(&mut self, folders: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.watched.iter().filter(|watched| !folders.contains(watched)) {
            // One that is deleted is no longer watched anyway.
            let _ = watcher.unwatch(gone);
        }
        self.watched.retain(|watched| folders.contains(watched) && watched.is_dir());
        for folder in folders {
            if self.watched.contains(folder) || !folder.is_dir() || is_elsewhere(folder) {
                continue;
            }
            match watcher.watch(folder, RecursiveMode::Recursive) {
                Ok(()) => _ = self.watched.insert(folder.clone()),
                Err(error) => tracing::warn!(%error, "changes in {} are not seen by themselves", folder.display()),
            }
        }
    }

    /// True when changes in the folder are seen.
    pub fn is_watching(&self, folder: &Path) -> bool {
        self.watched.contains(folder)
    }

    /// True when some folder is watched.
    pub fn is_on(&self) -> bool {
        !self.watched.is_empty()
    }

    /// True once for each row of changes, when it is over.
    pub fn has_settled(&mut self) -> bool {
        let changes = self.changes.load(Ordering::Relaxed);
        if changes != self.seen {
            self.seen = changes;
            self.since = Some(Instant::now());
            return false;
        }
        let is_over = self.since.is_some_and(|since| since.elapsed() >= SETTLED);
        if is_over {
            self.since = None;
        }
        is_over
    }
}

/// Reading is no change, and neither is a file that is still on its way.
fn matters(event: &notify::Event) -> bool {
    let is_unfinished = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        name.starts_with('.') || [".part", ".partial", ".tmp", ".crdownload"].iter().any(|end| name.ends_with(end))
    };
    let is_reading = matches!(event.kind, EventKind::Access(_));
    !is_reading && (event.paths.is_empty() || !event.paths.iter().all(is_unfinished))
}
