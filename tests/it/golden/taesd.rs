//! TAESD's decoder against diffusers' AutoencoderTiny, narrow and as wide as the published one.

use std::collections::HashMap;

use calotype::checkpoint::read_taesd;
use calotype::diffusion::Interrupt;
use calotype::diffusion::tiny_decoder::{TinyDecoder, TinyDecoderConfig};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::{assert_close, fixtures, golden};

/// As `fill` of golden_taesd.py: each value by its place among all.
fn wide_decoder() -> TinyDecoder {
    let config = TinyDecoderConfig { latent_channels: 4, width: 64, blocks: vec![3, 3, 3, 1] };
    let mut at: u64 = 0;
    let mut tensors = HashMap::new();
    for (name, shape) in config.tensors() {
        let fan_in = if shape.len() == 4 { shape[1..].iter().product::<usize>() } else { 4 };
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (at..at + count as u64)
            .map(|place| {
                let unit = f64::from((place * 2_654_435_761) as u32) / 4_294_967_296.0 - 0.5;
                (unit * 2.6 / (fan_in as f64).sqrt()) as f32
            })
            .collect();
        at += count as u64;
        tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
    }
    TinyDecoder::load(&VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &config).unwrap()
}

#[test]
fn previews_are_decoded_as_diffusers_decodes_them() {
    let tensors = golden("taesd");
    let narrow = read_taesd(&fixtures().join("taesd/tiny"), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(narrow.config(), &TinyDecoderConfig { latent_channels: 4, width: 4, blocks: vec![3, 3, 3, 1] });
    for case in ["narrow", "odd"] {
        let found = narrow.decode(&tensors[&format!("{case}.latents")], Interrupt::never()).unwrap();
        // Measured: 9.6e-7.
        assert_close(case, &found, &tensors[&format!("{case}.decoded")], 4e-6);
    }
    let found = wide_decoder().decode(&tensors["full.latents"], Interrupt::never()).unwrap();
    assert_close("full", &found, &tensors["full.decoded"], 4e-6);
}
