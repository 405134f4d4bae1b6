//! What the canvas shows: a picture in progress, a finished or opened one, or nothing yet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use image::RgbImage;

use crate::gallery::message::{Caption, OpenedPicture, SaveId};
use crate::gallery::record::PictureRecord;
use crate::gallery::record::ReadRecipe;
use crate::inference::message::JobId;
use crate::latent_image::LatentImage;
use crate::request::ImageSize;

/// A picture in progress, or what was left of it.
#[derive(Debug, Clone)]
pub struct Developing {
    /// Whose.
    pub job: JobId,
    /// The size that it will have.
    pub size: ImageSize,
    /// The last step's latents.
    pub preview: Option<LatentImage>,
    /// The last picture that was decoded from a step's latents: it stays until there is a newer one.
    pub picture: Option<Arc<RgbImage>>,
    /// Why it will not go on.
    pub end: Option<String>,
}

/// A picture that is done.
#[derive(Debug, Clone)]
pub struct ShownPicture {
    /// Its pixels.
    pub image: Arc<RgbImage>,
    /// Its recipe, as far as it is known.
    pub recipe: Option<ReadRecipe>,
    /// Our own record of it.
    pub record: Option<PictureRecord>,
    /// Another program's text, as it stands in the file.
    pub infotext: Option<String>,
    /// What could not be understood in the file.
    pub warning: Option<String>,
    /// The file's text that could not be read at all.
    pub unread: Option<String>,
    /// The save that it waits for.
    pub save: Option<SaveId>,
    /// Its file, once it has one.
    pub path: Option<PathBuf>,
}

impl ShownPicture {
    /// A picture that was read from a file.
    #[must_use]
    pub fn opened(opened: OpenedPicture) -> Self {
        let recipe = opened.recipe;
        Self {
            image: opened.image,
            recipe,
            record: opened.record,
            infotext: opened.infotext,
            warning: opened.warning,
            unread: opened.unread,
            save: None,
            path: Some(opened.path),
        }
    }

    /// The file's name, or what stands for it.
    #[must_use]
    pub fn name(&self) -> String {
        self.path
            .as_ref()
            .and_then(|path| path.file_name())
            .map_or_else(|| "unsaved picture".to_owned(), |name| name.to_string_lossy().into_owned())
    }
}

/// A picture whose pixels are kept until they are on disk.
#[derive(Debug, Clone)]
pub struct UnsavedPicture {
    /// Its pixels.
    pub image: Arc<RgbImage>,
    /// What is known of how it was made.
    pub caption: Caption,
    /// Why it is not on disk; none while the save is under way.
    pub error: Option<String>,
}

/// Which of the two the canvas shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// The picture in progress.
    #[default]
    Developing,
    /// The finished or opened picture.
    Picture,
}

/// The canvas.
#[derive(Debug, Default)]
pub struct Canvas {
    developing: Option<Developing>,
    picture: Option<ShownPicture>,
    view: View,
    is_following: bool,
    revision: u64,
    unsaved: BTreeMap<SaveId, UnsavedPicture>,
    last_save: u64,
}

impl Canvas {
    /// The picture in progress, when that is what is shown.
    #[must_use]
    pub fn shown_developing(&self) -> Option<&Developing> {
        self.developing.as_ref().filter(|_| self.view == View::Developing)
    }

    /// The finished or opened picture, when that is what is shown.
    #[must_use]
    pub fn shown_picture(&self) -> Option<&ShownPicture> {
        self.picture.as_ref().filter(|_| self.view == View::Picture)
    }

    /// True when a picture develops behind the one that is shown.
    #[must_use]
    pub fn has_hidden_progress(&self) -> bool {
        let is_developing = self.developing.as_ref().is_some_and(|developing| developing.end.is_none());
        self.view == View::Picture && !self.is_following && is_developing
    }

    /// Grows with every change of the pixels that are shown.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Follow the jobs from now on: their previews and pictures take the canvas over.
    pub fn follow(&mut self) {
        self.is_following = true;
    }

    /// True while the jobs' previews and pictures take the canvas over.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.is_following
    }

    /// A job begins. Until its first preview the picture before stays: there is nothing better to look at.
    pub fn begin(&mut self, job: JobId, size: ImageSize) {
        self.developing = Some(Developing { job, size, preview: None, picture: None, end: None });
        if self.is_following && self.picture.is_none() {
            self.show_developing();
        }
    }

    /// A step's latents, and their picture where they were decoded.
    pub fn develop(&mut self, job: JobId, preview: LatentImage, picture: Option<Arc<RgbImage>>) {
        if let Some(developing) = self.developing.as_mut().filter(|developing| developing.job == job) {
            developing.preview = Some(preview);
            developing.picture = picture.or(developing.picture.take());
            if self.is_following || self.view == View::Developing {
                self.show_developing();
            }
        }
    }

    /// Goes back to the picture in progress and follows the jobs.
    pub fn show_progress(&mut self) {
        self.is_following = true;
        self.show_developing();
    }

    fn show_developing(&mut self) {
        self.view = View::Developing;
        self.revision += 1;
    }

    /// The job ended without a picture; its last preview stays with this note.
    pub fn end(&mut self, job: JobId, note: &str) {
        if let Some(developing) = self.developing.as_mut().filter(|developing| developing.job == job) {
            developing.end = Some(note.to_owned());
            if developing.preview.is_none() {
                self.developing = None;
                self.view = if self.picture.is_some() { View::Picture } else { View::Developing };
            }
            self.revision += 1;
        }
    }

    /// Forgets the picture in progress, which is done.
    pub fn finish(&mut self, job: JobId) {
        self.developing.take_if(|developing| developing.job == job);
    }

    /// Shows a picture that the user asked for; the jobs no longer take the canvas over.
    pub fn show_opened(&mut self, picture: ShownPicture) {
        self.is_following = false;
        self.show(picture);
    }

    /// Shows a picture.
    pub fn show(&mut self, picture: ShownPicture) {
        self.picture = Some(picture);
        self.view = View::Picture;
        self.revision += 1;
    }

    /// Takes the picture away.
    pub fn clear(&mut self) {
        match self.view {
            View::Picture => self.picture = None,
            View::Developing => {
                self.developing.take_if(|developing| developing.end.is_some());
            }
        }
        self.show_progress();
    }

    /// Keeps a picture until it is on disk; the name is for the save.
    pub fn keep_unsaved(&mut self, image: Arc<RgbImage>, caption: Caption) -> SaveId {
        self.last_save += 1;
        let id = SaveId(self.last_save);
        self.unsaved.insert(id, UnsavedPicture { image, caption, error: None });
        id
    }

    /// The picture is on disk. Gives back whether it was one of ours.
    pub fn saved(&mut self, id: SaveId, path: PathBuf) -> bool {
        if let Some(picture) = self.picture.as_mut().filter(|picture| picture.save == Some(id)) {
            picture.path = Some(path);
            picture.save = None;
        }
        self.unsaved.remove(&id).is_some()
    }

    /// The picture is not on disk.
    pub fn save_failed(&mut self, id: SaveId, error: String) {
        if let Some(unsaved) = self.unsaved.get_mut(&id) {
            unsaved.error = Some(error);
        }
    }

    /// No save that is under way will be answered.
    pub fn saves_are_lost(&mut self, error: &str) {
        for unsaved in self.unsaved.values_mut().filter(|unsaved| unsaved.error.is_none()) {
            unsaved.error = Some(error.to_owned());
        }
    }

    /// Marks a failed save as under way again.
    pub fn retry(&mut self, id: SaveId) -> Option<&UnsavedPicture> {
        let unsaved = self.unsaved.get_mut(&id)?;
        unsaved.error = None;
        Some(unsaved)
    }

    /// A picture that waits for its save.
    #[must_use]
    pub fn unsaved(&self, id: SaveId) -> Option<&UnsavedPicture> {
        self.unsaved.get(&id)
    }

    /// The user chose no file: a picture that was kept only for the dialog is let go.
    pub fn save_dialog_cancelled(&mut self, id: SaveId) {
        self.unsaved.retain(|known, unsaved| *known != id || unsaved.error.is_some());
    }

    /// Lets a picture go that could not be saved.
    pub fn give_up(&mut self, id: SaveId) {
        self.unsaved.remove(&id);
    }

    /// The pictures that could not be saved, the oldest first, with the reason.
    pub fn not_saved(&self) -> impl Iterator<Item = (SaveId, &UnsavedPicture, &str)> {
        self.unsaved.iter().filter_map(|(id, unsaved)| unsaved.error.as_deref().map(|error| (*id, unsaved, error)))
    }
}
