//! Files that are no checkpoint of Stable Diffusion, told apart so that the refusal can say what they are.

use std::io::ErrorKind;

use super::CheckpointError;
use super::files::ModelFiles;

/// What a single file is, when it is not safetensors.
pub(super) fn by_content(files: &ModelFiles) -> Result<Option<&'static str>, CheckpointError> {
    let io = |source| CheckpointError::Io { source, path: files.path("") };
    let source = files.open("")?;
    let len = usize::try_from(source.len().map_err(io)?).unwrap_or(usize::MAX).min(512);
    let mut start = vec![0; len];
    match source.read_at(0, &mut start) {
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(io(error)),
        _ => Ok(by_first_bytes(&start)),
    }
}

/// What a file is by its first bytes, when it is not safetensors.
fn by_first_bytes(start: &[u8]) -> Option<&'static str> {
    // PyTorch's magic number 0x1950a86a20f9469cfc6c as a pickled LONG1: its file format before the zip.
    const OLD_TORCH: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";
    const PICKLE: &str = "a PyTorch pickle (.ckpt, .pt), which cannot be opened yet";
    let text = start.trim_ascii_start();
    if start.starts_with(b"PK\x03\x04") || start.starts_with(OLD_TORCH) || start.get(257..262) == Some(b"ustar") {
        Some(PICKLE)
    } else if start.starts_with(b"GGUF") {
        Some("a GGUF file, which cannot be opened yet")
    } else if start.starts_with(b"version https://git-lfs") {
        Some("a Git LFS pointer: the place of a file that was not downloaded")
    } else if text.starts_with(b"<") {
        Some("a saved web page, not what the link on it leads to")
    } else {
        None
    }
}

/// Parts of names that only relatives have, which may have a U-Net under the usual names too.
const RELATIVES: &[(&str, &str)] = &[
    ("control_model.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    ("input_hint_block.", "a ControlNet"),
    ("lora_controlnet", "a Control-LoRA"),
    ("lllite_unet_", "a ControlLLLite"),
    ("adapter.body.", "a T2I-Adapter"),
    ("image_proj.", "an IP-Adapter"),
    ("motion_modules", "an AnimateDiff motion module"),
    ("joint_blocks.", "a Stable Diffusion 3 model"),
    ("double_blocks.", "a Flux model"),
    ("double_layers.", "an AuraFlow model"),
    ("mlp_t5.", "a Hunyuan-DiT model"),
    ("clip_txt_mapper.", "a Stable Cascade model"),
    (".time_stack.", "a Stable Video Diffusion model"),
    (".time_mixer.", "a Stable Video Diffusion model"),
    ("cc_projection.", "a Stable Zero123 model"),
    ("cond_stage_model.roberta.", "an AltDiffusion model"),
    ("depth_model.", "a Stable Diffusion 2 depth model"),
    ("embedder.model.ln_final.", "a Stable Diffusion 2 unCLIP model"),
    ("time_embed.cond_proj.", "a latent consistency model with guidance embedding"),
    ("edm_mean", "a Playground 2.5 model"),
    ("edm_vpred.", "a CosXL model"),
    ("conditioner.embedders.1.model.", "a Stable Diffusion XL model, which cannot be opened yet"),
];

/// Parts of names that tell what a file without a U-Net is; the more telling first.
const PARTS: &[(&str, &str)] = &[
    ("lora_up.", "a LoRA, not a model"),
    ("lora_down.", "a LoRA, not a model"),
    ("lora_A.", "a LoRA, not a model"),
    ("lora.up.", "a LoRA, not a model"),
    ("hada_w1", "a LoRA (LoHa), not a model"),
    ("lokr_w", "a LoRA (LoKr), not a model"),
    ("emb_params", "a textual-inversion embedding"),
    ("taesd_decoder.", "a TAESD preview decoder"),
    ("clip_l", "a textual-inversion embedding"),
    ("SelfAttention.", "a T5 text encoder"),
    ("model_ema.", "a checkpoint with nothing but EMA weights"),
    ("input_blocks.", "a U-Net alone"),
    ("down_blocks.0.attentions.", "a U-Net alone, as it lies in a diffusers folder: open the folder"),
    ("encoder.down_blocks.", "a VAE alone, as it lies in a diffusers folder: open the folder"),
    ("decoder.up.", "a VAE alone"),
    ("decoder.up_blocks.", "a VAE alone, as it lies in a diffusers folder: open the folder"),
    ("vision_model.", "a CLIP image encoder"),
    ("visual.", "a CLIP image encoder"),
    ("text_model.", "a text encoder alone"),
    ("token_embedding.", "a text encoder alone"),
    ("conv_first.", "an upscaler"),
    ("model.1.sub.", "an upscaler"),
];

/// What relative of Stable Diffusion 1 and 2 a file is by its names.
pub(super) fn relative(names: &[&str]) -> Option<&'static str> {
    first_of(RELATIVES, names)
}

/// What a file without a U-Net is by its names.
pub(super) fn part(names: &[&str]) -> Option<&'static str> {
    first_of(PARTS, names)
}

fn first_of(known: &[(&str, &'static str)], names: &[&str]) -> Option<&'static str> {
    known.iter().find(|(marker, _)| names.iter().any(|name| name.contains(marker))).map(|(_, what)| *what)
}

/// What a U-Net is for by its input's channels, where it is not for plain pictures.
pub(super) fn by_input_channels(channels: usize) -> Option<&'static str> {
    match channels {
        5 => Some("a depth model (5 input channels)"),
        7 => Some("an upscaling model (7 input channels)"),
        8 => Some("an editing model (8 input channels)"),
        9 => Some("an inpainting model (9 input channels), which cannot be opened yet"),
        _ => None,
    }
}

/// What a U-Net is by the width of what joins its time embedding (`label_emb`).
pub(super) fn by_label_width(width: usize) -> &'static str {
    match width {
        2816 => "a Stable Diffusion XL model, which cannot be opened yet",
        2560 => "a Stable Diffusion XL refiner, which cannot be opened yet",
        1536 | 2048 => "a Stable Diffusion 2 unCLIP model",
        768 => "a Stable Video Diffusion model",
        _ => "a model with class labels",
    }
}
