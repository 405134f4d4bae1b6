//! The thread that does everything of the gallery, one command after the other.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::gallery::error::GalleryError;
use crate::gallery::message::{Command, Entry, Event};
use crate::gallery::opening::open_picture;
use crate::gallery::store;
use crate::gallery::thumbnail::thumbnail;
use crate::worker::{Inbox, Outbox, Wake, Worker};

/// How many commands are taken out of the inbox ahead of their turn, so that the urgent among them can be found. With
/// as many waiting the inbox fills up, and the sender is told so.
const MOST_WAITING: usize = 256;

/// Starts the gallery's thread. Every command is answered by exactly one event, except when the owner is going: then
/// what is to be saved is still saved, and the rest is dropped.
///
/// # Errors
/// When the operating system gives no thread.
pub fn spawn(wake: Wake) -> std::io::Result<Worker<Command, Event>> {
    Worker::spawn("gallery", wake, |inbox, outbox| Keeper::default().work(inbox, outbox))
}

/// What the thread knows.
#[derive(Default)]
struct Keeper {
    folder: Option<PathBuf>,
    /// Done first, in order.
    orders: VecDeque<Command>,
    /// Done when there are no orders, the last first: it is the one that is being looked at.
    thumbnails: Vec<PathBuf>,
}

impl Keeper {
    fn work(mut self, inbox: &Inbox<Command>, outbox: &Outbox<Event>) {
        loop {
            while self.orders.len() + self.thumbnails.len() < MOST_WAITING
                && let Some(command) = inbox.try_next()
            {
                self.take_in(command);
            }
            let Some(command) = self.next().or_else(|| inbox.next_to_the_last()) else { return };
            if !inbox.is_closing() {
                outbox.send(self.carry_out(command));
            } else if let Some(command) = self.worth_doing_at_the_end(command)
                && let Event::SaveFailed { error, .. } = self.carry_out(command)
            {
                tracing::error!(error, "a picture was not saved while the program ended");
            }
        }
    }

    fn take_in(&mut self, command: Command) {
        match command {
            Command::Thumbnail(path) => self.thumbnails.push(path),
            order => self.orders.push_back(order),
        }
    }

    fn next(&mut self) -> Option<Command> {
        self.orders.pop_front().or_else(|| self.thumbnails.pop().map(Command::Thumbnail))
    }

    /// The saves; and the folder that they go to is noted.
    fn worth_doing_at_the_end(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::Save { .. } | Command::SaveAs { .. } => Some(command),
            Command::SetFolder(folder) => {
                self.folder = Some(folder);
                None
            }
            Command::List | Command::Thumbnail(_) | Command::Open(_) | Command::Delete(_) => None,
        }
    }

    fn carry_out(&mut self, command: Command) -> Event {
        let failed = self.failure_of(&command);
        answer_or_failure(failed, || self.answer(command))
    }

    fn answer(&mut self, command: Command) -> Result<Event, GalleryError> {
        match command {
            Command::SetFolder(folder) => {
                self.folder = Some(folder);
                self.list()
            }
            Command::List => self.list(),
            Command::Save { id, image, record } => {
                let folder = self.folder.as_deref().ok_or(GalleryError::NoFolder)?;
                let path = store::save(folder, &image, Some(&record), Timestamp::now())?;
                Ok(Event::Saved { id, entry: Entry { path } })
            }
            Command::SaveAs { id, path, image, caption, quality } => {
                let path = store::save_as(&path, &image, &caption, quality)?;
                Ok(Event::Saved { id, entry: Entry { path } })
            }
            Command::Thumbnail(path) => {
                let image = Arc::new(thumbnail(&path)?);
                Ok(Event::Thumbnail { path, image })
            }
            Command::Open(path) => Ok(Event::Opened(Box::new(open_picture(&path)?))),
            Command::Delete(path) => {
                store::delete(&path)?;
                Ok(Event::Deleted { path })
            }
        }
    }

    fn list(&self) -> Result<Event, GalleryError> {
        let folder = self.folder.clone().ok_or(GalleryError::NoFolder)?;
        Ok(Event::Listed { entries: store::list(&folder)?, folder })
    }

    /// The event that says why this command could not be carried out.
    fn failure_of(&self, command: &Command) -> Box<dyn FnOnce(String) -> Event> {
        match command {
            Command::SetFolder(folder) => {
                let folder = folder.clone();
                Box::new(|error| Event::ListFailed { folder, error })
            }
            Command::List => {
                let folder = self.folder.clone().unwrap_or_default();
                Box::new(|error| Event::ListFailed { folder, error })
            }
            Command::Save { id, .. } | Command::SaveAs { id, .. } => {
                let id = *id;
                Box::new(move |error| Event::SaveFailed { id, error })
            }
            Command::Thumbnail(path) => {
                let path = path.clone();
                Box::new(|error| Event::ThumbnailFailed { path, error })
            }
            Command::Open(path) => {
                let path = path.clone();
                Box::new(|error| Event::OpenFailed { path, error })
            }
            Command::Delete(path) => {
                let path = path.clone();
                Box::new(|error| Event::DeleteFailed { path, error })
            }
        }
    }
}

/// Does the work of one command; a panic in it is a failure of this command only.
fn answer_or_failure(
    failed: impl FnOnce(String) -> Event,
    work: impl FnOnce() -> Result<Event, GalleryError>,
) -> Event {
    // Nothing of the keeper is half-changed by a panic: its one change, of the folder, comes before the work.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(event)) => event,
        Ok(Err(error)) => failed(error.for_people()),
        Err(_) => {
            tracing::error!("a panic in the gallery's thread was caught");
            failed("an error inside Calotype; please report it with the text printed on the terminal".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use image::RgbImage;

    use super::*;
    use crate::gallery::message::{Caption, JpegQuality, SaveId};
    use crate::gallery::record::samples::fox;

    fn gallery() -> Worker<Command, Event> {
        spawn(Arc::new(|| {})).unwrap()
    }

    fn picture() -> Arc<RgbImage> {
        Arc::new(RgbImage::from_pixel(300, 20, image::Rgb([1, 2, 3])))
    }

    fn save(id: u64) -> Command {
        Command::Save { id: SaveId(id), image: picture(), record: Box::new(fox()) }
    }

    fn ask(worker: &Worker<Command, Event>, command: Command) -> Event {
        worker.send(command).unwrap();
        worker.next().unwrap()
    }

    fn count(folder: &Path) -> usize {
        store::list(folder).unwrap().len()
    }

    #[test]
    fn a_picture_is_saved_listed_shown_small_opened_and_saved_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("gallery");
        let worker = gallery();
        assert!(
            matches!(ask(&worker, Command::SetFolder(folder.clone())), Event::Listed { entries, .. } if entries.is_empty())
        );
        let Event::Saved { id: SaveId(7), entry } = ask(&worker, save(7)) else { panic!("not saved") };
        assert!(matches!(ask(&worker, Command::List), Event::Listed { entries, .. } if entries == [entry.clone()]));
        let Event::Thumbnail { image, .. } = ask(&worker, Command::Thumbnail(entry.path.clone())) else {
            panic!("none")
        };
        assert_eq!(image.dimensions(), (256, 17));
        let Event::Opened(opened) = ask(&worker, Command::Open(entry.path)) else { panic!("not opened") };
        assert_eq!((&opened.image, &opened.record), (&picture(), &Some(fox())));
        let elsewhere = root.path().join("fox.png");
        let (caption, quality) = (Caption::Nothing, JpegQuality::default());
        let command = Command::SaveAs { id: SaveId(8), path: elsewhere.clone(), image: picture(), caption, quality };
        assert!(matches!(ask(&worker, command), Event::Saved { entry, .. } if entry.path == elsewhere));
    }

    #[test]
    fn every_failure_names_what_failed() {
        let root = tempfile::tempdir().unwrap();
        let none = root.path().join("none.png");
        let worker = gallery();
        assert!(matches!(ask(&worker, Command::List), Event::ListFailed { .. }));
        assert!(
            matches!(ask(&worker, save(3)), Event::SaveFailed { id: SaveId(3), error } if error.contains("choose one"))
        );
        assert!(matches!(ask(&worker, Command::Open(none.clone())), Event::OpenFailed { path, .. } if path == none));
        assert!(
            matches!(ask(&worker, Command::Thumbnail(none.clone())), Event::ThumbnailFailed { path, .. } if path == none)
        );
        assert!(
            matches!(ask(&worker, Command::Delete(none.clone())), Event::DeleteFailed { path, .. } if path == none)
        );
        std::fs::write(&none, b"").unwrap();
        assert!(
            matches!(ask(&worker, Command::SetFolder(none.clone())), Event::ListFailed { folder, .. } if folder == none)
        );
        assert!(matches!(ask(&worker, save(4)), Event::SaveFailed { id: SaveId(4), .. }));
    }

    #[test]
    fn dropping_the_owner_still_writes_every_save_that_waits() {
        let folder = tempfile::tempdir().unwrap();
        let worker = gallery();
        worker.send(Command::SetFolder(folder.path().to_owned())).unwrap();
        for id in 0..30 {
            worker.send(Command::Open(folder.path().join("none.png"))).unwrap();
            worker.send(save(id)).unwrap();
        }
        drop(worker);
        assert_eq!(count(folder.path()), 30);
    }

    #[test]
    fn a_save_does_not_wait_behind_thumbnails() {
        let root = tempfile::tempdir().unwrap();
        let mut keeper = Keeper { folder: Some(root.path().to_owned()), ..Keeper::default() };
        for name in ["1", "2"] {
            keeper.take_in(Command::Thumbnail(name.into()));
        }
        keeper.take_in(save(1));
        keeper.take_in(Command::List);
        let order: Vec<Command> = std::iter::from_fn(|| keeper.next()).collect();
        assert!(matches!(order[0], Command::Save { .. }));
        assert!(matches!(order[1], Command::List));
        assert!(matches!(&order[2], Command::Thumbnail(path) if path == Path::new("2")));
        assert_eq!(order.len(), 4);
    }

    #[test]
    fn a_panic_fails_its_command_only() {
        let event = answer_or_failure(|error| Event::SaveFailed { id: SaveId(1), error }, || panic!("on purpose"));
        assert!(matches!(event, Event::SaveFailed { id: SaveId(1), error } if error.contains("inside Calotype")));
    }
}
