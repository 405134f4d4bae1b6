//! A GGUF file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let file = [b"GGUF", bytes].concat();
    calotype_fuzz::as_model(&file);
});
