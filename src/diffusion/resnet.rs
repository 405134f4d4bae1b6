//! The residual block of U-Net and VAE: two normalised convolutions, with the timestep added between them.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::diffusion::layers::{conv3x3, group_norm, linear, pointwise};
use crate::kernels::{Addends, Before, Conv2d, GroupNorm, Input, Kept, Linear};

/// The widths of one block.
#[derive(Debug, Clone, Copy)]
pub struct ResnetShape {
    /// Channels in.
    pub channels_in: usize,
    /// Channels out.
    pub channels_out: usize,
    /// Width of the time embedding; none in the VAE.
    pub time_width: Option<usize>,
    /// Groups of both norms.
    pub groups: usize,
    /// Epsilon of both norms.
    pub eps: f64,
}

/// `x + conv(silu(norm(conv(silu(norm(x))) + time)))`.
#[derive(Debug)]
pub struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_projection: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    shortcut: Option<Linear>,
}

impl ResnetBlock {
    /// Loads the block below `vb`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub fn load(vb: &VarBuilder, shape: ResnetShape) -> Result<Self> {
        let ResnetShape { channels_in, channels_out, time_width, groups, eps } = shape;
        Ok(Self {
            norm1: group_norm(&vb.pp("norm1"), groups, channels_in, eps)?,
            conv1: conv3x3(&vb.pp("conv1"), channels_in, channels_out)?,
            time_projection: time_width.map(|w| linear(&vb.pp("time_emb_proj"), w, channels_out)).transpose()?,
            norm2: group_norm(&vb.pp("norm2"), groups, channels_out, eps)?,
            conv2: conv3x3(&vb.pp("conv2"), channels_out, channels_out)?,
            shortcut: (channels_in != channels_out)
                .then(|| pointwise(&vb.pp("conv_shortcut"), channels_in, channels_out))
                .transpose()?,
        })
    }

    /// See [`Linear::quantise`]; the timestep's projection stays as it is.
    ///
    /// # Errors
    /// When the weights are of a type that cannot be.
    pub fn quantise(&mut self) -> Result<()> {
        self.conv1.quantise()?;
        self.conv2.quantise()?;
        self.shortcut.as_mut().map_or(Ok(()), Linear::quantise)
    }

    /// The input is `[B, C_in, H, W]`, `time` `[1, T]` or `[B, T]` after its SiLU; `[B, C_out, H, W]` comes back.
    ///
    /// # Errors
    /// When the shapes do not fit or the device fails.
    pub fn forward(&self, x: Input, time: Option<&Tensor>) -> Result<Tensor> {
        let (h, shortcut) = self.first_half(x, time)?;
        self.second_half(&h, &shortcut)
    }

    /// As [`ResnetBlock::forward`] without time; lets go of the input once it has been read, for large pictures.
    ///
    /// # Errors
    /// As [`ResnetBlock::forward`].
    pub fn consume(&self, x: Tensor) -> Result<Tensor> {
        let (h, shortcut) = self.first_half((&x).into(), None)?;
        drop(x);
        self.second_half(&h, &shortcut)
    }

    /// What the second convolution reads, and what is added to it.
    fn first_half(&self, x: Input, time: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let time = match (&self.time_projection, time) {
            (Some(projection), Some(time)) => Some(projection.forward(time)?),
            _ => None,
        };
        let added = Addends { channels: time.as_ref(), ..Addends::NONE };
        let h = self.conv1.apply(x.after(Before::NormSilu(&self.norm1)), added)?;
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.over_channels(x, Addends::NONE, Kept::Full)?,
            None => x.joined_tensor()?,
        };
        Ok((h, shortcut))
    }

    fn second_half(&self, h: &Tensor, shortcut: &Tensor) -> Result<Tensor> {
        let added = Addends { values: Some(shortcut), ..Addends::NONE };
        self.conv2.apply(Input::from(h).after(Before::NormSilu(&self.norm2)), added)
    }
}
