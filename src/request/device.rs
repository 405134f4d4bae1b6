//! On what pictures are computed, as it is chosen.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// On what pictures are computed. Whether that can be had shows when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The best that there is.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA card, counted from 0 as its driver counts them.
    Cuda(u16),
    /// A Mac's graphics.
    Metal,
}

/// No name of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device \"{found}\"; there are {DEVICES}")]
pub struct UnknownDevice {
    found: String,
}

/// All names.
const DEVICES: &str = "auto, cpu, cuda, cuda:N, metal";

impl DeviceChoice {
    /// Itself; or `usual` where it leaves the device open.
    #[must_use]
    pub fn or(self, usual: Self) -> Self {
        if self == Self::Auto { usual } else { self }
    }
}

impl std::fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            is_plain.then(|| text.parse().ok()).flatten()
        };
        let read = match text.split_once(':') {
            None if text == "auto" => Some(Self::Auto),
            None if text == "cpu" => Some(Self::Cpu),
            None if text == "cuda" => Some(Self::Cuda(0)),
            None if text == "metal" => Some(Self::Metal),
            Some(("cuda", text)) => number(text).map(Self::Cuda),
            _ => None,
        };
        read.ok_or_else(|| UnknownDevice { found: text.to_owned() })
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = UnknownDevice;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_others_are_refused_with_those_that_there_are() {
        let choices = [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda(0), DeviceChoice::Cuda(7)];
        for choice in choices.into_iter().chain([DeviceChoice::Metal]) {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            let stored = serde_json::to_string(&choice).unwrap();
            assert_eq!(serde_json::from_str::<DeviceChoice>(&stored).unwrap(), choice);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "cuda:1:2", "cuda:70000", "cpu:0", "CUDA"] {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(error.contains(DEVICES), "{text}: {error}");
        }
    }

    #[test]
    fn a_choice_that_leaves_it_open_is_the_usual_one() {
        assert_eq!(DeviceChoice::Auto.or(DeviceChoice::Cpu), DeviceChoice::Cpu);
        assert_eq!(DeviceChoice::Cuda(1).or(DeviceChoice::Cpu), DeviceChoice::Cuda(1));
    }
}
