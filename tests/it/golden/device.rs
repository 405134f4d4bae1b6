//! On what and in what precision the golden tests compute: `CALOTYPE_TEST_DEVICE` (cpu, cuda, cuda:N, metal) and, on a card,
//! `CALOTYPE_TEST_PRECISION` (f32, bf16, f16). Without them the processor, in f32.

use std::sync::OnceLock;

use calotype::inference::device::{DeviceChoice, Place, dtype as dtype_of};
use calotype::request::{Precision, PrecisionChoice};
use candle_core::{DType, Device, Tensor};

struct Chosen {
    place: Place,
    precision: Precision,
}

fn chosen() -> &'static Chosen {
    static CHOSEN: OnceLock<Chosen> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let named = |variable: &str, usual: &str| std::env::var(variable).unwrap_or_else(|_| usual.to_owned());
        let choice: DeviceChoice = named("CALOTYPE_TEST_DEVICE", "cpu").parse().unwrap();
        let place = Place::open(choice).unwrap_or_else(|error| panic!("CALOTYPE_TEST_DEVICE: {error}"));
        let precision: Precision = named("CALOTYPE_TEST_PRECISION", "f32").parse().unwrap();
        assert!(place.is_card() || precision == Precision::F32, "on the processor the golden tests compute in f32");
        let precision = place.precision(PrecisionChoice::Always(precision), Precision::F32).unwrap();
        Chosen { place, precision }
    })
}

/// For tensors.
pub fn device() -> Device {
    chosen().place.device()
}

/// What weights are kept in.
pub fn dtype() -> DType {
    dtype_of(chosen().precision)
}

/// True for the processor, where the tolerances are the measured ones, and the same request gives the same bytes.
pub fn is_processor() -> bool {
    !chosen().place.is_card()
}

/// What a layer is given, as the model computes.
pub fn input(tensor: &Tensor) -> Tensor {
    tensor.to_dtype(dtype()).unwrap()
}

/// The relative error that is allowed where `on_the_processor` is, in f32. A card adds in another order, and 16 bits hold
/// 11 digits or 8: after a whole network about ten times the error of one rounding.
///
/// Guessed, not measured: no card has run these tests yet.
pub fn tolerance(on_the_processor: f64) -> f64 {
    if is_processor() {
        return on_the_processor;
    }
    match chosen().precision {
        Precision::F32 => on_the_processor * 30.0,
        Precision::F16 => (on_the_processor * 30.0).max(1e-2),
        _ => (on_the_processor * 30.0).max(8e-2),
    }
}
