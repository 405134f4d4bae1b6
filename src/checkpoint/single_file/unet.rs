//! The U-Net of a single file: its levels, depths and widths, as its names and shapes show them.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::SingleFile;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::unet_blocks::{BlockLevel, UNET_PREFIX, UNetBlocks};

/// Sinusoids of one of the numbers that Stable Diffusion XL is told.
const NUMBER_WIDTH: usize = 256;

impl SingleFile {
    /// What `unet/config.json` would say.
    pub fn unet<T: DeserializeOwned>(&self) -> Result<T, CheckpointError> {
        let UNetBlocks { down, up } = &self.blocks;
        let fits = |(down, up): (&BlockLevel, &BlockLevel)| up.blocks.len() == down.blocks.len() + 1;
        if down.is_empty() || down.len() != up.len() || !down.iter().zip(up.iter().rev()).all(fits) {
            return Err(self.damaged("the blocks of its U-Net are not those of Stable Diffusion"));
        }
        let down_depths = down.iter().map(|l| self.depths("input_blocks", l)).collect::<Result<Vec<_>, _>>()?;
        let up_depths = up.iter().map(|l| self.depths("output_blocks", l)).collect::<Result<Vec<_>, _>>()?;
        let first = |level: &BlockLevel| format!("{UNET_PREFIX}input_blocks.{}", level.blocks[0]);
        let widths = down
            .iter()
            .map(|level| self.dim(&format!("{}.0.out_layers.3.weight", first(level)), 0))
            .collect::<Result<Vec<_>, _>>()?;
        let attending = self.attending_block(&down_depths)?;
        let context = self.dim(&format!("{attending}.transformer_blocks.0.attn2.to_k.weight"), 1)?;
        let is_linear = self.shape(&format!("{attending}.proj_in.weight"))?.len() == 2;
        // Stable Diffusion 1 has 8 heads everywhere, 2 and XL have heads that are 64 wide.
        let eight = context == 768 || !is_linear;
        let heads: Vec<usize> = widths.iter().map(|width| if eight { 8 } else { (width / 64).max(1) }).collect();
        let types = |depths: &[Vec<usize>], way: &str| -> Vec<String> {
            let name = |depths: &Vec<usize>| format!("{}{way}Block2D", if depths[0] > 0 { "CrossAttn" } else { "" });
            depths.iter().map(name).collect()
        };
        let mut config = json!({
            "sample_size": self.sample_size()?,
            "in_channels": self.dim(&format!("{UNET_PREFIX}input_blocks.0.0.weight"), 1)?,
            "out_channels": self.dim(&format!("{UNET_PREFIX}out.2.weight"), 0)?,
            "block_out_channels": widths,
            "down_block_types": types(&down_depths, "Down"),
            "up_block_types": types(&up_depths, "Up"),
            "mid_block_type": self.mid_block_type(),
            "layers_per_block": down.iter().map(|level| level.blocks.len()).collect::<Vec<_>>(),
            "cross_attention_dim": context,
            "attention_head_dim": heads,
            "transformer_layers_per_block": self.down_layers(&down_depths)?,
            "reverse_transformer_layers_per_block": up_depths.iter().map(|depths| listed(depths)).collect::<Vec<_>>(),
            "use_linear_projection": is_linear,
        });
        if self.is_xl() {
            config["addition_embed_type"] = "text_time".into();
            config["addition_time_embed_dim"] = NUMBER_WIDTH.into();
            let width = self.dim(&format!("{UNET_PREFIX}label_emb.0.0.weight"), 1)?;
            config["projection_class_embeddings_input_dim"] = width.into();
        }
        self.config(config)
    }

    /// Side of the latents that the model was trained on.
    fn sample_size(&self) -> Result<usize, CheckpointError> {
        if self.is_xl() {
            return Ok(128);
        }
        // Stable Diffusion 2's v model was trained at 768 pixels, all others at 512.
        Ok(if self.is_second() && self.is_v_prediction()? { 96 } else { 64 })
    }

    /// Transformer layers in each block of a level: all of them or none.
    fn depths(&self, row: &str, level: &BlockLevel) -> Result<Vec<usize>, CheckpointError> {
        let one = |block: &usize| {
            self.count(|i| format!("{UNET_PREFIX}{row}.{block}.1.transformer_blocks.{i}.attn1.to_q.weight"))
        };
        let depths: Vec<usize> = level.blocks.iter().map(one).collect();
        if depths.contains(&0) && depths.iter().any(|depth| *depth > 0) {
            return Err(self.damaged("its U-Net attends in one block and not in the next of the same level"));
        }
        Ok(depths)
    }

    /// A block that attends, with its prefix.
    fn attending_block(&self, down: &[Vec<usize>]) -> Result<String, CheckpointError> {
        if self.middle_layers() > 0 {
            return Ok(format!("{UNET_PREFIX}middle_block.1"));
        }
        let level = down.iter().position(|depths| depths[0] > 0);
        let block = level.map(|level| self.blocks.down[level].blocks[0]);
        let block = block.ok_or_else(|| self.damaged("its U-Net has no attention"))?;
        Ok(format!("{UNET_PREFIX}input_blocks.{block}.1"))
    }

    fn middle_layers(&self) -> usize {
        self.count(|i| format!("{UNET_PREFIX}middle_block.1.transformer_blocks.{i}.attn1.to_q.weight"))
    }

    fn mid_block_type(&self) -> Option<&'static str> {
        if self.middle_layers() > 0 {
            return Some("UNetMidBlock2DCrossAttn");
        }
        let first = format!("{UNET_PREFIX}middle_block.0.in_layers.2.weight");
        self.file.get(&first).map(|_| "UNetMidBlock2D")
    }

    /// `transformer_layers_per_block`, whose last number is the middle's too.
    fn down_layers(&self, down: &[Vec<usize>]) -> Result<Vec<Value>, CheckpointError> {
        let mut layers: Vec<Value> = down.iter().map(|depths| listed(depths)).collect();
        let middle = self.middle_layers();
        if let (Some(last), Some(depths)) = (layers.last_mut(), down.last())
            && middle > 0
        {
            if depths[0] == 0 {
                *last = middle.into();
            } else if depths[0] != middle {
                return Err(self.damaged("its U-Net has other transformers in the middle than before it"));
            }
        }
        Ok(layers)
    }
}

/// One number where all blocks have it, at least 1: what does not attend says so by its type.
fn listed(depths: &[usize]) -> Value {
    match depths {
        [first, rest @ ..] if rest.iter().all(|depth| depth == first) => (*first).max(1).into(),
        _ => depths.into(),
    }
}
