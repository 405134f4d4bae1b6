//! An evaluation of the U-Net: all of it, or only its outermost blocks around what the others gave before.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::blocks::{DownBlock, UpBlock};
use super::token_merging::Merging;
use super::{Pass, PreparedContext, UNet};
use crate::diffusion::{DiffusionError, Interrupt};
use crate::kernels::{Addends, Before, Input};
use crate::request::TokenMerging;

/// What an evaluation is told beside the latents.
pub struct Evaluation<'a> {
    /// What [`UNet::time`] makes of the timestep.
    pub time: &'a Tensor,
    /// Of the same batch as the latents.
    pub context: &'a PreparedContext,
    /// The share of the tokens that are joined before the self-attentions of the finest level.
    pub token_merging: TokenMerging,
    /// Whether it shall go on.
    pub interrupt: Interrupt<'a>,
}

impl<'a> Pass<'a> {
    /// An evaluation of latents `x`.
    fn of(evaluation: &Evaluation<'a>, x: &Tensor) -> Result<Self, DiffusionError> {
        let &Evaluation { time, context, token_merging, interrupt } = evaluation;
        let (_, _, height, width) = x.dims4()?;
        Ok(Self { time, context, merging: Merging::new(token_merging, (height, width)), interrupt })
    }
}

impl UNet {
    /// The timestep, 0 to the number of trained ones, as every block is told it: `[1, T]` or `[B, T]`, after its SiLU. It may
    /// lie between two.
    ///
    /// # Errors
    /// When the device fails.
    pub fn time(&self, timestep: f64, context: &PreparedContext, device: &Device) -> Result<Tensor, DiffusionError> {
        Ok(self.time_embedding.forward_silu(timestep, context.added.as_ref(), device)?)
    }

    /// The model's prediction for latents `x` `[B, C, H, W]`.
    ///
    /// # Errors
    /// When the shapes do not fit, the device fails or the interrupt says stop.
    pub fn evaluate(&self, x: &Tensor, evaluation: &Evaluation) -> Result<Tensor, DiffusionError> {
        let pass = &Pass::of(evaluation, x)?;
        let (h, mut skips) = self.descend(x, usize::MAX, pass)?;
        let h = self.mid.forward(h, pass)?;
        let h = self.ascend(h, 0..self.branches(), &mut skips, pass)?;
        self.predict(&h, pass)
    }

    /// How many results of the way down the way up takes in again: the branches, from the outermost in.
    #[must_use]
    pub fn branches(&self) -> usize {
        self.up.iter().map(UpBlock::stages).sum()
    }

    /// Whether the finest level has attention, without which token merging changes nothing.
    #[must_use]
    pub fn attends_on_finest_level(&self) -> bool {
        self.down.first().is_some_and(DownBlock::attends) || self.up.last().is_some_and(UpBlock::attends)
    }

    /// As [`UNet::evaluate`], and what comes up to where the branch `branch` joins, `[B, C, H, W]`.
    ///
    /// # Errors
    /// As [`UNet::evaluate`].
    pub fn evaluate_keeping(
        &self,
        x: &Tensor,
        evaluation: &Evaluation,
        branch: usize,
    ) -> Result<(Tensor, Tensor), DiffusionError> {
        let pass = &Pass::of(evaluation, x)?;
        let (h, mut skips) = self.descend(x, usize::MAX, pass)?;
        let h = self.mid.forward(h, pass)?;
        let join = self.join(branch);
        let deep = self.ascend(h, 0..join, &mut skips, pass)?;
        let h = self.ascend(deep.clone(), join..self.branches(), &mut skips, pass)?;
        Ok((self.predict(&h, pass)?, deep))
    }

    /// Only what lies outside of the branch `branch`, with `deep` for all that lies inside.
    ///
    /// # Errors
    /// As [`UNet::evaluate`].
    pub fn evaluate_outermost(
        &self,
        x: &Tensor,
        evaluation: &Evaluation,
        branch: usize,
        deep: &Tensor,
    ) -> Result<Tensor, DiffusionError> {
        let pass = &Pass::of(evaluation, x)?;
        let (_, mut skips) = self.descend(x, branch + 1, pass)?;
        let h = self.ascend(deep.clone(), self.join(branch)..self.branches(), &mut skips, pass)?;
        self.predict(&h, pass)
    }

    /// The stage of the way up, counted from the innermost, that takes in the branch.
    fn join(&self, branch: usize) -> usize {
        self.branches().saturating_sub(branch + 1)
    }

    /// The way down until there are `most` results for the way up, the outermost first.
    fn descend(&self, x: &Tensor, most: usize, pass: &Pass) -> Result<(Tensor, Vec<Tensor>), DiffusionError> {
        let mut h = self.conv_in.forward(x)?;
        let mut skips = vec![h.clone()];
        for block in &self.down {
            h = block.forward(h, most, &mut skips, pass)?;
        }
        Ok((h, skips))
    }

    /// Some stages of the way up, counted over all blocks from the innermost.
    fn ascend(
        &self,
        x: Tensor,
        stages: Range<usize>,
        skips: &mut Vec<Tensor>,
        pass: &Pass,
    ) -> Result<Tensor, DiffusionError> {
        let (mut h, mut first) = (x, 0);
        for block in &self.up {
            let own = |stage: usize| stage.clamp(first, first + block.stages()) - first;
            let range = own(stages.start)..own(stages.end);
            if !range.is_empty() {
                h = block.forward(h, range, skips, pass)?;
            }
            first += block.stages();
        }
        Ok(h)
    }

    fn predict(&self, h: &Tensor, pass: &Pass) -> Result<Tensor, DiffusionError> {
        pass.interrupt.check()?;
        Ok(self.conv_out.apply(Input::from(h).after(Before::NormSilu(&self.norm_out)), Addends::NONE)?)
    }
}
