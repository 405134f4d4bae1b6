//! The noise of the SDE samplers: increments of one Brownian path over sigma, the same whatever is asked first.
//!
//! A port of `torchsde.BrownianTree` (Li et al. 2020, arXiv:2001.01328) as k-diffusion's `BrownianTreeNoiseSampler` uses
//! it: the path is refined by Brownian bridges at the middles of intervals, and each middle's noise has a seed of its own,
//! from numpy's `SeedSequence` over the place in the tree (O'Neill's `seed_seq` for `randutils`).

use super::noise::NoiseSource;
use crate::request::{NoiseSourceKind, Seed};

/// Words in a `SeedSequence`'s pool, as `BrownianTree` sets it.
const POOL: usize = 24;

/// A Brownian path between two sigmas, of one value for each element of the latents.
#[derive(Debug, Clone, PartialEq)]
pub struct BrownianTree {
    /// Draws each middle's noise.
    pub source: NoiseSourceKind,
    /// The picture's seed.
    pub seed: Seed,
    /// The lowest sigma above zero.
    pub low: f64,
    /// The highest sigma.
    pub high: f64,
}

/// A stretch of the path: where it lies, how far the path goes in it, and its place in the tree.
struct Stretch {
    start: f64,
    end: f64,
    increment: Vec<f32>,
    key: u32,
    depth: u32,
}

impl BrownianTree {
    /// Unit noise for a step between two sigmas, `count` values: the path's increment over the square root of its length.
    /// Sigmas go through f32, as they are in k-diffusion: the path is resolved to 1e-6, near their last bit.
    #[must_use]
    pub fn noise(&self, from: f64, to: f64, count: usize) -> Vec<f32> {
        let (from, to) = (from as f32, to as f32);
        let (early, late) = (from.min(to), from.max(to));
        if early == late {
            return vec![0.0; count];
        }
        let whole = self.whole(count);
        let inside = |t: f32| rounded(f64::from(t).clamp(whole.start, whole.end));
        let (a, b) = (inside(early), inside(late));
        let increment = if a < b { self.between(whole, a, b) } else { vec![0.0; count] };
        // Down the schedule the path is walked backwards.
        let sign = if from < to { 1.0 } else { -1.0 };
        let scale = sign / (late - early).sqrt();
        increment.into_iter().map(|w| w * scale).collect()
    }

    fn whole(&self, count: usize) -> Stretch {
        let (low, high) = (f64::from(self.low as f32), f64::from(self.high as f32));
        let seed = seed_sequence(&self.entropy(), 1)[0];
        let scale = (high - low).sqrt() as f32;
        let increment = self.draw(seed, count).into_iter().map(|w| w * scale).collect();
        Stretch { start: rounded(low), end: rounded(high), increment, key: 0, depth: 0 }
    }

    /// The increment from `a` to `b`, both inside `stretch`.
    fn between(&self, stretch: Stretch, a: f64, b: f64) -> Vec<f32> {
        if a <= stretch.start && b >= stretch.end {
            return stretch.increment;
        }
        let middle = rounded(0.5 * (stretch.end + stretch.start));
        if middle <= stretch.start || middle >= stretch.end {
            // Shorter than the path is resolved to; points are rounded, so that none lies inside.
            return stretch.increment;
        }
        let (left, right) = self.split(&stretch, middle);
        if b <= middle {
            return self.between(left, a, b);
        }
        if a >= middle {
            return self.between(right, a, b);
        }
        let before = self.between(left, a, middle);
        let after = self.between(right, middle, b);
        before.into_iter().zip(after).map(|(x, y)| x + y).collect()
    }

    /// The Brownian bridge: given the whole increment, the left part is normal around its share.
    fn split(&self, stretch: &Stretch, middle: f64) -> (Stretch, Stretch) {
        let (before, after) = (middle - stretch.start, stretch.end - middle);
        let reciprocal = 1.0 / (stretch.end - stretch.start);
        let deviation = (before * after * reciprocal).sqrt() as f32;
        let noise = self.draw(self.seed_at(stretch.key, stretch.depth), stretch.increment.len());
        let bridge = |(w, z): (&f32, f32)| before as f32 * w * reciprocal as f32 + deviation * z;
        let left: Vec<f32> = stretch.increment.iter().zip(noise).map(bridge).collect();
        let right = stretch.increment.iter().zip(&left).map(|(w, l)| w - l).collect();
        let child = |start, end, increment, side| Stretch {
            start,
            end,
            increment,
            key: stretch.key.wrapping_mul(2).wrapping_add(side),
            depth: stretch.depth + 1,
        };
        (child(stretch.start, middle, left, 0), child(middle, stretch.end, right, 1))
    }

    /// The seed of the noise that splits the stretch at a place of the tree.
    fn seed_at(&self, key: u32, depth: u32) -> u32 {
        let mut words = self.entropy();
        words.resize(POOL, 0);
        words.extend([key, depth]);
        seed_sequence(&words, 1)[0]
    }

    /// The seed in 32-bit words, the lowest first, without leading zeros.
    fn entropy(&self) -> Vec<u32> {
        let (low, high) = (self.seed.0 as u32, (self.seed.0 >> 32) as u32);
        if high == 0 { vec![low] } else { vec![low, high] }
    }

    fn draw(&self, seed: u32, count: usize) -> Vec<f32> {
        NoiseSource::new(self.source, Seed(u64::from(seed))).normals(count)
    }
}

/// Six decimals, correctly rounded as Python's `round` does it.
fn rounded(t: f64) -> f64 {
    format!("{t:.6}").parse().unwrap_or(t)
}

/// `numpy.random.SeedSequence(entropy, pool_size=24).generate_state(count)`.
fn seed_sequence(entropy: &[u32], count: usize) -> Vec<u32> {
    let pool = mixed_pool(entropy);
    let mut factor = 0x8b51_f9dd_u32;
    (0..count)
        .map(|i| {
            let mut word = pool[i % POOL] ^ factor;
            factor = factor.wrapping_mul(0x58f3_8ded);
            word = word.wrapping_mul(factor);
            word ^ (word >> 16)
        })
        .collect()
}

/// Every word of the entropy into every word of the pool.
fn mixed_pool(entropy: &[u32]) -> [u32; POOL] {
    let mut factor = 0x43b0_d7e5_u32;
    let mut hash = |word: u32| {
        let mut word = word ^ factor;
        factor = factor.wrapping_mul(0x931e_8875);
        word = word.wrapping_mul(factor);
        word ^ (word >> 16)
    };
    let mix = |x: u32, y: u32| {
        let word = x.wrapping_mul(0xca01_f9dd).wrapping_sub(y.wrapping_mul(0x4973_f715));
        word ^ (word >> 16)
    };
    let mut pool: [u32; POOL] = std::array::from_fn(|i| hash(entropy.get(i).copied().unwrap_or(0)));
    for from in 0..POOL {
        for to in (0..POOL).filter(|to| *to != from) {
            pool[to] = mix(pool[to], hash(pool[from]));
        }
    }
    for &word in entropy.iter().skip(POOL) {
        for slot in &mut pool {
            *slot = mix(*slot, hash(word));
        }
    }
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> BrownianTree {
        BrownianTree { source: NoiseSourceKind::TorchCpu, seed: Seed(7), low: 0.0291671, high: 14.614647 }
    }

    #[test]
    fn the_parts_of_a_path_add_up() {
        let path = |from: f64, to: f64| -> Vec<f64> {
            let length = (from as f32 - to as f32).abs().sqrt();
            tree().noise(from, to, 32).iter().map(|z| f64::from(z * length)).collect()
        };
        for ((whole, first), second) in path(9.0, 1.0).iter().zip(path(9.0, 2.5)).zip(path(2.5, 1.0)) {
            assert!((whole - first - second).abs() < 1e-5, "{whole} {first} {second}");
        }
    }

    #[test]
    fn no_length_is_no_noise() {
        assert_eq!(tree().noise(3.0, 3.0, 2), [0.0, 0.0]);
    }
}
