//! The spatial transformer: pixels attend to each other, then to the words of the prompt.

use candle_core::Tensor;
use candle_nn::{Module, VarBuilder};

use super::PreparedContext;
use crate::diffusion::layers::{conv1x1, group_norm, layer_norm, linear, linear_no_bias};
use crate::diffusion::{DiffusionError, Interrupt};
use crate::kernels::{Conv2d, GroupNorm, LayerNorm, Linear, attention, geglu};

/// The widths of one spatial transformer.
#[derive(Debug, Clone, Copy)]
pub(super) struct TransformerShape {
    pub channels: usize,
    pub heads: usize,
    pub layers: usize,
    pub context_width: usize,
    pub groups: usize,
    pub linear_projection: bool,
}

/// `Transformer2DModel`.
#[derive(Debug)]
pub(super) struct SpatialTransformer {
    norm: GroupNorm,
    proj_in: Projection,
    layers: Vec<TransformerLayer>,
    proj_out: Projection,
}

/// SD 1 projects with 1x1 convolutions, SD 2 with linear maps: the same arithmetic in another layout.
#[derive(Debug)]
enum Projection {
    Conv(Conv2d),
    Linear(Linear),
}

impl Projection {
    fn load(vb: &VarBuilder, channels: usize, is_linear: bool) -> candle_core::Result<Self> {
        Ok(if is_linear {
            Self::Linear(linear(vb, channels, channels)?)
        } else {
            Self::Conv(conv1x1(vb, channels, channels)?)
        })
    }
}

impl SpatialTransformer {
    /// `next_index` counts the cross-attentions of the whole U-Net.
    pub fn load(vb: &VarBuilder, shape: TransformerShape, next_index: &mut usize) -> candle_core::Result<Self> {
        let TransformerShape { channels, groups, linear_projection, .. } = shape;
        let layers = (0..shape.layers)
            .map(|index| TransformerLayer::load(&vb.pp("transformer_blocks").pp(index), shape, next_index))
            .collect::<candle_core::Result<_>>()?;
        Ok(Self {
            // Transformer2DModel's own epsilon, whatever the U-Net's is.
            norm: group_norm(&vb.pp("norm"), groups, channels, 1e-6)?,
            proj_in: Projection::load(&vb.pp("proj_in"), channels, linear_projection)?,
            layers,
            proj_out: Projection::load(&vb.pp("proj_out"), channels, linear_projection)?,
        })
    }

    /// `x` is `[B, C, H, W]`; the same shape comes back.
    pub fn forward(
        &self,
        x: &Tensor,
        context: &PreparedContext,
        interrupt: Interrupt,
    ) -> Result<Tensor, DiffusionError> {
        let (batch, channels, height, width) = x.dims4()?;
        // [B, C, H, W] -> [B, H*W, C]
        let to_tokens = |t: &Tensor| t.flatten_from(2)?.transpose(1, 2)?.contiguous();
        // [B, H*W, C] -> [B, C, H, W]
        let to_pixels = |t: &Tensor| t.transpose(1, 2)?.contiguous()?.reshape((batch, channels, height, width));
        let normed = self.norm.forward(x)?;
        let mut h = match &self.proj_in {
            Projection::Conv(conv) => to_tokens(&conv.forward(&normed)?)?,
            Projection::Linear(linear) => linear.forward(&to_tokens(&normed)?)?,
        };
        for layer in &self.layers {
            interrupt.check()?;
            h = layer.forward(&h, context)?;
        }
        let h = match &self.proj_out {
            Projection::Conv(conv) => conv.forward(&to_pixels(&h)?)?,
            Projection::Linear(linear) => to_pixels(&linear.forward(&h)?)?,
        };
        Ok((h + x)?)
    }

    pub fn project_context(&self, context: &Tensor, out: &mut Vec<(Tensor, Tensor)>) -> candle_core::Result<()> {
        for layer in &self.layers {
            debug_assert_eq!(out.len(), layer.context_index, "the walk follows the load order");
            out.push((layer.cross.k.forward(context)?, layer.cross.v.forward(context)?));
        }
        Ok(())
    }
}

/// `BasicTransformerBlock`: self-attention, cross-attention, feed-forward, each on its own norm.
#[derive(Debug)]
struct TransformerLayer {
    norm1: LayerNorm,
    own: Attention,
    norm2: LayerNorm,
    cross: Attention,
    /// Where this layer's keys and values stand in a [`PreparedContext`].
    context_index: usize,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl TransformerLayer {
    fn load(vb: &VarBuilder, shape: TransformerShape, next_index: &mut usize) -> candle_core::Result<Self> {
        let TransformerShape { channels, heads, context_width, .. } = shape;
        let context_index = *next_index;
        *next_index += 1;
        // torch.nn.LayerNorm's default epsilon.
        let norm = |name: &str| layer_norm(&vb.pp(name), channels, 1e-5);
        let inner = channels * 4;
        Ok(Self {
            norm1: norm("norm1")?,
            own: Attention::load(&vb.pp("attn1"), channels, channels, heads)?,
            norm2: norm("norm2")?,
            cross: Attention::load(&vb.pp("attn2"), channels, context_width, heads)?,
            context_index,
            norm3: norm("norm3")?,
            ff_in: linear(&vb.pp("ff.net.0.proj"), channels, inner * 2)?,
            ff_out: linear(&vb.pp("ff.net.2"), inner, channels)?,
        })
    }

    fn forward(&self, x: &Tensor, context: &PreparedContext) -> candle_core::Result<Tensor> {
        let h = self.norm1.forward(x)?;
        let x = (x + self.own.forward(&h, &self.own.k.forward(&h)?, &self.own.v.forward(&h)?)?)?;
        let (k, v) = &context.keys_and_values[self.context_index];
        let x = (&x + self.cross.forward(&self.norm2.forward(&x)?, k, v)?)?;
        let h = geglu(&self.ff_in.forward(&self.norm3.forward(&x)?)?)?;
        x + self.ff_out.forward(&h)?
    }
}

#[derive(Debug)]
struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
}

impl Attention {
    fn load(vb: &VarBuilder, channels: usize, source_width: usize, heads: usize) -> candle_core::Result<Self> {
        Ok(Self {
            q: linear_no_bias(&vb.pp("to_q"), channels, channels)?,
            k: linear_no_bias(&vb.pp("to_k"), source_width, channels)?,
            v: linear_no_bias(&vb.pp("to_v"), source_width, channels)?,
            out: linear(&vb.pp("to_out.0"), channels, channels)?,
            heads,
        })
    }

    fn forward(&self, x: &Tensor, k: &Tensor, v: &Tensor) -> candle_core::Result<Tensor> {
        self.out.forward(&attention(&self.q.forward(x)?, k, v, self.heads, None)?)
    }
}
