//! Where and in what the model computes: the only place that knows of hardware.

use std::str::FromStr;

use candle_core::{DType, Device};

/// What the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best that this build can use.
    #[default]
    Auto,
    /// The processor.
    Cpu,
}

/// What the weights are kept in. Norms, softmax, skip connections and samplers compute in f32 whatever this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32-bit floating point.
    #[default]
    F32,
    /// The upper half of it, with f32's range: half the memory, and where the processor multiplies pairs of it about twice
    /// the speed.
    Bf16,
}

/// A device or precision that this build does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} \"{found}\"; this build knows {known}")]
pub struct UnknownDevice {
    what: &'static str,
    found: String,
    known: &'static str,
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            _ => Err(UnknownDevice { what: "device", found: text.to_owned(), known: "auto, cpu" }),
        }
    }
}

impl FromStr for Precision {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(UnknownDevice { what: "precision", found: text.to_owned(), known: "f32, bf16" }),
        }
    }
}

impl DeviceChoice {
    /// The device itself.
    #[must_use]
    pub fn device(self) -> Device {
        match self {
            Self::Auto | Self::Cpu => Device::Cpu,
        }
    }

    /// For people: "CPU, 8 threads".
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Auto | Self::Cpu => match candle_core::utils::get_num_threads() {
                1 => "CPU, 1 thread".to_owned(),
                threads => format!("CPU, {threads} threads"),
            },
        }
    }
}

impl Precision {
    /// For people and the command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// As recipes have it: nothing for f32.
    #[must_use]
    pub fn recorded(self) -> Option<String> {
        (self != Self::F32).then(|| self.label().to_owned())
    }

    /// candle's name for it.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}
