//! How much of a card's memory a picture needs beside the model, estimated before it begins, and what is said where that is
//! more than there is.

use candle_core::{DType, Device};

use super::message::Job;
use crate::diffusion::DiffusionError;
use crate::diffusion::pipeline::StableDiffusion;
use crate::diffusion::vae::Vae;
use crate::kernels::{CardMemory, lays_out_patches};
use crate::request::ImageSize;

/// Sides of sizes that are proposed are multiples of this, as models like them.
const PROPOSED_STEP: u32 = 64;

/// The scores of attention that exist at once, with their copies in f32 and in the weights' type, on candle's path.
const SCORES: u64 = (16 << 20) * (4 + 4);

/// What is said of a picture that had to be decoded in tiles.
pub(super) const TILED: &str = "the card's memory is too small to decode the picture as a whole: it is decoded in tiles, and its colours may differ a little";

/// What is said where a card has no room for all of a model.
pub(super) const APART: &str = "The card's memory is too small for all of it: the text encoder and the VAE are computed on the processor until a model is loaded again, which takes longer before the first step and after the last";

/// Where the parts of a model lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    /// All in one place.
    Together,
    /// The text encoders and the VAE on the processor: the card's memory is for the U-Net alone.
    Apart,
}

/// Latents of a tile that is decoded at a time.
const OF_A_TILE: u64 = (Vae::TILE * Vae::TILE) as u64;

/// What of a model decides how much memory its pictures need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Widths {
    /// Channels of the U-Net's two outermost levels together, which its last blocks read.
    pub unet: u64,
    /// Channels of the VAE's second level, which its decoder has at the picture's full size; 0 for one that is computed
    /// elsewhere.
    pub vae: u64,
    /// Pixels of a latent pixel's side.
    pub factor: u64,
    /// Bytes of a value in the U-Net.
    pub value: u64,
    /// Bytes of a value in the VAE.
    pub vae_value: u64,
    /// Values that a convolution of the U-Net, and of the VAE, lays out for each of its own.
    pub patches: (u64, u64),
}

/// How many pictures the U-Net sees at once: guided ones are two.
pub(super) fn rows(job: &Job) -> u64 {
    if job.request.guidance.get() > 1.0 { 2 } else { 1 }
}

impl Widths {
    pub fn of(model: &StableDiffusion) -> Self {
        let (outermost, next) = model.unet.config().outer_channels();
        let vae = model.vae.config();
        let decoder = vae.block_out_channels.get(1).or(vae.block_out_channels.first()).copied().unwrap_or(0);
        Self {
            unet: (outermost + next) as u64,
            vae: if model.vae.device().same_device(&model.device) { decoder as u64 } else { 0 },
            factor: vae.factor() as u64,
            value: model.dtype.size_in_bytes() as u64,
            vae_value: model.vae.dtype().size_in_bytes() as u64,
            patches: (patches(&model.device, model.dtype), patches(model.vae.device(), model.vae.dtype())),
        }
    }

    /// Bytes that a picture needs at the most: in the U-Net's or the decoder's widest convolution, decoded as a whole or in
    /// tiles. `rows` is 2 with guidance, else 1.
    pub fn needed(self, size: ImageSize, rows: u64, in_tiles: bool) -> u64 {
        let pixels = u64::from(size.width()) * u64::from(size.height());
        let of_latent = (self.factor * self.factor).max(1);
        let latent_pixels = rows * pixels / of_latent;
        // The skips of all levels are about eight times the outermost level.
        let unet = latent_pixels
            * (in_a_convolution(self.unet, self.value, self.patches.0) + 8 * self.unet * self.value)
            + SCORES;
        let decoded = if in_tiles { pixels.min(OF_A_TILE * of_latent) } else { pixels };
        unet.max(decoded * in_a_convolution(self.vae, self.vae_value, self.patches.1))
    }

    /// The largest size of the same shape, or near it, that `free` bytes are enough for in tiles.
    pub fn fitting(self, size: ImageSize, rows: u64, free: u64) -> Option<ImageSize> {
        let longer = size.width().max(size.height());
        let scaled = |side: u32, to: u32| {
            let scaled = u64::from(side) * u64::from(to) / u64::from(longer);
            (u32::try_from(scaled).unwrap_or(0) / PROPOSED_STEP * PROPOSED_STEP).max(PROPOSED_STEP)
        };
        let sides = (1..=longer / PROPOSED_STEP).rev().map(|steps| steps * PROPOSED_STEP);
        let sizes = sides.filter_map(|to| ImageSize::new(scaled(size.width(), to), scaled(size.height(), to)).ok());
        sizes.into_iter().find(|smaller| *smaller != size && self.needed(*smaller, rows, true) <= free)
    }

    /// What is to be said before a picture begins that will probably not fit.
    pub fn doubt(self, size: ImageSize, rows: u64, memory: CardMemory) -> Option<String> {
        let needed = self.needed(size, rows, false);
        (needed > memory.free).then(|| {
            let fits_in_tiles = self.needed(size, rows, true) <= memory.free;
            let expected = if fits_in_tiles { "it will probably be decoded in tiles" } else { "it may fail" };
            let (needed, free) = (in_gib(needed), in_gib(memory.free));
            format!(
                "{size} needs about {needed} of the card's memory beside the model, and {free} are free: {expected}"
            )
        })
    }

    /// Why a picture failed for which the memory was too small, and what to do.
    pub fn failure(self, size: ImageSize, rows: u64, memory: Option<CardMemory>) -> String {
        let told = format!("The card's memory is too small for {size}");
        let Some(memory) = memory else { return format!("{told}. Try a smaller size, or the device cpu") };
        let (needed, free) = (in_gib(self.needed(size, rows, true)), in_gib(memory.free));
        let told = format!("{told}, which needs about {needed} beside the model; {free} are free");
        match self.fitting(size, rows, memory.free) {
            Some(smaller) => format!("{told}. About {smaller} would have fitted"),
            None => format!("{told}. Close other programs that use the card, or take the device cpu"),
        }
    }
}

/// Of one pixel with so many channels of so many bytes: the neighbours that are laid out for a product, the normalisation's
/// four sweeps in f32, input, result and sum.
fn in_a_convolution(channels: u64, value: u64, patches: u64) -> u64 {
    channels * (patches * value + 4 * 4 + 3 * value)
}

fn patches(device: &Device, dtype: DType) -> u64 {
    if lays_out_patches(device, dtype) { 9 } else { 0 }
}

/// Why a model could not be loaded for which the memory was too small.
pub(super) fn loading_failure(memory: Option<CardMemory>) -> String {
    let told = "The card's memory is too small for this model";
    let advice = "bf16 and f16 take half of what f32 takes; the device cpu computes on the processor";
    match memory {
        Some(CardMemory { free, total }) => {
            format!("{told}: {} of {} are free. {advice}", in_gib(free), in_gib(total))
        }
        None => format!("{told}. {advice}"),
    }
}

/// Decodes in tiles or not, as asked; and in tiles where a device's memory is too small for the whole.
pub(super) fn decoded<T>(
    in_tiles: bool,
    decode: impl Fn(bool) -> Result<T, DiffusionError>,
) -> Result<T, DiffusionError> {
    match decode(in_tiles) {
        Err(error) if !in_tiles && is_out_of_memory(&error.to_string()) => decode(true),
        decoded => decoded,
    }
}

/// True for an error in a device's words that says its memory is full.
pub(super) fn is_out_of_memory(error: &str) -> bool {
    let error = error.to_lowercase();
    ["out of memory", "out_of_memory", "alloc_failed", "failed to allocate"].iter().any(|words| error.contains(words))
}

fn in_gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stable Diffusion 1.5 in bf16.
    const SD15: Widths = Widths { unet: 960, vae: 256, factor: 8, value: 2, vae_value: 2, patches: (9, 9) };
    const GIB: u64 = 1 << 30;

    fn size(width: u32, height: u32) -> ImageSize {
        ImageSize::new(width, height).unwrap()
    }

    #[test]
    fn a_picture_needs_what_its_widest_convolution_holds() {
        // The decoder at 512 x 512: 262144 pixels of 256 channels, each 9 * 2 + 16 + 3 * 2 = 40 bytes.
        assert_eq!(SD15.needed(size(512, 512), 2, false), 262_144 * 256 * 40);
        // Four times the pixels, four times the memory; of a tile at most, where the U-Net does not need more.
        assert_eq!(SD15.needed(size(1024, 1024), 2, false), 4 * SD15.needed(size(512, 512), 2, false));
        assert_eq!(SD15.needed(size(768, 768), 2, true), SD15.needed(size(512, 512), 2, true));
        // Patches that are not laid out need no room.
        let ours = Widths { patches: (0, 0), ..SD15 };
        assert_eq!(ours.needed(size(512, 512), 2, false), 262_144 * 256 * 22);
        // Where the U-Net is the wider part, guidance doubles it.
        let narrow = Widths { vae: 8, ..SD15 };
        let (one, two) = (narrow.needed(size(512, 512), 1, true), narrow.needed(size(512, 512), 2, true));
        assert_eq!(two - SCORES, 2 * (one - SCORES));
    }

    #[test]
    fn what_would_have_fitted_has_the_same_shape_and_fits() {
        for (wanted, free) in [(size(2048, 2048), 4), (size(3072, 2048), 6), (size(1536, 4096), 5), (size(4096, 64), 1)]
        {
            let free = free * GIB;
            let found = SD15.fitting(wanted, 2, free).unwrap();
            assert!(SD15.needed(found, 2, true) <= free && found.width() <= wanted.width(), "{wanted} {found}");
            let shape = |size: ImageSize| f64::from(size.width()) / f64::from(size.height());
            assert!(wanted.height() == 64 || (shape(found) / shape(wanted) - 1.0).abs() < 0.2, "{wanted} {found}");
            let (width, height) = (found.width() + wanted.width() / 8, found.height() + wanted.height() / 8);
            assert!(
                SD15.needed(ImageSize::nearest(width, height), 2, true) > free,
                "{wanted} {found} is not the largest"
            );
        }
        assert_eq!(SD15.fitting(size(1024, 1024), 2, 1 << 20), None);
    }

    #[test]
    fn the_words_name_the_sizes() {
        let memory = CardMemory { free: 4 * GIB, total: 8 * GIB };
        assert_eq!(SD15.doubt(size(512, 512), 2, memory), None);
        let doubt = SD15.doubt(size(1024, 1024), 2, memory).unwrap();
        assert!(doubt.contains("1024x1024 needs about 10.0 GiB") && doubt.contains("4.0 GiB are free"), "{doubt}");
        assert!(doubt.ends_with("decoded in tiles"), "{doubt}");
        let large = size(4096, 4096);
        assert!(SD15.doubt(large, 2, memory).unwrap().ends_with("may fail"));
        let failure = SD15.failure(large, 2, Some(memory));
        assert!(failure.contains("would have fitted"), "{failure}");
        let failure = SD15.failure(size(1024, 1024), 2, Some(CardMemory { free: 0, ..memory }));
        assert!(failure.contains("device cpu"), "{failure}");
        assert!(loading_failure(Some(memory)).contains("4.0 GiB of 8.0 GiB are free"));
    }

    #[test]
    fn what_does_not_fit_as_a_whole_is_decoded_in_tiles() {
        let full = || DiffusionError::Request("CUDA_ERROR_OUT_OF_MEMORY".to_owned());
        assert_eq!(decoded(false, |in_tiles| if in_tiles { Ok(in_tiles) } else { Err(full()) }).ok(), Some(true));
        assert_eq!(decoded(false, Ok).ok(), Some(false));
        assert!(decoded::<bool>(true, |_| Err(full())).is_err());
        let other = |in_tiles| if in_tiles { Ok(()) } else { Err(DiffusionError::Cancelled) };
        assert!(matches!(decoded(false, other), Err(DiffusionError::Cancelled)));
    }

    #[test]
    fn full_memory_is_known_by_the_drivers_words() {
        let driver = "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")";
        assert!(is_out_of_memory(driver) && is_out_of_memory("CUBLAS_STATUS_ALLOC_FAILED"));
        assert!(!is_out_of_memory("shape mismatch in matmul"));
    }
}
