//! Files that are no checkpoint of Stable Diffusion, told apart so that the refusal can say what they are.

/// What a file is by its first bytes, when it is no file of tensors.
pub(super) fn by_first_bytes(start: &[u8]) -> Option<&'static str> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    if start.starts_with(b"version https://git-lfs") {
        Some("a Git LFS pointer: the place of a file that was not downloaded")
    } else if text.starts_with(b"<") {
        Some("a saved web page, not what the link on it leads to")
    } else {
        None
    }
}

/// Parts of names that only relatives have, which may have a U-Net under the usual names too.
const STRANGERS: &[(&str, &str)] = &[
    ("control_model.", "a ControlNet"),
    ("controlnet_", "a ControlNet"),
    ("input_hint_block.", "a ControlNet"),
    ("lora_controlnet", "a Control-LoRA"),
    ("lllite_unet", "a ControlLLLite"),
    ("adapter.body.", "a T2I-Adapter"),
    ("body.0.in_conv.", "a T2I-Adapter"),
    ("body.0.block1.", "a T2I-Adapter"),
    ("image_proj.", "an IP-Adapter"),
    ("motion_modules", "an AnimateDiff motion module"),
    ("joint_blocks.", "a Stable Diffusion 3 model"),
    ("double_blocks.", "a Flux model"),
    ("single_transformer_blocks.", "a Flux model"),
    ("context_embedder.", "a Stable Diffusion 3 or Flux model"),
    ("double_layers.", "an AuraFlow model"),
    ("mlp_t5.", "a Hunyuan-DiT model"),
    ("clip_txt_mapper.", "a Stable Cascade model"),
    (".time_stack.", "a Stable Video Diffusion model"),
    (".time_mixer.", "a Stable Video Diffusion model"),
    ("cc_projection.", "a Stable Zero123 model"),
    ("cond_stage_model.roberta.", "an AltDiffusion model"),
];

/// Parts of names that only variants of Stable Diffusion have, which this build cannot draw with.
const VARIANTS: &[(&str, &str)] = &[
    ("depth_model.", "a Stable Diffusion 2 depth model"),
    ("embedder.model.ln_final.", "a Stable Diffusion 2 unCLIP model"),
    ("time_embed.cond_proj.", "a latent consistency model with guidance embedding"),
    ("edm_mean", "a Playground 2.5 model"),
    ("edm_vpred.", "a CosXL model"),
];

/// Parts of names that tell what a file without a U-Net is; the more telling first.
const PARTS: &[(&str, &str)] = &[
    ("lora_up.", "a LoRA, not a model"),
    ("lora_down.", "a LoRA, not a model"),
    ("lora_A.", "a LoRA, not a model"),
    ("lora.up.", "a LoRA, not a model"),
    ("_lora.up.", "a LoRA, not a model"),
    ("hada_w1", "a LoRA (LoHa), not a model"),
    ("lokr_w1", "a LoRA (LoKr), not a model"),
    ("emb_params", "a textual-inversion embedding"),
    ("taesd_decoder.", "a TAESD, which the settings take for previews, not a model"),
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
    ("clip_l", "a textual-inversion embedding"),
    ("conv_first.", "an upscaler"),
    ("model.1.sub.", "an upscaler"),
];

/// What relative of Stable Diffusion 1 and 2 a file is by its names.
pub(super) fn relative(names: &[&str]) -> Option<&'static str> {
    stranger(names).or_else(|| first_of(VARIANTS, names))
}

/// What a file is by its names when it belongs to another kind of model.
pub(super) fn stranger(names: &[&str]) -> Option<&'static str> {
    first_of(STRANGERS, names)
}

/// What a file without a U-Net is by its names.
pub(super) fn part(names: &[&str]) -> Option<&'static str> {
    first_of(PARTS, names)
}

fn first_of(known: &[(&str, &'static str)], names: &[&str]) -> Option<&'static str> {
    known.iter().find(|(marker, _)| names.iter().any(|name| has(name, marker))).map(|(_, what)| *what)
}

/// True when the marker begins a part of the name and does not end within a word: `clip_l` is in `clip_l.weight`, not in
/// `clip_large`. One that begins with a mark may stand behind anything.
fn has(name: &str, marker: &str) -> bool {
    let is_mark = |c: char| c == '.' || c == '_';
    name.match_indices(marker).any(|(at, _)| {
        let begins = at == 0 || marker.starts_with(is_mark) || name[..at].ends_with('.');
        let rest = &name[at + marker.len()..];
        begins && (marker.ends_with(is_mark) || rest.is_empty() || rest.starts_with(is_mark))
    })
}

/// What a U-Net is for by its input's channels, where it is not for plain pictures.
pub(super) fn by_input_channels(channels: usize) -> Option<&'static str> {
    match channels {
        5 => Some("a depth model (5 input channels)"),
        7 => Some("an upscaling model (7 input channels)"),
        8 => Some("an editing model (8 input channels)"),
        _ => None,
    }
}

/// What a U-Net is by the width of what joins its time embedding (`label_emb`).
pub(super) fn by_label_width(width: usize) -> Option<&'static str> {
    match width {
        1536 | 2048 => Some("a Stable Diffusion 2 unCLIP model"),
        768 => Some("a Stable Video Diffusion model"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_counts_only_where_a_part_of_a_name_begins() {
        assert!(has("clip_l", "clip_l") && !has("clip_large.x", "clip_l") && !has("my_clip_l", "clip_l"));
        assert!(has("a.visual.proj", "visual.") && !has("audiovisual.proj", "visual."));
        assert!(has("down.to_q_lora.up.weight", "_lora.up.") && has("lllite_unet_x.down", "lllite_unet"));
        assert_eq!(relative(&["lora_unet_double_blocks_0_img_attn.lora_up.weight"]), None);
        assert_eq!(relative(&["double_blocks.0.img_attn.qkv.weight"]), Some("a Flux model"));
        assert_eq!(relative(&["single_transformer_blocks.0.attn.to_q.weight"]), Some("a Flux model"));
        assert_eq!(by_first_bytes(b"\xef\xbb\xbf<!DOCTYPE html>").map(|what| &what[..16]), Some("a saved web page"));
        assert_eq!(part(&["text_encoders.clip_l.transformer.text_model.x"]), Some("a text encoder alone"));
    }
}
