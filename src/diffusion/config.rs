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
