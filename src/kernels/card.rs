//! Graphics cards: whether this build and this machine have one, what it is, how much of its memory is free.

use candle_core::{DType, Device};

use super::processor::instructions;

/// A card that can be computed on.
#[derive(Debug, Clone)]
pub struct Card {
    /// The card, for tensors.
    pub device: Device,
    /// Its name for people, by its maker.
    pub name: String,
    /// The type of weights that suits it: bf16, or f16 where it has no arithmetic of bf16.
    pub suits: DType,
}

/// How much memory a card has, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardMemory {
    /// Not in use by any program.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// Why a card cannot be computed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardProblem {
    /// The program was built without it.
    #[error("this build has no support for {what}; it is built with `cargo build --release --features {feature}`")]
    NotBuilt {
        /// What it would compute on.
        what: &'static str,
        /// The feature that has it.
        feature: &'static str,
    },
    /// There is none.
    #[error("there is no NVIDIA driver on this machine")]
    NoDriver,
    /// It knows too old a CUDA.
    #[error("the NVIDIA driver knows CUDA up to {found}, this build needs {needed}: a newer driver is needed")]
    OldDriver {
        /// The version that it knows.
        found: String,
        /// The version that this build was made for.
        needed: String,
    },
    /// The driver finds none.
    #[error("the NVIDIA driver finds no card")]
    NoCard,
    /// There are some, but not this one.
    #[error("there is no card {asked}: the NVIDIA driver finds {count}, counted from 0")]
    NoSuchCard {
        /// The number that was asked for.
        asked: u16,
        /// How many there are.
        count: u16,
    },
    /// A library that belongs to CUDA, or the card, says no.
    #[error(
        "the card cannot be used ({problem}); CUDA 13's libraries cublas, cublasLt, curand and nvrtc must be found, by LD_LIBRARY_PATH or in CUDA_HOME"
    )]
    Refused {
        /// In whose words.
        problem: String,
    },
    /// A Mac's graphics say no.
    #[error("Metal cannot be used: {problem}")]
    NoMetal {
        /// In whose words.
        problem: String,
    },
}

/// Where kernels are kept that were compiled for a card, each under a name.
pub struct KeptKernels<'a> {
    /// What is kept.
    pub read: &'a dyn Fn(&str) -> Option<String>,
    /// Keeps it, if that can be.
    pub keep: &'a dyn Fn(&str, &str),
}

/// True where `CALOTYPE_KERNELS=candle` has cards compute by candle's operations alone.
pub(super) fn wants_candle() -> bool {
    std::env::var("CALOTYPE_KERNELS").is_ok_and(|wanted| wanted == CANDLE)
}

/// The name of the kernels that compute on a device: the processor's instructions as `CALOTYPE_KERNELS` has them, "nvrtc"
/// for our own on NVIDIA cards, or "candle".
#[must_use]
pub fn kernels_of(device: &Device) -> &'static str {
    match device {
        Device::Cpu => instructions().label(),
        Device::Cuda(_) if !wants_candle() => "nvrtc",
        _ => CANDLE,
    }
}

/// The name of candle's operations in `CALOTYPE_KERNELS`; the processor's instructions have others.
pub(super) const CANDLE: &str = "candle";

/// The kinds of card that this build knows, as they are named on the command line.
#[must_use]
pub fn kinds_of_card() -> &'static [&'static str] {
    match (cfg!(feature = "cuda"), cfg!(feature = "metal")) {
        (true, true) => &["cuda", "metal"],
        (true, false) => &["cuda"],
        (false, true) => &["metal"],
        (false, false) => &[],
    }
}

/// How many NVIDIA cards the driver finds; none where there is no driver.
#[must_use]
pub fn nvidia_cards() -> u16 {
    #[cfg(feature = "cuda")]
    return super::cuda::count();
    #[cfg(not(feature = "cuda"))]
    0
}

/// Opens the NVIDIA card `number`, counted from 0, and compiles our kernels for it unless they are kept.
///
/// # Errors
/// When there is none or it cannot be used.
#[cfg(feature = "cuda")]
pub fn nvidia_card(number: u16, kept: &KeptKernels) -> Result<Card, CardProblem> {
    super::cuda::open(number, kept)
}

/// As with the feature `cuda`, which this build does not have.
///
/// # Errors
/// Always.
#[cfg(not(feature = "cuda"))]
pub fn nvidia_card(_number: u16, _kept: &KeptKernels) -> Result<Card, CardProblem> {
    Err(CardProblem::NotBuilt { what: "NVIDIA cards", feature: "cuda" })
}

/// Opens a Mac's graphics.
///
/// # Errors
/// When there are none, or not in this build.
pub fn metal_card() -> Result<Card, CardProblem> {
    if !cfg!(feature = "metal") {
        return Err(CardProblem::NotBuilt { what: "a Mac's graphics", feature: "metal" });
    }
    let device = Device::new_metal(0).map_err(|error| CardProblem::NoMetal { problem: error.to_string() })?;
    Ok(Card { device, name: "Metal".to_owned(), suits: DType::F16 })
}

/// A card's memory at this moment; none for the processor, and where the system does not tell.
#[must_use]
pub fn card_memory(device: &Device) -> Option<CardMemory> {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(card) = device {
        return super::cuda::memory(card);
    }
    let _ = device;
    None
}

/// Gives back to the system what is kept of a card's memory for computations and not in use.
pub fn release_card_memory(device: &Device) {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(card) = device {
        super::cuda::release(card);
    }
    let _ = device;
}

/// The type of weights that suits an NVIDIA card of this compute capability: Ampere (8.0) was the first with bf16.
#[cfg(any(feature = "cuda", test))]
pub(super) fn suits(major: u32) -> DType {
    if major >= 8 { DType::BF16 } else { DType::F16 }
}

/// A version of CUDA as its driver counts it: 13000 is "13.0".
#[cfg(any(feature = "cuda", test))]
pub(super) fn cuda_version(number: u32) -> String {
    format!("{}.{}", number / 1000, number % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_from_ampere_on_compute_in_bf16_and_older_ones_in_f16() {
        let types = [(6, DType::F16), (7, DType::F16), (8, DType::BF16), (9, DType::BF16), (12, DType::BF16)];
        for (major, expected) in types {
            assert_eq!(suits(major), expected, "{major}");
        }
    }

    #[test]
    fn a_problem_says_what_is_missing() {
        assert_eq!((cuda_version(12040), cuda_version(13000)), ("12.4".to_owned(), "13.0".to_owned()));
        let old = CardProblem::OldDriver { found: cuda_version(12040), needed: cuda_version(13000) };
        assert!(old.to_string().contains("up to 12.4, this build needs 13.0"), "{old}");
        let none = CardProblem::NoSuchCard { asked: 3, count: 2 };
        assert!(none.to_string().contains("no card 3: the NVIDIA driver finds 2"), "{none}");
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn the_default_build_knows_no_card_and_says_how_it_would() {
        assert!(kinds_of_card().is_empty());
        let problem = nvidia_card(0, &KeptKernels { read: &|_| None, keep: &|_, _| () }).unwrap_err().to_string();
        assert!(problem.contains("--features cuda"), "{problem}");
        let problem = metal_card().unwrap_err().to_string();
        assert!(problem.contains("--features metal"), "{problem}");
    }
}
