//! Where and in what the model computes: the only place that knows of hardware.

use std::str::FromStr;

use candle_core::{DType, Device};

use crate::kernels::instructions;
use crate::request::Precision;

/// What the user chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The best that this build can use.
    #[default]
    Auto,
    /// The processor.
    Cpu,
}

/// A device that this build does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device \"{found}\"; this build knows auto, cpu")]
pub struct UnknownDevice {
    found: String,
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            _ => Err(UnknownDevice { found: text.to_owned() }),
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
            Self::Auto | Self::Cpu => match rayon::current_num_threads() {
                1 => "CPU, 1 thread".to_owned(),
                threads => format!("CPU, {threads} threads"),
            },
        }
    }
}

/// What the weights of a precision are kept in, by candle's name.
#[must_use]
pub fn dtype(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
        Precision::Int8 => dtype(faster_precision()),
    }
}

/// The faster precision here: bf16 where the processor multiplies pairs of it, and pictures stay what they are in f32 to
/// the eye.
#[must_use]
pub fn faster_precision() -> Precision {
    if instructions().prefers_bf16() { Precision::Bf16 } else { Precision::F32 }
}

/// The name of the kernels' instructions here, as `CALOTYPE_KERNELS` has it.
#[must_use]
pub fn kernels() -> &'static str {
    instructions().label()
}
