//! How the prompts are read: in which language, where the text encoder stops, and what weights do to its result.

use serde::{Deserialize, Serialize};

use super::RequestError;

/// Which layer of the text encoder is taken, counted from its end: 1 is the last, 2 the one before, to 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ClipSkip(u32);

impl ClipSkip {
    /// The last layer.
    pub const MIN: u32 = 1;
    /// The first of CLIP ViT-L/14's layers.
    pub const MAX: u32 = 12;

    /// Checks the range.
    ///
    /// # Errors
    /// [`RequestError::ClipSkip`] outside of it.
    pub fn new(layer: u32) -> Result<Self, RequestError> {
        if (Self::MIN..=Self::MAX).contains(&layer) {
            Ok(Self(layer))
        } else {
            Err(RequestError::ClipSkip { found: layer })
        }
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl Default for ClipSkip {
    fn default() -> Self {
        Self(Self::MIN)
    }
}

impl TryFrom<u32> for ClipSkip {
    type Error = RequestError;

    fn try_from(layer: u32) -> Result<Self, Self::Error> {
        Self::new(layer)
    }
}

impl From<ClipSkip> for u32 {
    fn from(skip: ClipSkip) -> Self {
        skip.0
    }
}

/// Whose language the prompts are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Dialect {
    /// AUTOMATIC1111's: weights that multiply, schedules, `AND`, `BREAK`.
    #[default]
    #[serde(rename = "a1111")]
    A1111,
    /// ComfyUI's: round brackets and weights, nothing else.
    #[serde(rename = "comfyui")]
    ComfyUi,
}

impl Dialect {
    /// Every member, in menu order.
    pub const ALL: &'static [Self] = &[Self::A1111, Self::ComfyUi];

    /// The name on the command line and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A1111 => "a1111",
            Self::ComfyUi => "comfyui",
        }
    }

    /// The name in the window and in infotexts.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::A1111 => "AUTOMATIC1111",
            Self::ComfyUi => "ComfyUI",
        }
    }

    /// What weights do in the program that the language is of, unless the user says otherwise.
    #[must_use]
    pub fn usual_emphasis(self) -> Emphasis {
        match self {
            Self::A1111 => Emphasis::Original,
            Self::ComfyUi => Emphasis::ComfyUi,
        }
    }
}

impl std::str::FromStr for Dialect {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|dialect| dialect.name() == text).ok_or_else(|| RequestError::Unknown {
            what: "dialect",
            found: text.to_owned(),
            known: Self::ALL.iter().map(|dialect| dialect.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// What was typed, where the prompts were drawn from it: for people to find it again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Template {
    /// Instead of the prompt; empty where that stands as it was typed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// Instead of the negative prompt, likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub negative_prompt: String,
}

/// What the weights in a prompt do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Emphasis {
    /// AUTOMATIC1111's: every token's hidden state times its weight, then all of them scaled so that their mean is what
    /// it was.
    #[default]
    Original,
    /// The same without the scaling.
    NoNorm,
    /// Nothing: brackets are read and their weights forgotten.
    Ignore,
    /// ComfyUI's: the weight goes from the empty prompt's hidden state (0) through the prompt's (1) and on.
    #[serde(rename = "comfyui")]
    ComfyUi,
}

impl Emphasis {
    /// Every member, in menu order.
    pub const ALL: &'static [Self] = &[Self::Original, Self::NoNorm, Self::Ignore, Self::ComfyUi];

    /// The name on the command line and in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::NoNorm => "no-norm",
            Self::Ignore => "ignore",
            Self::ComfyUi => "comfyui",
        }
    }

    /// The name in the window and in A1111's infotext.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Original => "Original",
            Self::NoNorm => "No norm",
            Self::Ignore => "Ignore",
            Self::ComfyUi => "ComfyUI",
        }
    }
}

impl std::str::FromStr for Emphasis {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|mode| mode.name() == text).ok_or_else(|| RequestError::Unknown {
            what: "emphasis",
            found: text.to_owned(),
            known: Self::ALL.iter().map(|mode| mode.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

/// True for what a record leaves out.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clip_skip_is_one_to_twelve() {
        assert!(ClipSkip::new(1).is_ok() && ClipSkip::new(12).is_ok());
        assert!(ClipSkip::new(0).is_err() && ClipSkip::new(13).is_err());
        assert!(serde_json::from_str::<ClipSkip>("13").is_err());
    }

    #[test]
    fn names_are_those_of_the_files() {
        for &mode in Emphasis::ALL {
            assert_eq!(mode.name().parse::<Emphasis>().unwrap(), mode);
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
        }
        assert!("none".parse::<Emphasis>().unwrap_err().to_string().contains("comfyui"));
        for &dialect in Dialect::ALL {
            assert_eq!(dialect.name().parse::<Dialect>().unwrap(), dialect);
            assert_eq!(serde_json::to_value(dialect).unwrap(), dialect.name());
        }
        assert!("sd.cpp".parse::<Dialect>().unwrap_err().to_string().contains("a1111, comfyui"));
    }
}
