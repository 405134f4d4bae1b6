//! CLIP's text tower: token ids to one hidden state a token (Radford et al. 2021, arXiv:2103.00020).

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use serde::Deserialize;

use super::config::{activation, check_layers, require};
use super::layers::{layer_norm, linear, linear_no_bias};
use super::{DiffusionError, Interrupt};
use crate::kernels::{Activation, Addends, Before, Input, Kept, LayerNorm, Linear, Sight, activations, attention};
use crate::prompt::Tokenizer;
use crate::request::ClipSkip;

const PART: &str = "text_encoder";

/// `text_encoder/config.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct TextEncoderConfig {
    #[serde(default)]
    architectures: Vec<String>,
    /// Entries of the token table.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Tokens of one chunk, marks included.
    #[serde(default = "clip_positions")]
    pub max_position_embeddings: usize,
    hidden_act: String,
    #[serde(default = "clip_eps")]
    layer_norm_eps: f64,
    /// Width of the pooled text, of an encoder that gives one.
    #[serde(default = "clip_projection")]
    projection_dim: usize,
}

// transformers' CLIPTextConfig leaves these out when they have their usual value.
fn clip_positions() -> usize {
    77
}

fn clip_eps() -> f64 {
    1e-5
}

fn clip_projection() -> usize {
    512
}

/// The encoders that a configuration may name.
const PLAIN: &str = "CLIPTextModel";
const POOLING: &str = "CLIPTextModelWithProjection";

/// Which hidden states a U-Net was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenStates {
    /// The last layer's, after the final norm: Stable Diffusion 1, and 2, whose last layer is left out.
    Last,
    /// Those of the layer before the last, as they are: Stable Diffusion XL.
    LayerBeforeLast,
}

/// A text as an encoder gives it.
#[derive(Debug, Clone)]
pub struct EncodedText<T> {
    /// One vector a token, `[1, T, D]`.
    pub states: T,
    /// The text as one vector, `[1, P]`: the first chunk's, as the web UIs take it.
    pub pooled: Option<T>,
}

impl TextEncoderConfig {
    fn check(&self) -> Result<Activation, DiffusionError> {
        require(
            PART,
            "architectures",
            self.architectures.is_empty() || self.architectures.iter().any(|a| a == PLAIN || a == POOLING),
            || self.architectures.join(", "),
            "CLIPTextModel, CLIPTextModelWithProjection",
        )?;
        check_layers(PART, "num_hidden_layers", self.num_hidden_layers)?;
        if !(1..=1 << 20).contains(&self.projection_dim) {
            let problem = format!("projection_dim {} is no width", self.projection_dim);
            return Err(DiffusionError::Config { part: PART, problem });
        }
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if heads == 0 || !width.is_multiple_of(heads) {
            let problem = format!("hidden_size {width} is not a multiple of num_attention_heads {heads}");
            return Err(DiffusionError::Config { part: PART, problem });
        }
        activation(PART, "hidden_act", &self.hidden_act)
    }
}

/// The text tower with its weights.
#[derive(Debug)]
pub struct TextEncoder {
    token_table: Tensor,
    /// `[positions, D]`.
    positions: Tensor,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    /// To the pooled text.
    projection: Option<Linear>,
    hidden_states: HiddenStates,
    config: TextEncoderConfig,
    /// Rows of width D for the ids from [`Tokenizer::FIRST_LEARNED`] on.
    learned: Vec<f32>,
}

impl TextEncoder {
    /// Loads the weights below `vb`, whose names may or may not start with `text_model.`.
    ///
    /// # Errors
    /// When the configuration is not understood or a tensor is missing or has another shape.
    pub fn load(
        vb: &VarBuilder,
        config: &TextEncoderConfig,
        hidden_states: HiddenStates,
    ) -> Result<Self, DiffusionError> {
        let activation = config.check()?;
        let is_pooling = config.architectures.iter().any(|name| name == POOLING);
        let project = || linear_no_bias(&vb.pp("text_projection"), config.hidden_size, config.projection_dim);
        let projection = is_pooling.then(project).transpose()?;
        let has_prefix = vb.contains_tensor("text_model.embeddings.token_embedding.weight");
        let vb = if has_prefix { vb.pp("text_model") } else { vb.clone() };
        let width = config.hidden_size;
        let embeddings = vb.pp("embeddings");
        let dtype = activations(vb.dtype(), vb.device());
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::load(&vb.pp("encoder.layers").pp(index), config, activation))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            token_table: embeddings.get((config.vocab_size, width), "token_embedding.weight")?,
            positions: embeddings
                .clone()
                .to_dtype(dtype)
                .get((config.max_position_embeddings, width), "position_embedding.weight")?,
            layers,
            final_norm: layer_norm(&vb.pp("final_layer_norm"), width, config.layer_norm_eps)?,
            projection,
            hidden_states,
            config: config.clone(),
            learned: Vec::new(),
        })
    }

    /// Takes the vectors that learned words stand for, one row of width D after the other, in place of those of before.
    ///
    /// # Errors
    /// When they are not rows of this width.
    pub fn set_learned(&mut self, rows: Vec<f32>) -> Result<(), DiffusionError> {
        let width = self.config.hidden_size;
        if !rows.len().is_multiple_of(width) {
            return Err(DiffusionError::Request(format!("{} learned values are not rows of {width}", rows.len())));
        }
        self.learned = rows;
        Ok(())
    }

    /// What the tokens are at the first layer, `[tokens, D]`.
    fn embed(&self, ids: &[u32]) -> Result<Tensor, DiffusionError> {
        let width = self.config.hidden_size;
        let known = ids.iter().map(|&id| if id < Tokenizer::FIRST_LEARNED { id } else { 0 }).collect::<Vec<_>>();
        let known = Tensor::from_vec(known, ids.len(), self.token_table.device())?;
        let embedded = self.token_table.embedding(&known)?.to_dtype(self.positions.dtype())?;
        if ids.iter().all(|&id| id < Tokenizer::FIRST_LEARNED) {
            return Ok(embedded);
        }
        let mut values = embedded.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        for (row, &id) in values.chunks_exact_mut(width).zip(ids) {
            let Some(index) = id.checked_sub(Tokenizer::FIRST_LEARNED) else { continue };
            let learned = self.learned.chunks_exact(width).nth(index as usize);
            row.copy_from_slice(learned.ok_or_else(|| DiffusionError::Config {
                part: PART,
                problem: format!("no vector {index} was learned"),
            })?);
        }
        let values = Tensor::from_vec(values, (ids.len(), width), embedded.device())?;
        Ok(values.to_dtype(embedded.dtype())?)
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &TextEncoderConfig {
        &self.config
    }

    /// Token ids of a chunk, marks included.
    #[must_use]
    pub fn length(&self) -> usize {
        self.config.max_position_embeddings
    }

    /// Width of the pooled text, where there is one.
    #[must_use]
    pub fn pooled_width(&self) -> Option<usize> {
        self.projection.as_ref().map(|_| self.config.projection_dim)
    }

    /// Chunks of token ids, each of the encoder's full length, to hidden states `[1, chunks * length, D]` of the layer
    /// that `clip_skip` counts from the end. A model trained on the layer before the last never gets the last. The
    /// pooled text is what the last layer says at the first `end` mark.
    ///
    /// # Errors
    /// When there are fewer layers than that, an id is outside the vocabulary or `interrupt` says stop.
    pub fn encode(
        &self,
        chunks: &[&[u32]],
        end: u32,
        clip_skip: ClipSkip,
        interrupt: Interrupt,
    ) -> Result<EncodedText<Tensor>, DiffusionError> {
        let least = usize::from(self.hidden_states == HiddenStates::LayerBeforeLast);
        let skipped = (clip_skip.get() as usize - 1).max(least);
        if skipped >= self.layers.len() {
            let (asked, layers) = (clip_skip.get(), self.layers.len());
            let problem = format!("clip skip {asked} is more than the {layers} layers of this model's text encoder");
            return Err(DiffusionError::Request(problem));
        }
        let is_unknown = |id: u32| id < Tokenizer::FIRST_LEARNED && id as usize >= self.config.vocab_size;
        if let Some(id) = chunks.iter().copied().flatten().find(|&&id| is_unknown(id)) {
            let problem = format!("token {id} is outside the vocabulary of {}", self.config.vocab_size);
            return Err(DiffusionError::Config { part: PART, problem });
        }
        let (length, width) = (self.length(), self.config.hidden_size);
        let ids: Vec<u32> = chunks.concat();
        // [chunks * length, D] -> [chunks, length, D]
        let tokens = self.embed(&ids)?.reshape((chunks.len(), length, width))?;
        let (taken, left) = self.layers.split_at(self.layers.len() - skipped);
        // [chunks, length, D] -> [chunks, D, length] and back
        let turned = |x: Tensor| x.transpose(1, 2)?.contiguous();
        let hidden = through(taken, turned(tokens.broadcast_add(&self.positions)?)?, interrupt)?;
        let pooled = match &self.projection {
            Some(projection) => {
                let first = through(left, hidden.narrow(0, 0, 1)?, interrupt)?;
                let at = chunks.first().and_then(|chunk| chunk.iter().position(|&id| id == end)).unwrap_or(length - 1);
                // [1, length, D] -> [1, D]
                let text = self.final_norm.forward(&turned(first)?)?.narrow(1, at, 1)?.squeeze(1)?;
                Some(projection.forward(&text)?)
            }
            None => None,
        };
        let hidden = turned(hidden)?;
        let states = match self.hidden_states {
            HiddenStates::Last => self.final_norm.forward(&hidden)?,
            HiddenStates::LayerBeforeLast => hidden,
        };
        // [chunks, length, D] -> [1, chunks * length, D]
        let states = states.reshape((1, chunks.len() * length, width))?;
        Ok(EncodedText { states, pooled })
    }
}

/// `hidden` is `[B, D, T]`.
fn through(layers: &[Layer], mut hidden: Tensor, interrupt: Interrupt) -> Result<Tensor, DiffusionError> {
    for layer in layers {
        interrupt.check()?;
        hidden = layer.forward(&hidden)?;
    }
    Ok(hidden)
}

/// One pre-norm transformer layer.
#[derive(Debug)]
struct Layer {
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: usize,
    activation: Activation,
}

impl Layer {
    fn load(vb: &VarBuilder, config: &TextEncoderConfig, activation: Activation) -> Result<Self, DiffusionError> {
        let (width, inner, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let attn = vb.pp("self_attn");
        Ok(Self {
            norm1: layer_norm(&vb.pp("layer_norm1"), width, eps)?,
            q: linear(&attn.pp("q_proj"), width, width)?,
            k: linear(&attn.pp("k_proj"), width, width)?,
            v: linear(&attn.pp("v_proj"), width, width)?,
            out: linear(&attn.pp("out_proj"), width, width)?,
            norm2: layer_norm(&vb.pp("layer_norm2"), width, eps)?,
            fc1: linear(&vb.pp("mlp.fc1"), width, inner)?,
            fc2: linear(&vb.pp("mlp.fc2"), inner, width)?,
            heads: config.num_attention_heads,
            activation,
        })
    }

    /// `x` is `[B, D, T]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let normed = Input::from(x).after(Before::LayerNorm(&self.norm1));
        let project = |map: &Linear| map.over_channels(normed, Addends::NONE, Kept::ForProduct);
        let (q, k, v) = (project(&self.q)?, project(&self.k)?, project(&self.v)?);
        let h = attention(&q, &k, &v, self.heads, Sight::Backwards)?;
        let x = self.out.over_channels((&h).into(), Addends { values: Some(x), ..Addends::NONE }, Kept::Full)?;
        let normed = Input::from(&x).after(Before::LayerNorm(&self.norm2));
        let h = self.activation.forward(&self.fc1.over_channels(normed, Addends::NONE, Kept::Full)?)?;
        self.fc2.over_channels((&h).into(), Addends { values: Some(&x), ..Addends::NONE }, Kept::Full)
    }
}
