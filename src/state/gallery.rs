//! The pictures of the folder, which one is selected, and which files are being opened.

use std::path::{Path, PathBuf};

pub use crate::gallery::message::Entry;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be shown on the canvas.
    View,
    /// To be the start image.
    StartImage,
    /// For its recipe, to be compared with that of the picture on the canvas.
    Comparison,
}

/// The side panel.
#[derive(Debug, Default)]
pub struct Gallery {
    /// The folder, once it is known.
    pub folder: Option<PathBuf>,
    /// Its pictures, newest first.
    pub entries: Vec<Entry>,
    /// Why the folder could not be read.
    pub error: Option<String>,
    /// The picture that is selected.
    pub selected: Option<PathBuf>,
    /// The picture that is to be deleted once the user agrees.
    pub to_delete: Option<PathBuf>,
    /// Files on their way in.
    opening: Vec<(PathBuf, Purpose)>,
    next_view: Option<PathBuf>,
}

impl Gallery {
    /// The folder was read.
    pub fn list(&mut self, folder: PathBuf, entries: Vec<Entry>) {
        self.folder = Some(folder);
        self.entries = entries;
        self.error = None;
        let is_there = |path: &PathBuf| self.entries.iter().any(|entry| &entry.path == path);
        if !self.selected.as_ref().is_some_and(is_there) {
            self.selected = None;
        }
    }

    /// A picture was written; it is listed if it lies in the folder.
    pub fn add(&mut self, entry: Entry) {
        let is_in_folder = self.folder.is_some() && entry.path.parent() == self.folder.as_deref();
        if !is_in_folder || self.entries.contains(&entry) {
            return;
        }
        // What was just written is the youngest, but for what was written after it and is listed already. Names that do not
        // begin with a time say nothing about that.
        let name = |entry: &Entry| entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let new = name(&entry);
        let is_younger = |known: &&Entry| name(known) > new && name(known).starts_with(|c: char| c.is_ascii_digit());
        let at = self.entries.iter().take_while(is_younger).count();
        self.entries.insert(at, entry);
    }

    /// A picture is gone; the one that took its place is selected.
    pub fn remove(&mut self, path: &Path) {
        let Some(at) = self.index_of(path) else { return };
        self.entries.remove(at);
        if self.selected.as_deref() == Some(path) {
            self.selected = None;
        }
    }

    /// Where a picture stands.
    #[must_use]
    pub fn index_of(&self, path: &Path) -> Option<usize> {
        self.entries.iter().position(|entry| entry.path == path)
    }

    /// The picture `by` places further on from the selected one; the first when none is selected.
    #[must_use]
    pub fn neighbour(&self, by: isize) -> Option<&Entry> {
        let last = self.entries.len().checked_sub(1)?;
        let at = match self.selected.as_deref().and_then(|path| self.index_of(path)) {
            Some(at) => at.saturating_add_signed(by).min(last),
            None => 0,
        };
        self.entries.get(at)
    }

    /// Notes what a file is wanted for; true when it is to be read now. While one picture to look at is on its way,
    /// only the latest wish for another is kept.
    pub fn want(&mut self, path: &Path, purpose: Purpose) -> bool {
        let is_busy = purpose == Purpose::View && self.opening.iter().any(|(_, known)| *known == Purpose::View);
        if is_busy {
            self.next_view = Some(path.to_owned());
        } else {
            self.opening.push((path.to_owned(), purpose));
        }
        !is_busy
    }

    /// A file arrived or could not be read: what it was wanted for.
    pub fn arrived(&mut self, path: &Path) -> Option<Purpose> {
        let at = self.opening.iter().position(|(known, _)| known == path)?;
        Some(self.opening.remove(at).1)
    }

    /// Nothing that was asked for will arrive.
    pub fn forget_opening(&mut self) {
        self.opening.clear();
        self.next_view = None;
    }

    /// The picture that the user asked for while another was on its way.
    pub fn take_next_view(&mut self) -> Option<PathBuf> {
        self.next_view.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry { path: PathBuf::from("/g").join(name) }
    }

    fn gallery() -> Gallery {
        let mut gallery = Gallery::default();
        gallery.list("/g".into(), vec![entry("5.png"), entry("3.png"), entry("1.png")]);
        gallery
    }

    #[test]
    fn a_saved_picture_is_listed_newest_first_and_once() {
        let mut gallery = gallery();
        gallery.add(entry("4.png"));
        gallery.add(entry("6.png"));
        gallery.add(entry("6.png"));
        gallery.add(Entry { path: "/elsewhere/7.png".into() });
        let names: Vec<_> = gallery.entries.iter().map(|e| e.path.display().to_string()).collect();
        assert_eq!(names, ["/g/6.png", "/g/5.png", "/g/4.png", "/g/3.png", "/g/1.png"]);
    }

    #[test]
    fn arrows_stop_at_the_ends() {
        let mut gallery = gallery();
        assert_eq!(gallery.neighbour(1), Some(&entry("5.png")));
        gallery.selected = Some("/g/3.png".into());
        assert_eq!(gallery.neighbour(-1), Some(&entry("5.png")));
        assert_eq!(gallery.neighbour(40), Some(&entry("1.png")));
        assert_eq!(gallery.neighbour(-40), Some(&entry("5.png")));
    }

    #[test]
    fn only_one_picture_to_look_at_is_on_its_way() {
        let mut gallery = gallery();
        assert!(gallery.want(Path::new("/g/1.png"), Purpose::View));
        assert!(!gallery.want(Path::new("/g/3.png"), Purpose::View));
        assert!(!gallery.want(Path::new("/g/5.png"), Purpose::View));
        assert!(gallery.want(Path::new("/x.png"), Purpose::StartImage));
        assert_eq!(gallery.arrived(Path::new("/x.png")), Some(Purpose::StartImage));
        assert_eq!(gallery.arrived(Path::new("/g/1.png")), Some(Purpose::View));
        assert_eq!(gallery.arrived(Path::new("/g/1.png")), None);
        assert_eq!(gallery.take_next_view(), Some("/g/5.png".into()));
    }
}
