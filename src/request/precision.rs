//! What the weights of a model are kept in, and what is multiplied.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What the weights are kept in. Norms, softmax, skip connections and samplers compute in f32 whatever this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    F32,
    /// The upper half of it, with f32's range: half the memory, and where the processor multiplies pairs of it about twice
    /// the speed.
    Bf16,
    /// 16-bit floating point of more digits and less range than bf16: for graphics cards without bf16.
    F16,
    /// The U-Net multiplies 8-bit integers, whose scales are found as it goes (the rest is as in the faster of the others):
    /// faster still where the processor multiplies bytes, with another picture.
    Int8,
}

/// What the user says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PrecisionChoice {
    /// The faster one on this machine.
    #[default]
    Automatic,
    /// This one.
    Always(Precision),
}

/// No name of a precision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown precision \"{found}\"; this build knows {known}")]
pub struct UnknownPrecision {
    found: String,
    known: &'static str,
}

impl Precision {
    /// Those of the processor.
    pub const ALL: [Self; 3] = [Self::F32, Self::Bf16, Self::Int8];

    /// For people and the command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// As recipes have it: nothing for f32.
    #[must_use]
    pub fn recorded(self) -> Option<String> {
        (self != Self::F32).then(|| self.label().to_owned())
    }
}

impl PrecisionChoice {
    /// All, in menu order.
    pub const ALL: [Self; 5] = [
        Self::Automatic,
        Self::Always(Precision::F32),
        Self::Always(Precision::Bf16),
        Self::Always(Precision::F16),
        Self::Always(Precision::Int8),
    ];

    /// For people and the command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Automatic => "auto",
            Self::Always(precision) => precision.label(),
        }
    }

    /// What it comes to where `best` is the faster one.
    #[must_use]
    pub fn or_best(self, best: Precision) -> Precision {
        match self {
            Self::Automatic => best,
            Self::Always(precision) => precision,
        }
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(PrecisionChoice::Always(precision)) => Ok(precision),
            _ => Err(UnknownPrecision { found: text.to_owned(), known: "f32, bf16, f16, int8" }),
        }
    }
}

impl FromStr for PrecisionChoice {
    type Err = UnknownPrecision;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|choice| choice.label() == text)
            .ok_or_else(|| UnknownPrecision { found: text.to_owned(), known: "auto, f32, bf16, f16, int8" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_others_are_refused_with_those_that_are_known() {
        for choice in PrecisionChoice::ALL {
            assert_eq!(choice.label().parse(), Ok(choice));
        }
        let error = "f64".parse::<PrecisionChoice>().unwrap_err();
        assert_eq!(error.to_string(), "unknown precision \"f64\"; this build knows auto, f32, bf16, f16, int8");
    }

    #[test]
    fn automatic_is_the_faster_one() {
        assert_eq!(PrecisionChoice::Automatic.or_best(Precision::Bf16), Precision::Bf16);
        assert_eq!(PrecisionChoice::Always(Precision::F32).or_best(Precision::Bf16), Precision::F32);
        assert_eq!((Precision::F32.recorded(), Precision::Bf16.recorded()), (None, Some("bf16".to_owned())));
    }
}
