//! What a picture's file says about how the picture was made, and how that becomes the texts in the file.

use crate::gallery::error::GalleryError;
use crate::gallery::infotext;
use crate::gallery::record::PictureRecord;

/// What is written into a picture's file beside its pixels.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Caption {
    /// Nothing is known.
    #[default]
    Nothing,
    /// Our own record, which is written whole, and as an infotext for other programs.
    Ours(Box<PictureRecord>),
    /// Another program's infotext, word for word.
    Infotext(String),
}

impl Caption {
    /// Of what an opened picture says, the most exact.
    #[must_use]
    pub fn of(record: Option<PictureRecord>, infotext: Option<String>) -> Self {
        match (record, infotext) {
            (Some(record), _) => Self::Ours(Box::new(record)),
            (None, Some(text)) => Self::Infotext(text),
            (None, None) => Self::Nothing,
        }
    }

    /// Our own record, if it is that.
    #[must_use]
    pub fn record(&self) -> Option<&PictureRecord> {
        match self {
            Self::Ours(record) => Some(record),
            Self::Nothing | Self::Infotext(_) => None,
        }
    }

    /// The texts for the file.
    ///
    /// # Errors
    /// When the record does not make a text.
    pub(super) fn texts(&self) -> Result<CaptionTexts, GalleryError> {
        let (record, infotext) = match self {
            Self::Nothing => (None, None),
            Self::Ours(record) => {
                let json = record.to_json().map_err(|source| GalleryError::Record { source })?;
                (Some(json), Some(infotext::write(record)))
            }
            Self::Infotext(text) => (None, Some(text.clone())),
        };
        // Neither a text chunk nor EXIF may hold zeros; in JSON they are escaped.
        Ok(CaptionTexts { record, infotext: infotext.map(|text| text.replace('\0', "")) })
    }
}

/// A caption as it stands in a file.
pub(super) struct CaptionTexts {
    /// Our own record as JSON.
    pub record: Option<String>,
    /// A1111's text.
    pub infotext: Option<String>,
}
