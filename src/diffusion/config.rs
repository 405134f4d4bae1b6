//! Reading configuration values that the model folders write in more than one way.

use serde::Deserialize;

use super::DiffusionError;
use crate::kernels::Activation;

/// More blocks, heads or channels than any model has; what is beyond is a damaged file.
const MOST: usize = 1 << 20;

/// # Errors
/// [`DiffusionError::Config`] unless `value` is a number of layers that a model can have.
pub fn check_layers(part: &'static str, key: &str, value: usize) -> Result<(), DiffusionError> {
    const MOST_LAYERS: usize = 1024;
    if (1..=MOST_LAYERS).contains(&value) {
        return Ok(());
    }
    Err(DiffusionError::Config { part, problem: format!("{key} is {value}, not a number from 1 to {MOST_LAYERS}") })
}

/// A number, or one per level.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a whole number or a list of them")]
pub enum PerLevel {
    /// The same everywhere.
    One(usize),
    /// One for each level, from the outermost in.
    Each(Vec<usize>),
}

impl PerLevel {
    /// One number a level.
    ///
    /// # Errors
    /// When the list has another length or holds a zero.
    pub fn resolve(&self, levels: usize, part: &'static str, key: &str) -> Result<Vec<usize>, DiffusionError> {
        let values = match self {
            Self::One(value) => vec![*value; levels],
            Self::Each(values) => values.clone(),
        };
        if values.len() != levels {
            let problem = format!("{key} has {} entries for {levels} levels", values.len());
            return Err(DiffusionError::Config { part, problem });
        }
        match values.iter().find(|value| !(1..=MOST).contains(*value)) {
            None => Ok(values),
            Some(odd) => Err(DiffusionError::Config {
                part,
                problem: format!("{key} holds {odd}, not a number from 1 to {MOST}"),
            }),
        }
    }
}

/// A number, one per level, or one per block of a level.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, a list of them, or a list of lists")]
pub enum PerBlock {
    /// The same everywhere.
    One(usize),
    /// One entry for each level.
    Each(Vec<PerLevel>),
}

impl PerBlock {
    /// The numbers of the blocks of the level at `index`, of `blocks` blocks.
    ///
    /// # Errors
    /// When a list is too short or holds no number of layers.
    pub fn of_level(
        &self,
        index: usize,
        blocks: usize,
        part: &'static str,
        key: &str,
    ) -> Result<Vec<usize>, DiffusionError> {
        let values = match self {
            Self::One(value) => vec![*value; blocks],
            Self::Each(levels) => match levels.get(index) {
                Some(PerLevel::One(value)) => vec![*value; blocks],
                Some(PerLevel::Each(values)) if values.len() == blocks => values.clone(),
                Some(PerLevel::Each(values)) => {
                    let problem = format!("{key} has {} entries for the {blocks} blocks of a level", values.len());
                    return Err(DiffusionError::Config { part, problem });
                }
                None => {
                    let problem = format!("{key} has {} entries, too few for the levels", levels.len());
                    return Err(DiffusionError::Config { part, problem });
                }
            },
        };
        values.iter().try_for_each(|value| check_layers(part, key, *value))?;
        Ok(values)
    }

    /// Whether a level has different numbers in its blocks.
    #[must_use]
    pub fn is_uneven(&self) -> bool {
        matches!(self, Self::Each(levels) if levels.iter().any(|level| matches!(level, PerLevel::Each(_))))
    }

    /// The first number of the last level.
    #[must_use]
    pub fn deepest(&self) -> Option<usize> {
        match self {
            Self::One(value) => Some(*value),
            Self::Each(levels) => match levels.last()? {
                PerLevel::One(value) => Some(*value),
                PerLevel::Each(values) => values.first().copied(),
            },
        }
    }

    /// How many levels are listed; none where one number is for all.
    #[must_use]
    pub fn levels(&self) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Each(levels) => Some(levels.len()),
        }
    }
}

/// Finds an activation by the name in a configuration.
///
/// # Errors
/// An unknown name is refused by name.
pub fn activation(part: &'static str, key: &'static str, name: &str) -> Result<Activation, DiffusionError> {
    Activation::from_name(name).ok_or_else(|| DiffusionError::Unsupported {
        part,
        key,
        found: name.to_owned(),
        known: "silu, swish, gelu, quick_gelu",
    })
}

/// Refuses a key whose value is not the only one that is understood.
///
/// # Errors
/// [`DiffusionError::Unsupported`] unless `holds`.
pub fn require(
    part: &'static str,
    key: &'static str,
    holds: bool,
    found: impl FnOnce() -> String,
    known: &'static str,
) -> Result<(), DiffusionError> {
    if holds { Ok(()) } else { Err(DiffusionError::Unsupported { part, key, found: found(), known }) }
}
