//! What may be typed, each value checked as it is read.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::accelerations::AccelerationOptions;
use super::bench::BenchOptions;
use super::companions::CompanionOptions;
use super::models::ModelsCommand;
use super::networks::{LoraOption, NetworkOptions};
use super::picture_options::{ExportOptions, VerifyOptions, quality};
use crate::gallery::message::JpegQuality;
use crate::inference::device::{DeviceChoice, known_device};
use crate::request::{
    ClipSkip, Crop, Dialect, Emphasis, GuidanceRescale, GuidanceScale, ImageSize, MicroConditioning, NoiseSourceKind,
    PrecisionChoice, RequestError, SamplerKind, SamplerOptions, ScheduleKind, Seed, SeedOptions, Sigmas, Steps,
    Strength, ThreadCount, ToldSize, Variation, VariationStrength,
};

/// A native desktop studio for Stable Diffusion. Without a command the window opens.
#[derive(Debug, Parser)]
#[command(name = "calotype", version, about, max_term_width = 100)]
pub struct Cli {
    /// Open the window with this model instead of the last one: a folder, a .safetensors file, or a name or hash of the
    /// library.
    #[arg(long, value_name = "FOLDER|FILE|NAME|HASH")]
    pub model: Option<PathBuf>,
    /// What to do instead of opening the window.
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What can be done without a window.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Make pictures from a prompt
    Generate(Box<GenerateOptions>),
    /// Print the recipe stored in a picture
    Info(InfoOptions),
    /// Write a copy of a picture as PNG, JPEG or WebP, its recipe inside
    Export(ExportOptions),
    /// Render a picture's recipe again and compare the pixels
    Verify(VerifyOptions),
    /// Measure how long a model takes here: prompts, a step, decoding; and how much memory
    Bench(BenchOptions),
    /// List the samplers: name, label, what it is
    Samplers,
    /// List the schedules: name, label, what it is
    Schedules,
    /// Explain a prompt without making a picture
    Prompt(PromptOptions),
    /// List, inspect, find and fetch models
    #[command(subcommand)]
    Models(ModelsCommand),
}

/// `calotype info`.
#[derive(Debug, Args)]
pub struct InfoOptions {
    /// The picture
    pub image: PathBuf,
    /// A second picture: print in what the two recipes differ
    #[arg(conflicts_with = "json")]
    pub other: Option<PathBuf>,
    /// Print the recipe as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `calotype prompt`.
#[derive(Debug, Args)]
pub struct PromptOptions {
    /// The prompt
    #[arg(allow_hyphen_values = true)]
    pub text: String,
    /// Steps, 1 to 1000, for what changes on the way
    #[arg(long, value_name = "N", value_parser = steps, default_value = "20")]
    pub steps: Steps,
    /// Whose language it is in: a1111 or comfyui
    #[arg(long, value_name = "NAME", default_value = "a1111")]
    pub dialect: Dialect,
    /// Draw the wildcards in it as for a picture of this seed [default: leave them as they are]
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true)]
    pub seed: Option<Seed>,
    /// The model whose tokenizer reads it [default: CLIP's own tokenizer]
    #[arg(long, value_name = "FOLDER|FILE|NAME|HASH")]
    pub model: Option<PathBuf>,
    /// What stands in for parts of it
    #[command(flatten)]
    pub companions: CompanionOptions,
    /// Everything, as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `calotype generate`. What is left out is what suits the model.
#[derive(Debug, Args)]
pub struct GenerateOptions {
    /// What to draw
    pub prompt: String,
    /// What to stay away from
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true, allow_hyphen_values = true)]
    pub negative: String,
    /// A model folder in the diffusers layout, a .safetensors checkpoint of SD 1 or 2, or the name or hash of one in the
    /// library (`calotype models list`) [default: the built-in model]
    #[arg(long, value_name = "FOLDER|FILE|NAME|HASH")]
    pub model: Option<PathBuf>,
    /// What stands in for parts of it
    #[command(flatten)]
    pub companions: CompanionOptions,
    /// Width in pixels, a multiple of 8 from 64 to 4096 [default: the model's]
    #[arg(long, value_name = "N", value_parser = side, allow_negative_numbers = true)]
    pub width: Option<u32>,
    /// Height in pixels, a multiple of 8 from 64 to 4096 [default: the model's]
    #[arg(long, value_name = "N", value_parser = side, allow_negative_numbers = true)]
    pub height: Option<u32>,
    /// Steps, 1 to 1000 [default: the model's, usually 20]
    #[arg(long, value_name = "N", value_parser = steps, allow_negative_numbers = true)]
    pub steps: Option<Steps>,
    /// Guidance, 0 to 100; 1 follows the prompt alone in half the time [default: the model's, usually 7]
    #[arg(long, value_name = "G", value_parser = guidance, allow_negative_numbers = true)]
    pub guidance: Option<GuidanceScale>,
    /// The solver; `calotype samplers` lists them [default: the model's, usually dpmpp-2m]
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<SamplerKind>,
    /// The noise levels; `calotype schedules` lists them [default: the model's, usually karras]
    #[arg(long, value_name = "NAME")]
    pub schedule: Option<ScheduleKind>,
    /// Which layer of the text encoder is taken, counted from its end, 1 to 12 [default: 1]
    #[arg(long, value_name = "N", value_parser = clip_skip)]
    pub clip_skip: Option<ClipSkip>,
    /// Whose language the prompts are in: a1111 or comfyui
    #[arg(long, value_name = "NAME", default_value = "a1111")]
    pub dialect: Dialect,
    /// What weights in the prompt do: original, no-norm, ignore or comfyui [default: what they do in the dialect's program]
    #[arg(long, value_name = "NAME")]
    pub emphasis: Option<Emphasis>,
    /// Which generator draws the noise: torch-cpu as diffusers, philox as AUTOMATIC1111 on a card,
    /// comfyui as ComfyUI on a card
    #[arg(long, value_name = "NAME", default_value = "torch-cpu")]
    pub noise: NoiseSourceKind,
    /// Seed of the first picture [default: random]
    #[arg(long, value_name = "N", value_parser = seed, allow_negative_numbers = true)]
    pub seed: Option<Seed>,
    /// The solver's numbers, and how noise grows out of the seed
    #[command(flatten)]
    pub fine: FineOptions,
    /// What makes it sooner and another picture
    #[command(flatten)]
    pub faster: AccelerationOptions,
    /// Apply this LoRA to every picture, with a weight behind a colon [default: 1]; may be given several times
    #[arg(long, value_name = "FILE[:WEIGHT]")]
    pub lora: Vec<LoraOption>,
    /// Where LoRAs and embeddings lie
    #[command(flatten)]
    pub networks: NetworkOptions,
    /// How many pictures, with seeds N, N+1, … or, with --variation-strength, that many variation seeds
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), allow_negative_numbers = true)]
    pub count: u32,
    /// Start from this picture instead of noise alone
    #[arg(long, value_name = "IMAGE", requires = "strength")]
    pub init: Option<PathBuf>,
    /// How much of the start picture is given up, above 0 and at most 1
    #[arg(long, value_name = "S", value_parser = strength, requires = "init", allow_negative_numbers = true)]
    pub strength: Option<Strength>,
    /// Where to: a PNG, JPEG or WebP file, or a folder for many PNGs [default: the gallery folder]
    #[arg(long, alias = "out", value_name = "FILE.png|jpg|webp|FOLDER")]
    pub output: Option<PathBuf>,
    /// How much a JPEG keeps, 1 to 100
    #[arg(long, value_name = "N", value_parser = quality, default_value = "92")]
    pub quality: JpegQuality,
    /// Write the picture of every step into this folder, in rough colours
    #[arg(long, value_name = "FOLDER")]
    pub previews: Option<PathBuf>,
    /// Decode these pictures with a TAESD: its file, or a folder of diffusers' AutoencoderTiny
    #[arg(long, value_name = "FILE|FOLDER", requires = "previews")]
    pub preview_decoder: Option<PathBuf>,
    /// auto, cpu or, in builds that know cards, cuda, cuda:N or metal; auto is the first card that can be used, else the
    /// processor
    #[arg(long, value_name = "NAME", value_parser = known_device, default_value = "auto")]
    pub device: DeviceChoice,
    /// How many threads compute; auto is one for each core
    #[arg(long, value_name = "N", default_value = "auto")]
    pub threads: ThreadCount,
    /// What the weights are kept in: f32; bf16, which takes half the memory and, where the processor has instructions
    /// for it, about 0.6 of the time, for a picture that differs a little; int8, which is faster still where it
    /// multiplies bytes, for a picture that differs in details; f16, on graphics cards only; auto is the faster one of
    /// the first two, and on a card what suits it
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub precision: PrecisionChoice,
    /// Report as one JSON object a line on stdout
    #[arg(long)]
    pub json: bool,
}

/// What most pictures want as it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fine settings")]
pub struct FineOptions {
    /// Share of fresh noise in a step, 0 to 1, for samplers that add some and for ddim [default: the sampler's]
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    pub eta: Option<f64>,
    /// Noise put on top before the steps of euler, heun, heunpp2 and dpm2, 0 to 100
    #[arg(long, value_name = "C", default_value_t = 0.0, hide_default_value = true, allow_negative_numbers = true)]
    pub s_churn: f64,
    /// The lowest sigma that is churned
    #[arg(long, value_name = "SIGMA", default_value_t = 0.0, hide_default_value = true, allow_negative_numbers = true)]
    pub s_tmin: f64,
    /// The highest sigma that is churned
    #[arg(long, value_name = "SIGMA", default_value_t = f64::INFINITY, hide_default_value = true, allow_negative_numbers = true)]
    pub s_tmax: f64,
    /// A factor on all noise that the sampler adds, 0 to 2
    #[arg(long, value_name = "F", default_value_t = 1.0, hide_default_value = true, allow_negative_numbers = true)]
    pub s_noise: f64,
    /// How far guidance is kept from overdriving contrast, 0 to 1; models with zero terminal SNR want 0.7
    #[arg(long, value_name = "SHARE", value_parser = rescale, default_value = "0", hide_default_value = true, allow_negative_numbers = true)]
    pub guidance_rescale: GuidanceRescale,
    /// Noise levels by hand, falling, as "14.6,7,3,1,0"; they take the place of --schedule and --steps
    #[arg(long, value_name = "LIST", conflicts_with_all = ["schedule", "steps"], allow_negative_numbers = true)]
    pub sigmas: Option<Sigmas>,
    /// The size that Stable Diffusion XL is told the picture had before, as 1024x1024: small ones blur, large ones
    /// sharpen [default: the picture's]
    #[arg(long, value_name = "WxH")]
    pub original_size: Option<ToldSize>,
    /// What Stable Diffusion XL is told was cut off [default: 0,0]
    #[arg(long, value_name = "TOP,LEFT", default_value = "0,0", hide_default_value = true)]
    pub crop: Crop,
    /// The size that Stable Diffusion XL is told it was cut to [default: the picture's]
    #[arg(long, value_name = "WxH")]
    pub target_size: Option<ToldSize>,
    /// Another seed whose noise is mixed in
    #[arg(long, value_name = "N", value_parser = seed, requires = "variation_strength", allow_negative_numbers = true)]
    pub variation_seed: Option<Seed>,
    /// How much of it, 0 to 1
    #[arg(long, value_name = "S", value_parser = variation_strength, requires = "variation_seed", allow_negative_numbers = true)]
    pub variation_strength: Option<VariationStrength>,
    /// Put the noise of this size into the middle of the picture's
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub seed_resize: Option<ImageSize>,
    /// Seed the sampler's noise with the seed plus this (AUTOMATIC1111's eta noise seed delta)
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, allow_negative_numbers = true)]
    pub ensd: i64,
}

impl FineOptions {
    /// The solver's numbers, checked.
    pub(super) fn sampler_options(&self) -> Result<SamplerOptions, RequestError> {
        let options = SamplerOptions::default()
            .with_churn(self.s_churn, self.s_tmin, self.s_tmax)?
            .with_noise_factor(self.s_noise)?;
        self.eta.map_or(Ok(options), |eta| options.with_eta(eta))
    }

    /// What a model of Stable Diffusion XL is told.
    ///
    /// # Errors
    /// When another is to be told something.
    pub(super) fn micro_conditioning(&self, is_xl: bool) -> Result<MicroConditioning, String> {
        let (original_size, crop, target_size) = (self.original_size, self.crop, self.target_size);
        let told = MicroConditioning { original_size, crop, target_size };
        if is_xl || told == MicroConditioning::default() {
            return Ok(told);
        }
        Err("--original-size, --crop and --target-size are told to Stable Diffusion XL only, and this model is not one: \
             leave them out"
            .to_owned())
    }

    /// How noise grows out of the seed.
    pub(super) fn seed_options(&self) -> SeedOptions {
        let variation = self.variation_seed.zip(self.variation_strength);
        SeedOptions {
            variation: variation.map(|(seed, strength)| Variation { seed, strength }),
            resize_from: self.seed_resize,
            noise_delta: self.ensd,
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not a number that fits here"))
}

fn checked<T>(made: Result<T, RequestError>) -> Result<T, String> {
    made.map_err(|error| error.to_string())
}

/// A side of a picture.
pub(super) fn side(text: &str) -> Result<u32, String> {
    let px = number(text)?;
    let nearest = ImageSize::nearest_side(px);
    if nearest == px {
        return Ok(px);
    }
    Err(format!("must be a multiple of 8 from 64 to 4096, the nearest is {nearest}"))
}

fn size(text: &str) -> Result<ImageSize, String> {
    let (width, height) = text.split_once(['x', 'X']).ok_or("write it as 512x768")?;
    checked(ImageSize::new(number(width)?, number(height)?))
}

fn rescale(text: &str) -> Result<GuidanceRescale, String> {
    checked(GuidanceRescale::new(number(text)?))
}

fn variation_strength(text: &str) -> Result<VariationStrength, String> {
    checked(VariationStrength::new(number(text)?))
}

fn steps(text: &str) -> Result<Steps, String> {
    checked(Steps::new(number(text)?))
}

fn clip_skip(text: &str) -> Result<ClipSkip, String> {
    checked(ClipSkip::new(number(text)?))
}

fn guidance(text: &str) -> Result<GuidanceScale, String> {
    checked(GuidanceScale::new(number(text)?))
}

fn strength(text: &str) -> Result<Strength, String> {
    checked(Strength::new(number(text)?))
}

fn seed(text: &str) -> Result<Seed, String> {
    number(text).map(Seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<GenerateOptions, String> {
        let words = ["calotype", "generate"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).map_err(|e| e.to_string())?.task {
            Some(Task::Generate(options)) => Ok(*options),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_whole_language_is_understood() {
        let line = "--negative blurry --width 128 --height 64 --steps 5 --guidance 4.5 --sampler euler-a --schedule \
                    karras --clip-skip 2 --emphasis no-norm --dialect comfyui --seed 7 --count 3 --init a.png --strength 0.5 --output out --previews p --device cpu \
                    --precision f32 --json fox";
        let options = parse(line).unwrap();
        assert_eq!((options.width, options.height, options.count), (Some(128), Some(64), 3));
        assert_eq!((options.sampler, options.seed), (Some(SamplerKind::EulerAncestral), Some(Seed(7))));
        assert_eq!((options.clip_skip, options.emphasis), (Some(ClipSkip::new(2).unwrap()), Some(Emphasis::NoNorm)));
        assert_eq!(options.dialect, Dialect::ComfyUi);
    }

    #[test]
    fn wrong_values_say_what_would_be_right() {
        for (line, hint) in [
            ("--width 100 fox", "nearest is 104"),
            ("--width abc fox", "not a number"),
            ("--steps 0 fox", "from 1 to 1000"),
            ("--guidance -3 fox", "from 0 to 100"),
            ("--sampler magic fox", "dpmpp-2m"),
            ("--schedule turbo fox", "karras"),
            ("--clip-skip 13 fox", "from 1 to 12"),
            ("--emphasis none fox", "comfyui"),
            ("--dialect invoke fox", "a1111"),
            ("--strength 0.5 fox", "--init"),
            ("--init a.png fox", "--strength"),
            ("--init a.png --strength 2 fox", "at most 1"),
            ("--device cuda fox", "auto, cpu"),
            ("--precision f64 fox", "auto, f32, bf16, f16, int8"),
            ("--count 0 fox", "1..=10000"),
            ("", "<PROMPT>"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }
}
