//! A model's way into the engine: described, told, read to where there is room for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use super::{Engine, Loaded, panic_text};
use crate::checkpoint::{self, CheckpointError, Description, LiveWeights, ModelFiles, Placement};
use crate::diffusion::pipeline::StableDiffusion;
use crate::diffusion::{DiffusionError, Interrupt};
use crate::inference::cancel::CancelToken;
use crate::inference::device::{DeviceChoice, DeviceError, Place, dtype};
use crate::inference::facts::{computes_on, facts};
use crate::inference::memory::{self, Parts};
use crate::inference::message::{Event, ModelFacts, ModelOrder, ModelSource};
use crate::inference::networks::Networks;
use crate::inference::previews::Latents;
use crate::latent_image::LatentColours;
use crate::request::Precision;

/// Why a model cannot be loaded.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A panic, in words.
    #[error("{0}")]
    Fault(String),
}

/// A model that is known but not read yet.
struct Found {
    description: Description,
    facts: ModelFacts,
    place: Place,
    precision: Precision,
}

impl Engine<'_> {
    pub(super) fn load(&mut self, order: ModelOrder) {
        // Freed before the next one is read, so that two never share the memory.
        self.model = None;
        self.release_memory();
        let mut loaded = self.try_load(&order, Parts::Together);
        if self.is_card_full(&loaded) {
            self.release_memory();
            loaded = self.try_load(&order, Parts::Apart);
        }
        self.told(order, loaded);
    }

    /// Reads the loaded model again, with the text encoders and the VAE on the processor. Cancelling a picture does not stop
    /// this, as the next one needs the model too; what stops the loading does.
    ///
    /// # Errors
    /// When it cannot be read any more, or was stopped; none is loaded then.
    pub(super) fn take_apart(&mut self) -> Result<(), DiffusionError> {
        let Some(Loaded { order, .. }) = self.model.take() else { return Ok(()) };
        self.release_memory();
        let loaded = self.caught(|engine| {
            let found = engine.find(&order, Parts::Apart)?;
            engine.read(found, &order, Parts::Apart)
        });
        match self.told(order, loaded) {
            None => Ok(()),
            Some(LoadError::Checkpoint(CheckpointError::Cancelled)) => Err(DiffusionError::Cancelled),
            Some(error) => Err(DiffusionError::Request(self.loading_failure(&error))),
        }
    }

    /// Says how the loading ended, unless it was well, which was said.
    fn told(&self, order: ModelOrder, loaded: Result<(), LoadError>) -> Option<LoadError> {
        let ModelOrder { source, companions, .. } = order;
        let error = loaded.err()?;
        if matches!(error, LoadError::Checkpoint(CheckpointError::Cancelled)) {
            tracing::debug!(%source, "loading was stopped");
            self.outbox.send(Event::ModelStopped { source, companions });
        } else {
            let text = self.loading_failure(&error);
            tracing::debug!(%source, error = %text, "the model could not be loaded");
            self.outbox.send(Event::ModelFailed { source, companions, error: text });
        }
        Some(error)
    }

    fn try_load(&mut self, order: &ModelOrder, parts: Parts) -> Result<(), LoadError> {
        self.caught(|engine| {
            let found = engine.find(order, parts)?;
            engine.outbox.send(Event::ModelFound(Box::new(found.facts.clone())));
            engine.read(found, order, parts)
        })
    }

    /// What a panic in it comes to.
    fn caught(&mut self, load: impl FnOnce(&mut Self) -> Result<(), LoadError>) -> Result<(), LoadError> {
        catch_unwind(AssertUnwindSafe(|| load(self)))
            .unwrap_or_else(|panic| Err(LoadError::Fault(panic_text(panic.as_ref()))))
    }

    /// True where more room on the card would have helped.
    fn is_card_full(&self, loaded: &Result<(), LoadError>) -> bool {
        let is_card = self.place.as_ref().is_some_and(|(_, place)| place.is_card());
        is_card && loaded.as_ref().is_err_and(|error| memory::is_out_of_memory(&error.to_string()))
    }

    /// An error as it is told.
    fn loading_failure(&self, error: &LoadError) -> String {
        let error = error.to_string();
        match self.place.as_ref().map(|(_, place)| place).filter(|place| place.is_card()) {
            Some(place) if memory::is_out_of_memory(&error) => memory::loading_failure(place.memory()),
            _ => error,
        }
    }

    /// Where a model is to be loaded to.
    fn place(&mut self, choice: DeviceChoice) -> Result<Place, DeviceError> {
        let choice = choice.or(self.usual_device);
        if let Some((_, place)) = self.place.as_ref().filter(|(opened, _)| *opened == choice) {
            return Ok(place.clone());
        }
        // Given up first: a card's memory is not held for nothing.
        self.place = None;
        self.previewer.move_to(Place::processor().device());
        let place = Place::open(choice)?;
        self.previewer.move_to(place.device());
        self.place = Some((choice, place.clone()));
        Ok(place)
    }

    fn find(&mut self, order: &ModelOrder, parts: Parts) -> Result<Found, LoadError> {
        let ModelOrder { source, companions, precision, device, .. } = order;
        let place = self.place(*device)?;
        let precision = place.precision(*precision, self.automatic)?;
        let files = match source {
            ModelSource::BuiltIn => ModelFiles::Starter,
            ModelSource::OnDisk(path) => ModelFiles::at(path)?,
        };
        let description = checkpoint::describe(&files, companions)?;
        let facts = facts((source, companions), (&place, precision, parts), &description);
        Ok(Found { description, facts, place, precision })
    }

    fn read(&mut self, found: Found, order: &ModelOrder, parts: Parts) -> Result<(), LoadError> {
        let started = Instant::now();
        let Found { description, mut facts, place, precision } = found;
        let ModelOrder { source, cancel, .. } = order;
        let is_over = || cancel.is_cancelled() || self.closing.load(Ordering::Acquire);
        if is_over() {
            return Err(CheckpointError::Cancelled.into());
        }
        let mut placement = Placement::together(dtype(precision), &place.device());
        if parts == Parts::Apart {
            // What is asked for in f32 is so in all parts; f16 is no type of the processor's.
            let precision = if precision == Precision::F32 { precision } else { self.automatic };
            placement.others = (dtype(precision), Place::processor().device());
        }
        let (mut model, live) = self.load_weights(&description, &placement, cancel)?;
        if precision == Precision::Int8 {
            let failed = |error| CheckpointError::Model { source: error, path: source.to_string().into() };
            model.unet.quantise().map_err(failed)?;
        }
        let colours = fit_colours(&model, source, Interrupt::when(&is_over))?;
        if let (Some(vae), Some(path)) = (&mut facts.vae, description.other_vae.filter(|path| path.is_file())) {
            vae.hash = Some(checkpoint::vae_hash(&path, &|| !is_over())?);
        }
        let latents = Latents {
            channels: model.vae.config().latent_channels,
            are_its_own: matches!(source, ModelSource::BuiltIn),
        };
        if parts == Parts::Apart {
            // What was freed of the card counts as free from here on.
            place
                .device()
                .synchronize()
                .map_err(|error| CheckpointError::Model { source: error.into(), path: source.to_string().into() })?;
        }
        facts.computes_on = computes_on(&place, precision, parts);
        let (networks, vae, order) = (Networks::new(live), facts.vae.clone(), order.clone());
        self.model = Some(Loaded { model, networks, latents, vae, precision, order, parts });
        let seconds = started.elapsed().as_secs_f64();
        tracing::debug!(%source, seconds, "model ready");
        self.outbox.send(Event::ModelReady { facts: Box::new(facts), colours, seconds });
        Ok(())
    }

    fn load_weights(
        &self,
        description: &Description,
        placement: &Placement,
        cancel: &CancelToken,
    ) -> Result<(StableDiffusion, LiveWeights), CheckpointError> {
        let (outbox, closing, cancel) = (self.outbox.clone(), Arc::clone(&self.closing), cancel.clone());
        let last_percent = AtomicU32::new(0);
        let progress = move |fraction: f32| {
            let percent = (fraction * 100.0) as u32;
            if last_percent.swap(percent, Ordering::Relaxed) != percent {
                outbox.offer(Event::ModelLoading { fraction });
            }
            !(closing.load(Ordering::Acquire) || cancel.is_cancelled())
        };
        checkpoint::load_live(description, placement, Arc::new(progress))
    }
}

fn fit_colours(
    model: &StableDiffusion,
    source: &ModelSource,
    interrupt: Interrupt,
) -> Result<LatentColours, CheckpointError> {
    match model.fit_colours(interrupt) {
        Ok(colours) => Ok(colours),
        Err(DiffusionError::Cancelled) => Err(CheckpointError::Cancelled),
        Err(error @ DiffusionError::NotFinite { .. }) => {
            tracing::warn!(%source, %error, "previews of this model have no colours");
            Ok(LatentColours { weights: vec![[0.25; 3]], bias: [0.0; 3] })
        }
        Err(error) => Err(CheckpointError::Model { source: error, path: source.to_string().into() }),
    }
}
