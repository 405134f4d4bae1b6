//! Any bytes as a picture file: containers, EXIF, packed texts, hidden texts, every program's format.
#![no_main]
#![allow(dead_code, reason = "the rooms are compiled whole")]

#[path = "../../src/gallery/mod.rs"]
mod gallery;
#[path = "../../src/request/mod.rs"]
mod request;
#[path = "../../src/worker.rs"]
mod worker;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("calotype-fuzz-{}", std::process::id()));
    if std::fs::write(&path, bytes).is_ok() {
        let _ = gallery::read_recipe(&path);
    }
});
