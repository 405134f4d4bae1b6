//! What makes a picture sooner and another one: off unless asked for, each number checked.

use serde::{Deserialize, Serialize};

use super::RequestError;
use super::options::number;
use super::text::is_default;

/// All of them; the default leaves the picture as it is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Accelerations {
    /// The steps in which the prompt is weighed against the negative one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub guidance_interval: GuidanceInterval,
}

impl Accelerations {
    /// What is on as name and value, for people.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if !is_default(&self.guidance_interval) {
            facts.push(("Guidance interval", self.guidance_interval.to_string()));
        }
        facts
    }
}

/// The steps in which classifier-free guidance acts, as shares of the steps that the picture takes; outside of them the
/// prompt alone is followed, which takes half the time (Kynkäänniemi et al. 2024, arXiv:2404.07724, who say it in sigmas;
/// in shares diffusers' guiders do, and so is it counted here).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawInterval", into = "RawInterval")]
pub struct GuidanceInterval {
    from: f64,
    to: f64,
}

#[derive(Serialize, Deserialize)]
struct RawInterval {
    from: f64,
    to: f64,
}

impl Default for GuidanceInterval {
    fn default() -> Self {
        Self { from: 0.0, to: 1.0 }
    }
}

impl TryFrom<RawInterval> for GuidanceInterval {
    type Error = RequestError;

    fn try_from(raw: RawInterval) -> Result<Self, Self::Error> {
        Self::new(raw.from, raw.to)
    }
}

impl From<GuidanceInterval> for RawInterval {
    fn from(interval: GuidanceInterval) -> Self {
        Self { from: interval.from, to: interval.to }
    }
}

impl GuidanceInterval {
    /// Checks both ends, 0 to 1; between equal ones lies nothing.
    ///
    /// # Errors
    /// [`RequestError::Number`] when one is out of range, or the end before the beginning.
    pub fn new(from: f64, to: f64) -> Result<Self, RequestError> {
        let from = number("the beginning of guidance", from, 0.0, 1.0)?;
        Ok(Self { from, to: number("the end of guidance", to, from, 1.0)? })
    }

    /// Where it begins.
    #[must_use]
    pub fn from(self) -> f64 {
        self.from
    }

    /// Where it ends.
    #[must_use]
    pub fn to(self) -> f64 {
        self.to
    }

    /// Whether guidance acts in the step `step` of `steps`, counted from 0: from the whole part of the steps times the
    /// beginning on, up to that of the end.
    #[must_use]
    pub fn holds(self, step: usize, steps: usize) -> bool {
        // At most a few thousand, so the casts are exact.
        let at = |share: f64| (share * steps as f64) as usize;
        (at(self.from)..at(self.to)).contains(&step)
    }
}

impl std::fmt::Display for GuidanceInterval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "from {} to {} of the steps", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_not_written_and_what_is_on_survives() {
        assert_eq!(serde_json::to_string(&Accelerations::default()).unwrap(), "{}");
        let on = Accelerations { guidance_interval: GuidanceInterval::new(0.1, 0.8).unwrap() };
        let text = serde_json::to_string(&on).unwrap();
        assert_eq!(text, r#"{"guidance_interval":{"from":0.1,"to":0.8}}"#);
        assert_eq!(serde_json::from_str::<Accelerations>(&text).unwrap(), on);
    }

    #[test]
    fn an_interval_that_ends_before_it_begins_is_refused() {
        assert!(GuidanceInterval::new(0.5, 0.5).is_ok());
        for (from, to) in [(0.5, 0.4), (-0.1, 1.0), (0.0, 1.1), (f64::NAN, 1.0), (0.0, f64::NAN)] {
            assert!(GuidanceInterval::new(from, to).is_err(), "{from} {to}");
        }
        let error = serde_json::from_str::<GuidanceInterval>(r#"{"from":0.5,"to":0.4}"#).unwrap_err().to_string();
        assert!(error.contains("the end of guidance must be from 0.5 to 1, not 0.4"), "{error}");
    }

    #[test]
    fn the_steps_of_an_interval_are_counted_as_diffusers_does() {
        let guided = |from, to, steps: usize| {
            let interval = GuidanceInterval::new(from, to).unwrap();
            (0..steps).filter(|&step| interval.holds(step, steps)).collect::<Vec<_>>()
        };
        assert_eq!(guided(0.0, 1.0, 3), [0, 1, 2]);
        assert_eq!(guided(0.25, 0.75, 8), [2, 3, 4, 5]);
        assert_eq!(guided(0.1, 0.8, 5), [0, 1, 2, 3]);
        assert!(guided(0.3, 0.3, 5).is_empty());
    }
}
