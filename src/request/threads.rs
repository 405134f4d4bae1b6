//! How many threads compute.

use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many threads compute; by itself as many as the processor has cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Option<u16>", into = "Option<u16>")]
pub struct ThreadCount(Option<NonZeroU16>);

/// No number of threads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found} is no number of threads; give 1 to {}, or auto", ThreadCount::MAX)]
pub struct NoThreadCount {
    found: String,
}

impl ThreadCount {
    /// The most.
    pub const MAX: u16 = 256;

    /// So many.
    ///
    /// # Errors
    /// When there are none or more than [`ThreadCount::MAX`].
    pub fn new(count: u16) -> Result<Self, NoThreadCount> {
        match NonZeroU16::new(count).filter(|count| count.get() <= Self::MAX) {
            Some(count) => Ok(Self(Some(count))),
            None => Err(NoThreadCount { found: count.to_string() }),
        }
    }

    /// The number; none for as many as there are cores.
    #[must_use]
    pub fn get(self) -> Option<u16> {
        self.0.map(NonZeroU16::get)
    }
}

impl TryFrom<Option<u16>> for ThreadCount {
    type Error = NoThreadCount;

    fn try_from(count: Option<u16>) -> Result<Self, Self::Error> {
        count.map_or(Ok(Self::default()), Self::new)
    }
}

impl From<ThreadCount> for Option<u16> {
    fn from(count: ThreadCount) -> Self {
        count.get()
    }
}

impl FromStr for ThreadCount {
    type Err = NoThreadCount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(Self::default());
        }
        text.parse().map_err(|_| NoThreadCount { found: text.to_owned() }).and_then(Self::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_are_refused_with_what_is() {
        assert_eq!("auto".parse(), Ok(ThreadCount::default()));
        assert_eq!("8".parse(), ThreadCount::new(8));
        for text in ["0", "257", "-1", "many", "70000"] {
            let error = text.parse::<ThreadCount>().unwrap_err().to_string();
            assert_eq!(error, format!("{text} is no number of threads; give 1 to 256, or auto"));
        }
    }

    #[test]
    fn it_is_stored_as_a_number_or_nothing() {
        let stored = |count: ThreadCount| serde_json::to_string(&count).unwrap();
        assert_eq!((stored(ThreadCount::default()), stored(ThreadCount::new(3).unwrap())), ("null".into(), "3".into()));
        assert_eq!(serde_json::from_str::<ThreadCount>("3").unwrap(), ThreadCount::new(3).unwrap());
        assert!(serde_json::from_str::<ThreadCount>("0").is_err());
    }
}
