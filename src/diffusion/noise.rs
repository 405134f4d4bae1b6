//! Gaussian noise exactly as torch's generators draw it, from a state that is plain data; here that of the CPU.
//!
//! Source: PyTorch's `aten/src/ATen/native/cpu/DistributionTemplates.h` (normal_fill), `core/MT19937RNGEngine.h` and
//! `core/DistributionsHelper.h`; the generator is Matsumoto & Nishimura's MT19937 (1998).

use serde::{Deserialize, Serialize};

use super::philox::PhiloxGenerator;
use crate::request::{NoiseSourceKind, Seed};

/// Where a picture's noise comes from: one a picture, drawn from in a fixed order, so that it can be stored between any
/// two draws.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoiseSource {
    kind: NoiseSourceKind,
    /// The picture's own, whatever the generator was started with since.
    seed: Seed,
    generator: Generator,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Generator {
    TorchCpu(TorchCpuGenerator),
    Philox(PhiloxGenerator),
}

impl NoiseSource {
    /// A fresh generator.
    #[must_use]
    pub fn new(kind: NoiseSourceKind, seed: Seed) -> Self {
        let generator = match kind {
            NoiseSourceKind::TorchCpu | NoiseSourceKind::ComfyUi => Generator::TorchCpu(TorchCpuGenerator::new(seed.0)),
            NoiseSourceKind::Philox => Generator::Philox(PhiloxGenerator::new(seed.0)),
        };
        Self { kind, seed, generator }
    }

    /// Which generators it has.
    #[must_use]
    pub fn kind(&self) -> NoiseSourceKind {
        self.kind
    }

    /// The picture's seed.
    #[must_use]
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// What is drawn once the first noise is: from the same generator, unless ComfyUI's second one takes over or `delta`
    /// starts it anew with the seed plus this.
    pub(super) fn after_first(&mut self, delta: i64) {
        if self.kind == NoiseSourceKind::ComfyUi {
            self.generator = Generator::Philox(PhiloxGenerator::new(self.seed.0.wrapping_add_signed(delta)));
        } else if delta != 0 {
            self.generator = Self::new(self.kind, Seed(self.seed.0.wrapping_add_signed(delta))).generator;
        }
    }

    /// True when the stored state could have come from a generator; a damaged file may hold anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        match &self.generator {
            Generator::TorchCpu(generator) => generator.is_sound(),
            Generator::Philox(_) => true,
        }
    }

    /// The next `count` values of the standard normal distribution, as one call of `torch.randn` gives them.
    pub fn normals(&mut self, count: usize) -> Vec<f32> {
        match &mut self.generator {
            Generator::TorchCpu(generator) => generator.randn(count),
            Generator::Philox(generator) => generator.randn(count),
        }
    }
}

const STATE_LEN: usize = 624;
const SHIFT: usize = 397;

/// `torch.Generator("cpu")`: the MT19937 state and the normal value kept from the last pair.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TorchCpuGenerator {
    state: Vec<u32>,
    next: usize,
    kept_normal: Option<f64>,
}

impl TorchCpuGenerator {
    /// `torch.Generator().manual_seed(seed)`; the low 32 bits count.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = Vec::with_capacity(STATE_LEN);
        let mut last = seed as u32;
        state.push(last);
        for i in 1..STATE_LEN as u32 {
            last = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i);
            state.push(last);
        }
        Self { state, next: STATE_LEN, kept_normal: None }
    }

    /// `torch.randn(count, generator=self)` in f32.
    pub fn randn(&mut self, count: usize) -> Vec<f32> {
        if count < 16 {
            return (0..count).map(|_| self.normal_f64() as f32).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform_f32()).collect();
        for block in values.chunks_exact_mut(16) {
            box_muller(block);
        }
        if !count.is_multiple_of(16) {
            // The last 16 values are drawn anew, also those that a whole block has covered already.
            let tail = &mut values[count - 16..];
            for value in tail.iter_mut() {
                *value = self.uniform_f32();
            }
            box_muller(tail);
        }
        values
    }

    /// 24 bits in 0..1.
    fn uniform_f32(&mut self) -> f32 {
        (self.next_u32() & 0x00ff_ffff) as f32 / (1 << 24) as f32
    }

    /// 53 bits in 0..1, the first word high.
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.next_u32());
        let low = u64::from(self.next_u32());
        ((high << 32 | low) & ((1 << 53) - 1)) as f64 / (1_u64 << 53) as f64
    }

    /// Box-Muller in f64, the sine half kept for the next call.
    fn normal_f64(&mut self) -> f64 {
        if let Some(kept) = self.kept_normal.take() {
            return kept;
        }
        let angle = 2.0 * std::f64::consts::PI * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.kept_normal = Some(radius * angle.sin());
        radius * angle.cos()
    }

    fn next_u32(&mut self) -> u32 {
        if self.next >= STATE_LEN {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn refill(&mut self) {
        for i in 0..STATE_LEN {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % STATE_LEN] & 0x7fff_ffff);
            let twist = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % STATE_LEN] ^ (mixed >> 1) ^ twist;
        }
        self.next = 0;
    }

    /// True when the stored state could have come from a generator; a damaged file may hold anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.state.len() == STATE_LEN && self.next <= STATE_LEN
    }
}

/// Sixteen uniforms to sixteen normals: the first eight give the radius, the last eight the angle.
fn box_muller(block: &mut [f32]) {
    let (first, second) = block.split_at_mut(8);
    for (a, b) in first.iter_mut().zip(second) {
        let radius = (-2.0 * (1.0 - *a).ln()).sqrt();
        let angle = 2.0 * std::f32::consts::PI * *b;
        (*a, *b) = (radius * angle.cos(), radius * angle.sin());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_generator_goes_on_where_it_was() {
        for &kind in NoiseSourceKind::ALL {
            let mut source = NoiseSource::new(kind, Seed(7));
            let _ = source.normals(3);
            let text = serde_json::to_string(&source).unwrap();
            let mut restored: NoiseSource = serde_json::from_str(&text).unwrap();
            assert_eq!(source.normals(700), restored.normals(700));
        }
    }
}
