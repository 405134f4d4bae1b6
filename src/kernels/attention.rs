//! Scaled dot-product attention, a block of queries at a time so that memory never grows with the square of the tokens.

use candle_core::{CpuStorage, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use half::bf16;
use rayon::prelude::*;

use super::contiguous;
use super::flash::flash;
use super::matmul::{Extent, Into, Place, matmul};
use super::vector::{exp_of_row, scale_row};

/// The most scores that exist at once on the general path, counted over batch and heads: 64 MiB in f32.
const MAX_SCORES: usize = 16 << 20;
/// Queries of one task on the CPU: with 4096 keys their scores fill a second-level cache of 1 MiB.
const QUERY_BLOCK: usize = 64;

/// `softmax(q k^T / sqrt(d)) v` for each head; the softmax runs in f32.
///
/// `q` is `[B, Tq, heads * d]`, `k` and `v` are `[B, Tk, heads * d]`; `mask`, if any, is `[Tq, Tk]` and added to the
/// scores. `[B, Tq, heads * d]` comes back.
///
/// # Errors
/// When the shapes do not fit or the device fails.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Option<&Tensor>) -> Result<Tensor> {
    if q.device().is_cpu() && q.dtype() == DType::F32 {
        let (queries, keys) = (q.dim(1)?, k.dim(1)?);
        if let Some(mask) = mask.filter(|mask| mask.dims() != [queries, keys]) {
            bail!("attention: {queries} queries and {keys} keys under a mask {:?}", mask.dims());
        }
        let mask = mask.map(|mask| mask.flatten_all()?.to_vec1::<f32>()).transpose()?;
        let op = AttentionOp { heads, mask };
        return q.contiguous()?.apply_op3_no_bwd(&k.contiguous()?, &v.contiguous()?, &op);
    }
    general(q, k, v, heads, mask)
}

/// As [`attention`] without a mask, for `q` `[B, heads * d, Tq]` and `k`, `v` `[B, heads * d, Tk]`, whose results are
/// `[B, heads * d, Tq]`.
///
/// # Errors
/// When the shapes do not fit or the device fails.
pub fn attention_over_channels(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize) -> Result<Tensor> {
    if q.device().is_cpu() && k.dtype() == q.dtype() && v.dtype() == q.dtype() {
        match q.dtype() {
            DType::F32 => return flash::<f32>(q, k, v, heads),
            DType::BF16 => return flash::<bf16>(q, k, v, heads),
            _ => {}
        }
    }
    let tokens = |t: &Tensor| t.transpose(1, 2)?.contiguous();
    general(&tokens(q)?, &tokens(k)?, &tokens(v)?, heads, None)?.transpose(1, 2)?.contiguous()
}

fn general(q: &Tensor, k: &Tensor, v: &Tensor, heads: usize, mask: Option<&Tensor>) -> Result<Tensor> {
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

/// The CPU's path: a task a block of queries, all heads after one another, straight on the tokens' own layout.
struct AttentionOp {
    heads: usize,
    /// Row after row, added to the scaled scores.
    mask: Option<Vec<f32>>,
}

impl CustomOp3 for AttentionOp {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, queries, width) = q_layout.shape().dims3()?;
        let (k_batch, keys, k_width) = k_layout.shape().dims3()?;
        if k_layout.shape() != v_layout.shape() || (k_batch, k_width) != (batch, width) || keys == 0 {
            bail!("attention: q {:?}, k {:?}, v {:?}", q_layout.shape(), k_layout.shape(), v_layout.shape());
        }
        if self.heads == 0 || !width.is_multiple_of(self.heads) {
            bail!("attention: width {width} does not fit {} heads", self.heads);
        }
        let q = contiguous(q.as_slice::<f32>()?, q_layout)?;
        let k = contiguous(k.as_slice::<f32>()?, k_layout)?;
        let v = contiguous(v.as_slice::<f32>()?, v_layout)?;
        let mut out = vec![0.0_f32; batch * queries * width];
        let blocks = queries.div_ceil(QUERY_BLOCK);
        let shape = HeadShape { width, head_width: width / self.heads, keys };
        // Blocks of one picture only: the last block of each is shorter.
        let mut rows: Vec<(usize, usize, &mut [f32])> = Vec::with_capacity(batch * blocks);
        for (b, picture) in out.chunks_mut((queries * width).max(1)).enumerate() {
            for (i, block) in picture.chunks_mut(QUERY_BLOCK * width).enumerate() {
                rows.push((b, i * QUERY_BLOCK, block));
            }
        }
        rows.into_par_iter().for_each_init(Vec::new, |scores, (b, first, out)| {
            let picture = b * keys * width..(b + 1) * keys * width;
            let q = &q[(b * queries + first) * width..][..out.len()];
            let mask = self.mask.as_ref().map(|mask| &mask[first * keys..]);
            let tokens = Tokens { q, k: &k[picture.clone()], v: &v[picture], mask };
            for head in 0..self.heads {
                shape.attend(head, &tokens, scores, out);
            }
        });
        Ok((CpuStorage::F32(out), q_layout.shape().clone()))
    }
}

/// Where the heads lie in a row of tokens.
#[derive(Clone, Copy)]
struct HeadShape {
    width: usize,
    head_width: usize,
    keys: usize,
}

/// What a block of queries looks at: rows of all heads' values.
struct Tokens<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    /// From the block's first query on.
    mask: Option<&'a [f32]>,
}

impl HeadShape {
    /// One head of a block of queries: scores, softmax, weighted sum.
    fn attend(self, head: usize, tokens: &Tokens, scores: &mut Vec<f32>, out: &mut [f32]) {
        let Tokens { q, k, v, mask } = *tokens;
        let Self { width, head_width, keys } = self;
        let rows = q.len() / width;
        let place = Place::rows(head * head_width, width);
        scores.resize(rows * keys, 0.0);
        // [rows, d] x [d, keys]
        let extent = Extent { rows, columns: keys, inner: head_width };
        let scores_place = Place::rows(0, keys);
        matmul(extent, (scores, scores_place), (q, place), (k, place.transposed()), Into::Replace);
        let scale = 1.0 / (head_width as f32).sqrt();
        for (index, row) in scores[..rows * keys].chunks_exact_mut(keys).enumerate() {
            let sum = match mask {
                None => exp_of_row(row, scale),
                Some(mask) => {
                    for (score, mask) in row.iter_mut().zip(&mask[index * keys..]) {
                        *score = *score * scale + mask;
                    }
                    exp_of_row(row, 1.0)
                }
            };
            scale_row(row, 1.0 / sum);
        }
        // [rows, keys] x [keys, d]
        let extent = Extent { rows, columns: head_width, inner: keys };
        matmul(extent, (out, place), (scores, scores_place), (v, place), Into::Replace);
    }
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
    fn the_cpu_path_is_the_general_path() {
        for (batch, queries, keys, heads, head_width) in
            [(1, 1, 1, 1, 1), (2, 5, 7, 2, 3), (1, 64, 77, 4, 16), (2, 130, 130, 2, 40), (1, 65, 3, 1, 33)]
        {
            let width = heads * head_width;
            let (q, k, v) = (
                wave((batch, queries, width), 0.37),
                wave((batch, keys, width), 0.11),
                wave((batch, keys, width), 0.23),
            );
            let values = |t: Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            // Looks at the first keys only, the more the later the query.
            let mask: Vec<f32> =
                (0..queries * keys).map(|i| if i % keys > i / keys { f32::NEG_INFINITY } else { 0.1 }).collect();
            let mask = Tensor::from_vec(mask, (queries, keys), &Device::Cpu).unwrap();
            for mask in [None, Some(&mask)] {
                let fast = values(attention(&q, &k, &v, heads, mask).unwrap());
                let slow = values(general(&q, &k, &v, heads, mask).unwrap());
                for (a, b) in fast.iter().zip(&slow) {
                    assert!((a - b).abs() < 2e-5, "{batch} {queries} {keys} {heads} {head_width}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn attention_over_channels_is_attention_over_tokens() {
        for (batch, queries, keys, heads, head_width) in
            [(1, 1, 1, 1, 1), (2, 5, 7, 2, 3), (1, 64, 77, 4, 16), (2, 130, 300, 2, 40), (1, 65, 513, 1, 33)]
        {
            let width = heads * head_width;
            let (q, k, v) = (
                wave((batch, queries, width), 0.37),
                wave((batch, keys, width), 0.11),
                wave((batch, keys, width), 0.23),
            );
            let values = |t: Tensor| t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let turned = |t: &Tensor| t.transpose(1, 2).unwrap().contiguous().unwrap();
            let expected = values(turned(&general(&q, &k, &v, heads, None).unwrap()));
            let (q, k, v) = (turned(&q), turned(&k), turned(&v));
            for (found, expected) in values(attention_over_channels(&q, &k, &v, heads).unwrap()).iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 2e-5,
                    "{batch} {queries} {keys} {heads} {head_width}: {found} {expected}"
                );
            }
            let rounded = |t: &Tensor| t.to_dtype(DType::BF16).unwrap();
            let found = values(attention_over_channels(&rounded(&q), &rounded(&k), &rounded(&v), heads).unwrap());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 0.06, "bf16, {batch} {queries} {keys} {heads} {head_width}");
            }
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        assert!(attention(&wave((1, 2, 4), 0.1), &wave((1, 2, 6), 0.1), &wave((1, 2, 6), 0.1), 2, None).is_err());
        assert!(attention(&wave((1, 2, 4), 0.1), &wave((1, 2, 4), 0.1), &wave((1, 2, 4), 0.1), 3, None).is_err());
    }
}
