//! Any texts under the keywords that programs use, in a PNG: infotext, graphs, JSON of every program, XMP. What is read
//! must be written and read again without a change.
#![no_main]
#![allow(dead_code, reason = "the rooms are compiled whole")]

#[path = "../../src/gallery/mod.rs"]
mod gallery;
#[path = "../../src/request/mod.rs"]
mod request;
#[path = "../../src/worker.rs"]
mod worker;

use gallery::export::{PictureFormat, encode};
use gallery::message::Caption;

const KEYWORDS: [&str; 16] = [
    "parameters",
    "prompt",
    "workflow",
    "Comment",
    "Description",
    "Software",
    "Source",
    "UserComment",
    "Dream",
    "sd-metadata",
    "invokeai_metadata",
    "fooocus_scheme",
    "generation_data",
    "XML:com.adobe.xmp",
    "negative_prompt",
    "use_stable_diffusion_model",
];

fn chunk(bytes: &mut Vec<u8>, kind: &[u8], data: &[u8]) {
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(kind);
    bytes.extend(data);
    // The reader does not look at the checksum.
    bytes.extend([0; 4]);
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("calotype-fuzz-{}", std::process::id()));
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    // Each text behind a byte that chooses its keyword.
    for part in bytes.split(|byte| *byte == 0).take(8) {
        let Some((keyword, text)) = part.split_first() else { continue };
        let keyword = KEYWORDS[usize::from(*keyword) % KEYWORDS.len()].as_bytes();
        chunk(&mut file, b"tEXt", &[keyword, b"\0", text].concat());
    }
    if std::fs::write(&path, &file).is_err() {
        return;
    }
    let Ok(said) = gallery::read_recipe(&path) else { return };
    if let Some(infotext) = said.infotext {
        let image = image::RgbImage::new(1, 1);
        let caption = Caption::of(None, Some(infotext.clone()));
        let copy = encode(&image, &caption, PictureFormat::Png).expect("an infotext makes a PNG");
        std::fs::write(&path, copy).expect("the file was written before");
        let again = gallery::read_recipe(&path).expect("our own PNG is read");
        assert_eq!((again.infotext.as_deref(), again.recipe), (Some(infotext.as_str()), said.recipe));
    }
});
