//! A header of safetensors, with 64 KiB of zeros as tensors.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut file = (bytes.len() as u64).to_le_bytes().to_vec();
    file.extend(bytes);
    file.resize(file.len() + (1 << 16), 0);
    calotype_fuzz::as_model(&file);
    calotype_fuzz::as_network(&file);
});
