//! `calotype bench`: how long a model takes on this machine, and how much memory.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::accelerations::AccelerationOptions;
use super::companions::CompanionOptions;
use super::models;
use super::networks::Networks;
use super::options::side;
use super::report::Report;
use super::session::{Ordered, Session, Times};
use crate::inference::device::{DeviceChoice, known_device};
use crate::inference::message::{JobId, ModelFacts, ModelSource};
use crate::request::{
    Accelerations, BlockCaching, ClipSkip, Dialect, Emphasis, GenerationRequest, GuidanceRescale, ImageSize,
    MicroConditioning, NoiseSourceKind, PrecisionChoice, SamplerKind, SamplerOptions, Seed, SeedOptions, Steps,
    ThreadCount,
};

/// The steps of the picture whose time is told.
const USUAL_STEPS: f64 = 20.0;

/// `calotype bench`.
#[derive(Debug, Args)]
pub struct BenchOptions {
    /// The model [default: the built-in model]
    #[arg(long, value_name = "FOLDER|FILE|NAME|HASH")]
    pub model: Option<PathBuf>,
    /// What stands in for parts of it
    #[command(flatten)]
    pub companions: CompanionOptions,
    /// Width in pixels [default: the model's]
    #[arg(long, value_name = "N", value_parser = side)]
    pub width: Option<u32>,
    /// Height in pixels [default: the model's]
    #[arg(long, value_name = "N", value_parser = side)]
    pub height: Option<u32>,
    /// How many steps are measured, after one that is not; with --deep-cache as many more as fill its interval
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub steps: u32,
    /// auto, cpu or, in builds that know cards, cuda, cuda:N or metal; auto is the first card that can be used, else the
    /// processor
    #[arg(long, value_name = "NAME", value_parser = known_device, default_value = "auto")]
    pub device: DeviceChoice,
    /// How many threads compute; auto is one for each core
    #[arg(long, value_name = "N", default_value = "auto")]
    pub threads: ThreadCount,
    /// What is computed in: f32, bf16, int8, or auto, the faster one of the first two
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub precision: PrecisionChoice,
    /// What makes it sooner and another picture
    #[command(flatten)]
    pub faster: AccelerationOptions,
    /// One JSON object on stdout, times in seconds
    #[arg(long)]
    pub json: bool,
}

/// What was measured; all times are in seconds.
struct Measured {
    facts: Box<ModelFacts>,
    size: ImageSize,
    accelerations: Accelerations,
    loading: f64,
    times: Times,
    /// Of each step but the first, the shortest first.
    steps: Vec<f64>,
    /// How often a step touched memory that the program did not have yet; the middle one of those that are measured.
    page_faults: Option<u64>,
}

pub(super) fn run(options: &BenchOptions) -> Result<(), Failure> {
    let mut report = Report::new(options.json);
    let measured = measure(options);
    match &measured {
        Ok(measured) => report.answer(&measured.to_json(), &measured.to_string()),
        Err(Failure::Usage(error) | Failure::Work(error)) => report.failed(None, error),
        Err(Failure::Interrupted) => report.cancelled(None),
        Err(Failure::Told) => {}
    }
    measured.map(drop)
}

fn measure(options: &BenchOptions) -> Result<Measured, Failure> {
    let accelerations = options.faster.accelerations().map_err(|error| Failure::Usage(error.to_string()))?;
    let model = options.model.as_deref().map(models::resolve).transpose()?;
    let companions = options.companions.resolve()?;
    // A bar, but no lines: there is one answer.
    let mut session = Session::start((options.device, options.threads), Report::new(false))?;
    let source = model.map_or(ModelSource::BuiltIn, ModelSource::OnDisk);
    let started = Instant::now();
    let (facts, _) = session.load((source, companions, options.precision), |_| Ok(()))?;
    let loading = started.elapsed().as_secs_f64();
    let request = request(options, &facts, accelerations)?;
    let size = request.size;
    let networks = Networks { adapters: Vec::new(), embeddings: Vec::new() };
    let ordered = Ordered { request, start_image: None, networks, preview_decoder: None };
    let mut ends = Vec::new();
    let drawn = session.draw(JobId(0), ordered, |step, _, _| {
        if step == 1 {
            // A card that was too small for the model begins again.
            ends.clear();
        }
        ends.push((Instant::now(), page_faults()));
        Ok(())
    });
    session.end();
    let mut steps: Vec<f64> = ends.windows(2).map(|pair| (pair[1].0 - pair[0].0).as_secs_f64()).collect();
    steps.sort_by(f64::total_cmp);
    let mut faults: Vec<u64> = ends.windows(2).filter_map(|pair| Some(pair[1].1? - pair[0].1?)).collect();
    faults.sort_unstable();
    let page_faults = faults.get(faults.len() / 2).copied();
    Ok(Measured { facts, size, accelerations, loading, times: drawn?.times, steps, page_faults })
}

/// What most pictures are: guided, one evaluation of the network a step.
fn request(
    options: &BenchOptions,
    facts: &ModelFacts,
    accelerations: Accelerations,
) -> Result<GenerationRequest, Failure> {
    let usage = |error: crate::request::RequestError| Failure::Usage(error.to_string());
    let defaults = &facts.defaults;
    let (width, height) = (defaults.size.width(), defaults.size.height());
    let interval = accelerations.block_caching.map_or(1, BlockCaching::interval);
    let size = ImageSize::new(options.width.unwrap_or(width), options.height.unwrap_or(height)).map_err(usage)?;
    Ok(GenerationRequest {
        size,
        steps: Steps::new(options.steps.next_multiple_of(interval) + 1).map_err(usage)?,
        guidance: defaults.guidance,
        sampler: SamplerKind::Euler,
        schedule: defaults.schedule,
        prompt: "a photograph of an astronaut riding a horse".to_owned(),
        negative_prompt: String::new(),
        guidance_rescale: GuidanceRescale::default(),
        accelerations,
        sampler_options: SamplerOptions::default(),
        sigmas: None,
        noise_source: NoiseSourceKind::TorchCpu,
        seed: Seed(1),
        seed_options: SeedOptions::default(),
        clip_skip: ClipSkip::default(),
        emphasis: Emphasis::default(),
        dialect: Dialect::default(),
        template: None,
        micro_conditioning: MicroConditioning::default(),
        image_to_image: None,
    })
}

impl Measured {
    /// The median where all steps are alike, else the mean, which counts the long and the short ones; with its name.
    fn typical(&self) -> (f64, &'static str) {
        if self.accelerations == Accelerations::default() {
            (self.steps[self.steps.len() / 2], "median")
        } else {
            (self.steps.iter().sum::<f64>() / self.steps.len() as f64, "mean")
        }
    }

    fn to_json(&self) -> Value {
        let Times { prompts, decoding } = self.times;
        json!({
            "event": "measured",
            "model": self.facts.name,
            "computes_on": self.facts.computes_on,
            "kernels": self.facts.kernels,
            "width": self.size.width(),
            "height": self.size.height(),
            "loading": self.loading,
            "prompts": prompts,
            "accelerations": self.accelerations,
            "step": self.typical().0,
            "steps": self.steps,
            "decoding": decoding,
            "most_memory_bytes": most_memory(),
            "page_faults_a_step": self.page_faults,
        })
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Times { prompts, decoding } = self.times;
        let (least, most) = (self.steps[0], self.steps[self.steps.len() - 1]);
        let (typical, kind) = self.typical();
        writeln!(f, "model      {}", self.facts.name)?;
        writeln!(f, "computes   {}, kernels {}", self.facts.computes_on, self.facts.kernels)?;
        writeln!(f, "size       {}, guided", self.size)?;
        for (name, value) in self.accelerations.facts() {
            writeln!(f, "faster     {}: {value}", name.to_lowercase())?;
        }
        writeln!(f, "loading    {:.3} s", self.loading)?;
        writeln!(f, "prompts    {prompts:.3} s")?;
        writeln!(f, "step       {typical:.3} s, {kind} of {} ({least:.3} to {most:.3})", self.steps.len())?;
        writeln!(f, "decoding   {decoding:.3} s")?;
        if let Some(bytes) = most_memory() {
            writeln!(f, "memory     {} MiB at most", bytes >> 20)?;
        }
        let whole = prompts + USUAL_STEPS * typical + decoding;
        write!(f, "so a picture of {USUAL_STEPS} steps takes about {whole:.1} s")
    }
}

/// The most memory that the process has had at once, where the system tells.
fn most_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// How often the process has touched memory that had to be fetched for it, where the system tells.
fn page_faults() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may have spaces in it; of what is behind it the eighth is `minflt`, see proc(5).
    stat.rsplit(')').next()?.split_whitespace().nth(7)?.parse().ok()
}
