//! The levels of the U-Net: down, middle, up.

use std::ops::Range;

use candle_core::Tensor;
use candle_nn::VarBuilder;

use super::Pass;
use super::plan::{Level, Mid, Plan};
use super::transformer::{SpatialTransformer, TransformerShape};
use crate::diffusion::DiffusionError;
use crate::diffusion::layers::{conv3x3, conv3x3_halving};
use crate::diffusion::resnet::{ResnetBlock, ResnetShape};
use crate::kernels::{Addends, Conv2d, Input};

/// A residual block and, on levels with attention, the transformer after it.
#[derive(Debug)]
struct Stage {
    resnet: ResnetBlock,
    transformer: Option<SpatialTransformer>,
}

impl Stage {
    fn forward(&self, x: Input, pass: &Pass) -> Result<Tensor, DiffusionError> {
        pass.interrupt.check()?;
        let h = self.resnet.forward(x, Some(pass.time))?;
        match &self.transformer {
            Some(transformer) => {
                pass.interrupt.check()?;
                transformer.forward(&h, pass)
            }
            None => Ok(h),
        }
    }

    fn quantise(&mut self) -> candle_core::Result<()> {
        self.resnet.quantise()?;
        self.transformer.as_mut().map_or(Ok(()), SpatialTransformer::quantise)
    }

    fn project_context(&self, context: &Tensor, out: &mut Vec<(Tensor, Tensor)>) -> candle_core::Result<()> {
        self.transformer.as_ref().map_or(Ok(()), |t| t.project_context(context, out))
    }
}

/// What loading a block needs beside its weights.
pub(super) struct Loader<'a> {
    pub plan: &'a Plan,
    pub time_width: usize,
    /// Counts the cross-attentions in load order.
    pub next_context: usize,
}

impl Loader<'_> {
    fn resnet(&self, vb: &VarBuilder, channels_in: usize, channels_out: usize) -> candle_core::Result<ResnetBlock> {
        let shape = ResnetShape {
            channels_in,
            channels_out,
            time_width: Some(self.time_width),
            groups: self.plan.groups,
            eps: self.plan.eps,
        };
        ResnetBlock::load(vb, shape)
    }

    /// None for no layers.
    fn transformer(
        &mut self,
        vb: &VarBuilder,
        level: &Level,
        layers: usize,
    ) -> candle_core::Result<Option<SpatialTransformer>> {
        if layers == 0 {
            return Ok(None);
        }
        let shape = TransformerShape {
            channels: level.channels,
            heads: level.heads,
            layers,
            context_width: level.context_width,
            groups: self.plan.groups,
            linear_projection: self.plan.linear_projection,
        };
        SpatialTransformer::load(vb, shape, &mut self.next_context).map(Some)
    }
}

/// `DownBlock2D` or `CrossAttnDownBlock2D`.
#[derive(Debug)]
pub(super) struct DownBlock {
    stages: Vec<Stage>,
    downsample: Option<Conv2d>,
}

impl DownBlock {
    pub fn load(vb: &VarBuilder, loader: &mut Loader, index: usize) -> candle_core::Result<Self> {
        let level = &loader.plan.levels[index];
        let channels_in = loader.plan.levels[index.saturating_sub(1)].channels;
        let mut stages = Vec::new();
        for (i, &layers) in level.down.iter().enumerate() {
            let from = if i == 0 { channels_in } else { level.channels };
            let resnet = loader.resnet(&vb.pp("resnets").pp(i), from, level.channels)?;
            let transformer = loader.transformer(&vb.pp("attentions").pp(i), level, layers)?;
            stages.push(Stage { resnet, transformer });
        }
        let is_last = index + 1 == loader.plan.levels.len();
        let downsample =
            (!is_last).then(|| conv3x3_halving(&vb.pp("downsamplers.0.conv"), level.channels, 1)).transpose()?;
        Ok(Self { stages, downsample })
    }

    pub fn quantise(&mut self) -> candle_core::Result<()> {
        self.stages.iter_mut().try_for_each(Stage::quantise)?;
        self.downsample.as_mut().map_or(Ok(()), Conv2d::quantise)
    }

    /// Whether there is attention in it.
    pub fn attends(&self) -> bool {
        self.stages.iter().any(|stage| stage.transformer.is_some())
    }

    /// Pushes every intermediate result onto `skips`, until there are `most`.
    pub fn forward(
        &self,
        x: Tensor,
        most: usize,
        skips: &mut Vec<Tensor>,
        pass: &Pass,
    ) -> Result<Tensor, DiffusionError> {
        let mut h = x;
        for stage in self.stages.iter().take(most.saturating_sub(skips.len())) {
            h = stage.forward((&h).into(), pass)?;
            skips.push(h.clone());
        }
        if let Some(downsample) = self.downsample.as_ref().filter(|_| skips.len() < most) {
            pass.interrupt.check()?;
            h = downsample.forward(&h)?;
            skips.push(h.clone());
        }
        Ok(h)
    }

    pub fn project_context(&self, context: &Tensor, out: &mut Vec<(Tensor, Tensor)>) -> candle_core::Result<()> {
        self.stages.iter().try_for_each(|stage| stage.project_context(context, out))
    }
}

/// `UNetMidBlock2DCrossAttn` or, with its first residual block alone, `UNetMidBlock2D`; or nothing.
#[derive(Debug)]
pub(super) struct MidBlock {
    first: Option<ResnetBlock>,
    transformer: Option<SpatialTransformer>,
    last: Option<ResnetBlock>,
}

impl MidBlock {
    pub fn load(vb: &VarBuilder, loader: &mut Loader) -> candle_core::Result<Self> {
        let level = &loader.plan.levels[loader.plan.levels.len() - 1];
        let resnet = |name: &str| loader.resnet(&vb.pp(name), level.channels, level.channels).map(Some);
        Ok(match loader.plan.mid {
            Mid::Attention(layers) => Self {
                first: resnet("resnets.0")?,
                last: resnet("resnets.1")?,
                transformer: loader.transformer(&vb.pp("attentions.0"), level, layers)?,
            },
            Mid::Resnet => Self { first: resnet("resnets.0")?, transformer: None, last: None },
            Mid::Nothing => Self { first: None, transformer: None, last: None },
        })
    }

    pub fn quantise(&mut self) -> candle_core::Result<()> {
        [&mut self.first, &mut self.last].into_iter().flatten().try_for_each(ResnetBlock::quantise)?;
        self.transformer.as_mut().map_or(Ok(()), SpatialTransformer::quantise)
    }

    pub fn forward(&self, x: Tensor, pass: &Pass) -> Result<Tensor, DiffusionError> {
        let mut h = x;
        if let Some(first) = &self.first {
            pass.interrupt.check()?;
            h = first.forward((&h).into(), Some(pass.time))?;
        }
        if let Some(transformer) = &self.transformer {
            pass.interrupt.check()?;
            h = transformer.forward(&h, pass)?;
        }
        if let Some(last) = &self.last {
            pass.interrupt.check()?;
            h = last.forward((&h).into(), Some(pass.time))?;
        }
        Ok(h)
    }

    pub fn project_context(&self, context: &Tensor, out: &mut Vec<(Tensor, Tensor)>) -> candle_core::Result<()> {
        self.transformer.as_ref().map_or(Ok(()), |t| t.project_context(context, out))
    }
}

/// `UpBlock2D` or `CrossAttnUpBlock2D`.
#[derive(Debug)]
pub(super) struct UpBlock {
    stages: Vec<Stage>,
    upsample: Option<Conv2d>,
}

impl UpBlock {
    /// `index` is the level, from the outermost in.
    pub fn load(vb: &VarBuilder, loader: &mut Loader, index: usize) -> candle_core::Result<Self> {
        let levels = &loader.plan.levels;
        let level = &levels[index];
        let channels_below = levels[(index + 1).min(levels.len() - 1)].channels;
        let channels_above = levels[index.saturating_sub(1)].channels;
        let count = level.up.len();
        let mut stages = Vec::new();
        for (i, &layers) in level.up.iter().enumerate() {
            let from = if i == 0 { channels_below } else { level.channels };
            // The skips come back in the reverse order: the last one is what entered this level on the way down.
            let skip = if i + 1 == count { channels_above } else { level.channels };
            let resnet = loader.resnet(&vb.pp("resnets").pp(i), from + skip, level.channels)?;
            let transformer = loader.transformer(&vb.pp("attentions").pp(i), level, layers)?;
            stages.push(Stage { resnet, transformer });
        }
        let upsample =
            (index > 0).then(|| conv3x3(&vb.pp("upsamplers.0.conv"), level.channels, level.channels)).transpose()?;
        Ok(Self { stages, upsample })
    }

    pub fn quantise(&mut self) -> candle_core::Result<()> {
        self.stages.iter_mut().try_for_each(Stage::quantise)?;
        self.upsample.as_mut().map_or(Ok(()), Conv2d::quantise)
    }

    /// Whether there is attention in it.
    pub fn attends(&self) -> bool {
        self.stages.iter().any(|stage| stage.transformer.is_some())
    }

    /// How many residual blocks it has, each with a skip of its own.
    pub fn stages(&self) -> usize {
        self.stages.len()
    }

    /// Takes the skips of these stages off the end of `skips`; after the last stage it grows to the size of the next skip
    /// that remains.
    pub fn forward(
        &self,
        x: Tensor,
        stages: Range<usize>,
        skips: &mut Vec<Tensor>,
        pass: &Pass,
    ) -> Result<Tensor, DiffusionError> {
        let is_whole = stages.end == self.stages.len();
        let mut h = x;
        for stage in &self.stages[stages] {
            let Some(skip) = skips.pop() else {
                let problem = "the up blocks ask for more skips than the down blocks leave".to_owned();
                return Err(DiffusionError::Config { part: super::config::PART, problem });
            };
            h = stage.forward(Input::joined(&h, &skip), pass)?;
        }
        if let (true, Some(upsample), Some(next)) = (is_whole, &self.upsample, skips.last()) {
            pass.interrupt.check()?;
            let (_, _, height, width) = next.dims4()?;
            h = upsample.apply(Input::from(&h).enlarged(height, width), Addends::NONE)?;
        }
        Ok(h)
    }

    pub fn project_context(&self, context: &Tensor, out: &mut Vec<(Tensor, Tensor)>) -> candle_core::Result<()> {
        self.stages.iter().try_for_each(|stage| stage.project_context(context, out))
    }
}

/// All keys and values of a context, in load order.
pub(super) fn project_all(
    context: &Tensor,
    down: &[DownBlock],
    mid: &MidBlock,
    up: &[UpBlock],
) -> candle_core::Result<Vec<(Tensor, Tensor)>> {
    let mut keys_and_values = Vec::new();
    down.iter().try_for_each(|block| block.project_context(context, &mut keys_and_values))?;
    // Loaded last, so that it comes last: see UNet::load.
    up.iter().try_for_each(|block| block.project_context(context, &mut keys_and_values))?;
    mid.project_context(context, &mut keys_and_values)?;
    Ok(keys_and_values)
}
