//! What may be typed to have a picture sooner, or with less memory, that is another one.

use clap::Args;

use crate::request::{Accelerations, BlockCaching, GuidanceInterval, RequestError, TokenMerging};

/// Off unless typed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Faster or lighter, with another picture")]
pub struct AccelerationOptions {
    /// Guide only from this share of the steps on, 0 to 1; outside of the interval a step takes half the time
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, hide_default_value = true, allow_negative_numbers = true)]
    pub guidance_from: f64,
    /// Guide only up to this share of the steps, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, hide_default_value = true, allow_negative_numbers = true)]
    pub guidance_to: f64,
    /// Evaluate the deep blocks of the U-Net in one of N evaluations only (DeepCache), 2 to 10; 1 is off
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true, allow_negative_numbers = true)]
    pub deep_cache: u32,
    /// How deep the other evaluations go, 0 to 11: the skip connection, counted from the outermost
    #[arg(long, value_name = "B", default_value_t = 0, hide_default_value = true, requires = "deep_cache")]
    pub deep_cache_branch: u32,
    /// Join this share of the tokens before attention, 0 to 0.75 (ToMe); counts where a model attends on its finest level
    #[arg(long, value_name = "RATIO", default_value_t = 0.0, hide_default_value = true, allow_negative_numbers = true)]
    pub token_merging: f64,
    /// Decode in overlapping tiles of 64 x 64 latents (512 x 512 pixels): large pictures take no more memory than one of them
    #[arg(long)]
    pub decode_in_tiles: bool,
}

impl AccelerationOptions {
    /// All of them, checked.
    pub(super) fn accelerations(&self) -> Result<Accelerations, RequestError> {
        let caching = (self.deep_cache != 1).then(|| BlockCaching::new(self.deep_cache, self.deep_cache_branch));
        Ok(Accelerations {
            guidance_interval: GuidanceInterval::new(self.guidance_from, self.guidance_to)?,
            block_caching: caching.transpose()?,
            token_merging: TokenMerging::new(self.token_merging)?,
            decoding_in_tiles: self.decode_in_tiles,
        })
    }
}
