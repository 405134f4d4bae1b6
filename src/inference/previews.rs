//! Real pictures while a picture develops: decoded by the TAESD that a job names, as often as there is time for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device};
use image::RgbImage;

use crate::checkpoint::read_taesd;
use crate::diffusion::tiny_decoder::TinyDecoder;
use crate::diffusion::{DiffusionError, Interrupt};
use crate::latent_image::LatentImage;

/// The share of the time of a picture's steps that its previews may take on top.
const SHARE: f64 = 0.1;

/// Side of what a new decoder is tried on, in latent pixels.
const TRIED_SIDE: usize = 8;

/// The decoder of the last job, kept for the next.
pub(super) struct Previewer {
    device: Device,
    dtype: DType,
    known: Option<Known>,
    /// What was said last, so that it is not said of each of many pictures.
    told: Option<String>,
}

struct Known {
    path: PathBuf,
    decoder: TinyDecoder,
    /// Measured with the last picture that it decoded.
    secs_per_latent_pixel: f64,
}

/// The previews of one picture in progress.
pub(super) struct Decoding<'a> {
    known: &'a mut Known,
    begun_at: Instant,
    spent_secs: f64,
    has_failed: bool,
}

/// What the model at hand is to previews.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latents {
    pub channels: usize,
    /// True for latents that only the model's own VAE knows.
    pub are_its_own: bool,
}

/// Which steps are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Every one.
    Always,
    /// Those for which there is time.
    InTime,
    /// Not this one.
    NotNow,
}

impl Previewer {
    pub fn new(device: Device, dtype: DType) -> Self {
        Self { device, dtype, known: None, told: None }
    }

    /// Decodes on another device from now on.
    pub fn move_to(&mut self, device: Device) {
        self.known = None;
        self.device = device;
    }

    /// Brings the decoder to what a job names. A sentence comes back when its previews will be rough instead, once for all
    /// jobs of which the same is to be said.
    pub fn bring_to(&mut self, path: Option<&Path>, latents: Latents) -> Option<String> {
        let refusal = match path {
            None => {
                self.known = None;
                None
            }
            Some(path) => self.try_bring_to(path, latents).err(),
        };
        let is_news = refusal.is_some() && refusal != self.told;
        self.told.clone_from(&refusal);
        refusal.filter(|_| is_news).map(|why| format!("Previews stay rough: {why}"))
    }

    fn try_bring_to(&mut self, path: &Path, latents: Latents) -> Result<(), String> {
        if latents.are_its_own {
            self.known = None;
            return Err("the built-in model has latents of its own, which TAESD does not know".to_owned());
        }
        if self.known.as_ref().is_none_or(|known| known.path != path) {
            self.known = None;
            self.known = Some(Known::read(path, self.dtype, &self.device)?);
        }
        let made_for = self.known.as_ref().map_or(0, |known| known.decoder.config().latent_channels);
        if made_for != latents.channels {
            let channels = latents.channels;
            self.known = None;
            return Err(format!("{} decodes {made_for} latent channels, the model has {channels}", path.display()));
        }
        Ok(())
    }

    /// For a picture whose steps begin now; none when its previews are rough.
    pub fn begin(&mut self) -> Option<Decoding<'_>> {
        let known = self.known.as_mut()?;
        Some(Decoding { known, begun_at: Instant::now(), spent_secs: 0.0, has_failed: false })
    }
}

impl Known {
    /// Reads a decoder, and tries it to know what it costs before the first picture has to wait for it.
    fn read(path: &Path, dtype: DType, device: &Device) -> Result<Self, String> {
        let decoder = read_taesd(path, dtype, device).map_err(|error| error.to_string())?;
        let channels = decoder.config().latent_channels;
        let values = vec![0.0; channels * TRIED_SIDE * TRIED_SIDE];
        let latents = LatentImage { channels, height: TRIED_SIDE, width: TRIED_SIDE, values };
        let started = Instant::now();
        let tried = decoder.picture(&latents, Interrupt::never());
        tried.map_err(|error| format!("{error} ({})", path.display()))?;
        let secs_per_latent_pixel = started.elapsed().as_secs_f64() / area(&latents);
        Ok(Self { path: path.to_owned(), decoder, secs_per_latent_pixel })
    }
}

impl Decoding<'_> {
    /// The picture of a step's latents, if it is wanted.
    ///
    /// # Errors
    /// When `interrupt` says stop; what else fails leaves the previews rough.
    pub fn picture(
        &mut self,
        latents: &LatentImage,
        wanted: Wanted,
        interrupt: Interrupt,
    ) -> Result<Option<Arc<RgbImage>>, DiffusionError> {
        let cost_secs = self.known.secs_per_latent_pixel * area(latents);
        let is_wanted = match wanted {
            Wanted::Always => true,
            Wanted::InTime => is_due(self.begun_at.elapsed().as_secs_f64(), self.spent_secs, cost_secs),
            Wanted::NotNow => false,
        };
        if self.has_failed || !is_wanted {
            return Ok(None);
        }
        let started = Instant::now();
        let picture = match self.known.decoder.picture(latents, interrupt) {
            Err(DiffusionError::Cancelled) => return Err(DiffusionError::Cancelled),
            other => other,
        };
        let secs = started.elapsed().as_secs_f64();
        self.spent_secs += secs;
        self.known.secs_per_latent_pixel = secs / area(latents);
        match picture {
            Ok(picture) => Ok(Some(Arc::new(picture))),
            Err(error) => {
                tracing::warn!(%error, "previews of this picture stay rough");
                self.has_failed = true;
                Ok(None)
            }
        }
    }
}

fn area(latents: &LatentImage) -> f64 {
    (latents.width * latents.height).max(1) as f64
}

/// True when a decoding of this cost keeps all of a picture's within their share of the time of its steps.
fn is_due(elapsed_secs: f64, spent_secs: f64, cost_secs: f64) -> bool {
    spent_secs + cost_secs <= SHARE * (elapsed_secs - spent_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of `steps` that are decoded, when a step and a decoding take this long.
    fn decoded(steps: u32, step_secs: f64, cost_secs: f64) -> Vec<u32> {
        let (mut elapsed, mut spent) = (0.0, 0.0);
        let mut decoded = Vec::new();
        for step in 1..=steps {
            elapsed += step_secs;
            if is_due(elapsed, spent, cost_secs) {
                decoded.push(step);
                elapsed += cost_secs;
                spent += cost_secs;
            }
        }
        decoded
    }

    #[test]
    fn what_costs_little_is_decoded_at_every_step_and_what_costs_much_at_every_nth() {
        assert_eq!(decoded(5, 1.0, 0.09), [1, 2, 3, 4, 5]);
        assert_eq!(decoded(8, 1.0, 0.19), [2, 4, 6, 8]);
        assert_eq!(decoded(20, 1.0, 0.72), [8, 15]);
        assert!(decoded(20, 1.0, 3.0).is_empty());
    }
}
