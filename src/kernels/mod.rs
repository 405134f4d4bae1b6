//! All heavy arithmetic: convolution, normalisation with activation, attention, linear maps; how, on this hardware.

mod activation;
mod attention;
mod conv;
mod norm;
mod resample;

pub use activation::{Activation, geglu};
pub use attention::attention;
pub use candle_nn::{LayerNorm, Linear};
pub use conv::Conv2d;
pub use norm::GroupNorm;
pub use resample::upsample_nearest;
