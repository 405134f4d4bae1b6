//! The downloads of this run: what was asked for, how far each is, and how each ended.

use std::path::PathBuf;

use super::Studio;
use super::action::Effect;
use crate::downloads::message::{DownloadId, Event, Wanted};
use crate::library::message::Command as LibraryCommand;

/// What was asked for since the window opened, the newest last.
#[derive(Debug, Default)]
pub struct Downloads {
    /// One row each.
    pub rows: Vec<Download>,
    last_id: u64,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Download {
    /// Its name in events; another one after each new try.
    pub id: DownloadId,
    /// What to fetch.
    pub what: Wanted,
    /// For people: the file's or the folder's name, once it is known, else what was asked for.
    pub name: String,
    /// How far it is.
    pub stage: Stage,
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// It waits for those before it.
    Queued,
    /// It is at work.
    Running {
        /// Bytes that are on the disk.
        done: u64,
        /// The size of all, in bytes, where it is known.
        total: Option<u64>,
        /// How fast it comes in now; 0 when that is not known.
        bytes_per_second: f64,
        /// What else is to be said of it.
        words: Option<String>,
    },
    /// It is there.
    Finished(PathBuf),
    /// The user ended it; it can go on.
    Cancelled,
    /// It ended with this error; it can go on.
    Failed(String),
}

impl Stage {
    /// True while the thread has it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Queued | Self::Running { .. })
    }
}

impl Download {
    /// How much of it is there, where that is known.
    #[must_use]
    pub fn fraction(&self) -> Option<f32> {
        let Stage::Running { done, total: Some(total), .. } = &self.stage else { return None };
        (*total > 0).then(|| (*done as f64 / *total as f64).clamp(0.0, 1.0) as f32)
    }

    /// How many seconds it will still take, where that is known.
    #[must_use]
    pub fn seconds_left(&self) -> Option<u64> {
        let Stage::Running { done, total: Some(total), bytes_per_second, .. } = self.stage else { return None };
        let seconds = total.saturating_sub(done) as f64 / bytes_per_second;
        (bytes_per_second > 0.0).then_some(seconds.round() as u64)
    }
}

impl Downloads {
    /// The one that is at work.
    #[must_use]
    pub fn running(&self) -> Option<&Download> {
        self.rows.iter().find(|row| matches!(row.stage, Stage::Running { .. }))
    }

    fn next_id(&mut self) -> DownloadId {
        self.last_id += 1;
        DownloadId(self.last_id)
    }

    fn set(&mut self, id: DownloadId, stage: Stage) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.id == id) {
            row.stage = stage;
        }
    }

    /// Says something of the running one; its numbers stay.
    fn say(&mut self, id: DownloadId, said: Option<String>) {
        let Some(row) = self.rows.iter_mut().find(|row| row.id == id) else { return };
        match &mut row.stage {
            Stage::Running { words, .. } => *words = said,
            stage => *stage = Stage::Running { done: 0, total: None, bytes_per_second: 0.0, words: said },
        }
    }
}

impl Studio {
    /// Asks for a model; one that is asked for already is not asked for twice.
    pub(super) fn download(&mut self, what: Wanted, now_secs: f64) -> Vec<Effect> {
        let same = self.downloads.rows.iter().find(|row| row.what == what).map(|row| (row.id, row.stage.is_open()));
        match same {
            Some((_, true)) => {
                self.notices.tell("It is being downloaded already", now_secs);
                Vec::new()
            }
            Some((id, false)) => self.download_again(id),
            None => {
                let id = self.downloads.next_id();
                let row = Download { id, name: what.to_string(), what: what.clone(), stage: Stage::Queued };
                self.downloads.rows.push(row);
                vec![Effect::Download { id, what }]
            }
        }
    }

    /// Goes on with one that ended; under a new name, because the old one has had its end.
    pub(super) fn download_again(&mut self, old: DownloadId) -> Vec<Effect> {
        let id = self.downloads.next_id();
        let row = self.downloads.rows.iter_mut().find(|row| row.id == old && !row.stage.is_open());
        let Some(row) = row else { return Vec::new() };
        (row.id, row.stage) = (id, Stage::Queued);
        vec![Effect::Download { id, what: row.what.clone() }]
    }

    /// Takes a row away that is not at work; no file is touched.
    pub(super) fn dismiss_download(&mut self, id: DownloadId) {
        self.downloads.rows.retain(|row| row.id != id || row.stage.is_open());
    }

    /// Takes in an event of the downloading thread.
    pub fn on_download(&mut self, event: Event, now_secs: f64) -> Vec<Effect> {
        let downloads = &mut self.downloads;
        match event {
            Event::Started { id } => downloads.say(id, Some("Looking up what it takes…".to_owned())),
            Event::Found { id, name, total, .. } => {
                if let Some(row) = downloads.rows.iter_mut().find(|row| row.id == id) {
                    row.name = name;
                }
                downloads.set(id, Stage::Running { done: 0, total, bytes_per_second: 0.0, words: None });
            }
            Event::Progress { id, done, total, bytes_per_second, file } => {
                let row = downloads.rows.iter().find(|row| row.id == id);
                let words = row.filter(|row| row.name != file).map(|_| file);
                downloads.set(id, Stage::Running { done, total, bytes_per_second, words });
            }
            Event::Verifying { id, file } => downloads.say(id, Some(format!("Checking {file}"))),
            Event::Waiting { id, seconds, reason } => {
                downloads.say(id, Some(format!("{reason}; again in {seconds} s")));
            }
            Event::Finished { id, path, .. } => {
                downloads.set(id, Stage::Finished(path));
                if let Some(row) = downloads.rows.iter().find(|row| row.id == id) {
                    self.notices.tell(format!("{} is downloaded", row.name), now_secs);
                }
                return self.tell_library(LibraryCommand::Rescan);
            }
            Event::Cancelled { id } => downloads.set(id, Stage::Cancelled),
            Event::Failed { id, error } => downloads.set(id, Stage::Failed(error)),
        }
        Vec::new()
    }

    /// The downloading thread is gone, or could not be started: what it had can go on with the next one.
    pub fn on_downloads_ended(&mut self, why: &str) {
        for row in self.downloads.rows.iter_mut().filter(|row| row.stage.is_open()) {
            row.stage = Stage::Failed(why.to_owned());
        }
    }
}
