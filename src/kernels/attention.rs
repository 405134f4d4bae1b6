//! Scaled dot-product attention, a block of queries at a time so that the scores never need the square of the tokens.

use candle_core::{DType, Result, Tensor};

/// The most scores that exist at once, counted over batch and heads: 64 MiB in f32.
const MAX_SCORES: usize = 16 << 20;

/// `softmax(q k^T / sqrt(d)) v` for each head; the softmax runs in f32.
///
/// `q` is `[B, Tq, heads * d]`, `k` and `v` are `[B, Tk, heads * d]`; `mask`, if any, is `[Tq, Tk]` and added to the
/// scores. `[B, Tq, heads * d]` comes back.
///
/// # Errors
/// When the shapes do not fit or the device fails.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Option<&Tensor>) -> Result<Tensor> {
    let (batch, queries, width) = q.dims3()?;
    let keys = k.dim(1)?;
    let head_width = width / heads;
    let scale = 1.0 / (head_width as f64).sqrt();
    // [B, T, heads * d] -> [B, heads, T, d]
    let split = |x: &Tensor, tokens| x.reshape((batch, tokens, heads, head_width))?.transpose(1, 2)?.contiguous();
    let q = (split(q, queries)? * scale)?;
    let k_t = split(k, keys)?.transpose(2, 3)?;
    let v = split(v, keys)?;
    let block = (MAX_SCORES / (batch * heads * keys).max(1)).clamp(1, queries.max(1));
    let mut parts = Vec::with_capacity(queries.div_ceil(block));
    for start in (0..queries).step_by(block) {
        let len = block.min(queries - start);
        // [B, heads, len, d] x [B, heads, d, Tk] -> [B, heads, len, Tk]
        let mut scores = q.narrow(2, start, len)?.contiguous()?.matmul(&k_t)?;
        if let Some(mask) = mask {
            scores = scores.broadcast_add(&mask.narrow(0, start, len)?)?;
        }
        let weights = candle_nn::ops::softmax_last_dim(&scores.to_dtype(DType::F32)?)?.to_dtype(v.dtype())?;
        parts.push(weights.matmul(&v)?);
    }
    let joined = if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(&parts, 2)? };
    // [B, heads, Tq, d] -> [B, Tq, heads * d]
    joined.transpose(1, 2)?.reshape((batch, queries, width))
}
