//! TAESD files: read under all their names, refused when they are something else, told apart in lists.

use std::path::PathBuf;

use calotype::checkpoint::card::ModelKind;
use calotype::checkpoint::{ModelFiles, describe, inspect, read_taesd};
use calotype::diffusion::Interrupt;
use calotype::diffusion::tiny_decoder::TinyDecoder;
use candle_core::{DType, Device};

use crate::golden::{fixtures, golden, values};

fn file(name: &str) -> PathBuf {
    fixtures().join("taesd").join(name)
}

fn read(path: &PathBuf) -> Result<TinyDecoder, String> {
    read_taesd(path, DType::F32, &Device::Cpu).map_err(|error| error.to_string())
}

#[test]
fn a_decoder_is_the_same_under_all_its_names_and_in_all_its_files() {
    let latents = &golden("taesd")["narrow.latents"];
    let decoded = |name: &str| values(&read(&file(name)).unwrap().decode(latents, Interrupt::never()).unwrap());
    let expected = decoded("tiny");
    for name in [
        "tiny/diffusion_pytorch_model.safetensors",
        "taesd_decoder.safetensors",
        "taesdxl_decoder.pth",
        "taesd.safetensors",
    ] {
        assert_eq!(decoded(name), expected, "{name}");
    }
}

#[test]
fn what_shows_no_previews_is_refused_by_what_it_is() {
    for (path, what) in [
        (file("taesd_encoder.safetensors"), "TAESD's encoder"),
        (file("taesd3_decoder.safetensors"), "Stable Diffusion 3 or Flux (16 latent channels)"),
        (fixtures().join("tiny-eps"), "a folder without an AutoencoderTiny"),
        (fixtures().join("tiny-eps/vae/diffusion_pytorch_model.safetensors"), "a VAE"),
        (fixtures().join("tensor-formats/kind-upscaler.pth"), "an upscaler"),
        (file("tiny/config.json"), "config.json"),
        (file("nowhere.pth"), "nowhere.pth"),
    ] {
        let error = read(&path).unwrap_err();
        assert!(error.contains(what), "{error}");
        assert!(error.contains(&path.file_name().unwrap().to_string_lossy().into_owned()), "{error}");
    }
    let error = describe(&ModelFiles::at(&file("taesd_decoder.safetensors")).unwrap()).unwrap_err().to_string();
    assert!(error.contains("a TAESD, which the settings take for previews"), "{error}");
}

#[test]
fn a_cut_or_altered_decoder_is_an_error_or_another_picture_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let whole = candle_core::safetensors::load(file("taesd_decoder.safetensors"), &Device::Cpu).unwrap();
    let path = folder.path().join("x.safetensors");
    for name in whole.keys() {
        let mut without = whole.clone();
        without.remove(name);
        candle_core::safetensors::save(&without, &path).unwrap();
        assert!(read(&path).is_err(), "without {name}");
        let mut other = whole.clone();
        let wider = other[name].repeat((2,)).unwrap_or_else(|_| other[name].clone());
        other.insert(name.clone(), wider);
        candle_core::safetensors::save(&other, &path).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.contains("x.safetensors"), "{error}");
    }
}

#[test]
fn lists_call_a_decoder_taesd_and_its_encoder_by_name() {
    let kind = |name: &str| inspect(&file(name)).unwrap().kind;
    for name in ["taesd_decoder.safetensors", "taesdxl_decoder.pth", "taesd.safetensors"] {
        assert_eq!(kind(name), ModelKind::Taesd, "{name}");
    }
    assert_eq!(kind("tiny/diffusion_pytorch_model.safetensors"), ModelKind::Taesd);
    for (name, what) in [("taesd_encoder.safetensors", "encoder"), ("taesd3_decoder.safetensors", "16 latent channels")]
    {
        assert!(matches!(kind(name), ModelKind::Foreign(found) if found.contains(what)), "{name}");
    }
}
