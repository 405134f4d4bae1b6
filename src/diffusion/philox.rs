//! Gaussian noise as torch's CUDA generator draws it, on any machine: Philox 4x32-10 (Salmon et al. 2011, "Parallel random
//! numbers: as easy as 1, 2, 3") with cuRAND's Box-Muller. A1111 calls the same imitation "NV".

use serde::{Deserialize, Serialize};

/// cuRAND's 2^-32 and 2^-32 * 2 pi, in f32 as there.
const TO_UNIT: f32 = 2.3283064e-10;
const TO_ANGLE: f32 = 2.3283064e-10 * 6.2831855;

/// `torch.Generator("cuda")`: a seed and how many times it was drawn from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhiloxGenerator {
    seed: u64,
    calls: u32,
}

impl PhiloxGenerator {
    /// `torch.Generator("cuda").manual_seed(seed)`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, calls: 0 }
    }

    /// `torch.randn(count, generator=self)` in f32. A card draws in the same way while `count` fits its threads, as
    /// latents do.
    pub fn randn(&mut self, count: usize) -> Vec<f32> {
        let call = self.calls;
        self.calls = self.calls.wrapping_add(1);
        (0..count as u32).map(|element| normal(philox([call, 0, element, 0], self.seed))).collect()
    }
}

/// The sine branch of Box-Muller, of the block's first two words.
fn normal([x, y, ..]: [u32; 4]) -> f32 {
    let (unit, angle) = (f64::from(TO_UNIT), f64::from(TO_ANGLE));
    let u = f64::from(x) * unit + unit / 2.0;
    let v = f64::from(y) * angle + angle / 2.0;
    ((-2.0 * u.ln()).sqrt() * v.sin()) as f32
}

/// Ten rounds over a counter.
fn philox(mut counter: [u32; 4], seed: u64) -> [u32; 4] {
    let (mut low, mut high) = (seed as u32, (seed >> 32) as u32);
    for _ in 0..10 {
        let [first, second, third, fourth] = counter;
        let left = u64::from(first) * 0xd251_1f53;
        let right = u64::from(third) * 0xcd9e_8d57;
        counter = [(right >> 32) as u32 ^ second ^ low, right as u32, (left >> 32) as u32 ^ fourth ^ high, left as u32];
        // Weyl sequences of the golden ratio and the square root of 3.
        low = low.wrapping_add(0x9e37_79b9);
        high = high.wrapping_add(0xbb67_ae85);
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_is_that_of_a_card() {
        // `torch.randn(12, device="cuda")` with seed 0, as A1111's `rng_philox.py` documents it.
        let expected = [
            -0.92466259,
            -0.42534415,
            -2.6438457,
            0.14518388,
            -0.12086647,
            -0.57972564,
            -0.62285122,
            -0.32838709,
            -1.07454231,
            -0.36314407,
            -1.67105067,
            2.26550497,
        ];
        for (found, expected) in PhiloxGenerator::new(0).randn(12).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn the_published_known_answers_are_given() {
        // Random123's kat_vectors for philox4x32-10.
        assert_eq!(philox([0; 4], 0), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([u32::MAX; 4], u64::MAX), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    }
}
