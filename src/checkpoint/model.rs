//! A described model's weights to a model.

use std::path::PathBuf;
use std::sync::Arc;

use candle_core::{DType, Device};

use super::CheckpointError;
use super::describe::Description;
use super::live_weights::{AdaptedPart, LiveWeights};
use super::meter::{LoadProgress, Meter};
use super::part_source::PartSource;
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::StableDiffusion;
use crate::diffusion::text_encoder::TextEncoder;
use crate::diffusion::text_encoders::{TextEncoders, Tower};
use crate::diffusion::unet::UNet;
use crate::diffusion::vae::Vae;
use crate::kernels::activations;

/// Where the parts of a model are loaded to, and of what type their weights are there.
#[derive(Debug, Clone)]
pub struct Placement {
    /// The U-Net.
    pub unet: (DType, Device),
    /// The text encoders and the VAE.
    pub others: (DType, Device),
}

impl Placement {
    /// All parts in one place.
    #[must_use]
    pub fn together(dtype: DType, device: &Device) -> Self {
        let place = (dtype, device.clone());
        Self { unet: place.clone(), others: place }
    }
}

/// Reads the weights of a described model into `dtype` on `device`, one tensor at a time.
///
/// # Errors
/// When a file is damaged, a tensor is missing or has another shape, or `progress` says stop.
pub fn load(
    description: &Description,
    dtype: DType,
    device: &Device,
    progress: LoadProgress,
) -> Result<StableDiffusion, CheckpointError> {
    Ok(load_live(description, &Placement::together(dtype, device), progress)?.0)
}

/// As [`load`], each part to its place, with a handle on the weights that adapters change.
///
/// # Errors
/// As [`load`].
pub fn load_live(
    description: &Description,
    placement: &Placement,
    progress: LoadProgress,
) -> Result<(StableDiffusion, LiveWeights), CheckpointError> {
    let Placement { unet: (dtype, device), others: (other_dtype, other_device) } = placement;
    let mut live = LiveWeights::default();
    let meter = Arc::new(Meter::new(progress));
    let open = |source: &PartSource| source.open(Arc::clone(&meter));
    // All headers are read before the first weight, so that a missing file is known at once.
    let text_weights = description.towers.iter().map(|tower| open(&tower.source)).collect::<Result<Vec<_>, _>>()?;
    let unet_weights = open(&description.unet_source)?;
    let vae_weights = open(&description.vae_source)?;
    let text_weights: Vec<_> = text_weights
        .into_iter()
        .enumerate()
        .map(|(index, weights)| live.builder(AdaptedPart::Text(index), weights, *other_dtype, other_device))
        .collect();
    let unet_weights = live.builder(AdaptedPart::UNet, unet_weights, *dtype, device);
    let vae_weights = vae_weights.into_builder(vae_type(*other_dtype, description), other_device);
    let fail = |path: PathBuf| {
        let meter = Arc::clone(&meter);
        move |source: DiffusionError| {
            if meter.is_stopped() { CheckpointError::Cancelled } else { CheckpointError::Model { source, path } }
        }
    };
    let mut towers = Vec::new();
    for (tower, weights) in description.towers.iter().zip(&text_weights) {
        let encoder =
            TextEncoder::load(weights, &tower.config, tower.hidden_states).map_err(fail(tower.source.path()))?;
        towers.push(Tower { encoder, padding: tower.padding });
    }
    let model = StableDiffusion {
        tokenizer: Arc::clone(&description.tokenizer),
        text_encoders: TextEncoders::new(towers).map_err(fail(description.path.clone()))?,
        zeroes_empty_negative: description.zeroes_empty_negative,
        unet: UNet::load(&unet_weights, &description.unet).map_err(fail(description.unet_source.path()))?,
        vae: Vae::load(&vae_weights, &description.vae).map_err(fail(description.vae_source.path()))?,
        noise_schedule: description.noise_schedule.clone(),
        device: device.clone(),
        dtype: activations(*dtype, device),
    };
    model.check().map_err(fail(description.path.clone()))?;
    Ok((model, live))
}

/// What the VAE computes in: f32 where the others' f16 is too small for it.
fn vae_type(dtype: DType, description: &Description) -> DType {
    let overflows = dtype == DType::F16 && description.is_xl() && description.vae.force_upcast;
    if overflows { DType::F32 } else { dtype }
}
