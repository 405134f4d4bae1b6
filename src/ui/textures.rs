//! The pixels on the graphics card: sole owner of texture handles.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use egui::{ColorImage, Context, TextureFilter, TextureHandle, TextureOptions};
use image::{RgbImage, RgbaImage};

/// How many thumbnails are kept, 256 KiB each.
const MOST_THUMBNAILS: usize = 320;
/// How many thumbnails may be on their way: few, so that fast scrolling leaves no long list of stale wishes.
const MOST_ON_THEIR_WAY: usize = 16;

/// Smooth, with smaller copies for showing a large picture small.
const SMOOTH: TextureOptions = TextureOptions { mipmap_mode: Some(TextureFilter::Linear), ..TextureOptions::LINEAR };
/// Smooth when small, hard pixels when enlarged.
const HARD: TextureOptions = TextureOptions { magnification: TextureFilter::Nearest, ..SMOOTH };

/// How a picture is enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enlarging {
    /// Between the pixels.
    Smooth,
    /// Pixel by pixel.
    Hard,
}

impl Enlarging {
    fn options(self) -> TextureOptions {
        match self {
            Self::Smooth => SMOOTH,
            Self::Hard => HARD,
        }
    }
}

/// What there is of a thumbnail.
#[derive(Clone)]
pub enum Thumbnail {
    /// Nobody has asked for it: ask.
    Missing,
    /// On its way, or to be asked for later.
    Awaited,
    /// Here it is.
    Ready(TextureHandle),
    /// There is none, for this reason.
    Failed(String),
}

struct Slot {
    thumbnail: Thumbnail,
    last_used: u64,
}

struct OnCanvas {
    revision: u64,
    enlarging: Enlarging,
    handle: TextureHandle,
}

/// All textures of the window.
#[derive(Default)]
pub struct Textures {
    canvas: Option<OnCanvas>,
    start_image: Option<(Arc<RgbImage>, TextureHandle)>,
    thumbnails: HashMap<PathBuf, Slot>,
    on_their_way: usize,
    clock: u64,
}

impl Textures {
    /// The canvas's texture; `paint` is called only when the revision or the way of enlarging changed.
    pub fn canvas(
        &mut self,
        ctx: &Context,
        revision: u64,
        enlarging: Enlarging,
        paint: impl FnOnce() -> Arc<RgbImage>,
    ) -> TextureHandle {
        if let Some(known) = self.canvas.as_ref()
            && (known.revision, known.enlarging) == (revision, enlarging)
        {
            return known.handle.clone();
        }
        let pixels = colours(&fitting(ctx, &paint()));
        let handle = match self.canvas.take() {
            Some(mut known) => {
                known.handle.set(pixels, enlarging.options());
                known.handle
            }
            None => ctx.load_texture("canvas", pixels, enlarging.options()),
        };
        self.canvas = Some(OnCanvas { revision, enlarging, handle: handle.clone() });
        handle
    }

    /// The start image's texture.
    pub fn start_image(&mut self, ctx: &Context, pixels: &Arc<RgbImage>) -> TextureHandle {
        if let Some((known, handle)) = &self.start_image
            && Arc::ptr_eq(known, pixels)
        {
            return handle.clone();
        }
        let handle = ctx.load_texture("start image", colours(&fitting(ctx, pixels)), SMOOTH);
        self.start_image = Some((Arc::clone(pixels), handle.clone()));
        handle
    }

    /// Frees the start image's texture.
    pub fn forget_start_image(&mut self) {
        self.start_image = None;
    }

    /// A thumbnail. When it is missing the caller is to ask for it, and it counts as on its way.
    pub fn thumbnail(&mut self, path: &Path) -> Thumbnail {
        self.clock += 1;
        if let Some(slot) = self.thumbnails.get_mut(path) {
            slot.last_used = self.clock;
            return slot.thumbnail.clone();
        }
        if self.on_their_way >= MOST_ON_THEIR_WAY {
            return Thumbnail::Awaited;
        }
        self.on_their_way += 1;
        self.put(path.to_owned(), Thumbnail::Awaited);
        Thumbnail::Missing
    }

    /// A thumbnail arrived.
    pub fn thumbnail_arrived(&mut self, ctx: &Context, path: PathBuf, pixels: &RgbaImage) {
        let size = [pixels.width() as usize, pixels.height() as usize];
        let pixels = ColorImage::from_rgba_unmultiplied(size, pixels.as_raw());
        let handle = ctx.load_texture("thumbnail", pixels, SMOOTH);
        self.arrived(path, Thumbnail::Ready(handle));
    }

    /// No thumbnail could be made.
    pub fn thumbnail_failed(&mut self, path: PathBuf, error: String) {
        self.arrived(path, Thumbnail::Failed(error));
    }

    /// Nothing that was asked for will arrive: ask again.
    pub fn forget_awaited(&mut self) {
        self.thumbnails.retain(|_, slot| !matches!(slot.thumbnail, Thumbnail::Awaited));
        self.on_their_way = 0;
    }

    fn arrived(&mut self, path: PathBuf, thumbnail: Thumbnail) {
        self.on_their_way = self.on_their_way.saturating_sub(1);
        self.clock += 1;
        self.put(path, thumbnail);
    }

    fn put(&mut self, path: PathBuf, thumbnail: Thumbnail) {
        self.thumbnails.insert(path, Slot { thumbnail, last_used: self.clock });
        if self.thumbnails.len() > MOST_THUMBNAILS {
            let awaited = |slot: &Slot| matches!(slot.thumbnail, Thumbnail::Awaited);
            let oldest =
                self.thumbnails.iter().filter(|(_, slot)| !awaited(slot)).min_by_key(|(_, slot)| slot.last_used);
            if let Some(path) = oldest.map(|(path, _)| path.clone()) {
                self.thumbnails.remove(&path);
            }
        }
    }
}

fn colours(pixels: &RgbImage) -> ColorImage {
    ColorImage::from_rgb([pixels.width() as usize, pixels.height() as usize], pixels.as_raw())
}

/// The picture as it is, or reduced to what the graphics card can hold.
fn fitting(ctx: &Context, pixels: &Arc<RgbImage>) -> Arc<RgbImage> {
    let most = u32::try_from(ctx.input(|input| input.max_texture_side)).unwrap_or(u32::MAX);
    let (width, height) = pixels.dimensions();
    let longest = width.max(height);
    if longest <= most {
        return Arc::clone(pixels);
    }
    let reduced = |side: u32| (u64::from(side) * u64::from(most) / u64::from(longest)).max(1);
    Arc::new(image::imageops::thumbnail(pixels.as_ref(), reduced(width) as u32, reduced(height) as u32))
}
