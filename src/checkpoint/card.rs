//! What a model's file or folder is, as far as its header tells: plain data for lists, caches and people.

use serde::{Deserialize, Serialize};

/// What is known of a model without reading a tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// What it is.
    pub kind: ModelKind,
    /// Which Stable Diffusion it belongs to; none when that does not show.
    pub family: Option<Family>,
    /// What its U-Net is for, by its input's channels.
    pub purpose: Purpose,
    /// How the file is packed.
    pub container: Container,
    /// The types that its tensors are stored in, that with the most bytes first: "F16", "BF16", "Q8_0".
    pub stored: Vec<String>,
    /// What is inside.
    pub parts: Parts,
    /// Of the file, or of a folder's weights.
    pub size_bytes: u64,
    /// Numbers in all tensors; 0 where the tensors cannot be counted.
    pub parameters: u64,
    /// What the model predicts, where something says so.
    pub prediction: Option<PredictionKind>,
    /// What its makers wrote into it.
    pub notes: MakersNotes,
}

/// What a file of tensors is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelKind {
    /// A model that draws: a U-Net and at least one more part, or a model folder.
    Checkpoint,
    /// A U-Net without the rest.
    UNet,
    /// A VAE without the rest.
    Vae,
    /// One text encoder or more without the rest.
    TextEncoder,
    /// A LoRA or one of its relatives.
    Lora {
        /// Which: "LoRA", "LoCon", "LoHa", "LoKr", …
        network: String,
        /// The inner width of most of its pairs, where it has one.
        rank: Option<u32>,
    },
    /// A textual-inversion embedding.
    Embedding {
        /// How many tokens it takes up.
        vectors: u32,
    },
    /// A small VAE for previews.
    Taesd,
    /// Something that belongs to another kind of model, by name: "a ControlNet".
    Foreign(String),
    /// Tensors of nothing that is known.
    Unknown,
}

/// Kinds as lists are filtered by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum KindGroup {
    /// Models that draw.
    Checkpoint,
    /// LoRAs and relatives.
    Lora,
    /// Textual-inversion embeddings.
    Embedding,
    /// VAEs.
    Vae,
    /// U-Nets alone.
    UNet,
    /// Text encoders alone.
    TextEncoder,
    /// Small VAEs for previews.
    Taesd,
    /// All else.
    Other,
}

impl KindGroup {
    /// All, in menu order.
    pub const ALL: [Self; 8] = [
        Self::Checkpoint,
        Self::Lora,
        Self::Embedding,
        Self::Vae,
        Self::UNet,
        Self::TextEncoder,
        Self::Taesd,
        Self::Other,
    ];

    /// As it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Lora => "lora",
            Self::Embedding => "embedding",
            Self::Vae => "vae",
            Self::UNet => "unet",
            Self::TextEncoder => "text-encoder",
            Self::Taesd => "taesd",
            Self::Other => "other",
        }
    }

    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Checkpoint => "Checkpoint",
            Self::Lora => "LoRA",
            Self::Embedding => "Embedding",
            Self::Vae => "VAE",
            Self::UNet => "U-Net",
            Self::TextEncoder => "Text encoder",
            Self::Taesd => "TAESD",
            Self::Other => "Other",
        }
    }
}

impl std::str::FromStr for KindGroup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|group| group.name() == text);
        found.ok_or_else(|| format!("there is no kind \"{text}\"; there are {names}"))
    }
}

impl ModelKind {
    /// Where a list puts it.
    #[must_use]
    pub fn group(&self) -> KindGroup {
        match self {
            Self::Checkpoint => KindGroup::Checkpoint,
            Self::UNet => KindGroup::UNet,
            Self::Vae => KindGroup::Vae,
            Self::TextEncoder => KindGroup::TextEncoder,
            Self::Lora { .. } => KindGroup::Lora,
            Self::Embedding { .. } => KindGroup::Embedding,
            Self::Taesd => KindGroup::Taesd,
            Self::Foreign(_) | Self::Unknown => KindGroup::Other,
        }
    }

    /// For people: "LoCon, rank 16".
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            Self::Lora { network, rank: Some(rank) } => format!("{network}, rank {rank}"),
            Self::Lora { network, rank: None } => network.clone(),
            Self::Embedding { vectors: 1 } => "embedding of 1 vector".to_owned(),
            Self::Embedding { vectors } => format!("embedding of {vectors} vectors"),
            Self::Foreign(what) => what.clone(),
            Self::Unknown => "unknown tensors".to_owned(),
            Self::Checkpoint => "checkpoint".to_owned(),
            Self::UNet => "U-Net alone".to_owned(),
            Self::Vae => "VAE".to_owned(),
            Self::TextEncoder => "text encoder".to_owned(),
            Self::Taesd => "TAESD".to_owned(),
        }
    }
}

/// The families of Stable Diffusion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// 1.x.
    Sd1,
    /// 2.x.
    Sd2,
    /// XL base and what is trained from it.
    Sdxl,
    /// XL refiner.
    SdxlRefiner,
}

impl Family {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Sd1 => "SD 1",
            Self::Sd2 => "SD 2",
            Self::Sdxl => "SDXL",
            Self::SdxlRefiner => "SDXL refiner",
        }
    }
}

/// What a U-Net takes in beside the latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Purpose {
    /// Nothing: plain pictures.
    #[default]
    Pictures,
    /// A mask and a masked picture (9 channels).
    Inpainting,
    /// A picture to edit (8 channels).
    Editing,
    /// A depth map (5 channels).
    Depth,
    /// A small picture (7 channels).
    Upscaling,
}

impl Purpose {
    /// For people; none for plain pictures.
    #[must_use]
    pub fn label(self) -> Option<&'static str> {
        match self {
            Self::Pictures => None,
            Self::Inpainting => Some("inpainting"),
            Self::Editing => Some("editing"),
            Self::Depth => Some("depth"),
            Self::Upscaling => Some("upscaling"),
        }
    }
}

/// How a file is packed, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Container {
    /// safetensors.
    Safetensors,
    /// GGUF.
    Gguf,
    /// PyTorch's pickle, in a zip or older.
    Pickle,
    /// A folder in the diffusers layout.
    Folder,
}

impl Container {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "GGUF",
            Self::Pickle => "PyTorch pickle",
            Self::Folder => "model folder",
        }
    }
}

/// The parts of a model that are inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parts {
    /// The U-Net.
    pub unet: bool,
    /// How many text encoders.
    pub text_encoders: u8,
    /// The VAE, or one half of it.
    pub vae: bool,
    /// A second U-Net of averaged weights.
    pub ema: bool,
}

impl Parts {
    /// For people: "U-Net, 2 text encoders, VAE".
    #[must_use]
    pub fn label(self) -> String {
        let mut words = Vec::new();
        if self.unet {
            words.push("U-Net".to_owned());
        }
        match self.text_encoders {
            0 => {}
            1 => words.push("text encoder".to_owned()),
            count => words.push(format!("{count} text encoders")),
        }
        if self.vae {
            words.push("VAE".to_owned());
        }
        if self.ema {
            words.push("EMA weights".to_owned());
        }
        words.join(", ")
    }
}

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PredictionKind {
    /// The noise.
    Epsilon,
    /// v.
    V,
    /// v on a schedule that ends in pure noise.
    VZeroTerminalSnr,
    /// EDM's own preconditioning (Playground 2.5, CosXL).
    Edm,
}

impl PredictionKind {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::V => "v",
            Self::VZeroTerminalSnr => "v, zero terminal SNR",
            Self::Edm => "EDM",
        }
    }
}

/// What the makers of a file wrote into it, cut to a length that can be shown; without control characters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MakersNotes {
    /// `modelspec.title`.
    pub title: Option<String>,
    /// `modelspec.author`.
    pub author: Option<String>,
    /// `modelspec.description`, or the training's comment.
    pub description: Option<String>,
    /// `modelspec.license`.
    pub license: Option<String>,
    /// `modelspec.trigger_phrase`.
    pub trigger: Option<String>,
    /// The words of the training captions, the most frequent first, with their counts.
    pub tags: Vec<(String, u64)>,
    /// `ss_output_name`: the name that A1111 knows a LoRA by beside that of its file.
    pub alias: Option<String>,
    /// `ss_base_model_version`, or `modelspec.architecture`.
    pub base: Option<String>,
    /// `ss_sd_model_name`: what it was trained on.
    pub trained_on: Option<String>,
    /// `sshs_model_hash`, lower case, where it is a hash of something.
    pub embedded_hash: Option<String>,
}
