//! What makes a picture sooner, or with less memory, and another one: off unless asked for, each number checked.

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
    /// What is kept of one evaluation of the U-Net for the next ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_caching: Option<BlockCaching>,
    /// How many tokens are joined before attention.
    #[serde(default, skip_serializing_if = "is_default")]
    pub token_merging: TokenMerging,
    /// Whether the VAE decodes overlapping tiles of 64 x 64 latents, which bounds its memory.
    #[serde(default, skip_serializing_if = "is_default")]
    pub decoding_in_tiles: bool,
}

impl Accelerations {
    /// What is on as name and value, for people.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts = Vec::new();
        if !is_default(&self.guidance_interval) {
            facts.push(("Guidance interval", self.guidance_interval.to_string()));
        }
        if let Some(caching) = &self.block_caching {
            facts.push(("Block caching", caching.to_string()));
        }
        if !is_default(&self.token_merging) {
            facts.push(("Token merging ratio", self.token_merging.get().to_string()));
        }
        if self.decoding_in_tiles {
            facts.push(("Decoding", "in tiles".to_owned()));
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

/// The U-Net's deep blocks are evaluated every so many times only, the outermost ones each time (DeepCache, Ma et al. 2023,
/// arXiv:2312.00858).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawCaching", into = "RawCaching")]
pub struct BlockCaching {
    interval: u32,
    branch: u32,
}

#[derive(Serialize, Deserialize)]
struct RawCaching {
    interval: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    branch: u32,
}

impl TryFrom<RawCaching> for BlockCaching {
    type Error = RequestError;

    fn try_from(raw: RawCaching) -> Result<Self, Self::Error> {
        Self::new(raw.interval, raw.branch)
    }
}

impl From<BlockCaching> for RawCaching {
    fn from(caching: BlockCaching) -> Self {
        Self { interval: caching.interval, branch: caching.branch }
    }
}

impl BlockCaching {
    /// The smallest interval.
    pub const LEAST_INTERVAL: u32 = 2;
    /// The largest interval.
    pub const MOST_INTERVAL: u32 = 10;
    /// The innermost branch of Stable Diffusion 1 and 2; other models may have fewer.
    pub const LAST_BRANCH: u32 = 11;

    /// Every `interval`-th evaluation, 2 to 10, is a whole one; the others go down to the skip connection `branch`, 0 to
    /// 11, counted from the outermost.
    ///
    /// # Errors
    /// [`RequestError::Number`] when one is out of range.
    pub fn new(interval: u32, branch: u32) -> Result<Self, RequestError> {
        let (least, most) = (Self::LEAST_INTERVAL.into(), Self::MOST_INTERVAL.into());
        number("the interval of block caching", interval.into(), least, most)?;
        number("the branch of block caching", branch.into(), 0.0, Self::LAST_BRANCH.into())?;
        Ok(Self { interval, branch })
    }

    /// From one whole evaluation to the next.
    #[must_use]
    pub fn interval(self) -> u32 {
        self.interval
    }

    /// How deep the others go.
    #[must_use]
    pub fn branch(self) -> u32 {
        self.branch
    }
}

impl std::fmt::Display for BlockCaching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "one evaluation in {} is whole, the others of branch {}", self.interval, self.branch)
    }
}

/// The share of the tokens that join others before the self-attention on the finest level of the U-Net, 0 (none) to 0.75
/// (three of each square of four): Bolya & Hoffman 2023, arXiv:2303.17604.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct TokenMerging(f64);

impl TokenMerging {
    /// The largest share.
    pub const MOST: f64 = 0.75;

    /// Checks the range; not-a-number is refused.
    ///
    /// # Errors
    /// [`RequestError::Number`] outside of it.
    pub fn new(share: f64) -> Result<Self, RequestError> {
        number("the token merging ratio", share, 0.0, Self::MOST).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for TokenMerging {
    type Error = RequestError;

    fn try_from(share: f64) -> Result<Self, Self::Error> {
        Self::new(share)
    }
}

impl From<TokenMerging> for f64 {
    fn from(share: TokenMerging) -> Self {
        share.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_off_is_not_written_and_what_is_on_survives() {
        assert_eq!(serde_json::to_string(&Accelerations::default()).unwrap(), "{}");
        let on = Accelerations {
            guidance_interval: GuidanceInterval::new(0.1, 0.8).unwrap(),
            block_caching: BlockCaching::new(3, 0).ok(),
            token_merging: TokenMerging::new(0.5).unwrap(),
            decoding_in_tiles: true,
        };
        let text = serde_json::to_string(&on).unwrap();
        assert_eq!(
            text,
            r#"{"guidance_interval":{"from":0.1,"to":0.8},"block_caching":{"interval":3},"token_merging":0.5,"decoding_in_tiles":true}"#
        );
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
    fn caching_that_keeps_nothing_or_a_branch_that_no_model_has_is_refused() {
        assert!(BlockCaching::new(2, 11).is_ok());
        for (interval, branch) in [(1, 0), (11, 0), (3, 12)] {
            assert!(BlockCaching::new(interval, branch).is_err(), "{interval} {branch}");
        }
    }

    #[test]
    fn no_more_than_three_of_four_tokens_may_join() {
        assert!(TokenMerging::new(0.75).is_ok());
        assert!(TokenMerging::new(0.8).is_err() && TokenMerging::new(f64::NAN).is_err());
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
