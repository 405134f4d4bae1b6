//! The whole of Stable Diffusion: a request in, a picture out, one step at a time.

use std::collections::VecDeque;
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use image::RgbImage;

use super::conditioning::{Moment, REFINER_NUMBERS, Reader, XL_NUMBERS};
use super::deep_cache::DeepCache;
use super::denoiser::Denoiser;
use super::first_noise::first_noise;
use super::noise::NoiseSource;
use super::noise_schedule::NoiseSchedule;
use super::pixels;
use super::preview::fit_colours;
use super::sampler::{Sampler, SamplerState, Solver, Start};
use super::schedule::Schedule;
use super::text_encoders::TextEncoders;
use super::unet::UNet;
use super::vae::Vae;
use super::{DiffusionError, Interrupt};
use crate::kernels::{Readback, Replays};
use crate::latent_image::{LatentColours, LatentImage};
use crate::prompt::{LearnedWord, Tokenizer};
use crate::request::{Accelerations, GenerationRequest, GuidanceInterval, ImageSize};

/// A model with all its parts, ready to draw.
pub struct StableDiffusion {
    /// Text to tokens.
    pub tokenizer: Arc<Tokenizer>,
    /// Tokens to hidden states.
    pub text_encoders: TextEncoders,
    /// Latents to predicted noise.
    pub unet: UNet,
    /// Pictures to latents and back.
    pub vae: Vae,
    /// Whether an empty negative prompt was all zeros in its training (Stable Diffusion XL).
    pub zeroes_empty_negative: bool,
    /// The levels that it was trained on.
    pub noise_schedule: NoiseSchedule,
    /// Where the U-Net computes; the other parts may lie elsewhere.
    pub device: Device,
    /// In what the U-Net computes.
    pub dtype: DType,
}

/// The vectors that a word stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct LearnedVectors {
    /// As it is written in a prompt.
    pub word: String,
    /// For each text encoder, one row after the other.
    pub by_encoder: Vec<Vec<f32>>,
}

/// A picture in the making.
pub struct Generation<'a> {
    model: &'a StableDiffusion,
    denoiser: Denoiser<'a>,
    sampler: Sampler,
    first_step: usize,
    guidance_interval: GuidanceInterval,
    /// The latents of the steps that are taken but not told yet, and their predictions.
    readback: Readback,
    taken: VecDeque<Taken>,
    lead: usize,
}

/// A step that is to be told.
struct Taken {
    step: usize,
    steps: usize,
}

/// What a step has shown.
pub struct Progress {
    /// 1 to `steps`, counting only those that this picture takes.
    pub step: u32,
    /// How many it takes.
    pub steps: u32,
    /// The clean latents as predicted in this step.
    pub denoised: LatentImage,
}

impl StableDiffusion {
    /// Checks that the parts fit each other.
    ///
    /// # Errors
    /// Names the two numbers that differ.
    pub fn check(&self) -> Result<(), DiffusionError> {
        let text_width = self.text_encoders.width();
        let unet = self.unet.config();
        let latent = self.vae.config().latent_channels;
        let problem = if text_width != unet.context_width() {
            format!("cross_attention_dim is {}, the text encoders' hidden_size {text_width}", unet.context_width())
        } else if let Some(problem) = self.problem_of_added() {
            problem
        } else if unet.in_channels != latent && !self.is_inpainting() {
            format!(
                "in_channels is {}, the VAE's latent_channels {latent}: editing, depth and upscaling models are not supported",
                unet.in_channels
            )
        } else if unet.out_channels != latent {
            format!("out_channels is {}, the VAE's latent_channels {latent}", unet.out_channels)
        } else if self.tokenizer.vocabulary_size() > self.text_encoders.vocabulary_size() {
            format!(
                "the tokenizer has {} entries, the text encoder's vocab_size is {}",
                self.tokenizer.vocabulary_size(),
                self.text_encoders.vocabulary_size()
            )
        } else {
            return Ok(());
        };
        Err(DiffusionError::Config { part: "model", problem })
    }

    /// What is wrong with what the U-Net is told beside the hidden states.
    fn problem_of_added(&self) -> Option<String> {
        let (all, number) = self.unet.config().added_widths()?;
        let Some(pooled) = self.text_encoders.pooled_width() else {
            return Some("the U-Net wants the text as one vector, and no text encoder gives one".to_owned());
        };
        let is_known = |numbers: usize| pooled + numbers * number == all;
        let known = [XL_NUMBERS, REFINER_NUMBERS];
        (!known.into_iter().any(is_known)).then(|| {
            format!("projection_class_embeddings_input_dim is {all}, not {pooled} and 5 or 6 numbers of {number}")
        })
    }

    /// True for a U-Net that also sees a mask and what the mask leaves of a picture.
    #[must_use]
    pub fn is_inpainting(&self) -> bool {
        let latent = self.vae.config().latent_channels;
        self.unet.config().in_channels == 2 * latent + 1
    }

    /// Learns words from embeddings, in place of those of before: each with a row of vectors for each text encoder.
    ///
    /// # Errors
    /// When the vectors do not fit the text encoder.
    pub fn learn(&mut self, words: &[LearnedVectors]) -> Result<(), DiffusionError> {
        let width = self.text_encoders.towers().first().map_or(1, |tower| tower.encoder.config().hidden_size);
        let known = words.iter().map(|learned| {
            let rows = learned.by_encoder.first().map_or(0, Vec::len);
            LearnedWord { word: learned.word.clone(), vectors: rows / width }
        });
        let tokenizer = self.tokenizer.with_learned(&known.collect::<Vec<_>>())?;
        for (index, tower) in self.text_encoders.towers_mut().iter_mut().enumerate() {
            let rows = words.iter().filter_map(|learned| learned.by_encoder.get(index)).flatten().copied();
            tower.encoder.set_learned(rows.collect())?;
        }
        self.tokenizer = Arc::new(tokenizer);
        Ok(())
    }

    /// Fits the rough colours of this model's latents.
    ///
    /// # Errors
    /// When the VAE fails or `interrupt` says stop.
    pub fn fit_colours(&self, interrupt: Interrupt) -> Result<LatentColours, DiffusionError> {
        fit_colours(&self.vae, interrupt)
    }

    /// Encodes the prompts and the start image, and draws the first noise. `start_image` belongs to an image-to-image
    /// request and is resized to the request's size.
    ///
    /// # Errors
    /// When the request does not fit the model, the numbers fail or `interrupt` says stop.
    pub fn begin(
        &self,
        request: &GenerationRequest,
        start_image: Option<&RgbImage>,
        interrupt: Interrupt,
    ) -> Result<Generation<'_>, DiffusionError> {
        let shape = self.latent_shape(request.size)?;
        let (schedule, first_step) = self.schedule(request)?;
        let mut noise = NoiseSource::new(request.noise_source, request.seed);
        let first =
            |noise: &mut NoiseSource| first_noise(noise, shape, &request.seed_options, self.vae.config().factor());
        let start = match (&request.image_to_image, start_image) {
            (None, _) => Start::Noise { unit: first(&mut noise), shape },
            (Some(_), Some(picture)) => {
                // The draws come in diffusers' order: the encoder's, then the first noise, then the sampler's.
                let clean = self.encode_image(picture, request.size, &mut noise, interrupt)?;
                Start::Latents { unit: first(&mut noise), clean, first_step }
            }
            (Some(from), None) => {
                let problem = format!("the start image \"{}\" is missing", from.source);
                return Err(DiffusionError::Request(problem));
            }
        };
        let denoiser = self.denoiser(request, interrupt)?;
        let sampler = Sampler::start(solver(request), schedule, noise, start, &self.device)?;
        Ok(self.generation(request, denoiser, sampler, first_step))
    }

    /// Goes on with a picture from a state that [`Generation::state`] gave for the same request.
    ///
    /// # Errors
    /// When the state does not fit the request, or as [`StableDiffusion::begin`].
    pub fn resume(
        &self,
        request: &GenerationRequest,
        state: &SamplerState,
        interrupt: Interrupt,
    ) -> Result<Generation<'_>, DiffusionError> {
        if state.shape != self.latent_shape(request.size)? {
            return Err(DiffusionError::State(format!("its latents are not those of {}", request.size)));
        }
        let (schedule, first_step) = self.schedule(request)?;
        if state.step < first_step {
            return Err(DiffusionError::State("its step is one that this request skips".to_owned()));
        }
        let sampler = Sampler::restore(solver(request), schedule, state, &self.device)?;
        let mut denoiser = self.denoiser(request, interrupt)?;
        if let (Some(cache), Some(deep)) = (&mut denoiser.deep_cache, &state.deep) {
            cache.restore(deep, self.dtype, &self.device)?;
        }
        Ok(self.generation(request, denoiser, sampler, first_step))
    }

    fn generation<'a>(
        &'a self,
        request: &GenerationRequest,
        denoiser: Denoiser<'a>,
        sampler: Sampler,
        first_step: usize,
    ) -> Generation<'a> {
        let guidance_interval = request.accelerations.guidance_interval;
        let (readback, taken, lead) = (Readback::default(), VecDeque::new(), Readback::usual_lead(&self.device));
        Generation { model: self, denoiser, sampler, first_step, guidance_interval, readback, taken, lead }
    }

    /// The levels that a request visits, and the step that it starts at.
    fn schedule(&self, request: &GenerationRequest) -> Result<(Schedule, usize), DiffusionError> {
        let schedule = match &request.sigmas {
            Some(sigmas) if sigmas.steps() != request.steps => {
                let problem =
                    format!("{} sigmas are not those of {} steps", sigmas.as_slice().len(), request.steps.get());
                return Err(DiffusionError::Request(problem));
            }
            Some(sigmas) => self.noise_schedule.schedule_over(sigmas),
            None => self.noise_schedule.schedule(request.schedule, request.sampler, request.steps)?,
        };
        let first_step = first_step(request)?;
        if first_step >= schedule.levels.len() - 1 {
            let problem = "this schedule has too few different levels for so small a strength: raise it".to_owned();
            return Err(DiffusionError::Request(problem));
        }
        Ok(schedule.planned_for(request.sampler, first_step))
    }

    /// `[1, C, H / factor, W / factor]`.
    fn latent_shape(&self, size: ImageSize) -> Result<[usize; 4], DiffusionError> {
        let factor = self.vae.config().factor();
        let least = factor << self.unet.config().levels().saturating_sub(1);
        let (width, height) = (size.width() as usize, size.height() as usize);
        if !width.is_multiple_of(factor) || !height.is_multiple_of(factor) {
            let problem = format!("this model needs sides that are multiples of {factor} pixels, not {size}");
            return Err(DiffusionError::Request(problem));
        }
        if width < least || height < least {
            let problem = format!("this model needs at least {least} pixels a side, not {size}");
            return Err(DiffusionError::Request(problem));
        }
        Ok([1, self.vae.config().latent_channels, height / factor, width / factor])
    }

    fn denoiser(&self, request: &GenerationRequest, interrupt: Interrupt) -> Result<Denoiser<'_>, DiffusionError> {
        let reader = self.reader();
        let conditioning = reader.read(request, interrupt)?;
        let prediction = self.noise_schedule.prediction();
        let beside = if self.is_inpainting() { Some(self.all_masked(request.size, interrupt)?) } else { None };
        let Accelerations { block_caching: caching, token_merging, .. } = request.accelerations;
        let deep_cache = caching.map(|caching| DeepCache::new(caching, &self.unet)).transpose()?;
        let (unet, dtype, replays) = (&self.unet, self.dtype, Replays::default());
        Ok(Denoiser { unet, prediction, conditioning, beside, deep_cache, replays, token_merging, dtype })
    }

    /// What an inpainting model sees when the whole picture is its to paint: a mask of ones, and the latents of a grey
    /// picture, `[1, 1 + C, H / factor, W / factor]`. They are the posterior's mean, so that no noise is drawn for them.
    fn all_masked(&self, size: ImageSize, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
        let (width, height) = (size.width() as usize, size.height() as usize);
        let grey = Tensor::zeros((1, 3, height, width), DType::F32, &self.device)?;
        let latents = self.vae.scale(&self.vae.encode(&grey, interrupt)?.mean)?;
        let latents = latents.to_device(&self.device)?.to_dtype(self.dtype)?;
        let mask = latents.narrow(1, 0, 1)?.ones_like()?;
        Ok(Tensor::cat(&[&mask, &latents], 1)?)
    }

    /// The parts that read.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            tokenizer: &self.tokenizer,
            text_encoders: &self.text_encoders,
            unet: &self.unet,
            device: &self.device,
            dtype: self.dtype,
            zeroes_empty_negative: self.zeroes_empty_negative,
        }
    }

    /// A sample of the picture's latents in the U-Net's scale.
    fn encode_image(
        &self,
        picture: &RgbImage,
        size: ImageSize,
        noise: &mut NoiseSource,
        interrupt: Interrupt,
    ) -> Result<Tensor, DiffusionError> {
        let pixels = pixels::to_tensor(picture, size, self.vae.device())?;
        let posterior = self.vae.encode(&pixels, interrupt)?;
        let unit = noise.normals(posterior.mean.elem_count());
        let unit =
            Tensor::from_vec(unit, posterior.mean.shape(), self.vae.device())?.to_dtype(posterior.mean.dtype())?;
        let sample = self.vae.scale(&posterior.sample(&unit)?)?;
        pixels::check_finite(&sample.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?, || {
            "the start image's latents".to_owned()
        })?;
        Ok(sample.to_device(&self.device)?)
    }
}

fn solver(request: &GenerationRequest) -> Solver {
    Solver { kind: request.sampler, options: request.sampler_options }
}

/// How many steps of the schedule an image-to-image request skips.
fn first_step(request: &GenerationRequest) -> Result<usize, DiffusionError> {
    let Some(from) = &request.image_to_image else { return Ok(0) };
    let taken = from.strength.steps_taken(request.steps)?;
    Ok((request.steps.get() - taken) as usize)
}

impl Generation<'_> {
    /// Takes more steps from now on than it tells, so that what computes has the next step to do while the last one is looked
    /// at; usually one on an NVIDIA card, none elsewhere.
    #[must_use]
    pub fn with_lead(mut self, lead: usize) -> Self {
        self.lead = lead;
        self
    }

    /// Takes the next step and tells what the oldest has shown that was not told yet; `None` when all are.
    ///
    /// # Errors
    /// When `interrupt` says stop; [`DiffusionError::NotFinite`] when the latents have left the finite range.
    pub fn advance(&mut self, interrupt: Interrupt) -> Result<Option<Progress>, DiffusionError> {
        while self.taken.len() <= self.lead && self.take_step(interrupt)? {}
        let (Some(taken), Some(mut latents)) = (self.taken.pop_front(), self.readback.finish()?) else {
            return Ok(None);
        };
        let Taken { step, steps } = taken;
        let denoised = latents.split_off(latents.len() / 2);
        pixels::check_finite(&latents, || format!("step {step} of {steps}: the latents"))?;
        let count = |steps: usize| u32::try_from(steps - self.first_step).unwrap_or(u32::MAX);
        let [_, channels, height, width] = self.sampler.shape()?;
        let denoised = LatentImage { channels, height, width, values: denoised };
        Ok(Some(Progress { step: count(step), steps: count(steps), denoised }))
    }

    /// Says whether there was one.
    fn take_step(&mut self, interrupt: Interrupt) -> Result<bool, DiffusionError> {
        let denoiser = &mut self.denoiser;
        let mut call = self.sampler.calls();
        let (done, all) = (self.sampler.step() - self.first_step, self.sampler.steps() - self.first_step);
        let is_guided = self.guidance_interval.holds(done, all);
        let mut denoise = |x: &Tensor, level| {
            call += 1;
            denoiser.denoise(x, level, Moment { call: call - 1, is_guided }, interrupt)
        };
        let Some(denoised) = self.sampler.advance(&mut denoise)? else {
            // What recordings hold of a card's memory is the decoder's from here on.
            self.denoiser.replays = Replays::default();
            return Ok(false);
        };
        // [2, C, H, W]
        self.readback.begin(&Tensor::cat(&[&self.sampler.latents()?, &denoised], 0)?)?;
        self.taken.push_back(Taken { step: self.sampler.step(), steps: self.sampler.steps() });
        Ok(true)
    }

    /// Steps that this picture takes.
    #[must_use]
    pub fn steps(&self) -> u32 {
        u32::try_from(self.sampler.steps() - self.first_step).unwrap_or(u32::MAX)
    }

    /// Everything needed to go on later, as plain data; after the last step that was taken, which may not be told yet.
    ///
    /// # Errors
    /// When the device fails.
    pub fn state(&self) -> Result<SamplerState, DiffusionError> {
        let deep = match &self.denoiser.deep_cache {
            Some(cache) => cache.state(self.sampler.calls())?,
            None => None,
        };
        Ok(SamplerState { deep, ..self.sampler.state()? })
    }

    /// The latents as they stand, in the U-Net's scale, `[1, C, H, W]`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn latents(&self) -> Result<Tensor, DiffusionError> {
        self.sampler.latents()
    }

    /// Decodes the latents as they stand, as a whole or in tiles.
    ///
    /// # Errors
    /// When the numbers fail or `interrupt` says stop.
    pub fn decode(&self, in_tiles: bool, interrupt: Interrupt) -> Result<RgbImage, DiffusionError> {
        let vae = &self.model.vae;
        let own = vae.unscale(&self.latents()?)?;
        let decoded = if in_tiles { vae.decode_in_tiles(&own, interrupt)? } else { vae.decode(&own, interrupt)? };
        pixels::to_picture(&decoded)
    }
}
