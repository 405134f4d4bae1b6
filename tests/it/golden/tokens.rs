//! The tokenizer on 166 texts in many scripts, from both kinds of file, and the chunks for the text encoder.

use calotype::checkpoint::{self, ModelFiles, clip_tokenizer};
use calotype::request::Companions;

use super::{fixtures, golden_json};

fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

#[test]
fn every_text_has_the_ids_of_transformers() {
    let cases = golden_json("tokens");
    for (name, files) in [
        ("tiny-eps", ModelFiles::at(&fixtures().join("tiny-eps")).unwrap()),
        ("tiny-v", ModelFiles::at(&fixtures().join("tiny-v")).unwrap()),
        ("starter", ModelFiles::Starter),
    ] {
        let tokenizer = checkpoint::describe(&files, &Companions::default()).unwrap().tokenizer;
        for case in cases.as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            assert_eq!(tokenizer.ids(text).unwrap(), ids(&case[name]), "{name}: {text:?}");
        }
    }
}

/// The ranges of code points of golden_random_texts.py, inclusive.
#[rustfmt::skip]
const RANGES: [(u32, u32); 27] = [
    (0x61, 0x7A), (0x61, 0x7A), (0x20, 0x20), (0x21, 0x7E), (0x41, 0x5A), (0xA0, 0x24F), (0x300, 0x36F),
    (0x370, 0x52F), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF),
    (0x2000, 0x206F), (0x2070, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF),
    (0xFB00, 0xFFFD), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0x0, 0x1F), (0x80, 0x9F),
    (0xE000, 0xF8FF), (0x10000, 0x10FFFF),
];

/// The generator of golden_random_texts.py.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn text(&mut self) -> String {
        let length = 1 + self.below(48);
        let letter = |_| {
            let (first, last) = RANGES[self.below(RANGES.len()).min(self.below(RANGES.len()))];
            char::from_u32(first + self.below((last - first + 1) as usize) as u32).unwrap()
        };
        (0..length).map(letter).collect()
    }
}

#[test]
fn ten_thousand_random_texts_are_read_as_by_transformers() {
    let tokenizer = clip_tokenizer().unwrap();
    let mut draws = Draws(1);
    for (block, expected) in golden_json("random_texts").as_array().unwrap().iter().enumerate() {
        let mut checksum = 0xcbf2_9ce4_8422_2325_u64;
        for _ in 0..100 {
            let ids = tokenizer.ids(&draws.text()).unwrap();
            for token in ids.into_iter().chain([u32::MAX]) {
                checksum = (checksum ^ u64::from(token)).wrapping_mul(0x100_0000_01b3);
            }
        }
        assert_eq!(
            format!("{checksum:016x}"),
            expected.as_str().unwrap(),
            "texts {} to {}",
            block * 100,
            block * 100 + 99
        );
    }
}
