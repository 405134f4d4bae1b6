//! What the gallery thread's news changes.

use std::path::Path;

use super::Studio;
use super::action::Effect;
use super::canvas::ShownPicture;
use super::form::StartImage;
use super::gallery::Purpose;
use crate::gallery::message::{Command, Entry, Event, OpenedPicture, SaveId};

impl Studio {
    /// Takes in an event of the gallery thread. Thumbnails are not state: they go to the textures.
    pub fn on_gallery(&mut self, event: Event, now_secs: f64) -> Vec<Effect> {
        match event {
            Event::Listed { folder, entries } => self.gallery.list(folder, entries),
            Event::ListFailed { folder, error } => {
                self.gallery.list(folder, Vec::new());
                self.gallery.error = Some(error);
            }
            Event::Saved { id, entry } => self.saved(id, entry, now_secs),
            Event::SaveFailed { id, error } => self.canvas.save_failed(id, error),
            Event::Opened(opened) => return self.opened(*opened, now_secs),
            Event::OpenFailed { path, error } => {
                self.notices.complain(error, now_secs);
                return self.open_failed(&path);
            }
            Event::Deleted { path } => {
                self.gallery.remove(&path);
                if self.canvas.shown_picture().is_some_and(|picture| picture.path.as_ref() == Some(&path)) {
                    self.canvas.clear();
                }
                self.notices.tell(format!("{} is in the trash", file_name(&path)), now_secs);
            }
            Event::DeleteFailed { error, .. } => self.notices.complain(error, now_secs),
            Event::Thumbnail { .. } | Event::ThumbnailFailed { .. } => {}
        }
        Vec::new()
    }

    /// The gallery's thread is gone: what it was saving is not on disk, and nothing it was reading will come.
    pub fn on_gallery_ended(&mut self) {
        self.gallery.forget_opening();
        self.gallery.error = Some("The gallery has ended: start Calotype again to see it".to_owned());
        self.canvas.saves_are_lost("The gallery ended while saving");
    }

    fn saved(&mut self, id: SaveId, entry: Entry, now_secs: f64) {
        let is_elsewhere = entry.path.parent() != self.gallery.folder.as_deref();
        if self.canvas.shown_picture().is_some_and(|picture| picture.save == Some(id)) && !is_elsewhere {
            self.gallery.selected = Some(entry.path.clone());
        }
        self.canvas.saved(id, entry.path.clone());
        if is_elsewhere {
            self.notices.tell(format!("Saved as {}", entry.path.display()), now_secs);
        }
        self.gallery.add(entry);
    }

    fn opened(&mut self, opened: OpenedPicture, now_secs: f64) -> Vec<Effect> {
        let path = opened.path.clone();
        match self.gallery.arrived(&path) {
            Some(Purpose::StartImage) => {
                self.form.start_image =
                    Some(StartImage { name: file_name(&path), path: Some(path), pixels: opened.image });
                Vec::new()
            }
            Some(Purpose::View) => {
                let next = self.open_next_view();
                if next.is_empty() {
                    self.canvas.show_opened(ShownPicture::opened(opened));
                }
                next
            }
            Some(Purpose::Comparison) => {
                self.compare(&opened, now_secs);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn open_failed(&mut self, path: &Path) -> Vec<Effect> {
        match self.gallery.arrived(path) {
            Some(Purpose::View) => self.open_next_view(),
            Some(Purpose::Comparison) => {
                self.cannot_compare(path);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn open_next_view(&mut self) -> Vec<Effect> {
        self.gallery.take_next_view().map_or_else(Vec::new, |next| self.open(&next, Purpose::View))
    }

    /// Has a file read for a purpose.
    pub(super) fn open(&mut self, path: &Path, purpose: Purpose) -> Vec<Effect> {
        if self.gallery.want(path, purpose) {
            vec![Effect::Gallery(Command::Open(path.to_owned()))]
        } else {
            Vec::new()
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
