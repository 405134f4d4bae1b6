//! All heavy arithmetic: convolution, normalisation with activation, attention, linear maps; how, on this hardware.

mod activation;
mod attention;
mod card;
mod conv;
#[cfg(feature = "cuda")]
mod cuda;
mod finish;
mod flash;
mod input;
mod int8;
mod linear;
mod maths;
mod matmul;
mod norm;
mod on_card;
mod pages;
mod panel;
mod planes;
mod processor;
mod product;
mod readback;
#[cfg(any(feature = "cuda", test))]
mod recording;
mod replay;
mod resample;
mod scratch;
mod tile;
mod values;
mod vector;
mod winograd;

use candle_core::{DType, Device, Layout, Result, bail};

pub use activation::{Activation, geglu};
pub use attention::{Sight, attention};
pub use card::{
    Card, CardMemory, CardProblem, KeptKernels, card_memory, kernels_of, kinds_of_card, metal_card, nvidia_card,
    nvidia_cards, release_card_memory,
};
pub use conv::Conv2d;
pub use input::{Addends, Before, Input};
pub use linear::{Kept, Linear};
pub use matmul::add_product;
pub use norm::{GroupNorm, LayerNorm};
pub use processor::{Instructions, instructions};
pub use readback::Readback;
pub use replay::Replays;
pub use resample::upsample_nearest;
pub use scratch::{keep_freed_memory, release_memory};
pub use values::in_pieces;

/// What values are kept in between the products of weights of type `weights`: on the CPU always f32, so that norms,
/// softmax and skip connections lose nothing where the weights are bf16.
#[must_use]
pub fn activations(weights: DType, device: &Device) -> DType {
    if device.is_cpu() { DType::F32 } else { weights }
}

/// True where convolutions of 3 x 3 lay out the nine neighbours of every value before they multiply.
#[must_use]
pub fn lays_out_patches(device: &Device, dtype: DType) -> bool {
    !device.is_cpu() && !on_card::convolves(device, dtype)
}

/// The part of a tensor's storage that is its values, in order.
fn contiguous<'a>(values: &'a [f32], layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("this kernel needs its values in order, not {layout:?}"),
    }
}

#[cfg(test)]
mod samples {
    //! Tensors for the tests of the room.

    use candle_core::{Device, Tensor};

    /// `sin(i * step)` for the i-th value.
    pub fn wave(shape: &[usize], step: f32) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * step).sin()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }
}
