//! The inference thread's life: load a model, make pictures, survive whatever goes wrong in either.

mod loading;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::device::{DeviceChoice, Place, dtype};
use super::facts::{computes_on, idle_merging};
use super::memory::{self, Parts, Widths, rows};
use super::message::{Command, Event, Job, ModelOrder, Previews};
use super::networks::{BroughtTo, Networks};
use super::previews::{Latents, Previewer, Wanted};
use crate::diffusion::pipeline::StableDiffusion;
use crate::diffusion::{DiffusionError, Interrupt};
use crate::kernels::{keep_freed_memory, release_card_memory, release_memory};
use crate::request::{Precision, RecordedVae};
use crate::worker::{Inbox, Outbox};

/// What the thread holds between commands.
struct Engine<'a> {
    usual_device: DeviceChoice,
    automatic: Precision,
    /// Where models are loaded to, and the choice that it came from; opened by the first.
    place: Option<(DeviceChoice, Place)>,
    model: Option<Loaded>,
    previewer: Previewer,
    outbox: &'a Outbox<Event>,
    closing: Arc<AtomicBool>,
}

/// A model that is ready, and what can be changed of it.
struct Loaded {
    model: StableDiffusion,
    networks: Networks,
    latents: Latents,
    /// The VAE, where it is not the model's own.
    vae: Option<RecordedVae>,
    precision: Precision,
    /// How it was asked for.
    order: ModelOrder,
    parts: Parts,
}

pub(super) fn run(device: DeviceChoice, automatic: Precision, inbox: &Inbox<Command>, outbox: &Outbox<Event>) {
    keep_freed_memory();
    Engine::new(device, automatic, inbox, outbox).serve(inbox);
}

impl<'a> Engine<'a> {
    fn new(
        usual_device: DeviceChoice,
        automatic: Precision,
        inbox: &Inbox<Command>,
        outbox: &'a Outbox<Event>,
    ) -> Self {
        let previewer = Previewer::new(Place::processor().device(), dtype(Precision::F32));
        let (place, model) = (None, None);
        Self { usual_device, automatic, place, model, previewer, outbox, closing: inbox.closing_check() }
    }

    fn serve(&mut self, inbox: &Inbox<Command>) {
        while let Some(command) = inbox.next() {
            match command {
                Command::Load(order) => self.load(order),
                Command::Generate(job) => self.generate(&job),
            }
            self.release_memory();
        }
    }

    /// Gives back to the system what is kept for computations.
    fn release_memory(&self) {
        release_memory();
        if let Some((_, place)) = &self.place {
            release_card_memory(&place.device());
        }
    }

    fn generate(&mut self, job: &Job) {
        let started = Instant::now();
        let id = job.id;
        self.outbox.send(Event::Started { job: id });
        let mut made = self.caught_generate(job);
        if self.could_give_way(job, &made) {
            self.outbox.send(Event::Warned { job: id, text: memory::APART.to_owned() });
            made = self.take_apart().and_then(|()| self.caught_generate(job));
        }
        let event = match made {
            Ok(image) => {
                let seconds = started.elapsed().as_secs_f64();
                tracing::debug!(job = id.0, seconds, "picture finished");
                Event::Finished { job: id, image: Arc::new(image), seconds }
            }
            Err(DiffusionError::Cancelled) => Event::Cancelled { job: id },
            Err(error) => Event::Failed { job: id, error: self.failure(job, error.to_string()) },
        };
        self.outbox.send(event);
        if let (Some((_, place)), Some(loaded)) = (self.place.as_ref().filter(|(_, p)| p.is_card()), &self.model) {
            self.outbox.send(Event::MemoryChanged { computes_on: computes_on(place, loaded.precision, loaded.parts) });
        }
    }

    /// True for a picture that a card had no room for while other parts of the model than the U-Net were on it, unless the
    /// U-Net alone needs more than the card has.
    fn could_give_way(&self, job: &Job, made: &Result<image::RgbImage, DiffusionError>) -> bool {
        let (Some((_, place)), Some(loaded)) = (&self.place, &self.model) else { return false };
        let is_full = made.as_ref().is_err_and(|error| memory::is_out_of_memory(&error.to_string()));
        let alone = Widths { vae: 0, ..Widths::of(&loaded.model) }.needed(job.request.size, rows(job), true);
        let is_hopeless = place.memory().is_some_and(|memory| alone > memory.total);
        place.is_card() && loaded.parts == Parts::Together && is_full && !is_hopeless && !job.cancel.is_cancelled()
    }

    /// A panic in it is an error in its words.
    fn caught_generate(&mut self, job: &Job) -> Result<image::RgbImage, DiffusionError> {
        catch_unwind(AssertUnwindSafe(|| self.try_generate(job)))
            .unwrap_or_else(|panic| Err(DiffusionError::Request(panic_text(panic.as_ref()))))
    }

    /// An error as it is told: where the card's memory was too small, with what would have fitted.
    fn failure(&self, job: &Job, error: String) -> String {
        let place = self.place.as_ref().map(|(_, place)| place).filter(|place| place.is_card());
        match (place, &self.model) {
            (Some(place), Some(loaded)) if memory::is_out_of_memory(&error) => {
                Widths::of(&loaded.model).failure(job.request.size, rows(job), place.memory())
            }
            _ => error,
        }
    }

    /// What is to be said before a picture that the card's memory is probably too small for.
    fn doubt(&self, job: &Job) -> Option<String> {
        let memory = self.place.as_ref()?.1.memory()?;
        Widths::of(&self.model.as_ref()?.model).doubt(job.request.size, rows(job), memory)
    }

    fn try_generate(&mut self, job: &Job) -> Result<image::RgbImage, DiffusionError> {
        let wanted = || job.cancel.is_cancelled() || self.closing.load(Ordering::Acquire);
        let interrupt = Interrupt::when(&wanted);
        interrupt.check()?;
        if let Some(text) = self.doubt(job) {
            self.outbox.send(Event::Warned { job: job.id, text });
        }
        let Some(Loaded { model, networks, latents, vae, .. }) = &mut self.model else {
            return Err(DiffusionError::Request("no model is loaded; choose one first".to_owned()));
        };
        let BroughtTo { warnings, adapters, embeddings } = networks.bring_to(model, job, &wanted)?;
        let rough = self.previewer.bring_to(job.preview_decoder.as_deref(), *latents);
        for text in warnings.into_iter().chain(rough).chain(idle_merging(model, job)) {
            self.outbox.send(Event::Warned { job: job.id, text });
        }
        let vae = vae.clone();
        let mut generation = model.begin(&job.request, job.start_image.as_deref(), interrupt)?;
        self.outbox.send(Event::Sampling { job: job.id, steps: generation.steps(), adapters, embeddings, vae });
        let mut decoding = self.previewer.begin();
        if decoding.is_some() {
            // What decodes a preview waits for all that is under way, and its time would be taken for the decoder's.
            generation = generation.with_lead(0);
        }
        while let Some(progress) = generation.advance(interrupt)? {
            let (step, steps, preview) = (progress.step, progress.steps, progress.denoised);
            tracing::trace!(job = job.id.0, step, steps, "step");
            let wanted = match job.previews {
                Previews::Sent => Wanted::Always,
                Previews::Offered if self.outbox.is_read() => Wanted::InTime,
                Previews::Offered => Wanted::NotNow,
            };
            let picture = match &mut decoding {
                Some(decoding) => decoding.picture(&preview, wanted, interrupt)?,
                None => None,
            };
            let event = Event::Step { job: job.id, step, steps, preview, picture };
            match job.previews {
                Previews::Offered => self.outbox.offer(event),
                Previews::Sent => self.outbox.send(event),
            }
        }
        let as_asked = job.request.accelerations.decoding_in_tiles;
        memory::decoded(as_asked, |in_tiles| {
            if in_tiles != as_asked {
                self.outbox.send(Event::Warned { job: job.id, text: memory::TILED.to_owned() });
            }
            self.outbox.send(Event::Decoding { job: job.id, in_tiles });
            generation.decode(in_tiles, interrupt)
        })
    }
}

/// A panic's message: a fault of ours, said as one.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    tracing::error!(%text, "panic in the inference thread");
    format!("this is a fault in Calotype, please report it: {text}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use candle_core::DType;

    use super::*;
    use crate::inference::cancel::CancelToken;
    use crate::inference::message::{JobId, ModelSource};
    use crate::inference::spawn;
    use crate::request::{
        Accelerations, ClipSkip, Dialect, Emphasis, GenerationRequest, GuidanceRescale, GuidanceScale, ImageSize,
        MicroConditioning, NoiseSourceKind, PrecisionChoice, SamplerKind, SamplerOptions, ScheduleKind, Seed,
        SeedOptions, Steps,
    };
    use crate::worker::{Waited, Worker};

    fn tiny() -> ModelSource {
        ModelSource::OnDisk(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-eps"))
    }

    fn load(source: ModelSource) -> Command {
        Command::Load(ModelOrder { source, ..ModelOrder::default() })
    }

    fn engine() -> Worker<Command, Event> {
        spawn(DeviceChoice::Cpu, Precision::F32, Arc::new(|| {})).unwrap()
    }

    fn job(id: u64, cancel: CancelToken) -> Command {
        let request = GenerationRequest {
            prompt: "a red cat".to_owned(),
            negative_prompt: String::new(),
            size: ImageSize::new(64, 64).unwrap(),
            steps: Steps::new(3).unwrap(),
            guidance: GuidanceScale::new(3.0).unwrap(),
            sampler: SamplerKind::Euler,
            schedule: ScheduleKind::Model,
            noise_source: NoiseSourceKind::TorchCpu,
            seed: Seed(1),
            clip_skip: ClipSkip::default(),
            emphasis: Emphasis::default(),
            guidance_rescale: GuidanceRescale::default(),
            accelerations: Accelerations::default(),
            sampler_options: SamplerOptions::default(),
            sigmas: None,
            seed_options: SeedOptions::default(),
            dialect: Dialect::default(),
            template: None,
            micro_conditioning: MicroConditioning::default(),
            image_to_image: None,
        };
        let previews = Previews::Offered;
        let (adapters, embeddings) = (Vec::new(), Vec::new());
        let job = Job {
            id: JobId(id),
            request,
            start_image: None,
            adapters,
            embeddings,
            previews,
            preview_decoder: None,
            cancel,
        };
        Command::Generate(Box::new(job))
    }

    fn next(engine: &Worker<Command, Event>) -> Event {
        match engine.next_within(Duration::from_mins(1)) {
            Waited::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    /// The event that ends the job, and how many steps came before it.
    fn end_of(engine: &Worker<Command, Event>, id: u64) -> (Event, usize) {
        let mut steps = 0;
        loop {
            match next(engine) {
                Event::Step { job, .. } if job == JobId(id) => steps += 1,
                event @ (Event::Finished { job, .. } | Event::Cancelled { job } | Event::Failed { job, .. })
                    if job == JobId(id) =>
                {
                    return (event, steps);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_model_is_found_then_ready_then_draws() {
        let engine = engine();
        engine.send(load(tiny())).unwrap();
        let Event::ModelFound(facts) = next(&engine) else { panic!("not found first") };
        assert_eq!((facts.name.as_str(), facts.defaults.size), ("tiny-eps", ImageSize::new(64, 64).unwrap()));
        engine.send(job(1, CancelToken::new())).unwrap();
        let (end, steps) = end_of(&engine, 1);
        let Event::Finished { image, .. } = end else { panic!("{end:?}") };
        assert_eq!((image.dimensions(), steps), ((64, 64), 3));
    }

    #[test]
    fn loading_stops_at_every_place_that_asks_and_the_next_model_loads() {
        let engine = engine();
        let order = |cancel| Command::Load(ModelOrder { source: tiny(), cancel, ..ModelOrder::default() });
        let is_end = |event: &Event| {
            matches!(event, Event::ModelReady { .. } | Event::ModelStopped { .. } | Event::ModelFailed { .. })
        };
        let end = || std::iter::repeat_with(|| next(&engine)).find(is_end).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        engine.send(order(CancelToken::watched(move |_| _ = count.fetch_add(1, Ordering::Relaxed)))).unwrap();
        assert!(matches!(end(), Event::ModelReady { .. }));
        let places = asked.load(Ordering::Relaxed);
        assert!(places > 100, "{places}");
        for place in [0, 1, 2, places / 2, places - 1] {
            let asked = AtomicUsize::new(0);
            let token = CancelToken::watched(move |flag| {
                if asked.fetch_add(1, Ordering::Relaxed) == place {
                    flag.store(true, Ordering::Release);
                }
            });
            engine.send(order(token)).unwrap();
            let end = end();
            assert!(matches!(&end, Event::ModelStopped { source, .. } if *source == tiny()), "place {place}: {end:?}");
        }
        engine.send(job(1, CancelToken::new())).unwrap();
        assert!(matches!(end_of(&engine, 1).0, Event::Failed { .. }), "none is loaded");
        engine.send(order(CancelToken::new())).unwrap();
        assert!(matches!(end(), Event::ModelReady { .. }));
    }

    #[test]
    fn the_precision_is_chosen_with_the_model_and_left_to_the_machine_it_is_the_one_named_at_the_start() {
        let engine = spawn(DeviceChoice::Cpu, Precision::Bf16, Arc::new(|| {})).unwrap();
        for (precision, expected) in [(PrecisionChoice::Automatic, Precision::Bf16)]
            .into_iter()
            .chain(Precision::ALL.map(|p| (PrecisionChoice::Always(p), p)))
        {
            engine.send(Command::Load(ModelOrder { source: tiny(), precision, ..ModelOrder::default() })).unwrap();
            let Event::ModelFound(facts) = next(&engine) else { panic!("not found first") };
            assert_eq!(facts.precision, expected);
            assert!(facts.computes_on.ends_with(expected.label()), "{}", facts.computes_on);
            while !matches!(next(&engine), Event::ModelReady { .. }) {}
        }
    }

    #[test]
    fn cancel_takes_effect_at_every_place_that_asks_and_the_next_job_works() {
        let engine = engine();
        engine.send(load(tiny())).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        engine
            .send(job(
                0,
                CancelToken::watched(move |_| {
                    count.fetch_add(1, Ordering::Relaxed);
                }),
            ))
            .unwrap();
        assert!(matches!(end_of(&engine, 0).0, Event::Finished { .. }));
        let places = asked.load(Ordering::Relaxed);
        // Text layers, three steps of U-Net blocks, VAE stages.
        assert!(places > 40, "{places}");
        for place in 0..places {
            let asked = AtomicUsize::new(0);
            let token = CancelToken::watched(move |flag| {
                if asked.fetch_add(1, Ordering::Relaxed) == place {
                    flag.store(true, Ordering::Release);
                }
            });
            engine.send(job(1 + place as u64, token)).unwrap();
            let end = end_of(&engine, 1 + place as u64).0;
            assert!(matches!(end, Event::Cancelled { .. }), "place {place}: {end:?}");
        }
        engine.send(job(u64::MAX, CancelToken::new())).unwrap();
        assert!(matches!(end_of(&engine, u64::MAX).0, Event::Finished { .. }));
    }

    #[test]
    fn a_panic_fails_its_job_and_the_next_job_works() {
        let engine = engine();
        engine.send(load(tiny())).unwrap();
        engine.send(job(1, CancelToken::watched(|_| panic!("on purpose")))).unwrap();
        let (end, _) = end_of(&engine, 1);
        let Event::Failed { error, .. } = end else { panic!("{end:?}") };
        assert!(error.contains("fault in Calotype") && error.contains("on purpose"), "{error}");
        engine.send(job(2, CancelToken::new())).unwrap();
        assert!(matches!(end_of(&engine, 2).0, Event::Finished { .. }));
    }

    /// An engine with a stand-in for a card.
    fn engine_on_a_card() -> Worker<Command, Event> {
        Worker::spawn("inference", Arc::new(|| {}), |inbox, outbox| {
            let mut engine = Engine::new(DeviceChoice::Auto, Precision::Bf16, inbox, outbox);
            engine.place = Some((DeviceChoice::Auto, Place::stand_in(DType::BF16)));
            engine.serve(inbox);
        })
        .unwrap()
    }

    /// A token that finds the card's memory full the first `times` that it is asked.
    fn full(times: usize) -> CancelToken {
        let asked = AtomicUsize::new(0);
        let is_full = move || asked.fetch_add(1, Ordering::Relaxed) < times;
        CancelToken::watched(move |_| assert!(!is_full(), "CUDA_ERROR_OUT_OF_MEMORY"))
    }

    #[test]
    fn where_a_card_is_full_the_model_is_taken_apart_and_the_picture_is_made() {
        let precision = PrecisionChoice::Always(Precision::F32);
        let order = |cancel| Command::Load(ModelOrder { source: tiny(), precision, cancel, ..ModelOrder::default() });
        let (card, processor) = (engine_on_a_card(), engine());
        processor.send(load(tiny())).unwrap();
        processor.send(job(1, CancelToken::new())).unwrap();
        let (Event::Finished { image: expected, .. }, _) = end_of(&processor, 1) else { panic!("not drawn") };
        card.send(order(CancelToken::new())).unwrap();
        card.send(job(1, full(1))).unwrap();
        let mut seen = Vec::new();
        while !matches!(seen.last(), Some(Event::Finished { .. } | Event::Failed { .. })) {
            seen.push(next(&card));
        }
        let Some(Event::Finished { image, .. }) = seen.last() else { panic!("{:?}", seen.last()) };
        assert!(*image == expected, "another picture");
        let count = |is_one: fn(&Event) -> bool| seen.iter().filter(|event| is_one(event)).count();
        assert_eq!(count(|event| matches!(event, Event::Warned { text, .. } if text == memory::APART)), 1);
        assert_eq!(count(|event| matches!(event, Event::ModelFound(_))), 1, "it is not told as a new model");
        assert_eq!(count(|event| matches!(event, Event::ModelReady { .. })), 2);
        // There is nothing more to give way.
        card.send(job(2, full(1))).unwrap();
        let (end, _) = end_of(&card, 2);
        assert!(matches!(&end, Event::Failed { error, .. } if error.contains("too small for 64x64")), "{end:?}");
        card.send(job(3, CancelToken::new())).unwrap();
        assert!(matches!(end_of(&card, 3).0, Event::Finished { .. }));
    }

    #[test]
    fn a_model_that_a_card_has_no_room_for_is_loaded_apart_or_not_at_all() {
        let card = engine_on_a_card();
        let ready = |cancel| {
            let precision = PrecisionChoice::Always(Precision::F32);
            let order = ModelOrder { source: tiny(), precision, cancel, ..ModelOrder::default() };
            card.send(Command::Load(order)).unwrap();
            let is_end = |event: &Event| matches!(event, Event::ModelReady { .. } | Event::ModelFailed { .. });
            match std::iter::repeat_with(|| next(&card)).find(is_end) {
                Some(Event::ModelReady { facts, .. }) => Ok(facts),
                Some(Event::ModelFailed { error, .. }) => Err(error),
                _ => panic!("no end"),
            }
        };
        assert_eq!(ready(CancelToken::new()).unwrap().device_notice, None);
        let facts = ready(full(1)).unwrap();
        assert_eq!(facts.device_notice.as_deref(), Some(memory::APART));
        assert!(facts.computes_on.ends_with("on the CPU"), "{}", facts.computes_on);
        let error = ready(full(usize::MAX)).unwrap_err();
        assert!(error.contains("too small for this model"), "{error}");
    }

    #[test]
    fn dropping_the_engine_ends_it_while_a_job_runs_or_a_model_loads() {
        for wait_for in ["nothing", "found", "started", "step"] {
            let engine = engine();
            engine.send(load(if wait_for == "found" { ModelSource::BuiltIn } else { tiny() })).unwrap();
            engine.send(job(1, CancelToken::new())).unwrap();
            let is_reached = |event: &Event| match wait_for {
                "nothing" => true,
                "found" => matches!(event, Event::ModelFound(_)),
                "started" => matches!(event, Event::Started { .. }),
                _ => matches!(event, Event::Step { .. }),
            };
            while !is_reached(&next(&engine)) {}
            drop(engine);
        }
    }

    #[test]
    fn without_a_model_a_job_says_so() {
        let engine = engine();
        engine.send(load(ModelSource::OnDisk("/nowhere/at/all".into()))).unwrap();
        let Event::ModelFailed { error, .. } = next(&engine) else { panic!("loaded") };
        assert!(error.contains("/nowhere/at/all"), "{error}");
        engine.send(job(1, CancelToken::new())).unwrap();
        let (end, _) = end_of(&engine, 1);
        assert!(matches!(&end, Event::Failed { error, .. } if error.contains("no model is loaded")), "{end:?}");
    }
}
