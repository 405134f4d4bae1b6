//! The spatial transformer: pixels attend to each other, then to the words of the prompt.

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::token_merging::{Groups, Merging, tokens_first};
use super::{Pass, PreparedContext};
use crate::diffusion::DiffusionError;
use crate::diffusion::layers::{group_norm, layer_norm, linear, linear_no_bias, pointwise};
use crate::kernels::{Addends, Before, GroupNorm, Input, Kept, LayerNorm, Linear, Sight, attention};

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
    /// SD 1 projects with 1x1 convolutions, SD 2 with linear maps: the same arithmetic.
    proj_in: Linear,
    layers: Vec<TransformerLayer>,
    proj_out: Linear,
}

impl SpatialTransformer {
    /// `next_index` counts the cross-attentions of the whole U-Net.
    pub fn load(vb: &VarBuilder, shape: TransformerShape, next_index: &mut usize) -> candle_core::Result<Self> {
        let TransformerShape { channels, groups, linear_projection, .. } = shape;
        let projection = |name: &str| {
            let vb = vb.pp(name);
            if linear_projection { linear(&vb, channels, channels) } else { pointwise(&vb, channels, channels) }
        };
        let layers = (0..shape.layers)
            .map(|index| TransformerLayer::load(&vb.pp("transformer_blocks").pp(index), shape, next_index))
            .collect::<candle_core::Result<_>>()?;
        Ok(Self {
            // Transformer2DModel's own epsilon, whatever the U-Net's is.
            norm: group_norm(&vb.pp("norm"), groups, channels, 1e-6)?,
            proj_in: projection("proj_in")?,
            layers,
            proj_out: projection("proj_out")?,
        })
    }

    /// See [`Linear::quantise`]; what makes the prompt's keys and values stays as it is.
    pub fn quantise(&mut self) -> candle_core::Result<()> {
        self.proj_in.quantise()?;
        self.proj_out.quantise()?;
        for layer in &mut self.layers {
            let (own, cross) = (&mut layer.own, &mut layer.cross);
            let maps = [&mut own.q, &mut own.k, &mut own.v, &mut own.out, &mut cross.q, &mut cross.out];
            maps.into_iter().chain([&mut layer.ff_in, &mut layer.ff_out]).try_for_each(Linear::quantise)?;
        }
        Ok(())
    }

    /// `x` is `[B, C, H, W]`; the same shape comes back.
    pub fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, DiffusionError> {
        let (_, _, height, width) = x.dims4()?;
        let merging = pass.merging.and_then(|merging| merging.at((height, width)));
        // [B, C, H, W] -> [B, C, H*W]
        let pixels = x.flatten_from(2)?;
        let normed = Input::from(&pixels).after(Before::Norm(&self.norm));
        let mut h = self.proj_in.over_channels(normed, Addends::NONE, Kept::Full)?;
        for layer in &self.layers {
            pass.interrupt.check()?;
            h = layer.forward(&h, pass.context, merging)?;
        }
        let added = Addends { values: Some(&pixels), ..Addends::NONE };
        // [B, C, H*W] -> [B, C, H, W]
        Ok(self.proj_out.over_channels((&h).into(), added, Kept::Full)?.reshape(x.shape())?)
    }

    /// `context` is `[B, D, T]`.
    pub fn project_context(&self, context: &Tensor, out: &mut Vec<(Tensor, Tensor)>) -> candle_core::Result<()> {
        for layer in &self.layers {
            debug_assert_eq!(out.len(), layer.context_index, "the walk follows the load order");
            let project = |map: &Linear| map.over_channels(context.into(), Addends::NONE, Kept::ForProduct);
            out.push((project(&layer.cross.k)?, project(&layer.cross.v)?));
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

    /// `x` is `[B, C, T]`; the same shape comes back.
    fn forward(&self, x: &Tensor, context: &PreparedContext, merging: Option<Merging>) -> candle_core::Result<Tensor> {
        let after = |x, norm| Input::from(x).after(Before::LayerNorm(norm));
        let groups = merging.map(|merging| merging.groups(x)).transpose()?.flatten();
        let x = if let Some(groups) = groups {
            self.attend_in_groups(x, &groups)?
        } else {
            let project = |map: &Linear| map.over_channels(after(x, &self.norm1), Addends::NONE, Kept::ForProduct);
            let (k, v) = (project(&self.own.k)?, project(&self.own.v)?);
            self.own.forward(x, &self.norm1, (&k, &v))?
        };
        let (k, v) = &context.keys_and_values[self.context_index];
        let x = self.cross.forward(&x, &self.norm2, (k, v))?;
        let h = self.ff_in.geglu_over_channels(after(&x, &self.norm3))?;
        self.ff_out.over_channels((&h).into(), Addends { values: Some(&x), ..Addends::NONE }, Kept::Full)
    }

    /// The self-attention of the groups' means, each group's gain added to all of its tokens.
    fn attend_in_groups(&self, x: &Tensor, groups: &Groups) -> candle_core::Result<Tensor> {
        // [B, C, T] -> [B, T, C]
        let normed = self.norm1.forward(&tokens_first(x)?)?;
        // -> [B, C, G]
        let means = groups.means(&normed)?;
        let project = |map: &Linear| map.over_channels((&means).into(), Addends::NONE, Kept::ForProduct);
        let (q, k, v) = (project(&self.own.q)?, project(&self.own.k)?, project(&self.own.v)?);
        let h = attention(&q, &k, &v, self.own.heads, Sight::Everywhere)?;
        groups.add_to_members(x, &self.own.out.over_channels((&h).into(), Addends::NONE, Kept::Full)?)
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

    /// `x` plus what it attends to after its norm.
    fn forward(&self, x: &Tensor, norm: &LayerNorm, (k, v): (&Tensor, &Tensor)) -> candle_core::Result<Tensor> {
        let normed = Input::from(x).after(Before::LayerNorm(norm));
        let q = self.q.over_channels(normed, Addends::NONE, Kept::ForProduct)?;
        let h = attention(&q, k, v, self.heads, Sight::Everywhere)?;
        self.out.over_channels((&h).into(), Addends { values: Some(x), ..Addends::NONE }, Kept::Full)
    }
}
