//! Files that are damaged or made to do harm: errors that say what is wrong, never a panic.

use std::collections::HashMap;
use std::path::Path;

use calotype::checkpoint::{Adapter, LiveWeights, read_embedding};
use candle_core::{Device, Tensor};

use super::{adapter_file, load};

const LAYER: &str = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q";

fn file(folder: &Path, tensors: &[(&str, &[usize])]) -> std::path::PathBuf {
    file_of(LAYER, folder, tensors)
}

fn file_of(layer: &str, folder: &Path, tensors: &[(&str, &[usize])]) -> std::path::PathBuf {
    let path = folder.join("made.safetensors");
    let tensors: HashMap<String, Tensor> = tensors
        .iter()
        .map(|(name, shape)| {
            let count: usize = shape.iter().product();
            let values = vec![0.1_f32; count];
            (format!("{layer}.{name}"), Tensor::from_vec(values, *shape, &Device::Cpu).unwrap())
        })
        .collect();
    candle_core::safetensors::save(&tensors, &path).unwrap();
    path
}

fn refusal(path: &Path, live: &LiveWeights) -> String {
    Adapter::read(path, live).unwrap_err().to_string()
}

#[test]
fn shapes_that_do_not_fit_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let (_, live) = load("tiny-eps");
    for (tensors, part) in [
        (&[("lora_down.weight", &[2, 16][..]), ("lora_up.weight", &[16, 3])][..], "ranks differ"),
        (&[("lora_down.weight", &[2, 8]), ("lora_up.weight", &[16, 2])], "made for a weight of 16 x 8"),
        (&[("lora_down.weight", &[2, 16])], "up matrix is missing"),
        (&[("lora_up.weight", &[16, 2])], "down matrix is missing"),
        (&[("lora_down.weight", &[0, 16]), ("lora_up.weight", &[16, 0])], "holds nothing"),
        (&[("lora_down.weight", &[2, 16]), ("lora_up.weight", &[16, 2]), ("alpha", &[2])], "no single number"),
        (
            &[("lora_down.weight", &[1, 9000]), ("lora_mid.weight", &[90000, 1]), ("lora_up.weight", &[16, 90000])],
            "made for a weight of 16 x 9000, and the model's is 16 x 16",
        ),
        (&[("lora_down.weight", &[2, 16]), ("lora_up.weight", &[16, 2]), ("lora_mid.weight", &[2])], "core"),
        (&[("hada_w1_a", &[16, 2]), ("hada_w1_b", &[2, 16])], "four matrices"),
        (
            &[("hada_w1_a", &[16, 2]), ("hada_w1_b", &[2, 16]), ("hada_w2_a", &[8, 2]), ("hada_w2_b", &[2, 32])],
            "made for a weight of 8 x 32",
        ),
        (&[("lokr_w1", &[4, 4]), ("lokr_w2", &[5, 4])], "20 x 16"),
        (&[("lokr_w1", &[4, 4]), ("lokr_w2_a", &[4, 2])], "half of a factor"),
        (
            &[("lokr_w1_a", &[60000, 1]), ("lokr_w1_b", &[1, 60000]), ("lokr_w2", &[1, 1])],
            "made for a weight of 60000 x 60000",
        ),
        (
            &[("lokr_w1", &[4, 4]), ("lokr_w2_a", &[9000, 1]), ("lokr_w2_b", &[1, 9000])],
            "made for a weight of 36000 x 36000",
        ),
        (
            &[("lokr_w1", &[1, 1]), ("lokr_t2", &[1, 1, 3, 3]), ("lokr_w2_a", &[1, 16]), ("lokr_w2_b", &[1, 16])],
            "made for a weight of 16 x 144",
        ),
        (
            &[
                ("hada_w1_a", &[2, 9000]),
                ("hada_w1_b", &[2, 4]),
                ("hada_t1", &[2, 2, 2, 2]),
                ("hada_w2_a", &[16, 2]),
                ("hada_w2_b", &[2, 16]),
            ],
            "made for a weight of 9000 x 16",
        ),
        (&[("diff", &[3, 3])], "3 x 3"),
        (&[("weight", &[3]), ("on_input", &[1])], "16 x 3"),
        (&[("oft_blocks", &[4, 4, 4])], "OFT"),
        (&[("a1.weight", &[4, 4])], "GLoRA"),
        (
            &[("lora_down.weight", &[2, 16]), ("lora_up.weight", &[16, 2]), ("dora_scale", &[3, 1])],
            "DoRA scale has another length",
        ),
        (&[("alpha", &[1])], "whole change"),
    ] {
        let error = refusal(&file(folder.path(), tensors), &live);
        assert!(error.contains(part) && error.contains("made.safetensors"), "{tensors:?}: {error}");
    }
}

#[test]
fn a_file_cut_anywhere_or_with_any_byte_changed_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, live) = load("tiny-eps");
    let whole = std::fs::read(adapter_file("lokr")).unwrap();
    let path = folder.path().join("cut.safetensors");
    for length in (0..whole.len()).step_by(23) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(Adapter::read(&path, &live).is_err(), "{length} bytes");
    }
    for at in (0..whole.len()).step_by(17) {
        let mut changed = whole.clone();
        changed[at] ^= 0x55;
        std::fs::write(&path, &changed).unwrap();
        if let Ok(adapter) = Adapter::read(&path, &live) {
            assert!(!adapter.is_empty());
        }
    }
}

#[test]
fn an_embedding_cut_anywhere_or_with_any_byte_changed_is_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.safetensors");
    for name in ["ink-style", "one"] {
        let whole = std::fs::read(adapter_file(name)).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(read_embedding(&path, &[16]).is_err(), "{length} bytes");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            std::fs::write(&path, &changed).unwrap();
            if let Ok(rows) = read_embedding(&path, &[16]) {
                assert!(rows[0].len().is_multiple_of(16) && rows[0].iter().all(|value| value.is_finite()));
            }
        }
    }
}

#[test]
fn what_is_no_number_is_refused_and_what_fits_nowhere_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (_, live) = load("tiny-eps");
    let path = folder.path().join("nan.safetensors");
    let matrix = |value: f32, shape: (usize, usize)| Tensor::full(value, shape, &Device::Cpu).unwrap();
    let mut tensors = HashMap::from([
        (format!("{LAYER}.lora_down.weight"), matrix(f32::NAN, (2, 16))),
        (format!("{LAYER}.lora_up.weight"), matrix(1.0, (16, 2))),
    ]);
    candle_core::safetensors::save(&tensors, &path).unwrap();
    assert!(refusal(&path, &live).contains("NaN or infinity"));
    tensors.insert(format!("{LAYER}.lora_down.weight"), matrix(1.0, (2, 16)));
    tensors.insert("lora_unet_of_no_layer.lora_up.weight".to_owned(), matrix(1.0, (2, 16)));
    tensors.insert("bundle_emb.x.clip_l".to_owned(), matrix(1.0, (2, 16)));
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let said = Adapter::read(&path, &live).unwrap().what_does_not_fit().unwrap();
    assert!(said.starts_with("2 tensors of") && said.contains("bundle_emb.x.clip_l"), "{said}");
    // What a terminal would obey, and names without an end.
    tensors.remove("bundle_emb.x.clip_l");
    tensors.remove("lora_unet_of_no_layer.lora_up.weight");
    tensors.insert(format!("\u{1b}]0;pwned\u{7}{}", "x".repeat(900)), matrix(1.0, (2, 16)));
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let said = Adapter::read(&path, &live).unwrap().what_does_not_fit().unwrap();
    assert!(said.contains("\"\\u{1b}]0;pwned\\u{7}xxx") && said.ends_with("xx…\""), "{said}");
    assert!(!said.contains(char::is_control), "{said}");
}

#[test]
fn files_of_other_kinds_are_told_by_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (_, live) = load("tiny-eps");
    for (bytes, part) in [
        (&b"PK\x03\x04rest of a zip file"[..], "its zip"),
        (b"<html>not found</html>", "web page"),
        (b"", "not even a header"),
    ] {
        let path = folder.path().join("other.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let error = refusal(&path, &live);
        assert!(error.contains(part), "{error}");
    }
    assert!(refusal(folder.path(), &live).contains("a folder"));
    assert!(refusal(&adapter_file("nowhere"), &live).contains("no such file"));
    assert!(refusal(&adapter_file("one"), &live).contains("this is"));
}

#[test]
fn a_text_encoder_as_wide_as_all_texts_together_is_told_by_its_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let (_, live) = load("tiny-xl");
    let layer = "lora_te1_text_model_encoder_layers_0_self_attn_q_proj";
    // The U-Net reads texts 40 wide, and no text encoder alone is that wide.
    let tensors: &[(&str, &[usize])] = &[("lora_down.weight", &[2, 40]), ("lora_up.weight", &[16, 2])];
    let error = refusal(&file_of(layer, folder.path(), tensors), &live);
    assert!(error.contains("a weight of 16 x 40, and the model's is 16 x 16"), "{error}");
    let tensors: &[(&str, &[usize])] = &[("lora_down.weight", &[2, 24]), ("lora_up.weight", &[16, 2])];
    let error = refusal(&file_of(layer, folder.path(), tensors), &live);
    assert!(error.contains("texts 24 wide") && error.contains("texts 40 wide"), "{error}");
}
