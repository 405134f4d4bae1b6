//! `calotype generate`: pictures from a prompt, one after the other.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;
use image::imageops::FilterType;

use super::Failure;
use super::options::GenerateOptions;
use super::report::Report;
use crate::folders;
use crate::gallery::record::PictureRecord;
use crate::gallery::{open_picture, store};
use crate::inference::cancel::CancelToken;
use crate::inference::message::{Command, Event, Job, JobId, ModelFacts, ModelSource, Previews};
use crate::latent_image::LatentColours;
use crate::prompt::wildcards::WildcardFiles;
use crate::prompt::{SettledPrompts, TypedPrompts, what_is_not_applied};
use crate::request::{GenerationRequest, ImageSize, ImageToImage, Seed, Sigmas};
use crate::worker::{Waited, Worker};

/// How long the end waits for the engine's thread.
const PATIENCE_AT_END: Duration = Duration::from_millis(300);
/// How often a wait looks whether Ctrl-C was pressed.
const PATIENCE: Duration = Duration::from_millis(50);

/// Where the pictures go.
enum Output {
    File(PathBuf),
    Folder(PathBuf),
}

/// One run of the command.
struct Run<'a> {
    options: &'a GenerateOptions,
    engine: Worker<Command, Event>,
    report: Report,
    cancel: CancelToken,
    output: Output,
    start_image: Option<Arc<RgbImage>>,
    wildcards: WildcardFiles,
    /// Of the picture in progress.
    seed: Option<Seed>,
}

pub(super) fn run(options: &GenerateOptions) -> Result<(), Failure> {
    let mut run = start(options).inspect_err(|failure| tell(&mut Report::new(options.json), None, failure))?;
    let result = run.all();
    if let Err(failure) = &result {
        tell(&mut run.report, run.seed, failure);
    }
    // What it still computes nobody will miss.
    run.engine.abandon(PATIENCE_AT_END);
    result
}

fn tell(report: &mut Report, seed: Option<Seed>, failure: &Failure) {
    match failure {
        Failure::Usage(error) | Failure::Work(error) => report.failed(seed, error),
        Failure::Interrupted => report.cancelled(seed),
    }
}

/// Checks everything that can be checked without the model, then asks for it.
fn start(options: &GenerateOptions) -> Result<Run<'_>, Failure> {
    let output = output(options)?;
    // A picture that cannot be saved is not worth computing.
    match &output {
        Output::File(path) => store::check_file(path),
        Output::Folder(folder) => store::check_folder(folder),
    }
    .and_then(|()| options.previews.as_deref().map_or(Ok(()), store::check_folder))
    .map_err(|error| Failure::Usage(error.for_people()))?;
    options.fine.sampler_options().map_err(|error| Failure::Usage(error.to_string()))?;
    if let (Some(strength), Some(steps)) = (options.strength, options.steps) {
        strength.steps_taken(steps).map_err(|error| Failure::Usage(error.to_string()))?;
    }
    if let Some(model) = options.model.as_ref().filter(|model| !model.exists()) {
        return Err(Failure::Usage(format!("there is no such model: {}", model.display())));
    }
    let start_image = match &options.init {
        Some(path) => Some(open_picture(path).map_err(|error| Failure::Usage(error.for_people()))?.image),
        None => None,
    };
    let cancel = CancelToken::new();
    let on_interrupt = cancel.clone();
    ctrlc::set_handler(move || on_interrupt.cancel())
        .map_err(|e| Failure::Work(format!("no way to catch Ctrl-C: {e}")))?;
    let engine = crate::inference::spawn(options.device, options.precision, Arc::new(|| {}))
        .map_err(|e| Failure::Work(format!("the engine's thread could not be started: {e}")))?;
    let report = Report::new(options.json);
    let folder = folders::wildcard_folder();
    let wildcards = typed(options).wildcard_files(folder.clone(), |name| folders::wildcard_lines(&folder, name));
    Ok(Run { options, engine, report, cancel, output, start_image, wildcards, seed: None })
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), Failure> {
        let source = self.options.model.clone().map_or(ModelSource::BuiltIn, ModelSource::Folder);
        self.send(Command::Load(source))?;
        let first = self.options.seed.unwrap_or_else(random_seed);
        let (facts, colours) = self.wait_for_model(first)?;
        for index in 0..u64::from(self.options.count) {
            let request = self.request(&facts, first, index)?;
            if let Some(warning) = what_is_not_applied(&request.prompt, request.dialect).filter(|_| index == 0) {
                self.report.warning(&warning);
            }
            self.one(JobId(index), request, &facts.name, &colours)?;
        }
        Ok(())
    }

    /// The request of the `index`-th picture; the seed that it ends with settles its wildcards.
    fn request(&self, facts: &ModelFacts, first: Seed, index: u64) -> Result<GenerationRequest, Failure> {
        let as_typed = SettledPrompts::default();
        let request = request(self.options, facts, first, as_typed).map_err(Failure::Usage)?.nth(index);
        let settled = typed(self.options).settle(request.seed, &self.wildcards);
        let SettledPrompts { prompt, negative_prompt, template } =
            settled.map_err(|e| Failure::Usage(e.to_string()))?;
        Ok(GenerationRequest { prompt, negative_prompt, template, ..request })
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

    fn wait_for_model(&mut self, seed: Seed) -> Result<(Box<ModelFacts>, LatentColours), Failure> {
        let mut name = String::new();
        loop {
            match self.next()? {
                Event::ModelFound(facts) => {
                    // What the options and the model's defaults make together is checked before the weights are read.
                    self.request(&facts, seed, 0)?;
                    name = facts.name;
                    self.report.loading(&name, 0.0);
                }
                Event::ModelLoading { fraction } => self.report.loading(&name, fraction),
                Event::ModelReady { facts, colours, .. } => {
                    self.report.loading(&name, 1.0);
                    return Ok((facts, colours));
                }
                Event::ModelFailed { error, .. } => return Err(Failure::Work(error)),
                _ => {}
            }
        }
    }

    fn one(
        &mut self,
        id: JobId,
        request: GenerationRequest,
        model: &str,
        colours: &LatentColours,
    ) -> Result<(), Failure> {
        let (seed, size) = (request.seed, request.size);
        self.seed = Some(seed);
        let record = PictureRecord::new(model.to_owned(), request.clone());
        let start_image = self.start_image.clone();
        let previews = Previews::Sent;
        let job = Job { id, request, start_image, previews, cancel: self.cancel.clone() };
        self.send(Command::Generate(Box::new(job)))?;
        loop {
            match self.next()? {
                Event::Step { step, steps, preview, .. } => {
                    self.report.step(seed, step, steps);
                    if let Some(folder) = &self.options.previews {
                        save_preview(folder, seed, step, &colours.paint(&preview), size)?;
                    }
                }
                Event::Finished { image, seconds, .. } => {
                    let path = self.save(&image, &record)?;
                    self.report.finished(&path, seed, seconds);
                    return Ok(());
                }
                Event::Cancelled { .. } => return Err(Failure::Interrupted),
                Event::Failed { error, .. } => return Err(Failure::Work(error)),
                _ => {}
            }
        }
    }

    fn save(&self, image: &RgbImage, record: &PictureRecord) -> Result<PathBuf, Failure> {
        let saved = match &self.output {
            Output::File(path) => store::save_as(path, image, Some(record)),
            Output::Folder(folder) => store::save(folder, image, Some(record), jiff::Timestamp::now()),
        };
        saved.map_err(|error| Failure::Work(error.for_people()))
    }
}

fn output(options: &GenerateOptions) -> Result<Output, Failure> {
    let Some(path) = &options.output else { return Ok(Output::Folder(folders::gallery_folder())) };
    let is_png = path.extension().and_then(OsStr::to_str).is_some_and(|e| e.eq_ignore_ascii_case("png"));
    if path.is_dir() || path.extension().is_none() {
        return Ok(Output::Folder(path.clone()));
    }
    if !is_png {
        let problem = format!("--output must be a folder or end in .png, not {}", path.display());
        return Err(Failure::Usage(problem));
    }
    if options.count > 1 {
        let problem =
            format!("--output {} is one file and --count asks for {}: name a folder", path.display(), options.count);
        return Err(Failure::Usage(problem));
    }
    Ok(Output::File(path.clone()))
}

fn typed(options: &GenerateOptions) -> TypedPrompts<'_> {
    TypedPrompts { prompt: &options.prompt, negative_prompt: &options.negative, dialect: options.dialect }
}

fn request(
    options: &GenerateOptions,
    facts: &ModelFacts,
    seed: Seed,
    prompts: SettledPrompts,
) -> Result<GenerationRequest, String> {
    let defaults = &facts.defaults;
    let width = options.width.unwrap_or(defaults.size.width());
    let height = options.height.unwrap_or(defaults.size.height());
    let sigmas = options.fine.sigmas.clone();
    let steps = sigmas.as_ref().map_or(options.steps.unwrap_or(defaults.steps), Sigmas::steps);
    let image_to_image = match (&options.init, options.strength) {
        (Some(path), Some(strength)) => {
            strength.steps_taken(steps).map_err(|e| e.to_string())?;
            let source = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            Some(ImageToImage { strength, source })
        }
        _ => None,
    };
    Ok(GenerationRequest {
        prompt: prompts.prompt,
        negative_prompt: prompts.negative_prompt,
        size: ImageSize::new(width, height).map_err(|e| e.to_string())?,
        steps,
        guidance: options.guidance.unwrap_or(defaults.guidance),
        guidance_rescale: options.fine.guidance_rescale,
        sampler: options.sampler.unwrap_or(defaults.sampler),
        sampler_options: options.fine.sampler_options().map_err(|e| e.to_string())?,
        schedule: options.schedule.unwrap_or(defaults.schedule),
        sigmas,
        seed_options: options.fine.seed_options(),
        noise_source: options.noise,
        clip_skip: options.clip_skip.unwrap_or_default(),
        emphasis: options.emphasis.unwrap_or(options.dialect.usual_emphasis()),
        dialect: options.dialect,
        template: prompts.template,
        seed,
        image_to_image,
    })
}

/// `SEED-step-001.png`, grown to the picture's size.
fn save_preview(folder: &Path, seed: Seed, step: u32, rough: &RgbImage, size: ImageSize) -> Result<(), Failure> {
    let grown = image::imageops::resize(rough, size.width(), size.height(), FilterType::CatmullRom);
    let path = folder.join(format!("{seed}-step-{step:03}.png"));
    store::save_as(&path, &grown, None).map_err(|error| Failure::Work(error.for_people()))?;
    Ok(())
}

fn random_seed() -> Seed {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's own randomness; 32 bits, as in other programs, so that a seed can be read out.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    Seed(random & 0xffff_ffff)
}
