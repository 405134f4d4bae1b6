//! What steers a picture: the prompts encoded once, and which of them is in force at each call of the U-Net.

use candle_core::{DType, Device, Tensor};

use super::text_encoder::EncodedText;
use super::text_encoders::{TextEncoders, Tower};
use super::unet::{Added, PreparedContext, UNet};
use super::weighting::{self, WeightedStates};
use super::{DiffusionError, Interrupt};
use crate::prompt::{Chunk, Entry, ParsedPrompt, Part, Tokenizer, empty_chunk};
use crate::request::{Dialect, Emphasis, GenerationRequest, GuidanceInterval, SamplerKind, ToldSize};

/// How the rows of a context are weighed against each other.
#[derive(Debug, Clone, PartialEq)]
pub enum Guidance {
    /// The prompt alone: one row, one pass.
    PromptOnly,
    /// Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598), for several prompts together (Liu et al. 2022,
    /// arXiv:2206.01714): `uncond + scale * sum(weight_i * (cond_i - uncond))`. The first row is the negative prompt.
    ClassifierFree {
        /// The request's guidance.
        scale: f64,
        /// How far the result is brought back to the deviation that it has at a scale of 1.
        rescale: f64,
        /// A factor for each further row.
        weights: Vec<f64>,
        /// Whether the solver asks what the negative prompt alone predicts.
        keeps_unguided: bool,
    },
}

/// Rows of texts of one length, which go through the U-Net together.
#[derive(Clone)]
pub struct Pass {
    /// How many rows.
    pub rows: usize,
    /// What they are steered by.
    pub context: PreparedContext,
}

/// Where in a picture the model is asked.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Counts the calls of the model from 0 at the picture's first step.
    pub call: usize,
    /// Whether the step lies in the interval of guidance.
    pub is_guided: bool,
}

/// The prompts of one picture, ready for the U-Net.
pub struct Conditioning {
    guided: Steering,
    /// Outside of the interval of guidance, where there is such a place.
    unguided: Option<Steering>,
    /// The index of the context at each call.
    calls: Vec<usize>,
}

/// The rows of a picture and what becomes of them.
struct Steering {
    guidance: Guidance,
    /// One for each combination of texts that is in force at some call, the rows in order.
    contexts: Vec<Vec<Pass>>,
}

/// The parts of the model that read.
pub struct Reader<'a> {
    /// Text to tokens.
    pub tokenizer: &'a Tokenizer,
    /// Tokens to hidden states.
    pub text_encoders: &'a TextEncoders,
    /// Hidden states to the keys and values of its cross-attentions.
    pub unet: &'a UNet,
    /// Where the U-Net computes.
    pub device: &'a Device,
    /// In what it computes.
    pub dtype: DType,
    /// Whether an empty negative prompt is all zeros instead of what the encoders say to it.
    pub zeroes_empty_negative: bool,
}

/// A text of `Reader::texts`.
type Text = EncodedText<Tensor>;

/// How many calls of the U-Net count as one step of the request, for the numbers in a prompt: the web UI doubles the
/// steps of these solvers before it reads the prompt.
fn calls_per_step(sampler: SamplerKind) -> usize {
    match sampler {
        SamplerKind::DpmPlusPlusSde
        | SamplerKind::DpmPlusPlus2SAncestral
        | SamplerKind::Heun
        | SamplerKind::Restart
        | SamplerKind::Dpm2
        | SamplerKind::Dpm2Ancestral => 2,
        _ => 1,
    }
}

impl Conditioning {
    /// How the rows are weighed at a moment, and their passes.
    #[must_use]
    pub fn at(&self, moment: Moment) -> (&Guidance, &[Pass]) {
        let steering = self.unguided.as_ref().filter(|_| !moment.is_guided).unwrap_or(&self.guided);
        // Past the last number of every schedule its first text is in force again.
        (&steering.guidance, &steering.contexts[self.calls.get(moment.call).copied().unwrap_or(0)])
    }
}

impl Reader<'_> {
    /// Encodes the prompts of a request.
    ///
    /// # Errors
    /// When the request does not fit the text encoder, the numbers fail or `interrupt` says stop.
    pub fn read(&self, request: &GenerationRequest, interrupt: Interrupt) -> Result<Conditioning, DiffusionError> {
        let steps = request.steps.get() as usize * calls_per_step(request.sampler);
        let dialect = request.dialect;
        let mut prompt = ParsedPrompt::positive(&request.prompt, steps, dialect, self.tokenizer)?;
        let keeps_unguided = matches!(request.sampler, SamplerKind::EulerCfgPp | SamplerKind::DdimCfgPp);
        // A1111's factor, so that one range of guidance serves all of its samplers.
        let scale = request.guidance.get() / if request.sampler == SamplerKind::DdimCfgPp { 12.5 } else { 1.0 };
        let mut parts = Vec::new();
        let guidance = if scale == 1.0 && !keeps_unguided && prompt.parts.len() == 1 && prompt.parts[0].weight == 1.0 {
            Guidance::PromptOnly
        } else {
            let negative = ParsedPrompt::negative(&request.negative_prompt, steps, dialect, self.tokenizer)?;
            parts.extend(negative.parts);
            let weights = prompt.parts.iter().map(|part| part.weight).collect();
            Guidance::ClassifierFree { scale, rescale: request.guidance_rescale.get(), weights, keeps_unguided }
        };
        parts.append(&mut prompt.parts);
        let rows = self.rows(&mut parts, request, interrupt)?;
        let mut combinations: Vec<Vec<usize>> = Vec::new();
        let mut calls = Vec::with_capacity(steps + 1);
        for call in 0..=steps {
            let entries: Vec<usize> = parts.iter().map(|part| first_like(part, part.entry_at(call))).collect();
            let known = combinations.iter().position(|known| *known == entries);
            calls.push(known.unwrap_or(combinations.len()));
            if known.is_none() {
                combinations.push(entries);
            }
        }
        let prepare = |guidance: Guidance, first: usize| {
            let has_negative = guidance != Guidance::PromptOnly;
            let passes = |entries: &Vec<usize>| {
                let texts = rows.iter().zip(entries).skip(first).map(|(row, &entry)| &row[entry]);
                let row = |(index, text)| Row { text, numbers: self.numbers(request, has_negative && index == 0) };
                self.passes(&texts.enumerate().map(row).collect::<Vec<_>>())
            };
            let contexts = combinations.iter().map(passes).collect::<Result<_, _>>()?;
            Ok::<_, DiffusionError>(Steering { guidance, contexts })
        };
        let unguided = match outside(&guidance, request) {
            // The negative prompt stands in front.
            Some(guidance @ Guidance::PromptOnly) => Some(prepare(guidance, 1)?),
            other => other.map(|guidance| prepare(guidance, 0)).transpose()?,
        };
        Ok(Conditioning { guided: prepare(guidance, 0)?, unguided, calls })
    }

    /// Neighbouring rows `[1, T, D]` of the same T share a pass; a negative prompt of another length has its own, as in
    /// AUTOMATIC1111 and ComfyUI: padding it would change what is attended to.
    fn passes(&self, rows: &[Row]) -> Result<Vec<Pass>, DiffusionError> {
        let pass = |rows: &[Row]| {
            // [1, T, D] each -> [B, T, D]
            let states = Tensor::cat(&rows.iter().map(|row| &row.text.states).collect::<Vec<_>>(), 0)?;
            let states = states.to_device(self.device)?.to_dtype(self.dtype)?;
            let pooled: Option<Vec<&Tensor>> = rows.iter().map(|row| row.text.pooled.as_ref()).collect();
            let added = match pooled.filter(|_| self.unet.config().added_widths().is_some()) {
                Some(pooled) => {
                    let numbers = rows.iter().map(|row| row.numbers.clone()).collect();
                    Some(Added { pooled: Tensor::cat(&pooled, 0)?.to_device(self.device)?, numbers })
                }
                None => None,
            };
            let context = self.unet.prepare_context(&states, added.as_ref())?;
            Ok(Pass { rows: rows.len(), context })
        };
        rows.chunk_by(|a, b| a.text.states.dims() == b.text.states.dims()).map(pass).collect()
    }

    /// What Stable Diffusion XL is told of the picture, the negative prompt's half the same as the prompt's: unless asked
    /// otherwise that it is whole and was always of its size. The refiner's last number is a score of beauty instead of the
    /// target size (Stability's demo and all that follow it: 6, and 2.5 for what to keep away from).
    fn numbers(&self, request: &GenerationRequest, is_negative: bool) -> Vec<f64> {
        let (size, told) = (request.size, request.micro_conditioning);
        let sides = |told: Option<ToldSize>| {
            let (width, height) = told.map_or((size.width(), size.height()), <(u32, u32)>::from);
            [height, width]
        };
        let mut numbers = sides(told.original_size).to_vec();
        numbers.extend([told.crop.top(), told.crop.left()]);
        let mut numbers: Vec<f64> = numbers.into_iter().map(f64::from).collect();
        if self.added_numbers() == Some(REFINER_NUMBERS) {
            numbers.push(if is_negative { 2.5 } else { 6.0 });
        } else {
            numbers.extend(sides(told.target_size).map(f64::from));
        }
        numbers
    }

    /// How many numbers the U-Net is told.
    fn added_numbers(&self) -> Option<usize> {
        let (all, number) = self.unet.config().added_widths()?;
        Some(all.checked_sub(self.text_encoders.pooled_width()?)? / number)
    }

    /// The encoded texts of every entry of every part, `[1, T, D]` each; those of one part are of the same T, and so are
    /// those of all parts but the negative prompt.
    fn rows(
        &self,
        parts: &mut [Part],
        request: &GenerationRequest,
        interrupt: Interrupt,
    ) -> Result<Vec<Vec<Text>>, DiffusionError> {
        let count = |part: &Part| part.schedule.iter().map(|entry| entry.chunks.len()).max().unwrap_or(1);
        // The negative prompt stands in front, if there is one.
        let first_prompt = usize::from(parts.len() > 1);
        let longest_prompt = parts[first_prompt..].iter().map(count).max().unwrap_or(1);
        let empty = empty_chunk(self.tokenizer.marks());
        let mut rows = Vec::new();
        for (index, part) in parts.iter_mut().enumerate() {
            let chunks = count(part);
            // All texts of one schedule are as long as the longest.
            part.schedule.iter_mut().for_each(|entry| entry.chunks.resize(chunks, empty.clone()));
            let mut texts = self.texts(part, request, interrupt)?;
            if index >= first_prompt && chunks < longest_prompt {
                let missing = (longest_prompt - chunks) * empty.tokens.len();
                for text in &mut texts {
                    text.states = lengthened(&text.states, missing)?;
                }
            }
            // As in AUTOMATIC1111 and diffusers; ComfyUI encodes it.
            let is_zeroed = self.zeroes_empty_negative && request.dialect == Dialect::A1111;
            if index < first_prompt && request.negative_prompt.is_empty() && is_zeroed {
                for text in &mut texts {
                    text.states = text.states.zeros_like()?;
                    text.pooled = text.pooled.as_ref().map(Tensor::zeros_like).transpose()?;
                }
            }
            rows.push(texts);
        }
        Ok(rows)
    }

    /// Every entry of a part as all text encoders say it side by side, `[1, T, D]` each and weighted; all entries have
    /// the same number of chunks.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn texts(
        &self,
        part: &Part,
        request: &GenerationRequest,
        interrupt: Interrupt,
    ) -> Result<Vec<Text>, DiffusionError> {
        let mut towers = Vec::new();
        for tower in self.text_encoders.towers() {
            towers.push(self.tower_texts(tower, part, request, interrupt)?.into_iter());
        }
        if let [only] = &mut towers[..] {
            return Ok(only.collect());
        }
        let mut texts = Vec::with_capacity(part.schedule.len());
        for _ in &part.schedule {
            let of_towers: Vec<Text> = towers.iter_mut().filter_map(Iterator::next).collect();
            let states: Vec<&Tensor> = of_towers.iter().map(|text| &text.states).collect();
            let states = Tensor::cat(&states, 2)?;
            texts.push(Text { states, pooled: of_towers.last().and_then(|text| text.pooled.clone()) });
        }
        Ok(texts)
    }

    /// The same of one text encoder. The pooled text has no weights.
    fn tower_texts(
        &self,
        tower: &Tower,
        part: &Part,
        request: &GenerationRequest,
        interrupt: Interrupt,
    ) -> Result<Vec<Text>, DiffusionError> {
        let marks = self.tokenizer.marks();
        let encode = |chunks: &[Chunk]| {
            let tokens: Vec<&[u32]> = chunks.iter().map(|chunk| &chunk.tokens[..]).collect();
            tower.encode(&tokens, marks, request.clip_skip, interrupt)
        };
        let mut texts: Vec<Text> = Vec::new();
        for (index, entry) in part.schedule.iter().enumerate() {
            let like = first_like(part, index);
            texts.push(if like < index { texts[like].clone() } else { encode(&entry.chunks)? });
        }
        let is_weighted = |entry: &Entry| entry.chunks.iter().any(|chunk| chunk.weights.iter().any(|&w| w != 1.0));
        if request.emphasis == Emphasis::Ignore || !part.schedule.iter().any(is_weighted) {
            return Ok(texts);
        }
        let empty = empty_chunk(marks);
        let length = empty.tokens.len();
        let nothing = encode(&[empty])?.states;
        let plain = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let mut weighted = Vec::new();
        for (entry, text) in part.schedule.iter().zip(&texts) {
            let weights = entry.chunks.iter().flat_map(|chunk| &chunk.weights).map(|&weight| weight as f32).collect();
            weighted.push(WeightedStates { states: plain(&text.states)?, weights });
        }
        weighting::apply(request.emphasis, &mut weighted, &plain(&nothing)?, length);
        for (text, weighted) in texts.iter_mut().zip(weighted) {
            let like = &text.states;
            text.states = Tensor::from_vec(weighted.states, like.shape(), like.device())?.to_dtype(like.dtype())?;
        }
        Ok(texts)
    }
}

/// What guidance comes to outside of its interval: a scale of 1, for which a single prompt needs no negative one. None
/// where it acts everywhere or nowhere.
fn outside(guidance: &Guidance, request: &GenerationRequest) -> Option<Guidance> {
    if request.accelerations.guidance_interval == GuidanceInterval::default() {
        return None;
    }
    match guidance {
        Guidance::PromptOnly => None,
        Guidance::ClassifierFree { weights, .. } if weights[..] == [1.0] => Some(Guidance::PromptOnly),
        Guidance::ClassifierFree { weights, keeps_unguided, .. } => Some(Guidance::ClassifierFree {
            scale: 1.0,
            rescale: 0.0,
            weights: weights.clone(),
            keeps_unguided: *keeps_unguided,
        }),
    }
}

/// What steers one row of a pass.
struct Row<'a> {
    text: &'a Text,
    numbers: Vec<f64>,
}

/// How many numbers Stable Diffusion XL is told.
pub(super) const XL_NUMBERS: usize = 6;
/// How many its refiner is told.
pub(super) const REFINER_NUMBERS: usize = 5;

/// The first entry with the text of the entry at `index`.
fn first_like(part: &Part, index: usize) -> usize {
    part.schedule.iter().position(|entry| entry.text == part.schedule[index].text).unwrap_or(index)
}

/// `[1, T, D]` with its last vector `missing` times more (AUTOMATIC1111's reconstruct_multicond_batch).
fn lengthened(row: &Tensor, missing: usize) -> candle_core::Result<Tensor> {
    let (_, length, _) = row.dims3()?;
    let last = row.narrow(1, length - 1, 1)?.repeat((1, missing, 1))?;
    Tensor::cat(&[row, &last], 1)
}
