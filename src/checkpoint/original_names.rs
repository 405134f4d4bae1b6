//! From the names that the layers ask for, diffusers', to those of files: CompVis' for the U-Net and the VAE, OpenCLIP's
//! for the text encoder, or the same behind a prefix. Rules, not a table.

use super::unet_blocks::UNetBlocks;

/// How the names of one part are made in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartNames {
    /// What stands before all of them.
    pub prefix: String,
    pub spelling: Spelling,
}

/// Whose names a part has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Those that the layers ask for: diffusers' and transformers'.
    AsAsked,
    /// CompVis'.
    UNet(UNetBlocks),
    /// CompVis'.
    Vae { levels: usize },
    /// OpenCLIP's own.
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

impl PartNames {
    /// Those of a folder.
    pub fn as_asked() -> Self {
        Self { prefix: String::new(), spelling: Spelling::AsAsked }
    }

    /// The names that the file may have for `name`, the usual one first; none for a block that is not there.
    pub fn stored(&self, name: &str) -> Vec<StoredName> {
        let mut names: Vec<StoredName> = match &self.spelling {
            Spelling::AsAsked => {
                let plain = [Some(name.to_owned()), former_name(name)].into_iter().flatten().map(Into::into);
                plain.chain(joined_attention(name)).chain(bare_projection(name)).collect()
            }
            Spelling::UNet(blocks) => blocks.stored(name).map(Into::into).into_iter().collect(),
            Spelling::Vae { levels } => {
                [vae(name, *levels), mixed_attention(name)].into_iter().flatten().map(Into::into).collect()
            }
            // A file that was saved under transformers' name for it has it as transformers has.
            Spelling::OpenClip if name == "text_projection.weight" => vec![open_clip(name), name.to_owned().into()],
            Spelling::OpenClip => vec![open_clip(name)],
        };
        for stored in &mut names {
            stored.name.insert_str(0, &self.prefix);
        }
        names
    }
}

/// The name that diffusers before 0.18 gave the tensors of the VAE's attention.
fn former_name(name: &str) -> Option<String> {
    [("to_q.", "query."), ("to_k.", "key."), ("to_v.", "value."), ("to_out.0.", "proj_attn.")]
        .into_iter()
        .find(|(new, _)| name.contains("mid_block.attentions") && name.contains(new))
        .map(|(new, old)| name.replace(new, old))
}

/// stable-diffusion.cpp's name for OpenCLIP's queries, keys and values in one tensor, behind transformers' names.
fn joined_attention(name: &str) -> Option<StoredName> {
    let (block, part) = name.split_once(".self_attn.")?;
    let (part, leaf) = part.split_once('.')?;
    let third = ["q_proj", "k_proj", "v_proj"].iter().position(|known| *known == part)?;
    Some(StoredName { name: format!("{block}.self_attn.in_proj.{leaf}"), third: Some(third), is_transposed: false })
}

/// stable-diffusion.cpp's name for OpenCLIP's projection, which lies there as OpenCLIP has it.
fn bare_projection(name: &str) -> Option<StoredName> {
    (name == "text_projection.weight").then(|| StoredName {
        name: "text_model.text_projection".to_owned(),
        third: None,
        is_transposed: true,
    })
}

/// The VAE's attention under diffusers' names in a block of CompVis', as some trainers write it.
fn mixed_attention(name: &str) -> Option<String> {
    let (side, part) = name.split_once(".mid_block.attentions.0.")?;
    Some(format!("{side}.mid.attn_1.{part}"))
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

    fn first(prefix: &str, spelling: Spelling, name: &str) -> Option<StoredName> {
        PartNames { prefix: prefix.to_owned(), spelling }.stored(name).into_iter().next()
    }

    #[test]
    fn the_decoders_levels_are_counted_the_other_way() {
        let stored = |name: &str| Some(first("first_stage_model.", Spelling::Vae { levels: 4 }, name)?.name);
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
        let name = "encoder.layers.5.self_attn.v_proj.bias";
        let stored = first("cond_stage_model.model.", Spelling::OpenClip, name).unwrap();
        assert_eq!(stored.name, "cond_stage_model.model.transformer.resblocks.5.attn.in_proj_bias");
        assert_eq!(stored.third, Some(2));
    }

    #[test]
    fn stable_diffusion_cpps_names_are_looked_for_behind_transformers() {
        let names = PartNames { prefix: "cond_stage_model.1.transformer.".to_owned(), spelling: Spelling::AsAsked };
        let stored = names.stored("text_model.encoder.layers.3.self_attn.k_proj.bias");
        let joined = "cond_stage_model.1.transformer.text_model.encoder.layers.3.self_attn.in_proj.bias";
        assert_eq!((stored[1].name.as_str(), stored[1].third), (joined, Some(1)));
        let projection = &names.stored("text_projection.weight")[1];
        assert_eq!(projection.name, "cond_stage_model.1.transformer.text_model.text_projection");
        assert!(projection.is_transposed);
        assert_eq!(names.stored("text_model.encoder.layers.3.self_attn.out_proj.bias").len(), 1);
    }

    #[test]
    fn every_way_in_which_a_vaes_attention_was_ever_named_is_looked_for() {
        let names = |spelling, name: &str| -> Vec<String> {
            let names = PartNames { prefix: String::new(), spelling }.stored(name);
            names.into_iter().map(|stored| stored.name).collect()
        };
        let asked = "decoder.mid_block.attentions.0.to_out.0.weight";
        assert_eq!(names(Spelling::AsAsked, asked), [asked, "decoder.mid_block.attentions.0.proj_attn.weight"]);
        assert_eq!(
            names(Spelling::Vae { levels: 4 }, asked),
            ["decoder.mid.attn_1.proj_out.weight", "decoder.mid.attn_1.to_out.0.weight"]
        );
        assert_eq!(names(Spelling::AsAsked, "down_blocks.0.attentions.0.to_q.weight").len(), 1);
    }

    #[test]
    fn the_projection_is_turned_round_only_under_open_clips_own_name() {
        let names = PartNames { prefix: "clip_g.".to_owned(), spelling: Spelling::OpenClip };
        let stored = names.stored("text_projection.weight");
        let found: Vec<(&str, bool)> =
            stored.iter().map(|stored| (stored.name.as_str(), stored.is_transposed)).collect();
        assert_eq!(found, [("clip_g.text_projection", true), ("clip_g.text_projection.weight", false)]);
    }
}
