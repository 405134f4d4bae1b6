//! TAESD files, for previews: found among tensors under every name that they go by, and read.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::CheckpointError;
use super::card::ModelKind;
use super::files::ModelFiles;
use super::inspect;
use super::tensor_file::TensorFile;
use super::weights::only_file;
use crate::diffusion::tiny_decoder::{TinyDecoder, TinyDecoderConfig};

/// What stands before a decoder's numbers: nothing in its authors' files, diffusers' and ComfyUI's prefixes.
const DECODERS: [&str; 4] = ["", "taesd_decoder.", "decoder.layers.", "decoder."];
/// The same for its encoder.
const ENCODERS: [&str; 4] = ["", "taesd_encoder.", "encoder.layers.", "encoder."];
/// Channels of the latents of Stable Diffusion 1, 2 and XL.
pub(super) const LATENT_CHANNELS: usize = 4;
/// Wider than any: theirs is 64.
const MOST_WIDTH: usize = 256;
/// Sizes, from that of the latents to that of the picture, 8 times as large: more would take more memory than the VAE.
const MOST_STAGES: usize = 4;
/// More blocks at one size than any: theirs are 3.
const MOST_BLOCKS: usize = 8;

/// What of TAESD a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Taesd {
    /// A decoder.
    Decoder(Layers),
    /// An encoder alone.
    Encoder,
}

/// Where a decoder lies among the tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layers {
    prefix: &'static str,
    /// The first layer's number: 1 in its authors' files, where the clamp is 0, and 0 in diffusers'.
    first: usize,
    pub config: TinyDecoderConfig,
}

/// Gives the shape of a tensor by its name.
type ShapeOf<'a> = &'a dyn Fn(&str) -> Option<&'a [usize]>;

impl Taesd {
    /// What the names and shapes of a file's tensors say.
    pub fn find(shape_of: ShapeOf<'_>) -> Option<Self> {
        let places = DECODERS.iter().flat_map(|prefix| [0, 1].map(|first| (*prefix, first)));
        let decoder = places.into_iter().find_map(|(prefix, first)| Layers::find(shape_of, prefix, first));
        let is_encoder = |prefix: &&'static str| {
            matches!(shape_of(&format!("{prefix}0.weight")), Some([_, 3, 3, 3]))
                && shape_of(&format!("{prefix}1.conv.0.weight")).is_some()
        };
        decoder.map(Self::Decoder).or_else(|| ENCODERS.iter().any(is_encoder).then_some(Self::Encoder))
    }

    /// What to call a file that holds one: the bare numbers that it has for names say nothing by themselves.
    pub fn name_in(file: &TensorFile) -> Option<&'static str> {
        let found = Self::find(&|name| file.get(name).map(|tensor| tensor.shape.as_slice()));
        found.map(|_| "a TAESD, which the settings take for previews, not a model")
    }
}

impl Layers {
    fn find(shape_of: ShapeOf<'_>, prefix: &'static str, first: usize) -> Option<Self> {
        let conv = |n: usize| shape_of(&format!("{prefix}{n}.weight"));
        let &[width, latent_channels, 3, 3] = conv(first)? else { return None };
        let is_block = |n: usize| shape_of(&format!("{prefix}{n}.conv.0.weight")).is_some();
        let (mut at, mut blocks) = (first + 2, Vec::new());
        loop {
            let count = (at..at + MOST_BLOCKS).take_while(|n| is_block(*n)).count();
            blocks.push(count);
            at += count;
            match (conv(at), conv(at + 1)) {
                (Some([3, ..]), _) if count > 0 => break,
                // The enlargement has a number and no tensor.
                (None, Some(_)) if blocks.len() < MOST_STAGES => at += 2,
                _ => return None,
            }
        }
        let config = TinyDecoderConfig { latent_channels, width, blocks };
        ((1..=MOST_WIDTH).contains(&width)).then_some(Self { prefix, first, config })
    }

    /// The file's name for a tensor that diffusers calls `name`.
    fn stored(&self, name: &str) -> Option<String> {
        let (number, rest) = name.split_once('.')?;
        Some(format!("{}{}.{rest}", self.prefix, number.parse::<usize>().ok()? + self.first))
    }

    /// All tensors under diffusers' names.
    fn read(&self, file: &TensorFile, device: &Device) -> Result<HashMap<String, Tensor>, CheckpointError> {
        let mut tensors = HashMap::new();
        for (name, expected) in self.config.tensors() {
            let path = || file.path().clone();
            let stored = self.stored(&name).unwrap_or_else(|| name.clone());
            let Some(tensor) = file.get(&stored) else {
                return Err(CheckpointError::MissingTensor { name: stored, expected, path: path() });
            };
            if tensor.shape != expected {
                let found = tensor.shape.clone();
                return Err(CheckpointError::WrongShape { name: stored, expected, found, path: path() });
            }
            let values = file.read_f32(&stored, tensor)?;
            let tensor = Tensor::from_vec(values, expected, device);
            tensors.insert(name, tensor.map_err(|e| CheckpointError::Model { source: e.into(), path: path() })?);
        }
        Ok(tensors)
    }
}

/// Why a number of latent channels is not for the models of this build.
pub(super) fn by_latent_channels(channels: usize) -> Option<String> {
    match channels {
        LATENT_CHANNELS => None,
        16 => Some("a TAESD of Stable Diffusion 3 or Flux (16 latent channels)".to_owned()),
        other => Some(format!("a TAESD for {other} latent channels")),
    }
}

/// Reads TAESD's decoder: from a safetensors file or a pickle with its authors', diffusers' or ComfyUI's names, or from a
/// folder of diffusers' AutoencoderTiny.
///
/// # Errors
/// When the file is damaged, or is something else: then it says what.
pub fn read_taesd(path: &Path, dtype: DType, device: &Device) -> Result<TinyDecoder, CheckpointError> {
    let files = ModelFiles::at(path)?;
    let inner = match &files {
        ModelFiles::Folder(_) => only_file(&files.names(""), "diffusion_pytorch_model").ok_or_else(|| {
            CheckpointError::NotTaesd { what: "a folder without an AutoencoderTiny".to_owned(), path: path.to_owned() }
        })?,
        ModelFiles::Single(_) | ModelFiles::Starter => String::new(),
    };
    let not_one = |what: String| CheckpointError::NotTaesd { what, path: files.path(&inner) };
    let file = TensorFile::open(&files, &inner).map_err(|error| match error {
        CheckpointError::Foreign { what, .. } => not_one(what.to_owned()),
        error => error,
    })?;
    let layers = match Taesd::find(&|name| file.get(name).map(|tensor| tensor.shape.as_slice())) {
        Some(Taesd::Decoder(layers)) => layers,
        Some(Taesd::Encoder) => return Err(not_one("TAESD's encoder alone".to_owned())),
        None => return Err(not_one(what_else(&files.path(&inner)))),
    };
    if let Some(what) = by_latent_channels(layers.config.latent_channels) {
        return Err(not_one(what));
    }
    let tensors = layers.read(&file, device)?;
    let weights = VarBuilder::from_tensors(tensors, dtype, device);
    let failed = |source| CheckpointError::Model { source, path: file.path().clone() };
    TinyDecoder::load(&weights, &layers.config).map_err(failed)
}

/// What a file is that is no TAESD.
fn what_else(path: &Path) -> String {
    match inspect(path) {
        Ok(card) if card.kind != ModelKind::Unknown => {
            let label = card.kind.label();
            if label.starts_with("a ") || label.starts_with("an ") { label } else { format!("a {label}") }
        }
        _ => "a file of other tensors".to_owned(),
    }
}
