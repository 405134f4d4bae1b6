//! The engine as a command uses it: a model loaded, then pictures one after the other, until Ctrl-C.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use image::RgbImage;

use super::Failure;
use super::networks::Networks;
use super::report::Report;
use crate::inference::cancel::CancelToken;
use crate::inference::device::{DeviceChoice, faster_precision};
use crate::inference::message::{Command, Event, Job, JobId, ModelFacts, ModelOrder, ModelSource, Previews};
use crate::latent_image::{LatentColours, LatentImage};
use crate::request::{Companions, GenerationRequest, PrecisionChoice, ThreadCount};
use crate::worker::{Waited, Worker};

/// How long the end waits for the engine's thread.
const PATIENCE_AT_END: Duration = Duration::from_millis(300);
/// How often a wait looks whether Ctrl-C was pressed.
const PATIENCE: Duration = Duration::from_millis(50);

/// An engine at work for one command.
pub struct Session {
    engine: Worker<Command, Event>,
    cancel: CancelToken,
    /// How the command says what happens.
    pub report: Report,
}

/// What a picture is made from.
pub struct Ordered {
    /// What to make.
    pub request: GenerationRequest,
    /// What to begin from, if not from noise.
    pub start_image: Option<Arc<RgbImage>>,
    /// What changes the model.
    pub networks: Networks,
    /// The TAESD that decodes every step.
    pub preview_decoder: Option<PathBuf>,
}

/// A finished picture.
pub struct Drawn {
    /// Its pixels.
    pub image: Arc<RgbImage>,
    /// How long it took.
    pub seconds: f64,
    /// Of that, beside the steps.
    pub times: Times,
    /// Whether it had to be, or was to be.
    pub was_decoded_in_tiles: bool,
}

/// What a picture takes beside its steps, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// Until the prompts are read.
    pub prompts: f64,
    /// From the last step to the picture.
    pub decoding: f64,
}

impl Session {
    /// Starts the engine; from now on Ctrl-C ends the session instead of the process.
    pub fn start((device, threads): (DeviceChoice, ThreadCount), report: Report) -> Result<Self, Failure> {
        let cancel = CancelToken::new();
        let on_interrupt = cancel.clone();
        ctrlc::set_handler(move || on_interrupt.cancel())
            .map_err(|e| Failure::Work(format!("no way to catch Ctrl-C: {e}")))?;
        crate::inference::threads::start(threads);
        let engine = crate::inference::spawn(device, faster_precision(), Arc::new(|| {}))
            .map_err(|e| Failure::Work(format!("the engine's thread could not be started: {e}")))?;
        Ok(Self { engine, cancel, report })
    }

    /// Loads a model with its companions. `check` sees what it is before its weights are read, and may refuse.
    pub fn load(
        &mut self,
        (source, companions, precision): (ModelSource, Companions, PrecisionChoice),
        mut check: impl FnMut(&ModelFacts) -> Result<(), Failure>,
    ) -> Result<(Box<ModelFacts>, LatentColours), Failure> {
        let is_vae_asked = companions.vae.is_some();
        let cancel = self.cancel.clone();
        self.send(Command::Load(ModelOrder { source, companions, precision, device: DeviceChoice::Auto, cancel }))?;
        let (mut name, mut is_found) = (String::new(), false);
        loop {
            match self.next()? {
                Event::ModelFound(facts) => {
                    if let Some(notice) = &facts.device_notice {
                        self.report.warning(notice);
                    }
                    if std::mem::replace(&mut is_found, true) {
                        continue;
                    }
                    check(&facts)?;
                    if let Some(vae) = facts.vae.as_ref().filter(|_| !is_vae_asked) {
                        self.report.vae_beside(&vae.name);
                    }
                    name = facts.name;
                    self.report.loading(&name, 0.0);
                }
                Event::ModelLoading { fraction } => self.report.loading(&name, fraction),
                Event::ModelReady { facts, colours, .. } => {
                    self.report.loading(&name, 1.0);
                    return Ok((facts, colours));
                }
                Event::ModelFailed { error, .. } => return Err(Failure::Work(error)),
                Event::ModelStopped { .. } => return Err(Failure::Interrupted),
                _ => {}
            }
        }
    }

    /// Makes one picture. `on_step` is given every step's number, its latents, and their picture where they are decoded.
    pub fn draw(
        &mut self,
        id: JobId,
        ordered: Ordered,
        mut on_step: impl FnMut(u32, &LatentImage, Option<Arc<RgbImage>>) -> Result<(), Failure>,
    ) -> Result<Drawn, Failure> {
        let Ordered { request, start_image, networks, preview_decoder } = ordered;
        let Networks { adapters, embeddings } = networks;
        let seed = request.seed;
        let (previews, cancel) = (Previews::Sent, self.cancel.clone());
        let job = Job { id, request, start_image, adapters, embeddings, previews, preview_decoder, cancel };
        let mut times = Times::default();
        let mut since = Instant::now();
        let mut was_decoded_in_tiles = false;
        self.send(Command::Generate(Box::new(job)))?;
        loop {
            match self.next()? {
                Event::Step { step, steps, preview, picture, .. } => {
                    self.report.step(seed, step, steps);
                    on_step(step, &preview, picture)?;
                }
                Event::Warned { text, .. } => self.report.warning(&text),
                Event::Sampling { .. } => times.prompts = since.elapsed().as_secs_f64(),
                Event::Decoding { in_tiles, .. } => {
                    since = Instant::now();
                    was_decoded_in_tiles = in_tiles;
                }
                Event::Finished { image, seconds, .. } => {
                    times.decoding = since.elapsed().as_secs_f64();
                    return Ok(Drawn { image, seconds, times, was_decoded_in_tiles });
                }
                Event::Cancelled { .. } => return Err(Failure::Interrupted),
                Event::Failed { error, .. } => return Err(Failure::Work(error)),
                _ => {}
            }
        }
    }

    /// Lets the engine go: what it still computes nobody will miss.
    pub fn end(self) {
        self.engine.abandon(PATIENCE_AT_END);
    }

    fn send(&self, command: Command) -> Result<(), Failure> {
        self.engine.send(command).map_err(|_| Failure::Work("the engine has ended unexpectedly".to_owned()))
    }

    fn next(&self) -> Result<Event, Failure> {
        loop {
            if self.cancel.is_cancelled() {
                return Err(Failure::Interrupted);
            }
            match self.engine.next_within(PATIENCE) {
                Waited::Event(event) => return Ok(event),
                Waited::Nothing => {}
                Waited::Ended => return Err(Failure::Work("the engine has ended unexpectedly".to_owned())),
            }
        }
    }
}
