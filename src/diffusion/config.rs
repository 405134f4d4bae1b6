//! Reading configuration values that the model folders write in more than one way.

use serde::Deserialize;

use super::DiffusionError;
use crate::kernels::Activation;

/// A number, or one per level.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
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
        if values.contains(&0) {
            return Err(DiffusionError::Config { part, problem: format!("{key} holds a zero") });
        }
        Ok(values)
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
