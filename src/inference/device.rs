//! Where and in what the model computes: the processor, or the card that a choice comes to.

use candle_core::{DType, Device};

use crate::folders;
use crate::kernels::{
    Card, CardMemory, CardProblem, KeptKernels, card_memory, instructions, kinds_of_card, metal_card, nvidia_card,
    nvidia_cards,
};
pub use crate::request::DeviceChoice;
use crate::request::{Precision, PrecisionChoice};

/// Why a model cannot be computed where or as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Its card is not to be had.
    #[error("{choice} cannot be computed on: {source}. The devices auto and cpu compute on the processor")]
    Card {
        /// What was chosen.
        choice: DeviceChoice,
        /// Why not.
        #[source]
        source: CardProblem,
    },
    /// It does not know the precision.
    #[error("{} does not compute in {}: it takes {takes}", .on, .precision.label())]
    Precision {
        /// The processor, or the card by its name.
        on: String,
        /// What was chosen.
        precision: Precision,
        /// What could be.
        takes: &'static str,
    },
}

/// A device that this build does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown device \"{found}\"; this build knows {known}")]
pub struct NotInThisBuild {
    found: String,
    known: String,
}

/// The device of a name, if this build knows it; whether the machine has it shows when it is opened.
///
/// # Errors
/// When this build does not.
pub fn known_device(name: &str) -> Result<DeviceChoice, NotInThisBuild> {
    let is_known = |choice: &DeviceChoice| match choice {
        DeviceChoice::Auto | DeviceChoice::Cpu => true,
        DeviceChoice::Cuda(_) => kinds_of_card().contains(&"cuda"),
        DeviceChoice::Metal => kinds_of_card().contains(&"metal"),
    };
    name.parse().ok().filter(is_known).ok_or_else(|| {
        let known = ["auto", "cpu"].iter().chain(kinds_of_card()).copied().collect::<Vec<_>>().join(", ");
        NotInThisBuild { found: name.to_owned(), known }
    })
}

/// The devices that can be chosen here, those that leave it open and the processor first.
#[must_use]
pub fn offered_devices() -> Vec<DeviceChoice> {
    let metal = kinds_of_card().contains(&"metal").then_some(DeviceChoice::Metal);
    let cards = (0..nvidia_cards()).map(DeviceChoice::Cuda).chain(metal);
    [DeviceChoice::Auto, DeviceChoice::Cpu].into_iter().chain(cards).collect()
}

/// A device that models are loaded onto.
#[derive(Debug, Clone)]
pub struct Place {
    card: Option<Card>,
    /// What is to be said where it is not what was hoped for.
    pub notice: Option<String>,
}

impl Place {
    /// The processor.
    #[must_use]
    pub fn processor() -> Self {
        Self { card: None, notice: None }
    }

    /// The card's name, by its maker; none for the processor.
    #[must_use]
    pub fn card_name(&self) -> Option<&str> {
        self.card.as_ref().map(|card| card.name.as_str())
    }

    /// A card that is none, with the processor's arithmetic.
    #[cfg(test)]
    pub(super) fn stand_in(suits: DType) -> Self {
        let card = Card { device: Device::Cpu, name: "a card".to_owned(), suits };
        Self { card: Some(card), notice: None }
    }

    /// What a choice comes to here. One that leaves it open is the processor where no card can be used; a build that knows
    /// cards then has a notice why.
    ///
    /// # Errors
    /// When a card was asked for by name and cannot be used.
    pub fn open(choice: DeviceChoice) -> Result<Self, DeviceError> {
        let found = |card| Self { card: Some(card), notice: None };
        let failed = |source| DeviceError::Card { choice, source };
        let kept = KeptKernels { read: &read_kept, keep: &keep };
        match choice {
            DeviceChoice::Cpu => Ok(Self::processor()),
            DeviceChoice::Cuda(number) => nvidia_card(number, &kept).map(found).map_err(failed),
            DeviceChoice::Metal => metal_card().map(found).map_err(failed),
            DeviceChoice::Auto => {
                let mut notice = None;
                for kind in kinds_of_card() {
                    match if *kind == "metal" { metal_card() } else { nvidia_card(0, &kept) } {
                        Ok(card) => return Ok(found(card)),
                        Err(problem) => notice = Some(on_the_processor_because(&problem)),
                    }
                }
                Ok(Self { card: None, notice })
            }
        }
    }

    /// For tensors.
    #[must_use]
    pub fn device(&self) -> Device {
        self.card.as_ref().map_or(Device::Cpu, |card| card.device.clone())
    }

    /// True for a card.
    #[must_use]
    pub fn is_card(&self) -> bool {
        self.card.is_some()
    }

    /// A card's memory at this moment.
    #[must_use]
    pub fn memory(&self) -> Option<CardMemory> {
        self.card.as_ref().and_then(|card| card_memory(&card.device))
    }

    /// For people: "CPU, 8 threads", or a card's name with its memory.
    #[must_use]
    pub fn label(&self) -> String {
        match (&self.card, rayon::current_num_threads()) {
            (Some(card), _) => card_label(&card.name, self.memory()),
            (None, 1) => "CPU, 1 thread".to_owned(),
            (None, threads) => format!("CPU, {threads} threads"),
        }
    }

    /// What a choice of precision comes to here; `on_processor` is what one that leaves it open is on the processor.
    ///
    /// # Errors
    /// When the device does not know it.
    pub fn precision(&self, choice: PrecisionChoice, on_processor: Precision) -> Result<Precision, DeviceError> {
        let suits = |card: &Card| if card.suits == DType::BF16 { Precision::Bf16 } else { Precision::F16 };
        let precision = choice.or_best(self.card.as_ref().map_or(on_processor, suits));
        let refused = |on: &str, takes| Err(DeviceError::Precision { on: on.to_owned(), precision, takes });
        match (&self.card, precision) {
            (None, Precision::F16) => refused("the processor", "f32, bf16 and int8"),
            (Some(card), Precision::Int8) => refused(&card.name, "f32, bf16 and f16"),
            (Some(card), Precision::Bf16) if card.suits != DType::BF16 => refused(&card.name, "f32 and f16"),
            _ => Ok(precision),
        }
    }
}

/// Kernels that were compiled for a card.
fn read_kept(name: &str) -> Option<String> {
    std::fs::read_to_string(folders::cache_folder().join("kernels").join(name)).ok()
}

/// Keeps them for the next start; without them it takes seconds longer.
fn keep(name: &str, text: &str) {
    let folder = folders::cache_folder().join("kernels");
    // Written beside and renamed: another start never reads half of it.
    let beside = folder.join(format!("{name}.part"));
    let kept = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&beside, text))
        .and_then(|()| std::fs::rename(&beside, folder.join(name)));
    if let Err(error) = kept {
        tracing::debug!(%error, "compiled kernels are not kept");
    }
}

fn on_the_processor_because(problem: &CardProblem) -> String {
    format!("Pictures are computed on the processor: {problem}")
}

/// "NVIDIA H200, 3.1 of 139.7 GiB in use, 136.6 GiB free".
fn card_label(name: &str, memory: Option<CardMemory>) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    match memory {
        None => name.to_owned(),
        Some(CardMemory { free, total }) => {
            let (used, total, free) = (gib(total.saturating_sub(free)), gib(total), gib(free));
            format!("{name}, {used:.1} of {total:.1} GiB in use, {free:.1} GiB free")
        }
    }
}

/// What the weights of a precision are kept in, by candle's name.
#[must_use]
pub fn dtype(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Bf16 => DType::BF16,
        Precision::F16 => DType::F16,
        Precision::Int8 => dtype(faster_precision()),
    }
}

/// The faster precision on this processor: bf16 where it multiplies pairs of it, and pictures stay what they are in f32 to
/// the eye.
#[must_use]
pub fn faster_precision() -> Precision {
    if instructions().prefers_bf16() { Precision::Bf16 } else { Precision::F32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_knows_its_precisions_and_refuses_the_others_by_name() {
        use Precision::{Bf16, F16, F32, Int8};
        let (old, new, processor) = (Place::stand_in(DType::F16), Place::stand_in(DType::BF16), Place::processor());
        let automatic = |place: &Place| place.precision(PrecisionChoice::Automatic, F32).unwrap();
        assert_eq!((automatic(&old), automatic(&new), automatic(&processor)), (F16, Bf16, F32));
        for (place, known) in [(&old, &[F32, F16][..]), (&new, &[F32, Bf16, F16]), (&processor, &[F32, Bf16, Int8])] {
            for precision in [F32, Bf16, F16, Int8] {
                let found = place.precision(PrecisionChoice::Always(precision), F32);
                assert_eq!(found.is_ok(), known.contains(&precision), "{place:?} {precision:?}");
                if let Err(error) = found {
                    let text = error.to_string();
                    assert!(
                        text.contains(precision.label()) && known.iter().all(|k| text.contains(k.label())),
                        "{text}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_card_is_told_with_its_memory() {
        let memory = CardMemory { free: 6 << 30, total: 8 << 30 };
        assert_eq!(card_label("Card", Some(memory)), "Card, 2.0 of 8.0 GiB in use, 6.0 GiB free");
        assert_eq!(card_label("Card", None), "Card");
    }

    #[test]
    fn a_fallback_and_a_refusal_say_why_and_what_to_do() {
        let notice = on_the_processor_because(&CardProblem::NoDriver);
        assert_eq!(notice, "Pictures are computed on the processor: there is no NVIDIA driver on this machine");
        let error = DeviceError::Card { choice: DeviceChoice::Cuda(1), source: CardProblem::NoCard }.to_string();
        assert!(error.starts_with("cuda:1 cannot be computed on") && error.contains("auto and cpu"), "{error}");
    }

    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    #[test]
    fn the_default_build_computes_on_the_processor_and_says_nothing_of_it() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu] {
            let place = Place::open(choice).unwrap();
            assert!(!place.is_card() && place.notice.is_none() && place.memory().is_none());
            assert!(place.label().starts_with("CPU, "));
        }
        let error = known_device("cuda").unwrap_err().to_string();
        assert_eq!(error, "unknown device \"cuda\"; this build knows auto, cpu");
        assert!(Place::open(DeviceChoice::Cuda(0)).unwrap_err().to_string().contains("--features cuda"));
        assert!(Place::open(DeviceChoice::Metal).unwrap_err().to_string().contains("--features metal"));
    }
}
