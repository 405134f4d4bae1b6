//! A zip as PyTorch writes it, damaged anywhere; a whole file of any format.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    calotype_fuzz::as_model(bytes);
    calotype_fuzz::as_network(bytes);
});
