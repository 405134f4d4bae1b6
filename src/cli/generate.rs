//! `calotype generate`: pictures from a prompt, one after the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use image::imageops::FilterType;

use super::Failure;
use super::models;
use super::networks::{KnownFiles, Recorded};
use super::options::GenerateOptions;
use super::report::Report;
use super::session::{Ordered, Session};
use crate::gallery::export::{self, PictureFormat};
use crate::gallery::message::{Caption, JpegQuality};
use crate::gallery::record::PictureRecord;
use crate::gallery::{open_picture, store};
use crate::inference::message::{JobId, ModelFacts, ModelSource};
use crate::latent_image::LatentColours;
use crate::prompt::wildcards::WildcardFiles;
use crate::prompt::{SettledPrompts, TypedPrompts};
use crate::request::{Companions, GenerationRequest, ImageSize, ImageToImage, Seed, Sigmas};
use crate::{folders, inference};

/// Where the pictures go.
enum Output {
    File(PathBuf),
    Folder(PathBuf),
}

/// One run of the command.
struct Run<'a> {
    options: &'a GenerateOptions,
    session: Session,
    model: Option<PathBuf>,
    companions: Companions,
    /// Where the library has computed it.
    model_hash: Option<String>,
    output: Output,
    start_image: Option<Arc<RgbImage>>,
    wildcards: WildcardFiles,
    files: KnownFiles,
    /// Of the picture in progress.
    seed: Option<Seed>,
}

pub(super) fn run(options: &GenerateOptions) -> Result<(), Failure> {
    let mut run = start(options).inspect_err(|failure| tell(&mut Report::new(options.json), None, failure))?;
    let result = run.all();
    if let Err(failure) = &result {
        tell(&mut run.session.report, run.seed, failure);
    }
    run.session.end();
    result
}

fn tell(report: &mut Report, seed: Option<Seed>, failure: &Failure) {
    match failure {
        Failure::Usage(error) | Failure::Work(error) => report.failed(seed, error),
        Failure::Interrupted => report.cancelled(seed),
        Failure::Told => {}
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
    options.faster.accelerations().map_err(|error| Failure::Usage(error.to_string()))?;
    if let (Some(strength), Some(steps)) = (options.strength, options.steps) {
        strength.steps_taken(steps).map_err(|error| Failure::Usage(error.to_string()))?;
    }
    if let Some(path) = &options.preview_decoder {
        inference::check_preview_decoder(path).map_err(Failure::Usage)?;
    }
    let model = options.model.as_deref().map(models::resolve).transpose()?;
    let companions = options.companions.resolve()?;
    let start_image = match &options.init {
        Some(path) => Some(open_picture(path).map_err(|error| Failure::Usage(error.for_people()))?.image),
        None => None,
    };
    let files = KnownFiles::of(&options.networks, &options.lora)?;
    let session = Session::start((options.device, options.threads), Report::new(options.json))?;
    let folder = folders::wildcard_folder();
    let wildcards = typed(options).wildcard_files(folder.clone(), |name| folders::wildcard_lines(&folder, name));
    let model_hash = model.as_deref().and_then(models::short_hash);
    Ok(Run { options, session, model, companions, model_hash, output, start_image, wildcards, files, seed: None })
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), Failure> {
        let source = self.model.clone().map_or(ModelSource::BuiltIn, ModelSource::OnDisk);
        let first = self.options.seed.unwrap_or_else(random_seed);
        // What the options and the model's defaults make together is checked before the weights are read.
        let (options, wildcards, files) = (self.options, &self.wildcards, &self.files);
        let check = |facts: &ModelFacts| {
            let request = nth_request(options, (wildcards, files), facts, first, 0)?;
            files.called(&request, facts.tokenizer.as_deref()).map(drop)
        };
        let (facts, colours) = self.session.load((source, self.companions.clone(), options.precision), check)?;
        for index in 0..u64::from(self.options.count) {
            let request = nth_request(options, (&self.wildcards, &self.files), &facts, first, index)?;
            self.one(JobId(index), request, &facts, &colours)?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        id: JobId,
        request: GenerationRequest,
        facts: &ModelFacts,
        colours: &LatentColours,
    ) -> Result<(), Failure> {
        let (seed, size) = (request.seed, request.size);
        self.seed = Some(seed);
        let networks = self.files.called(&request, facts.tokenizer.as_deref())?;
        let Recorded { adapters, embeddings } = self.files.recorded(&networks)?;
        let plain = PictureRecord::new(facts.name.clone(), request.clone());
        let (model_hash, vae) = (self.model_hash.clone(), facts.vae.clone());
        let (text_encoders, prediction) = (facts.companions.text_encoder_names(), facts.companions.prediction);
        let (precision, card) = (facts.precision.recorded(), facts.card.clone());
        let mut record = PictureRecord {
            model_hash,
            vae,
            text_encoders,
            prediction,
            precision,
            card,
            adapters,
            embeddings,
            ..plain
        };
        self.check_room_for(&record)?;
        let previews = self.options.previews.as_deref();
        // Pictures of one seed are told apart by their variation.
        let variation = request.seed_options.variation.map(|variation| format!("-{}", variation.seed));
        let name = format!("{seed}{}", variation.unwrap_or_default());
        let preview_decoder = self.options.preview_decoder.clone();
        let ordered = Ordered { request, start_image: self.start_image.clone(), networks, preview_decoder };
        let drawn = self.session.draw(id, ordered, |step, latents, picture| {
            let Some(folder) = previews else { return Ok(()) };
            let picture = picture.unwrap_or_else(|| Arc::new(colours.paint(latents)));
            save_preview(folder, &name, step, &picture, size)
        })?;
        record.request.accelerations.decoding_in_tiles = drawn.was_decoded_in_tiles;
        let path = self.save(&drawn.image, record)?;
        self.session.report.finished(&path, seed, drawn.seconds);
        Ok(())
    }

    /// A picture whose recipe does not fit into its file is not worth computing.
    fn check_room_for(&self, record: &PictureRecord) -> Result<(), Failure> {
        let Output::File(path) = &self.output else { return Ok(()) };
        let Some(format) = PictureFormat::of(path, self.options.quality) else { return Ok(()) };
        let caption = Caption::Ours(Box::new(record.clone()));
        let dot = RgbImage::new(1, 1);
        export::encode(&dot, &caption, format).map(drop).map_err(|error| Failure::Usage(error.for_people()))
    }

    fn save(&self, image: &RgbImage, record: PictureRecord) -> Result<PathBuf, Failure> {
        let saved = match &self.output {
            Output::File(path) => store::save_as(path, image, &Caption::Ours(Box::new(record)), self.options.quality),
            Output::Folder(folder) => store::save(folder, image, Some(&record), jiff::Timestamp::now()),
        };
        saved.map_err(|error| Failure::Work(error.for_people()))
    }
}

fn output(options: &GenerateOptions) -> Result<Output, Failure> {
    let Some(path) = &options.output else { return Ok(Output::Folder(folders::gallery_folder())) };
    if path.is_dir() || path.extension().is_none() {
        return Ok(Output::Folder(path.clone()));
    }
    if PictureFormat::of(path, options.quality).is_none() {
        let problem = format!("--output must be a folder or end in .png, .jpg or .webp, not {}", path.display());
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

/// The request of the `index`-th picture; the seed that it ends with settles its wildcards. The LoRAs of the options are
/// called behind them: a file's name may look like a wildcard.
fn nth_request(
    options: &GenerateOptions,
    (wildcards, files): (&WildcardFiles, &KnownFiles),
    facts: &ModelFacts,
    first: Seed,
    index: u64,
) -> Result<GenerationRequest, Failure> {
    let request = request(options, facts, first).map_err(Failure::Usage)?.nth(index);
    let settled = typed(options).settle(request.seed, wildcards);
    let SettledPrompts { prompt, negative_prompt, template } = settled.map_err(|e| Failure::Usage(e.to_string()))?;
    let prompt = files.with_calls(&prompt, options.dialect);
    Ok(GenerationRequest { prompt, negative_prompt, template, ..request })
}

/// Everything but the prompts, which are settled for each picture.
fn request(options: &GenerateOptions, facts: &ModelFacts, seed: Seed) -> Result<GenerationRequest, String> {
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
        prompt: String::new(),
        negative_prompt: String::new(),
        size: ImageSize::new(width, height).map_err(|e| e.to_string())?,
        steps,
        guidance: options.guidance.unwrap_or(defaults.guidance),
        guidance_rescale: options.fine.guidance_rescale,
        accelerations: options.faster.accelerations().map_err(|e| e.to_string())?,
        sampler: options.sampler.unwrap_or(defaults.sampler),
        sampler_options: options.fine.sampler_options().map_err(|e| e.to_string())?,
        schedule: options.schedule.unwrap_or(defaults.schedule),
        sigmas,
        micro_conditioning: options.fine.micro_conditioning(facts.has_xl_latents)?,
        seed_options: options.fine.seed_options(),
        noise_source: options.noise,
        clip_skip: options.clip_skip.unwrap_or_default(),
        emphasis: options.emphasis.unwrap_or(options.dialect.usual_emphasis()),
        dialect: options.dialect,
        template: None,
        seed,
        image_to_image,
    })
}

/// `SEED-step-001.png`, with a variation `SEED-VARIATION-step-001.png`, grown to the picture's size.
fn save_preview(folder: &Path, name: &str, step: u32, preview: &RgbImage, size: ImageSize) -> Result<(), Failure> {
    let grown;
    let whole = if preview.dimensions() == (size.width(), size.height()) {
        preview
    } else {
        grown = image::imageops::resize(preview, size.width(), size.height(), FilterType::CatmullRom);
        &grown
    };
    let path = folder.join(format!("{name}-step-{step:03}.png"));
    store::save_as(&path, whole, &Caption::Nothing, JpegQuality::default())
        .map_err(|error| Failure::Work(error.for_people()))?;
    Ok(())
}

fn random_seed() -> Seed {
    use std::hash::{BuildHasher, Hasher};
    // The standard library's own randomness; 32 bits, as in other programs, so that a seed can be read out.
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    Seed(random & 0xffff_ffff)
}
