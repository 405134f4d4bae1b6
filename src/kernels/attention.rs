//! Scaled dot-product attention, a block of queries at a time so that memory never grows with the square of the tokens.

use candle_core::{DType, Result, Tensor};
use half::bf16;

use super::flash::flash;
use super::on_card;

/// The most scores that exist at once on the general path, counted over batch and heads: 64 MiB in f32.
const MAX_SCORES: usize = 16 << 20;

/// Which keys a query sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All.
    Everywhere,
    /// Those up to its own place.
    Backwards,
}

/// `softmax(q^T k / sqrt(d)) v` for each head; the softmax runs in f32.
///
/// `q` is `[B, heads * d, Tq]`, `k` and `v` are `[B, heads * d, Tk]`; `[B, heads * d, Tq]` comes back.
///
/// # Errors
/// When the shapes do not fit or the device fails.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, sight: Sight) -> Result<Tensor> {
    let (keys, area) = (k.dim(2)?, q.dim(2)?);
    let _span = tracing::trace_span!("attention", keys, area, products = 2 * q.elem_count() * keys).entered();
    if q.device().is_cpu() && k.dtype() == q.dtype() && v.dtype() == q.dtype() {
        match q.dtype() {
            DType::F32 => return flash::<f32>(q, k, v, heads, sight),
            DType::BF16 => return flash::<bf16>(q, k, v, heads, sight),
            _ => {}
        }
    }
    if let Some(y) = on_card::attention(q, k, v, heads, sight)? {
        return Ok(y);
    }
    let tokens = |t: &Tensor| t.transpose(1, 2)?.contiguous();
    general(&tokens(q)?, &tokens(k)?, &tokens(v)?, heads, sight)?.transpose(1, 2)?.contiguous()
}

/// By candle's operations, for tokens side by side, `[B, T, heads * d]`.
fn general(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, sight: Sight) -> Result<Tensor> {
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
        if sight == Sight::Backwards {
            let hidden = |query: usize, key: usize| if key > query { f32::NEG_INFINITY } else { 0.0 };
            let mask = (start..start + len).flat_map(|query| (0..keys).map(move |key| hidden(query, key)));
            let mask = Tensor::from_vec(mask.collect(), (len, keys), q.device())?.to_dtype(scores.dtype())?;
            scores = scores.broadcast_add(&mask)?;
        }
        let weights = candle_nn::ops::softmax_last_dim(&scores.to_dtype(DType::F32)?)?.to_dtype(v.dtype())?;
        parts.push(weights.matmul(&v)?);
    }
    let joined = if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(&parts, 2)? };
    // [B, heads, Tq, d] -> [B, Tq, heads * d]
    joined.transpose(1, 2)?.reshape((batch, queries, width))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn wave(shape: (usize, usize, usize), step: f32) -> Tensor {
        let count = shape.0 * shape.1 * shape.2;
        let values: Vec<f32> = (0..count).map(|i| (i as f32 * step).sin() * 2.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_processors_path_is_the_general_path() {
        for (batch, queries, keys, heads, head_width) in [
            (1, 1, 1, 1, 1),
            (2, 5, 7, 2, 3),
            (1, 64, 77, 4, 16),
            (2, 77, 77, 2, 32),
            (2, 130, 300, 2, 40),
            (1, 65, 513, 1, 33),
            (1, 400, 400, 1, 8),
        ] {
            let (what, width) = (format!("{batch} {queries} {keys} {heads} {head_width}"), heads * head_width);
            let (q, k, v) = (
                wave((batch, queries, width), 0.37),
                wave((batch, keys, width), 0.11),
                wave((batch, keys, width), 0.23),
            );
            let values = |t: Tensor| t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let turned = |t: &Tensor| t.transpose(1, 2).unwrap().contiguous().unwrap();
            for sight in [Sight::Everywhere, Sight::Backwards] {
                let expected = values(turned(&general(&q, &k, &v, heads, sight).unwrap()));
                let (q, k, v) = (turned(&q), turned(&k), turned(&v));
                for (found, expected) in values(attention(&q, &k, &v, heads, sight).unwrap()).iter().zip(&expected) {
                    assert!((found - expected).abs() < 2e-5, "{what} {sight:?}: {found} {expected}");
                }
                let rounded = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
                let found = values(attention(&rounded(&q), &rounded(&k), &rounded(&v), heads, sight).unwrap());
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() < 0.06, "bf16, {what} {sight:?}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let all = Sight::Everywhere;
        assert!(attention(&wave((1, 4, 2), 0.1), &wave((1, 6, 2), 0.1), &wave((1, 6, 2), 0.1), 2, all).is_err());
        assert!(attention(&wave((1, 4, 2), 0.1), &wave((1, 4, 2), 0.1), &wave((1, 4, 2), 0.1), 3, all).is_err());
    }
}
