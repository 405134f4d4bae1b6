//! What a solver and the noise may be told beside the usual, each number checked.

use serde::{Deserialize, Serialize};

use super::{GenerationRequest, ImageSize, RequestError, Seed};

/// The numbers of a solver. What is not set is what the solver usually does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSamplerOptions", into = "RawSamplerOptions")]
pub struct SamplerOptions {
    eta: Option<f64>,
    churn: f64,
    churn_from: f64,
    churn_to: f64,
    noise_factor: f64,
}

/// The field's names: `s_tmin` is the lowest sigma that is churned, `s_tmax` the highest.
#[derive(Serialize, Deserialize)]
struct RawSamplerOptions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eta: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s_churn: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s_tmin: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s_tmax: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s_noise: Option<f64>,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self { eta: None, churn: 0.0, churn_from: 0.0, churn_to: f64::INFINITY, noise_factor: 1.0 }
    }
}

impl TryFrom<RawSamplerOptions> for SamplerOptions {
    type Error = RequestError;

    fn try_from(raw: RawSamplerOptions) -> Result<Self, Self::Error> {
        let usual = Self::default();
        let options = usual
            .with_churn(
                raw.s_churn.unwrap_or(usual.churn),
                raw.s_tmin.unwrap_or(usual.churn_from),
                raw.s_tmax.unwrap_or(usual.churn_to),
            )?
            .with_noise_factor(raw.s_noise.unwrap_or(usual.noise_factor))?;
        match raw.eta {
            Some(eta) => options.with_eta(eta),
            None => Ok(options),
        }
    }
}

impl From<SamplerOptions> for RawSamplerOptions {
    fn from(options: SamplerOptions) -> Self {
        let usual = SamplerOptions::default();
        let said = |value: f64, usual: f64| (value != usual).then_some(value);
        Self {
            eta: options.eta,
            s_churn: said(options.churn, usual.churn),
            s_tmin: said(options.churn_from, usual.churn_from),
            s_tmax: said(options.churn_to, usual.churn_to),
            s_noise: said(options.noise_factor, usual.noise_factor),
        }
    }
}

impl SamplerOptions {
    /// The most churn; the solvers themselves stop at `sqrt(2) - 1` of sigma a step.
    pub const MOST_CHURN: f64 = 100.0;
    /// The largest factor on the noise.
    pub const MOST_NOISE: f64 = 2.0;

    /// The share of fresh noise in a step, 0 (none: deterministic) to 1 (ancestral). In TCD it is the paper's gamma.
    ///
    /// # Errors
    /// [`RequestError::Number`] outside of 0 to 1.
    pub fn with_eta(self, eta: f64) -> Result<Self, RequestError> {
        Ok(Self { eta: Some(number("eta", eta, 0.0, 1.0)?), ..self })
    }

    /// The churn of Karras et al. 2022, algorithm 2: noise put on top before a step, `amount` over all steps, where sigma
    /// is from `from` to `to`.
    ///
    /// # Errors
    /// [`RequestError::Number`] when one is negative or the amount above 100.
    pub fn with_churn(self, amount: f64, from: f64, to: f64) -> Result<Self, RequestError> {
        Ok(Self {
            churn: number("s_churn", amount, 0.0, Self::MOST_CHURN)?,
            churn_from: number("s_tmin", from, 0.0, f64::INFINITY)?,
            churn_to: number("s_tmax", to, 0.0, f64::INFINITY)?,
            ..self
        })
    }

    /// A factor on all noise that the solver adds.
    ///
    /// # Errors
    /// [`RequestError::Number`] outside of 0 to 2.
    pub fn with_noise_factor(self, factor: f64) -> Result<Self, RequestError> {
        Ok(Self { noise_factor: number("s_noise", factor, 0.0, Self::MOST_NOISE)?, ..self })
    }

    /// The share of fresh noise, where one was asked.
    #[must_use]
    pub fn eta(&self) -> Option<f64> {
        self.eta
    }

    /// `s_churn`.
    #[must_use]
    pub fn churn(&self) -> f64 {
        self.churn
    }

    /// `s_tmin`, a sigma.
    #[must_use]
    pub fn churn_from(&self) -> f64 {
        self.churn_from
    }

    /// `s_tmax`, a sigma; infinite where every sigma is churned.
    #[must_use]
    pub fn churn_to(&self) -> f64 {
        self.churn_to
    }

    /// `s_noise`.
    #[must_use]
    pub fn noise_factor(&self) -> f64 {
        self.noise_factor
    }
}

/// How the first noise and the noise after it grow out of the seed, beside the generator.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SeedOptions {
    /// Another seed's noise mixed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation: Option<Variation>,
    /// The size, in pixels, whose noise is put into the middle of this picture's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize_from: Option<ImageSize>,
    /// A1111's "eta noise seed delta": after the first noise the generator starts anew, seeded with the seed plus this.
    /// 0 lets it go on.
    #[serde(default, skip_serializing_if = "super::text::is_default")]
    pub noise_delta: i64,
}

/// Another seed's noise, mixed in along the arc between the two.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// The other seed.
    pub seed: Seed,
    /// How far towards it.
    pub strength: VariationStrength,
}

/// From 0, the picture's own noise, to 1, the other seed's.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct VariationStrength(f64);

impl VariationStrength {
    /// Checks the range; not-a-number is refused.
    ///
    /// # Errors
    /// [`RequestError::Number`] outside of it.
    pub fn new(strength: f64) -> Result<Self, RequestError> {
        number("variation strength", strength, 0.0, 1.0).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for VariationStrength {
    type Error = RequestError;

    fn try_from(strength: f64) -> Result<Self, Self::Error> {
        Self::new(strength)
    }
}

impl From<VariationStrength> for f64 {
    fn from(strength: VariationStrength) -> Self {
        strength.0
    }
}

impl GenerationRequest {
    /// The `index`-th picture of several: the next seed, or with a variation the next variation of one seed, as A1111
    /// counts.
    #[must_use]
    pub fn nth(&self, index: u64) -> Self {
        let mut nth = self.clone();
        match &mut nth.seed_options.variation {
            Some(variation) if variation.strength.get() > 0.0 => variation.seed = variation.seed.offset(index),
            _ => nth.seed = nth.seed.offset(index),
        }
        nth
    }
}

/// How far the guided prediction is brought back to the deviation of the unguided one, 0 (not) to 1 (wholly): Lin et al.
/// 2023, arXiv:2305.08891, section 3.4. What models trained down to zero signal want; the paper takes 0.7.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct GuidanceRescale(f64);

impl GuidanceRescale {
    /// Checks the range; not-a-number is refused.
    ///
    /// # Errors
    /// [`RequestError::Number`] outside of it.
    pub fn new(share: f64) -> Result<Self, RequestError> {
        number("guidance rescale", share, 0.0, 1.0).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for GuidanceRescale {
    type Error = RequestError;

    fn try_from(share: f64) -> Result<Self, Self::Error> {
        Self::new(share)
    }
}

impl From<GuidanceRescale> for f64 {
    fn from(share: GuidanceRescale) -> Self {
        share.0
    }
}

/// Noise levels written by hand: 2 to 1001 sigmas, each smaller than the one before, the last 0 or more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct Sigmas(Vec<f64>);

impl Sigmas {
    /// Far above what any model was trained on.
    const HIGHEST: f64 = 10_000.0;
    /// Far below; smaller ones leave the range of an f32 on the way.
    const LOWEST: f64 = 1e-6;

    /// Checks the list.
    ///
    /// # Errors
    /// [`RequestError::Sigmas`], which says what is wrong with it.
    pub fn new(sigmas: Vec<f64>) -> Result<Self, RequestError> {
        let most = super::Steps::MAX as usize + 1;
        let problem = if !(2..=most).contains(&sigmas.len()) {
            format!("there are {}, not 2 to {most}", sigmas.len())
        } else if let Some(wrong) = sigmas.iter().find(|sigma| !(0.0..=Self::HIGHEST).contains(*sigma)) {
            format!("{wrong} is not from 0 to {}", Self::HIGHEST)
        } else if let Some(wrong) = sigmas.iter().find(|&&sigma| sigma > 0.0 && sigma < Self::LOWEST) {
            format!("{wrong} is neither 0 nor at least {}", Self::LOWEST)
        } else if let Some([before, after]) = sigmas.array_windows().find(|[before, after]| before <= after) {
            format!("{after} after {before} does not fall")
        } else {
            return Ok(Self(sigmas));
        };
        Err(RequestError::Sigmas { problem })
    }

    /// The sigmas, falling.
    #[must_use]
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }

    /// How many steps lead through them.
    #[must_use]
    pub fn steps(&self) -> super::Steps {
        super::Steps(u32::try_from(self.0.len() - 1).unwrap_or(super::Steps::MAX))
    }
}

impl TryFrom<Vec<f64>> for Sigmas {
    type Error = RequestError;

    fn try_from(sigmas: Vec<f64>) -> Result<Self, Self::Error> {
        Self::new(sigmas)
    }
}

impl From<Sigmas> for Vec<f64> {
    fn from(sigmas: Sigmas) -> Self {
        sigmas.0
    }
}

impl std::str::FromStr for Sigmas {
    type Err = RequestError;

    /// Numbers between commas or spaces, as ComfyUI's "manual sigmas" takes them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = text.split([',', ' ', ';', '\n']).map(str::trim).filter(|word| !word.is_empty());
        let read = |word: &str| {
            word.parse().map_err(|_| RequestError::Sigmas { problem: format!("\"{word}\" is not a number") })
        };
        Self::new(words.map(read).collect::<Result<_, _>>()?)
    }
}

impl std::fmt::Display for Sigmas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self.0.iter().map(f64::to_string).collect();
        f.write_str(&words.join(", "))
    }
}

/// A number in its range.
///
/// # Errors
/// [`RequestError::Number`] outside of it.
pub(super) fn number(what: &'static str, found: f64, min: f64, max: f64) -> Result<f64, RequestError> {
    if (min..=max).contains(&found) { Ok(found) } else { Err(RequestError::Number { what, found, min, max }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_not_written_and_what_is_not_survives() {
        assert_eq!(serde_json::to_string(&SamplerOptions::default()).unwrap(), "{}");
        let options = SamplerOptions::default()
            .with_eta(0.5)
            .and_then(|options| options.with_churn(3.0, 0.1, 5.0))
            .and_then(|options| options.with_noise_factor(1.1))
            .unwrap();
        let text = serde_json::to_string(&options).unwrap();
        assert_eq!(text, r#"{"eta":0.5,"s_churn":3.0,"s_tmin":0.1,"s_tmax":5.0,"s_noise":1.1}"#);
        assert_eq!(serde_json::from_str::<SamplerOptions>(&text).unwrap(), options);
        assert_eq!(serde_json::to_string(&SeedOptions::default()).unwrap(), "{}");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let usual = SamplerOptions::default();
        assert!(usual.with_eta(1.5).is_err() && usual.with_eta(f64::NAN).is_err());
        assert!(usual.with_churn(-1.0, 0.0, 1.0).is_err() && usual.with_noise_factor(2.5).is_err());
        assert!(serde_json::from_str::<SamplerOptions>(r#"{"eta":7}"#).unwrap_err().to_string().contains("eta"));
        assert!(VariationStrength::new(-0.1).is_err() && VariationStrength::new(1.0).is_ok());
        assert!(GuidanceRescale::new(1.1).is_err());
    }

    #[test]
    fn sigmas_are_read_from_any_list_that_falls() {
        let sigmas: Sigmas = "14.6, 7 ,1.5\n0".parse().unwrap();
        assert_eq!((sigmas.as_slice(), sigmas.steps().get()), (&[14.6, 7.0, 1.5, 0.0][..], 3));
        assert_eq!(sigmas.to_string().parse::<Sigmas>().unwrap(), sigmas);
        for (text, problem) in
            [("3", "there are 1"), ("3, 4", "4 after 3"), ("3, x", "\"x\""), ("3, -1", "-1 is not"), ("inf, 1", "inf")]
        {
            let error = text.parse::<Sigmas>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
