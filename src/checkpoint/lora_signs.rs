//! What shows that a file is a LoRA or one of its relatives, which one, how wide, and for which family.

use std::collections::BTreeMap;

use super::card::Family;
use super::header::{Header, TensorHead};

/// Ends of the names that give a network away; the more special first, `Inner` last.
const NETWORKS: &[(&[&str], &str)] = &[
    (&["hada_w1_a", "hada_w1_b"], "LoHa"),
    (&["lokr_w1", "lokr_w1_a", "lokr_w2", "lokr_w2_a"], "LoKr"),
    (&["oft_blocks", "oft_diag", "oft_R.weight"], "OFT"),
    (&["a1.weight", "b1.weight"], "GLoRA"),
    (&["on_input"], "IA3"),
];
/// Ends of the first of a pair of matrices, which has the rank and the width that it reads.
const DOWN: &[&str] = &[
    ".lora_down.weight",
    ".lora_A.weight",
    ".lora_A.default.weight",
    ".lora_A",
    ".lora.down.weight",
    "_lora.down.weight",
    ".lora_linear_layer.down.weight",
    ".hada_w1_b",
];
/// Ends of whole differences.
const DIFFERENCES: &[&str] = &[".diff", ".diff_b"];

/// A LoRA as its header shows it.
pub(super) struct LoraSigns {
    pub network: String,
    pub rank: Option<u32>,
    pub family: Option<Family>,
}

/// None when the file is no LoRA.
pub(super) fn read(header: &Header) -> Option<LoraSigns> {
    let names = || header.tensors.keys().map(String::as_str);
    let ends = |ending: &&str| names().any(|name| name.ends_with(&format!(".{ending}")));
    let special = NETWORKS.iter().find(|(endings, _)| endings.iter().any(ends)).map(|(_, network)| *network);
    let downs: Vec<(&str, &TensorHead)> = header
        .tensors
        .iter()
        .filter(|(name, _)| DOWN.iter().any(|ending| name.ends_with(ending)))
        .map(|(name, head)| (name.as_str(), head))
        .collect();
    let network = match special {
        Some(network) => network,
        None if downs.iter().any(|(_, head)| is_spatial(head)) => "LoCon",
        None if !downs.is_empty() => "LoRA",
        None if names().any(|name| DIFFERENCES.iter().any(|ending| name.ends_with(ending))) => "full difference",
        None => return None,
    };
    let is_dora = names().any(|name| name.ends_with(".dora_scale") || name.contains(".lora_magnitude_vector"));
    let network = if is_dora { format!("{network} with DoRA") } else { network.to_owned() };
    Some(LoraSigns { network, rank: rank(header, &downs), family: family(header, &downs) })
}

fn is_spatial(head: &TensorHead) -> bool {
    matches!(head.shape.as_slice(), [_, _, height, width] if *height > 1 || *width > 1)
}

/// The most frequent inner width.
fn rank(header: &Header, downs: &[(&str, &TensorHead)]) -> Option<u32> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    let lokr = header.tensors.iter().filter(|(name, _)| name.ends_with(".lokr_w2_b") || name.ends_with(".lokr_w1_b"));
    for head in downs.iter().map(|(_, head)| *head).chain(lokr.map(|(_, head)| head)) {
        if let Some(&rank) = head.shape.first() {
            *counts.entry(rank).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count)?;
    u32::try_from(most.0).ok()
}

/// By the width of the context, then by the text encoders, then by depth, and only then by what the trainer says.
fn family(header: &Header, downs: &[(&str, &TensorHead)]) -> Option<Family> {
    let reads = |head: &TensorHead| head.shape.get(1).copied();
    let context = downs.iter().find(|(name, _)| is_context_key(name)).and_then(|(_, head)| reads(head));
    if let Some(family) = context.or_else(|| lokr_context(header)).and_then(by_context) {
        return Some(family);
    }
    let has = |begin: &str| header.tensors.keys().any(|name| name.starts_with(begin));
    if has("lora_te2_") || has("text_encoder_2.") || has("text_encoders.clip_g.") {
        return Some(Family::Sdxl);
    }
    // SD 1 and 2 have one transformer block each: a second one tells.
    let is_deep = |name: &String| {
        ["transformer_blocks_2_", "transformer_blocks.2."].iter().any(|deep| name.contains(deep))
            && !name.contains("single_transformer_blocks")
            && !name.starts_with("transformer.")
    };
    if header.tensors.keys().any(is_deep) {
        return Some(Family::Sdxl);
    }
    let is_text = |name: &str| name.contains("self_attn") && (name.contains("q_proj") || name.contains("to_q"));
    let text = downs.iter().find(|(name, _)| is_text(name)).and_then(|(_, head)| reads(head));
    match text {
        Some(768) => Some(Family::Sd1),
        Some(1024) => Some(Family::Sd2),
        _ => by_metadata(header),
    }
}

fn is_context_key(name: &str) -> bool {
    ["attn2_to_k.", "attn2.to_k.", "attn2.processor.to_k_lora."].iter().any(|part| name.contains(part))
}

/// LoKr's matrices multiply: so do their widths.
fn lokr_context(header: &Header) -> Option<usize> {
    let name = header.tensors.keys().find(|name| is_context_key(name) && name.contains(".lokr_w"))?;
    let module = &name[..name.find(".lokr_w")?];
    let width = |ending: &str| header.tensors.get(&format!("{module}.{ending}")).and_then(|h| h.shape.get(1).copied());
    let first = width("lokr_w1").or_else(|| width("lokr_w1_b"))?;
    let second = width("lokr_w2").or_else(|| width("lokr_w2_b"))?;
    first.checked_mul(second)
}

/// The family whose text encoders give a context of this width.
pub(super) fn by_context(width: usize) -> Option<Family> {
    match width {
        768 => Some(Family::Sd1),
        1024 => Some(Family::Sd2),
        2048 => Some(Family::Sdxl),
        1280 => Some(Family::SdxlRefiner),
        _ => None,
    }
}

fn by_metadata(header: &Header) -> Option<Family> {
    let said = |key: &str| header.metadata.get(key).map(String::as_str).unwrap_or_default();
    let (base, architecture) = (said("ss_base_model_version"), said("modelspec.architecture"));
    if base.starts_with("sdxl") || architecture.starts_with("stable-diffusion-xl") {
        Some(Family::Sdxl)
    } else if said("ss_v2") == "True" || base.starts_with("sd_v2") || architecture.starts_with("stable-diffusion-v2") {
        Some(Family::Sd2)
    } else if base.starts_with("sd_v1") || architecture.starts_with("stable-diffusion-v1") {
        Some(Family::Sd1)
    } else {
        None
    }
}
