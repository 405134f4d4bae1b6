//! CLIP's own vocabulary, for models that come without a tokenizer: the list of merges that OpenAI published with CLIP
//! (Radford et al. 2021, MIT licence, see NOTICE).

use std::io::Read;

use crate::prompt::{SpecialTokens, Tokenizer, TokenizerError};

const MERGES_GZ: &[u8] = include_bytes!("../../assets/clip/bpe_simple_vocab_16e6.txt.gz");

/// Entries of the vocabulary, the two marks included.
pub(super) const SIZE: usize = 49_408;
/// The file lists more merges than CLIP uses: of its entries 512 are single bytes and 2 are marks.
const MERGES: usize = SIZE - 512 - 2;

/// The id of the mark that ends a text.
pub(super) const END: u32 = SIZE as u32 - 1;

/// CLIP's tokenizer as Stable Diffusion 1 uses it, with chunks of 77.
///
/// # Errors
/// Never, as long as the list inside the program is sound.
pub fn clip_tokenizer() -> Result<Tokenizer, TokenizerError> {
    tokenizer(77, &SpecialTokens::default())
}

/// CLIP's tokenizer; pads with the end mark, as Stable Diffusion 1 does, unless `special` says otherwise.
pub(super) fn tokenizer(chunk_length: usize, special: &SpecialTokens) -> Result<Tokenizer, TokenizerError> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(MERGES_GZ)
        .read_to_string(&mut text)
        .map_err(|e| TokenizerError::Unreadable(e.to_string()))?;
    let merges: Vec<(&str, &str)> =
        text.lines().skip(1).take(MERGES).filter_map(|line| line.trim_end().split_once(' ')).collect();
    let bytes: Vec<String> = byte_letters().map(String::from).collect();
    let entries = bytes
        .iter()
        .cloned()
        .chain(bytes.iter().map(|letter| format!("{letter}</w>")))
        .chain(merges.iter().map(|(a, b)| format!("{a}{b}")))
        .chain(["<|startoftext|>".to_owned(), "<|endoftext|>".to_owned()]);
    let merges = merges.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    Tokenizer::from_pairs(entries.zip(0..), merges, special, chunk_length)
}

/// The letters that stand for the 256 bytes, in the vocabulary's order: printable bytes as themselves, then the rest
/// from U+0100 on (GPT-2's `bytes_to_unicode`).
fn byte_letters() -> impl Iterator<Item = char> {
    let printable = ('!'..='~').chain('\u{a1}'..='\u{ac}').chain('\u{ae}'..='\u{ff}');
    printable.chain('\u{100}'..='\u{143}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_ids_come_out() {
        let tokenizer = clip_tokenizer().unwrap();
        assert_eq!(tokenizer.vocabulary_size(), SIZE);
        // transformers' CLIPTokenizer of openai/clip-vit-large-patch14, from its documentation and tests.
        assert_eq!(tokenizer.ids("a photo of a cat").unwrap(), [320, 1125, 539, 320, 2368]);
        let marks = tokenizer.marks();
        assert_eq!((marks.begin, marks.end, marks.padding, marks.length), (49_406, 49_407, 49_407, 77));
        assert_eq!(marks.padding, END);
    }
}
