//! The question that long computations ask between their blocks: shall I go on?

use super::DiffusionError;

/// Carries the caller's wish to end into the models.
#[derive(Clone, Copy)]
pub struct Interrupt<'a>(Option<&'a dyn Fn() -> bool>);

impl<'a> Interrupt<'a> {
    /// Ends the computation once `wanted` says true.
    #[must_use]
    pub fn when(wanted: &'a dyn Fn() -> bool) -> Self {
        Self(Some(wanted))
    }

    /// Runs to the end.
    #[must_use]
    pub fn never() -> Self {
        Self(None)
    }

    /// # Errors
    /// [`DiffusionError::Cancelled`] once the end is wanted.
    pub fn check(self) -> Result<(), DiffusionError> {
        if self.0.is_some_and(|wanted| wanted()) { Err(DiffusionError::Cancelled) } else { Ok(()) }
    }
}
