//! Where a single file keeps the blocks of its U-Net: CompVis' layout numbers them in one row down and one row up.

use std::collections::{BTreeMap, BTreeSet};

use super::original_names::resnet_part;

/// The numbers of the blocks, level by level. Read from the file and not computed: converters of U-Nets with one block
/// a level leave gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UNetBlocks {
    /// In `input_blocks`, from the finest level in.
    pub down: Vec<BlockLevel>,
    /// In `output_blocks`, from the deepest level out.
    pub up: Vec<BlockLevel>,
}

/// The blocks of one level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct BlockLevel {
    pub blocks: Vec<usize>,
    /// Number and slot of the change of size that ends the level.
    sampler: Option<(usize, usize)>,
}

impl UNetBlocks {
    /// Finds the blocks among the names of a file that begin with `prefix`.
    pub fn read<'a>(names: impl Iterator<Item = &'a str>, prefix: &str) -> Self {
        let (mut inputs, mut outputs) = (BTreeSet::new(), BTreeSet::new());
        let (mut shrinking, mut growing) = (BTreeSet::new(), BTreeSet::new());
        for name in names.filter_map(|name| name.strip_prefix(prefix)) {
            let mut parts = name.split('.');
            let (row, number, slot) = (parts.next(), parts.next(), parts.next());
            let (Some(Ok(number)), Some(Ok(slot))) = (number.map(str::parse), slot.map(str::parse)) else { continue };
            match (row, parts.next()) {
                (Some("input_blocks"), Some("op")) => _ = shrinking.insert((number, slot)),
                // The first is the convolution before all levels.
                (Some("input_blocks"), _) if number > 0 => _ = inputs.insert(number),
                (Some("output_blocks"), Some("conv")) => _ = growing.insert((number, slot)),
                (Some("output_blocks"), _) => _ = outputs.insert(number),
                _ => {}
            }
        }
        // Down, the change of size has a number of its own; up, it shares that of the level's last block.
        Self { down: levels(inputs, &shrinking), up: levels(outputs, &growing) }
    }

    /// The numbers that CompVis' layout gives the blocks of a U-Net, from its names in diffusers' layout.
    pub fn numbered<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        #[derive(Default)]
        struct Found {
            blocks: usize,
            attends: bool,
            has_sampler: bool,
        }
        let (mut down, mut up) = (BTreeMap::<usize, Found>::new(), BTreeMap::<usize, Found>::new());
        for name in names {
            let mut parts = name.split('.');
            let levels = match parts.next() {
                Some("down_blocks") => &mut down,
                Some("up_blocks") => &mut up,
                _ => continue,
            };
            let Some(Ok(level)) = parts.next().map(str::parse) else { continue };
            let found = levels.entry(level).or_default();
            match (parts.next(), parts.next().map(str::parse::<usize>)) {
                (Some("resnets"), Some(Ok(index))) => found.blocks = found.blocks.max(index.saturating_add(1)),
                (Some("attentions"), _) => found.attends = true,
                (Some("downsamplers" | "upsamplers"), _) => found.has_sampler = true,
                _ => {}
            }
        }
        // The first number is the convolution before all levels. Down, the change of size has a number of its own; up, it
        // stands behind the last block's attention.
        let mut next = 1;
        let down = down.values().map(|found| {
            let blocks: Vec<usize> = (next..next + found.blocks).collect();
            next += found.blocks + usize::from(found.has_sampler);
            BlockLevel { blocks, sampler: found.has_sampler.then(|| (next - 1, 0)) }
        });
        let down = down.collect();
        let mut next = 0;
        let up = up.values().map(|found| {
            let blocks: Vec<usize> = (next..next + found.blocks).collect();
            next += found.blocks;
            let slot = if found.attends { 2 } else { 1 };
            BlockLevel { blocks, sampler: found.has_sampler.then(|| (next.saturating_sub(1), slot)) }
        });
        Self { down, up: up.collect() }
    }

    /// The file's name, below the prefix, for a name of diffusers' layout; `None` for a block that is not there.
    pub fn stored(&self, name: &str) -> Option<String> {
        let parts: Vec<&str> = name.split('.').collect();
        let (row, levels) = match parts[0] {
            "down_blocks" => ("input_blocks", &self.down),
            "up_blocks" => ("output_blocks", &self.up),
            _ => return outer(&parts).or_else(|| Some(name.to_owned())),
        };
        let [_, level, kind, index, rest @ ..] = parts.as_slice() else { return None };
        let level = levels.get(level.parse::<usize>().ok()?)?;
        match *kind {
            "downsamplers" | "upsamplers" => {
                let (number, slot) = level.sampler?;
                let conv = if row == "input_blocks" { "op" } else { "conv" };
                Some(format!("{row}.{number}.{slot}.{conv}.{}", rest.last()?))
            }
            _ => {
                let number = level.blocks.get(index.parse::<usize>().ok()?)?;
                Some(match *kind {
                    "resnets" => format!("{row}.{number}.0.{}", resnet(rest)),
                    _ => format!("{row}.{number}.1.{}", rest.join(".")),
                })
            }
        }
    }
}

/// Cuts a row of blocks where the size changes.
fn levels(numbers: BTreeSet<usize>, samplers: &BTreeSet<(usize, usize)>) -> Vec<BlockLevel> {
    let mut levels = Vec::new();
    let mut level = BlockLevel::default();
    let mut samplers = samplers.iter().copied().peekable();
    for number in numbers {
        // The change of size lies before this block, or is its own last part.
        while let Some(sampler) = samplers.next_if(|(at, _)| *at < number) {
            close(&mut level, sampler, &mut levels);
        }
        level.blocks.push(number);
        if let Some(sampler) = samplers.next_if(|(at, _)| *at == number) {
            close(&mut level, sampler, &mut levels);
        }
    }
    if !level.blocks.is_empty() {
        levels.push(level);
    }
    levels
}

fn close(level: &mut BlockLevel, sampler: (usize, usize), levels: &mut Vec<BlockLevel>) {
    level.sampler = Some(sampler);
    levels.push(std::mem::take(level));
}

/// What lies outside the numbered rows.
fn outer(parts: &[&str]) -> Option<String> {
    Some(match parts {
        ["conv_in", leaf] => format!("input_blocks.0.0.{leaf}"),
        ["time_embedding", "linear_1", leaf] => format!("time_embed.0.{leaf}"),
        ["time_embedding", "linear_2", leaf] => format!("time_embed.2.{leaf}"),
        ["add_embedding", "linear_1", leaf] => format!("label_emb.0.0.{leaf}"),
        ["add_embedding", "linear_2", leaf] => format!("label_emb.0.2.{leaf}"),
        ["mid_block", "resnets", "0", rest @ ..] => format!("middle_block.0.{}", resnet(rest)),
        ["mid_block", "attentions", "0", rest @ ..] => format!("middle_block.1.{}", rest.join(".")),
        ["mid_block", "resnets", "1", rest @ ..] => format!("middle_block.2.{}", resnet(rest)),
        ["conv_norm_out", leaf] => format!("out.0.{leaf}"),
        // out.1 is the activation.
        ["conv_out", leaf] => format!("out.2.{leaf}"),
        _ => return None,
    })
}

fn resnet(rest: &[&str]) -> String {
    let [part, leaf] = rest else { return rest.join(".") };
    format!("{}.{leaf}", resnet_part(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(names: &[&str]) -> UNetBlocks {
        UNetBlocks::read(names.iter().copied(), "")
    }

    #[test]
    fn diffusers_names_are_numbered_as_stable_diffusion_is() {
        let mut names: Vec<String> = Vec::new();
        for level in 0..4 {
            names.extend((0..2).map(|block| format!("down_blocks.{level}.resnets.{block}.conv1.weight")));
            names.extend((0..3).map(|block| format!("up_blocks.{level}.resnets.{block}.conv1.weight")));
            if level < 3 {
                names.push(format!("down_blocks.{level}.attentions.0.proj_in.weight"));
                names.push(format!("up_blocks.{}.attentions.0.proj_in.weight", level + 1));
                names.push(format!("down_blocks.{level}.downsamplers.0.conv.weight"));
                names.push(format!("up_blocks.{level}.upsamplers.0.conv.weight"));
            }
        }
        let found = UNetBlocks::numbered(names.iter().map(String::as_str));
        for (theirs, original) in [
            ("down_blocks.1.attentions.1.proj_in.weight", "input_blocks.5.1.proj_in.weight"),
            ("down_blocks.2.downsamplers.0.conv.weight", "input_blocks.9.0.op.weight"),
            ("down_blocks.3.resnets.1.conv2.bias", "input_blocks.11.0.out_layers.3.bias"),
            ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"),
            ("up_blocks.1.upsamplers.0.conv.weight", "output_blocks.5.2.conv.weight"),
            ("up_blocks.3.resnets.2.time_emb_proj.weight", "output_blocks.11.0.emb_layers.1.weight"),
        ] {
            assert_eq!(found.stored(theirs).as_deref(), Some(original));
        }
    }

    #[test]
    fn gaps_in_the_numbers_are_followed() {
        // BK-SDM tiny: one block a level, numbered as if there were two.
        let found = blocks(&[
            "input_blocks.0.0.weight",
            "input_blocks.1.0.in_layers.0.weight",
            "input_blocks.3.0.op.weight",
            "input_blocks.4.0.in_layers.0.weight",
            "output_blocks.0.0.in_layers.0.weight",
            "output_blocks.1.0.in_layers.0.weight",
            "output_blocks.1.1.conv.weight",
            "output_blocks.3.0.in_layers.0.weight",
            "output_blocks.4.0.in_layers.0.weight",
        ]);
        let numbers = |levels: &[BlockLevel]| levels.iter().map(|level| level.blocks.clone()).collect::<Vec<_>>();
        assert_eq!(numbers(&found.down), [vec![1], vec![4]]);
        assert_eq!(numbers(&found.up), [vec![0, 1], vec![3, 4]]);
        assert_eq!(found.stored("down_blocks.0.downsamplers.0.conv.bias").as_deref(), Some("input_blocks.3.0.op.bias"));
        assert_eq!(
            found.stored("up_blocks.1.resnets.0.conv_shortcut.weight").as_deref(),
            Some("output_blocks.3.0.skip_connection.weight")
        );
        assert_eq!(found.stored("up_blocks.1.upsamplers.0.conv.weight"), None);
        assert_eq!(found.stored("down_blocks.7.resnets.0.conv1.weight"), None);
    }
}
