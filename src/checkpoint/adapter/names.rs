//! Whose weight a tensor of an adapter's file changes: the model's own names are spelled in every way that trainers spell
//! them, and looked up. No name is ever taken apart at its underscores.

use std::collections::HashMap;

use crate::checkpoint::live_weights::AdaptedPart;
use crate::checkpoint::unet_blocks::UNetBlocks;

/// What stands in front of a module's name and which part it tells; the longer before the shorter.
const PREFIXES: &[(&str, Side)] = &[
    ("lora_unet_model_diffusion_model_", Side::UNet),
    ("base_model.model.model.diffusion_model.", Side::UNet),
    ("base_model.model.diffusion_model.", Side::UNet),
    ("base_model.model.unet.", Side::UNet),
    ("base_model.model.text_encoder.", Side::Text(0)),
    ("base_model.model.text_encoder_2.", Side::Text(1)),
    ("base_model.model.", Side::Either),
    ("model.diffusion_model.", Side::UNet),
    ("diffusion_model.", Side::UNet),
    ("lora_unet_", Side::UNet),
    ("oft_unet_", Side::UNet),
    ("lycoris_", Side::UNet),
    ("unet.", Side::UNet),
    ("lora_te1_", Side::Text(0)),
    ("lora_te2_", Side::Text(1)),
    ("lora_te_", Side::Text(0)),
    ("text_encoders.clip_l.transformer.", Side::Text(0)),
    ("text_encoders.clip_h.transformer.", Side::Text(0)),
    ("text_encoders.clip_g.transformer.", Side::Text(1)),
    ("text_encoder_2.", Side::Text(1)),
    ("text_encoder.", Side::Text(0)),
];

/// What a prefix tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    UNet,
    Text(usize),
    /// Nothing: the U-Net's names are tried, then those of the text encoders.
    Either,
}

/// What a tensor of an adapter's file is to its module, by the end of its name.
const ROLES: &[(&str, Role)] = &[
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_mid.weight", Role::Mid),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora_B.bias", Role::UpBias),
    (".lora_A", Role::Down),
    (".lora_B", Role::Up),
    ("_lora.alpha", Role::Alpha),
    (".lora.alpha", Role::Alpha),
    (".alpha", Role::Alpha),
    (".scale", Role::Scale),
    (".dora_scale", Role::Magnitude),
    (".lora_magnitude_vector", Role::RowMagnitude),
    (".hada_w1_a", Role::Hada1A),
    (".hada_w1_b", Role::Hada1B),
    (".hada_w2_a", Role::Hada2A),
    (".hada_w2_b", Role::Hada2B),
    (".hada_t1", Role::Hada1Core),
    (".hada_t2", Role::Hada2Core),
    (".lokr_w1", Role::Kron1),
    (".lokr_w1_a", Role::Kron1A),
    (".lokr_w1_b", Role::Kron1B),
    (".lokr_w2", Role::Kron2),
    (".lokr_w2_a", Role::Kron2A),
    (".lokr_w2_b", Role::Kron2B),
    (".lokr_t2", Role::Kron2Core),
    (".diff", Role::Diff),
    (".diff_b", Role::DiffBias),
    (".w_norm", Role::Diff),
    (".b_norm", Role::DiffBias),
    (".on_input", Role::OnInput),
    (".oft_blocks", Role::Rotation),
    (".oft_diag", Role::Rotation),
    (".oft_R.weight", Role::Rotation),
    (".a1.weight", Role::Glora),
    (".a2.weight", Role::Glora),
    (".b1.weight", Role::Glora),
    (".b2.weight", Role::Glora),
    (".set_weight", Role::Replacement),
    (".weight", Role::Factor),
];

/// What a tensor of an adapter's file is to its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Role {
    Down,
    Up,
    Mid,
    UpBias,
    Alpha,
    Scale,
    /// DoRA's, whose shape tells its axis.
    Magnitude,
    /// DoRA's as PEFT writes it, one for each row.
    RowMagnitude,
    Hada1A,
    Hada1B,
    Hada2A,
    Hada2B,
    Hada1Core,
    Hada2Core,
    Kron1,
    Kron1A,
    Kron1B,
    Kron2,
    Kron2A,
    Kron2B,
    Kron2Core,
    Diff,
    DiffBias,
    /// IA3's factors, which only their flag tells from a plain weight.
    Factor,
    OnInput,
    Rotation,
    Glora,
    Replacement,
}

/// A layer of the model: its weight is `name.weight`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Module {
    pub part: AdaptedPart,
    pub name: String,
}

/// A tensor's name in an adapter's file, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key<'a> {
    side: Side,
    /// The module's name as the file spells it, without the prefix.
    pub module: &'a str,
    pub role: Role,
}

impl<'a> Key<'a> {
    /// `None` for a name that ends like nothing an adapter has.
    pub fn read(name: &'a str) -> Option<Self> {
        let (whole, role) = role(name)?;
        let prefix = PREFIXES.iter().find(|(prefix, _)| whole.starts_with(prefix));
        let (module, side) = match prefix {
            Some((prefix, side)) => (&whole[prefix.len()..], *side),
            None => (whole, Side::Either),
        };
        Some(Self { side, module, role })
    }

    /// True for the projection of a prompt to the keys of a cross-attention, whatever the spelling.
    pub fn is_context_key(&self) -> bool {
        flat(self.module).ends_with("attn2_to_k")
    }
}

/// The end of a name that tells the role, and what stands before it.
fn role(name: &str) -> Option<(&str, Role)> {
    // PEFT puts the adapter's name in between: lora_A.default.weight.
    if let Some(named) = name.strip_suffix(".weight") {
        for (mark, role) in
            [(".lora_A", Role::Down), (".lora_B", Role::Up), (".lora_magnitude_vector", Role::RowMagnitude)]
        {
            let is_name = |after: &str| after.is_empty() || after.strip_prefix('.').is_some_and(|a| !a.contains('.'));
            let found = named.rfind(mark).map(|at| (&named[..at], &named[at + mark.len()..]));
            if let Some((before, _)) = found.filter(|(before, after)| !before.is_empty() && is_name(after)) {
                return Some((before, role));
            }
        }
    }
    ROLES.iter().find_map(|(end, role)| Some((name.strip_suffix(end).filter(|before| !before.is_empty())?, *role)))
}

/// With underscores where the dots are, and without what old diffusers puts between a layer and its LoRA.
fn flat(name: &str) -> String {
    name.split('.').filter(|part| *part != "processor").collect::<Vec<_>>().join("_")
}

/// Every spelling of every layer of a model.
pub(super) struct Spellings {
    modules: HashMap<(AdaptedPart, String), String>,
    texts: usize,
}

impl Spellings {
    /// Of the weights of a model, by part and name as the layers ask for them.
    pub fn of<'a>(weights: impl Iterator<Item = (AdaptedPart, &'a str)> + Clone) -> Self {
        let unet = weights.clone().filter(|(part, _)| *part == AdaptedPart::UNet).map(|(_, name)| name);
        let blocks = UNetBlocks::numbered(unet);
        let mut modules = HashMap::new();
        let mut texts = 0;
        for (part, name) in weights {
            let Some((module, _)) = name.rsplit_once('.') else { continue };
            if let AdaptedPart::Text(index) = part {
                texts = texts.max(index + 1);
            }
            let spellings = match part {
                AdaptedPart::UNet => unet_spellings(module, &blocks),
                AdaptedPart::Text(_) => text_spellings(module),
            };
            for spelling in spellings {
                modules.entry((part, flat(&spelling))).or_insert_with(|| module.to_owned());
            }
        }
        Self { modules, texts }
    }

    /// The layer that a tensor belongs to.
    pub fn find(&self, key: &Key) -> Option<Module> {
        let name = flat(key.module);
        let sides = match key.side {
            Side::UNet => vec![AdaptedPart::UNet],
            Side::Text(index) => vec![AdaptedPart::Text(index)],
            Side::Either => {
                let texts = (0..self.texts).map(AdaptedPart::Text);
                std::iter::once(AdaptedPart::UNet).chain(texts).collect()
            }
        };
        sides.into_iter().find_map(|part| {
            let name = self.modules.get(&(part, name.clone()))?.clone();
            Some(Module { part, name })
        })
    }
}

fn unet_spellings(module: &str, blocks: &UNetBlocks) -> Vec<String> {
    let mut spellings = vec![module.to_owned()];
    // The rules are for tensors: one is asked for, and its last word taken off again.
    let original = blocks.stored(&format!("{module}.weight"));
    spellings.extend(original.and_then(|name| Some(name.strip_suffix(".weight")?.to_owned())));
    let shorter: Vec<String> = spellings
        .iter()
        .filter_map(|name| name.strip_suffix(".to_out.0"))
        .map(|name| format!("{name}.to_out"))
        .collect();
    spellings.extend(shorter);
    spellings
}

fn text_spellings(module: &str) -> Vec<String> {
    let bare = module.strip_prefix("text_model.").unwrap_or(module);
    let mut spellings = vec![bare.to_owned(), format!("text_model.{bare}")];
    for (own, attention) in [("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")] {
        if let Some(before) = bare.strip_suffix(own) {
            spellings.extend([format!("{before}{attention}"), format!("text_model.{before}{attention}")]);
        }
    }
    spellings
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEIGHTS: &[(AdaptedPart, &str)] = &[
        (AdaptedPart::UNet, "conv_in.weight"),
        (AdaptedPart::UNet, "down_blocks.0.resnets.0.conv1.weight"),
        (AdaptedPart::UNet, "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"),
        (AdaptedPart::UNet, "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.weight"),
        (AdaptedPart::UNet, "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight"),
        (AdaptedPart::Text(0), "encoder.layers.0.self_attn.q_proj.weight"),
        (AdaptedPart::Text(0), "encoder.layers.0.mlp.fc1.weight"),
    ];

    fn find(name: &str) -> Option<(String, Role)> {
        let key = Key::read(name)?;
        let module = Spellings::of(WEIGHTS.iter().copied()).find(&key)?;
        Some((module.name, key.role))
    }

    #[test]
    fn every_dialect_leads_to_the_same_layer() {
        let block = "down_blocks.0.attentions.0.transformer_blocks.0";
        for (name, layer, role) in [
            (
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
                "attn1.to_q",
                Role::Down,
            ),
            ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q.alpha", "attn1.to_q", Role::Alpha),
            ("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", "attn1.to_q", Role::Down),
            (
                "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.default.weight",
                "attn1.to_q",
                Role::Up,
            ),
            (
                "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.lora_A.weight",
                "ff.net.0.proj",
                Role::Down,
            ),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight",
                "attn1.to_q",
                Role::Down,
            ),
            (
                "down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight",
                "attn1.to_out.0",
                Role::Up,
            ),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0.lora.up.weight",
                "attn1.to_out.0",
                Role::Up,
            ),
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_linear_layer.up.weight",
                "attn1.to_q",
                Role::Up,
            ),
            ("diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_up.weight", "attn1.to_q", Role::Up),
            ("lycoris_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lokr_w1", "attn1.to_q", Role::Kron1),
        ] {
            assert_eq!(find(name), Some((format!("{block}.{layer}"), role)), "{name}");
        }
    }

    #[test]
    fn convolutions_and_text_encoders_are_found() {
        for (name, layer, role) in [
            ("lora_unet_input_blocks_1_0_in_layers_2.lora_mid.weight", "down_blocks.0.resnets.0.conv1", Role::Mid),
            ("lora_unet_input_blocks_0_0.hada_w1_a", "conv_in", Role::Hada1A),
            (
                "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
                "encoder.layers.0.self_attn.q_proj",
                Role::Up,
            ),
            ("lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha", "encoder.layers.0.mlp.fc1", Role::Alpha),
            (
                "text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
                "encoder.layers.0.self_attn.q_proj",
                Role::Down,
            ),
            (
                "text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.down.weight",
                "encoder.layers.0.self_attn.q_proj",
                Role::Down,
            ),
            (
                "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.diff_b",
                "encoder.layers.0.mlp.fc1",
                Role::DiffBias,
            ),
        ] {
            assert_eq!(find(name), Some((layer.to_owned(), role)), "{name}");
        }
    }

    #[test]
    fn what_is_no_layer_of_the_model_is_not_found() {
        assert_eq!(find("lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha"), None);
        assert_eq!(find("lora_unet_down_blocks_9_resnets_0_conv1.alpha"), None);
        assert_eq!(Key::read("alpha"), None);
        assert_eq!(Key::read(".alpha"), None);
        let foreign = Key::read("lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k.lora_down.weight").unwrap();
        assert!(foreign.is_context_key());
    }

    proptest! {
        #[test]
        fn any_name_is_read(name in "[a-z_.0-9A-Bé]{0,40}(\\.lora_A|\\.weight|\\.alpha|_lora\\.down\\.weight)?") {
            let spellings = Spellings::of(WEIGHTS.iter().copied());
            if let Some(key) = Key::read(&name) {
                let _ = spellings.find(&key);
            }
        }
    }
}
