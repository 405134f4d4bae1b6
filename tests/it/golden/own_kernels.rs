//! The kernels of the device under test against the processor's: for a card, that those of our own agree with ours.

use calotype::kernels::{
    Activation, Addends, Before, Conv2d, GroupNorm, Input, Kept, LayerNorm, Linear, Sight, attention, geglu,
};
use candle_core::{DType, Device, Tensor};

use super::assert_close;
use super::device::{device, input};

fn wave(shape: &[usize], step: f32) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| (i as f32 * step).sin() * 2.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// As the device under test is given it.
fn there(tensor: &Tensor) -> Tensor {
    input(&tensor.to_device(&device()).unwrap())
}

/// The same on the processor, with what is lost on the way to the device lost here too.
fn here(tensor: &Tensor) -> Tensor {
    there(tensor).to_dtype(DType::F32).unwrap().to_device(&Device::Cpu).unwrap()
}

#[test]
fn attention_is_that_of_the_processor_for_every_width_of_head() {
    for (batch, heads, width, queries, keys) in [
        (2, 8, 40, 256, 256),
        (2, 8, 40, 100, 77),
        (1, 10, 64, 200, 77),
        (2, 8, 80, 70, 70),
        (2, 8, 160, 64, 77),
        (1, 1, 512, 64, 64),
    ] {
        let q = wave(&[batch, heads * width, queries], 0.37);
        let (k, v) = (wave(&[batch, heads * width, keys], 0.11), wave(&[batch, heads * width, keys], 0.23));
        for sight in [Sight::Everywhere, Sight::Backwards] {
            let found = attention(&there(&q), &there(&k), &there(&v), heads, sight).unwrap();
            let expected = attention(&here(&q), &here(&k), &here(&v), heads, sight).unwrap();
            assert_close(&format!("attention {width} {queries} {keys}"), &found, &expected, 1e-5);
        }
    }
}

#[test]
fn group_norm_and_its_activation_are_those_of_the_processor() {
    for (channels, groups, side) in [(32, 32, 8), (320, 32, 64), (12, 4, 5), (64, 2, 96)] {
        let x = (wave(&[2, channels, side, side], 0.7) + 5.0).unwrap();
        let (weight, bias) = (wave(&[channels], 0.3), wave(&[channels], 0.9));
        let norm = |on: &dyn Fn(&Tensor) -> Tensor| GroupNorm::new(groups, 1e-5, on(&weight), on(&bias)).unwrap();
        let (on_device, on_processor) = (norm(&there), norm(&here));
        let (found, expected) = (on_device.forward(&there(&x)).unwrap(), on_processor.forward(&here(&x)).unwrap());
        assert_close("group-norm", &found, &expected, 1e-5);
        let found = on_device.forward_silu(&there(&x)).unwrap();
        assert_close("group-norm and SiLU", &found, &on_processor.forward_silu(&here(&x)).unwrap(), 1e-5);
    }
}

#[test]
fn convolutions_are_those_of_the_processor() {
    for (channels, channels_out, side, kernel, stride, padding) in [
        (32, 70, (9, 11), 3, 1, 1),
        (320, 320, (64, 64), 3, 1, 1),
        (64, 3, (40, 24), 3, 1, 1),
        (48, 64, (33, 20), 3, 2, 1),
        (64, 64, (33, 21), 3, 2, 0),
        (4, 32, (16, 16), 3, 1, 1),
        (64, 32, (16, 16), 1, 1, 0),
    ] {
        let x = wave(&[2, channels, side.0, side.1], 0.37);
        let (weight, bias) = (wave(&[channels_out, channels, kernel, kernel], 0.71), wave(&[channels_out], 1.3));
        let conv = |on: &dyn Fn(&Tensor) -> Tensor| Conv2d::new(on(&weight), on(&bias), stride, padding).unwrap();
        let (found, expected) = (conv(&there).forward(&there(&x)).unwrap(), conv(&here).forward(&here(&x)).unwrap());
        assert_close(&format!("convolution {channels} {channels_out} {side:?}"), &found, &expected, 1e-5);
    }
}

/// What is added to a result of these sizes, as `on` gives it: of the channels for each picture or for all, of the values, or
/// both.
fn with_addends<R>(dims: &[usize], on: &dyn Fn(&Tensor) -> Tensor, run: impl Fn(Addends) -> R) -> Vec<R> {
    let (of_each, of_all) = (on(&wave(&[dims[0], dims[1]], 0.9)), on(&wave(&[1, dims[1]], 0.8)));
    let values = on(&wave(dims, 0.05));
    [(None, None), (Some(&of_each), None), (None, Some(&values)), (Some(&of_all), Some(&values))]
        .map(|(channels, values)| run(Addends { channels, values }))
        .into()
}

#[test]
fn what_is_added_to_convolutions_is_what_the_processor_adds() {
    for (channels, channels_out, side, kernel) in
        [(32, 70, (9, 11), 3), (64, 3, (40, 24), 3), (4, 32, (16, 16), 3), (64, 33, (9, 13), 1)]
    {
        let x = wave(&[2, channels, side.0, side.1], 0.37);
        let (weight, bias) = (wave(&[channels_out, channels, kernel, kernel], 0.71), wave(&[channels_out], 1.3));
        let apply = |on: &dyn Fn(&Tensor) -> Tensor| {
            let conv = Conv2d::new(on(&weight), on(&bias), 1, kernel / 2).unwrap();
            let dims = [2, channels_out, side.0, side.1];
            with_addends(&dims, on, |added| conv.apply((&on(&x)).into(), added).unwrap())
        };
        for (found, expected) in apply(&there).iter().zip(&apply(&here)) {
            assert_close(&format!("convolution {channels} {channels_out} with addends"), found, expected, 1e-5);
        }
    }
}

#[test]
fn maps_over_channels_with_norm_bias_and_addends_are_those_of_the_processor() {
    for (inputs, outputs, tokens) in [(320, 320, 256), (35, 50, 77), (3, 8, 1), (1280, 640, 64)] {
        // Far from zero: sums of squares alone would lose the deviation.
        let x = (wave(&[2, inputs, tokens], 0.37) + 5.0).unwrap();
        let (scale, shift) = (wave(&[inputs], 0.3), wave(&[inputs], 0.9));
        let (weight, bias) = (wave(&[outputs, inputs], 0.71), wave(&[outputs], 1.3));
        for bias in [None, Some(&bias)] {
            for is_normed in [false, true] {
                let apply = |on: &dyn Fn(&Tensor) -> Tensor| {
                    let norm = LayerNorm::new(on(&scale), on(&shift), 1e-5);
                    let linear = Linear::new(on(&weight), bias.map(on)).unwrap();
                    let x = on(&x);
                    let before = if is_normed { Before::LayerNorm(&norm) } else { Before::Nothing };
                    let input = Input::from(&x).after(before);
                    let dims = [2, outputs, tokens];
                    with_addends(&dims, on, |added| linear.over_channels(input, added, Kept::Full).unwrap())
                };
                for (found, expected) in apply(&there).iter().zip(&apply(&here)) {
                    assert_close(&format!("map of {inputs} channels, {tokens} tokens"), found, expected, 1e-5);
                }
            }
        }
    }
}

#[test]
fn activations_are_those_of_the_processor() {
    let x = wave(&[2, 77, 2560], 0.37);
    assert_close("geglu", &geglu(&there(&x)).unwrap(), &geglu(&here(&x)).unwrap(), 1e-5);
    for activation in [Activation::Silu, Activation::Gelu, Activation::QuickGelu] {
        let (found, expected) = (activation.forward(&there(&x)).unwrap(), activation.forward(&here(&x)).unwrap());
        assert_close(&format!("{activation:?}"), &found, &expected, 1e-5);
    }
}
