//! A pickle as PyTorch before 1.6 wrote them, and the same inside a zip as it writes them now.
#![no_main]

use std::io::Write;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    calotype_fuzz::as_model(bytes);
    calotype_fuzz::as_network(bytes);
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, content) in [("archive/data.pkl", bytes), ("archive/data/0", &[0; 4096][..])] {
        if zip.start_file(name, options).is_err() || zip.write_all(content).is_err() {
            return;
        }
    }
    if let Ok(file) = zip.finish() {
        calotype_fuzz::as_model(file.get_ref());
        calotype_fuzz::as_network(file.get_ref());
    }
});
