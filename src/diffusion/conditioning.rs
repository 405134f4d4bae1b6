//! What steers a picture: the prompts encoded once, and which of them is in force at each call of the U-Net.

use candle_core::{DType, Tensor};

use super::text_encoder::TextEncoder;
use super::unet::{PreparedContext, UNet};
use super::weighting::{self, WeightedStates};
use super::{DiffusionError, Interrupt};
use crate::prompt::{Chunk, Entry, ParsedPrompt, Part, Tokenizer, empty_chunk};
use crate::request::{Emphasis, GenerationRequest, SamplerKind};

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
pub struct Pass {
    /// How many rows.
    pub rows: usize,
    /// What they are steered by.
    pub context: PreparedContext,
}

/// The prompts of one picture, ready for the U-Net.
pub struct Conditioning {
    /// How the rows are weighed.
    pub guidance: Guidance,
    /// One for each combination of texts that is in force at some call, the rows in order.
    contexts: Vec<Vec<Pass>>,
    /// The index of the context at each call.
    calls: Vec<usize>,
}

/// The parts of the model that read.
pub struct Reader<'a> {
    /// Text to tokens.
    pub tokenizer: &'a Tokenizer,
    /// Tokens to hidden states.
    pub text_encoder: &'a TextEncoder,
    /// Hidden states to the keys and values of its cross-attentions.
    pub unet: &'a UNet,
}

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
    /// The passes at a call of the model, counted from 0 at the picture's first step.
    #[must_use]
    pub fn passes(&self, call: usize) -> &[Pass] {
        // Past the last number of every schedule its first text is in force again.
        &self.contexts[self.calls.get(call).copied().unwrap_or(0)]
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
        let prepare = |entries: &Vec<usize>| {
            let rows: Vec<&Tensor> = rows.iter().zip(entries).map(|(row, &entry)| &row[entry]).collect();
            self.passes(&rows)
        };
        let contexts = combinations.iter().map(prepare).collect::<Result<_, _>>()?;
        Ok(Conditioning { guidance, contexts, calls })
    }

    /// Neighbouring rows `[1, T, D]` of the same T share a pass; a negative prompt of another length has its own, as in
    /// AUTOMATIC1111 and ComfyUI: padding it would change what is attended to.
    fn passes(&self, rows: &[&Tensor]) -> Result<Vec<Pass>, DiffusionError> {
        let pass = |rows: &[&Tensor]| {
            // [1, T, D] each -> [B, T, D]
            let context = self.unet.prepare_context(&Tensor::cat(rows, 0)?)?;
            Ok(Pass { rows: rows.len(), context })
        };
        rows.chunk_by(|a, b| a.dims() == b.dims()).map(pass).collect()
    }

    /// The hidden states of every entry of every part, `[1, T, D]` each; those of one part are of the same T, and so are
    /// those of all parts but the negative prompt.
    fn rows(
        &self,
        parts: &mut [Part],
        request: &GenerationRequest,
        interrupt: Interrupt,
    ) -> Result<Vec<Vec<Tensor>>, DiffusionError> {
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
            let mut states = self.hidden_states(part, request, interrupt)?;
            if index >= first_prompt && chunks < longest_prompt {
                let missing = (longest_prompt - chunks) * empty.tokens.len();
                for row in &mut states {
                    *row = lengthened(row, missing)?;
                }
            }
            rows.push(states);
        }
        Ok(rows)
    }

    /// The weighted hidden states of every entry of a part, `[1, T, D]` each; all entries have the same number of chunks.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn hidden_states(
        &self,
        part: &Part,
        request: &GenerationRequest,
        interrupt: Interrupt,
    ) -> Result<Vec<Tensor>, DiffusionError> {
        let mut states: Vec<Tensor> = Vec::new();
        for (index, entry) in part.schedule.iter().enumerate() {
            let like = first_like(part, index);
            let known = if like < index { Some(states[like].clone()) } else { None };
            let encode = || self.encode_chunks(&entry.chunks.iter().collect::<Vec<_>>(), request, interrupt);
            states.extend(if known.is_some() { known } else { encode()? });
        }
        let is_weighted = |entry: &Entry| entry.chunks.iter().any(|chunk| chunk.weights.iter().any(|&w| w != 1.0));
        if request.emphasis == Emphasis::Ignore || !part.schedule.iter().any(is_weighted) {
            return Ok(states);
        }
        let empty = empty_chunk(self.tokenizer.marks());
        let Some(nothing) = self.encode_chunks(&[&empty], request, interrupt)? else { return Ok(states) };
        let plain = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let mut texts = Vec::new();
        for (entry, states) in part.schedule.iter().zip(&states) {
            let weights = entry.chunks.iter().flat_map(|chunk| &chunk.weights).map(|&weight| weight as f32).collect();
            texts.push(WeightedStates { states: plain(states)?, weights });
        }
        weighting::apply(request.emphasis, &mut texts, &plain(&nothing)?, empty.tokens.len());
        let tensor = |(text, like): (WeightedStates, &Tensor)| {
            Ok(Tensor::from_vec(text.states, like.shape(), like.device())?.to_dtype(like.dtype())?)
        };
        texts.into_iter().zip(&states).map(tensor).collect()
    }

    /// `[1, chunks * length, D]`; none for no chunks.
    fn encode_chunks(
        &self,
        chunks: &[&Chunk],
        request: &GenerationRequest,
        interrupt: Interrupt,
    ) -> Result<Option<Tensor>, DiffusionError> {
        if chunks.is_empty() {
            return Ok(None);
        }
        let tokens: Vec<&[u32]> = chunks.iter().map(|chunk| &chunk.tokens[..]).collect();
        self.text_encoder.encode(&tokens, request.clip_skip, interrupt).map(Some)
    }
}

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
