//! A picture's first noise: its seed's, with another seed's mixed in, or that of another size in its middle.
//!
//! As A1111 has it (`modules/rng.py`, `ImageRNG.first`), so that its recipes come out the same.

use super::noise::NoiseSource;
use crate::request::{Seed, SeedOptions};

/// Above this cosine two noises are so alike that the arc between them is a line.
const NEARLY_EQUAL: f32 = 0.9995;

/// Draws unit noise for latents of `shape` `[1, C, H, W]`; `factor` is the pixels to a latent. What `source` gives after
/// that is the sampler's noise.
#[must_use]
pub fn first_noise(source: &mut NoiseSource, shape: [usize; 4], options: &SeedOptions, factor: usize) -> Vec<f32> {
    let whole = Plane::of(shape);
    let resized = options.resize_from.map(|size| Plane {
        channels: whole.channels,
        height: size.height() as usize / factor,
        width: size.width() as usize / factor,
    });
    let inner = resized.filter(|inner| *inner != whole);
    let kind = source.kind();
    let fresh = |seed: Seed, plane: Plane| NoiseSource::new(kind, seed).normals(plane.count());
    let mixed = |own: Vec<f32>, plane: Plane| match &options.variation {
        Some(variation) if variation.strength.get() > 0.0 => {
            along_arc(variation.strength.get() as f32, &own, &fresh(variation.seed, plane), plane)
        }
        _ => own,
    };
    let noise = match inner {
        None => {
            let own = source.normals(whole.count());
            mixed(own, whole)
        }
        Some(inner) => {
            let middle = mixed(fresh(source.seed(), inner), inner);
            let mut around = source.normals(whole.count());
            put_in_the_middle(&mut around, whole, &middle, inner);
            around
        }
    };
    source.after_first(options.noise_delta);
    noise
}

/// The shape of one picture's latents.
#[derive(Clone, Copy, PartialEq)]
struct Plane {
    channels: usize,
    height: usize,
    width: usize,
}

impl Plane {
    fn of([_, channels, height, width]: [usize; 4]) -> Self {
        Self { channels, height, width }
    }

    fn count(self) -> usize {
        self.channels * self.height * self.width
    }
}

/// From `low` (0) to `high` (1) along the arc between them. A1111 takes the arc of each column on its own; where they are
/// nearly equal its line runs the other way, and so does this.
fn along_arc(share: f32, low: &[f32], high: &[f32], plane: Plane) -> Vec<f32> {
    let Plane { channels, height, width } = plane;
    let column = |channel: usize, x: usize| (0..height).map(move |y| (channel * height + y) * width + x);
    let cosine = |channel: usize, x: usize| {
        let length = |noise: &[f32]| column(channel, x).map(|i| noise[i] * noise[i]).sum::<f32>().sqrt();
        let (low_length, high_length) = (length(low), length(high));
        column(channel, x).map(|i| (low[i] / low_length) * (high[i] / high_length)).sum::<f32>()
    };
    let columns: Vec<(usize, usize)> = (0..channels).flat_map(|c| (0..width).map(move |x| (c, x))).collect();
    let cosines: Vec<f32> = columns.iter().map(|&(c, x)| cosine(c, x)).collect();
    if cosines.iter().sum::<f32>() / cosines.len() as f32 > NEARLY_EQUAL {
        return low.iter().zip(high).map(|(low, high)| low * share + high * (1.0 - share)).collect();
    }
    let mut mixed = vec![0.0; low.len()];
    for (&(c, x), cosine) in columns.iter().zip(cosines) {
        let angle = cosine.clamp(-1.0, 1.0).acos();
        let (from, to) = (((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin());
        for i in column(c, x) {
            mixed[i] = from * low[i] + to * high[i];
        }
    }
    mixed
}

/// The smaller plane centred on the larger; what reaches over the edge is cut.
fn put_in_the_middle(around: &mut [f32], whole: Plane, middle: &[f32], inner: Plane) {
    // Rounded down, also below zero, as Python divides.
    let start = |outer: usize, inner: usize| (outer as i64 - inner as i64).div_euclid(2);
    let (down, right) = (start(whole.height, inner.height), start(whole.width, inner.width));
    // What is put there is shorter by the same on both sides, so that an odd difference leaves a rim of the seed's own.
    let copied = |inner: usize, start: i64| (inner as i64 + 2 * start.min(0)).max(0) as usize;
    let (height, width) = (copied(inner.height, down), copied(inner.width, right));
    let (to_y, to_x) = (down.max(0) as usize, right.max(0) as usize);
    let (from_y, from_x) = ((-down).max(0) as usize, (-right).max(0) as usize);
    for channel in 0..whole.channels {
        for y in 0..height {
            let to = (channel * whole.height + to_y + y) * whole.width + to_x;
            let from = (channel * inner.height + from_y + y) * inner.width + from_x;
            around[to..to + width].copy_from_slice(&middle[from..from + width]);
        }
    }
}
