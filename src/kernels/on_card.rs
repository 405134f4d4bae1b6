//! What cards compute otherwise than by candle's operations, one by one: none comes back where those are to do it.

#[cfg(not(feature = "cuda"))]
use candle_core::{DType, Device};
use candle_core::{Result, Tensor};

use super::attention::Sight;
use super::card::wants_candle;
#[cfg(feature = "cuda")]
use super::cuda::own;
#[cfg(not(feature = "cuda"))]
use super::input::Addends;

/// The head widths that Metal's attention knows.
const METAL_WIDTHS: [usize; 8] = [32, 64, 72, 80, 96, 128, 256, 512];

/// A group normalisation, with SiLU if it is activated; convolutions; what is added to a result.
#[cfg(feature = "cuda")]
pub(super) use own::{convolve, convolves, finish, geglu, group_norm, layer_norm};

/// As with the feature `cuda`, which this build does not have.
#[cfg(not(feature = "cuda"))]
pub(super) fn convolves(_device: &Device, _dtype: DType) -> bool {
    false
}

/// As with the feature `cuda`, which this build does not have.
#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "as in builds that know cards")]
pub(super) fn convolve(
    _x: &Tensor,
    _weight_and_bias: (&Tensor, &Tensor),
    _stride_and_padding: (usize, usize),
    _added: Addends,
) -> Result<Option<Tensor>> {
    Ok(None)
}

/// As with the feature `cuda`, which this build does not have.
#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "as in builds that know cards")]
pub(super) fn group_norm(
    _x: &Tensor,
    _weight_and_bias: (&Tensor, &Tensor),
    _groups_and_eps: (usize, f64),
    _is_activated: bool,
) -> Result<Option<Tensor>> {
    Ok(None)
}

/// As with the feature `cuda`, which this build does not have.
#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "as in builds that know cards")]
pub(super) fn layer_norm(_x: &Tensor, _weight_and_bias: (&Tensor, &Tensor), _eps: f64) -> Result<Option<Tensor>> {
    Ok(None)
}

/// As with the feature `cuda`, which this build does not have.
#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "as in builds that know cards")]
pub(super) fn finish(_y: &Tensor, _bias: Option<&Tensor>, _added: Addends) -> Result<Option<Tensor>> {
    Ok(None)
}

/// As with the feature `cuda`, which this build does not have.
#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "as in builds that know cards")]
pub(super) fn geglu(_x: &Tensor, _axis: usize) -> Result<Option<Tensor>> {
    Ok(None)
}

/// Attention of `[B, heads * d, T]`.
pub(super) fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, sight: Sight) -> Result<Option<Tensor>> {
    if q.device().is_metal() && !wants_candle() {
        return metal_attention(q, k, v, heads, sight);
    }
    #[cfg(feature = "cuda")]
    return own::attention(q, k, v, heads, sight);
    #[cfg(not(feature = "cuda"))]
    Ok(None)
}

/// By candle's kernel for Metal, with zeros in the channels that a head lacks: they change neither products nor sums.
fn metal_attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, sight: Sight) -> Result<Option<Tensor>> {
    let (batch, channels, queries) = q.dims3()?;
    let width = channels / heads.max(1);
    let is_alike = k.dtype() == q.dtype() && v.dtype() == q.dtype();
    let Some(padded) = metal_width(width).filter(|_| is_alike && queries > 1) else { return Ok(None) };
    // In f32 a head of 512 has no room; a mask is for as many keys as queries.
    if padded == 512 || (sight == Sight::Backwards && k.dim(2)? != queries) {
        return Ok(None);
    }
    let split = |x: &Tensor| of_heads(x, heads, padded);
    let scale = 1.0 / (width as f32).sqrt();
    let y = candle_nn::ops::sdpa(&split(q)?, &split(k)?, &split(v)?, None, sight == Sight::Backwards, scale, 1.0)?;
    // [B, heads, T, padded] -> [B, heads * d, T]
    let y = y.narrow(3, 0, width)?.transpose(2, 3)?.contiguous()?;
    y.reshape((batch, channels, queries)).map(Some)
}

/// `[B, heads * d, T]` -> `[B, heads, T, padded]`, with zeros behind the first d.
fn of_heads(x: &Tensor, heads: usize, padded: usize) -> Result<Tensor> {
    let (batch, channels, tokens) = x.dims3()?;
    let width = channels / heads;
    let x = x.reshape((batch, heads, width, tokens))?.transpose(2, 3)?;
    x.pad_with_zeros(3, 0, padded - width)?.contiguous()
}

/// The narrowest head that Metal's attention knows and that holds one of `width`.
fn metal_width(width: usize) -> Option<usize> {
    METAL_WIDTHS.into_iter().find(|known| *known >= width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::samples::wave;

    #[test]
    fn heads_that_metal_lacks_are_padded_to_the_next_that_it_has() {
        let widths = [40, 64, 80, 160, 512, 513].map(metal_width);
        assert_eq!(widths, [Some(64), Some(64), Some(80), Some(256), Some(512), None]);
    }

    #[test]
    fn padded_heads_hold_their_channels_and_zeros() {
        let x = wave(&[2, 6, 5], 0.3);
        let padded = of_heads(&x, 2, 8).unwrap();
        assert_eq!(padded.dims(), [2, 2, 5, 8]);
        let back = padded.narrow(3, 0, 3).unwrap().transpose(2, 3).unwrap().contiguous().unwrap();
        let back = back.reshape((2, 6, 5)).unwrap();
        assert_eq!(back.to_vec3::<f32>().unwrap(), x.to_vec3::<f32>().unwrap());
        let rest = padded.narrow(3, 3, 5).unwrap().abs().unwrap().sum_all().unwrap();
        assert_eq!(rest.to_scalar::<f32>().unwrap(), 0.0);
    }
}
