//! From the names that the layers ask for, diffusers', to those of single files: CompVis' for the U-Net and the VAE,
//! OpenAI's or OpenCLIP's for the text encoder. Rules, not a table.

use super::unet_blocks::{UNET_PREFIX, UNetBlocks};

/// What stands before the names of the VAE.
pub(super) const VAE_PREFIX: &str = "first_stage_model.";

/// How the names of one part are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OriginalNames {
    UNet(UNetBlocks),
    Vae { levels: usize },
    Text(Tower),
}

/// A text encoder in a single file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tower {
    pub spelling: Spelling,
    pub prefix: &'static str,
}

/// Whose names a text encoder has, which tells whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// transformers' names for OpenAI's CLIP: Stable Diffusion 1.
    Clip,
    /// OpenCLIP's own: Stable Diffusion 2, the second of XL.
    OpenClip,
}

/// Where a tensor is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredName {
    pub name: String,
    /// Which third of its rows, where queries, keys and values lie in one tensor.
    pub third: Option<usize>,
    /// Whether its rows are the columns asked for.
    pub is_transposed: bool,
}

impl From<String> for StoredName {
    fn from(name: String) -> Self {
        Self { name, third: None, is_transposed: false }
    }
}

impl OriginalNames {
    /// What stands before all names of the part.
    pub fn prefix(&self) -> &'static str {
        match self {
            Self::UNet(_) => UNET_PREFIX,
            Self::Vae { .. } => VAE_PREFIX,
            Self::Text(tower) => tower.prefix,
        }
    }

    /// The file's name for `name`; `None` when such a file has none.
    pub fn stored(&self, name: &str) -> Option<StoredName> {
        let mut stored = match self {
            Self::UNet(blocks) => blocks.stored(name)?.into(),
            Self::Vae { levels } => vae(name, *levels)?.into(),
            Self::Text(Tower { spelling: Spelling::Clip, .. }) => name.to_owned().into(),
            Self::Text(Tower { spelling: Spelling::OpenClip, .. }) => open_clip(name),
        };
        stored.name.insert_str(0, self.prefix());
        Some(stored)
    }
}

/// A part of a residual block in the U-Net.
pub(super) fn resnet_part(part: &str) -> &str {
    match part {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        other => other,
    }
}

fn vae(name: &str, levels: usize) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    // The decoder's levels are numbered from the pixels in, and run from the deepest out.
    let reversed = |level: &str| levels.checked_sub(level.parse::<usize>().ok()?.checked_add(1)?);
    Some(match parts.as_slice() {
        ["encoder", "down_blocks", level, "resnets", block, rest @ ..] => {
            format!("encoder.down.{level}.block.{block}.{}", vae_resnet(rest))
        }
        ["encoder", "down_blocks", level, "downsamplers", "0", rest @ ..] => {
            format!("encoder.down.{level}.downsample.{}", rest.join("."))
        }
        ["decoder", "up_blocks", level, "resnets", block, rest @ ..] => {
            format!("decoder.up.{}.block.{block}.{}", reversed(level)?, vae_resnet(rest))
        }
        ["decoder", "up_blocks", level, "upsamplers", "0", rest @ ..] => {
            format!("decoder.up.{}.upsample.{}", reversed(level)?, rest.join("."))
        }
        [side, "mid_block", "resnets", block, rest @ ..] => {
            format!("{side}.mid.block_{}.{}", block.parse::<usize>().ok()?.checked_add(1)?, vae_resnet(rest))
        }
        [side, "mid_block", "attentions", "0", part, rest @ ..] => {
            let part = match *part {
                "group_norm" => "norm",
                "to_q" => "q",
                "to_k" => "k",
                "to_v" => "v",
                "to_out" => "proj_out",
                other => other,
            };
            format!("{side}.mid.attn_1.{part}.{}", rest.last()?)
        }
        [side, "conv_norm_out", leaf] => format!("{side}.norm_out.{leaf}"),
        _ => name.to_owned(),
    })
}

fn vae_resnet(rest: &[&str]) -> String {
    rest.join(".").replace("conv_shortcut", "nin_shortcut")
}

fn open_clip(name: &str) -> StoredName {
    let parts: Vec<&str> = name.split('.').collect();
    let block = |layer: &str, rest: String| format!("transformer.resblocks.{layer}.{rest}");
    match parts.as_slice() {
        ["embeddings", "token_embedding", "weight"] => "token_embedding.weight".to_owned().into(),
        ["embeddings", "position_embedding", "weight"] => "positional_embedding".to_owned().into(),
        ["final_layer_norm", leaf] => format!("ln_final.{leaf}").into(),
        ["text_projection", "weight"] => {
            StoredName { name: "text_projection".to_owned(), third: None, is_transposed: true }
        }
        ["encoder", "layers", layer, "self_attn", part @ ("q_proj" | "k_proj" | "v_proj"), leaf] => StoredName {
            name: block(layer, format!("attn.in_proj_{leaf}")),
            third: ["q_proj", "k_proj", "v_proj"].iter().position(|known| known == part),
            is_transposed: false,
        },
        ["encoder", "layers", layer, rest @ ..] => {
            let rest = match rest {
                ["self_attn", "out_proj", leaf] => format!("attn.out_proj.{leaf}"),
                ["layer_norm1", leaf] => format!("ln_1.{leaf}"),
                ["layer_norm2", leaf] => format!("ln_2.{leaf}"),
                ["mlp", "fc1", leaf] => format!("mlp.c_fc.{leaf}"),
                ["mlp", "fc2", leaf] => format!("mlp.c_proj.{leaf}"),
                _ => rest.join("."),
            };
            block(layer, rest).into()
        }
        _ => name.to_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoders_levels_are_counted_the_other_way() {
        let names = OriginalNames::Vae { levels: 4 };
        let stored = |name: &str| names.stored(name).map(|stored| stored.name);
        assert_eq!(
            stored("decoder.up_blocks.0.resnets.2.conv_shortcut.weight").as_deref(),
            Some("first_stage_model.decoder.up.3.block.2.nin_shortcut.weight")
        );
        assert_eq!(
            stored("decoder.mid_block.attentions.0.to_out.0.bias").as_deref(),
            Some("first_stage_model.decoder.mid.attn_1.proj_out.bias")
        );
        assert_eq!(stored("decoder.up_blocks.4.resnets.0.norm1.weight"), None);
    }

    #[test]
    fn open_clips_queries_keys_and_values_are_thirds() {
        let tower = Tower { spelling: Spelling::OpenClip, prefix: "cond_stage_model.model." };
        let stored = OriginalNames::Text(tower).stored("encoder.layers.5.self_attn.v_proj.bias").unwrap();
        assert_eq!(stored.name, "cond_stage_model.model.transformer.resblocks.5.attn.in_proj_bias");
        assert_eq!(stored.third, Some(2));
    }
}
