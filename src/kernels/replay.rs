//! Computations that are repeated with other values of the same shapes: an NVIDIA card records them, and from then on launches
//! all that they do at once (CUDA graphs) instead of one kernel after the other.

use candle_core::{Tensor, TensorId};

/// The repeated computations of a picture. The first time each just runs; the second time an NVIDIA card records it. Elsewhere
/// they just run each time.
#[derive(Default)]
pub struct Replays {
    #[cfg(feature = "cuda")]
    on_card: super::cuda::replay::Kept,
}

impl Replays {
    /// Runs the computation that belongs to the tensor `id` on `inputs`, of which the first has the result's type.
    ///
    /// `compute` must ask for the same each time, and for no values but of `inputs` and of what lives as long as `self`.
    ///
    /// # Errors
    /// When `compute` fails.
    pub fn run<E: From<candle_core::Error>>(
        &mut self,
        id: TensorId,
        inputs: &[Tensor],
        compute: impl Fn(&[Tensor]) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        #[cfg(feature = "cuda")]
        if let Some(candle_core::Device::Cuda(card)) = inputs.first().map(Tensor::device)
            && super::cuda::replay::records()
        {
            return self.on_card.run(card, id, inputs, compute);
        }
        let _ = id;
        compute(inputs)
    }
}
