//! Functions of one number, for loops that the compiler turns into vector instructions, in the forms that processors differ
//! in: whether a product and a sum are one instruction, and how numbers are rounded to bf16.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use super::panel::Value;
use super::tile::LANES;

/// What a processor does in one instruction, or in several.
pub(super) trait Maths {
    /// `a * b + c`.
    fn fused(a: f32, b: f32, c: f32) -> f32;

    /// Pairs of bf16, `low` in the low halves.
    #[inline(always)]
    fn pairs(low: [f32; LANES], high: [f32; LANES]) -> [u32; LANES] {
        std::array::from_fn(|i| low[i].to_bf16_bits() | high[i].to_bf16_bits() << 16)
    }
}

/// For any processor: rounds after the product too.
pub(super) struct Plain;

/// For processors with FMA.
#[cfg(target_arch = "x86_64")]
pub(super) struct Fused;

/// For processors that also round to bf16.
#[cfg(target_arch = "x86_64")]
pub(super) struct FusedBf16;

impl Maths for Plain {
    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

#[cfg(target_arch = "x86_64")]
impl Maths for Fused {
    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

#[cfg(target_arch = "x86_64")]
impl Maths for FusedBf16 {
    #[inline(always)]
    fn fused(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    /// As the others round, but for numbers below 1.2e-38, which become 0.
    #[inline(always)]
    #[expect(unsafe_code, reason = "instructions that this processor has, by its callers' promise")]
    fn pairs(low: [f32; LANES], high: [f32; LANES]) -> [u32; LANES] {
        use std::arch::x86_64::{
            __m256bh, __m256i, _mm512_cvtepu16_epi32, _mm512_cvtneps_pbh, _mm512_loadu_ps, _mm512_or_si512,
            _mm512_slli_epi32, _mm512_storeu_si512,
        };
        let mut out = [0_u32; LANES];
        // SAFETY: only code for processors with these instructions uses this type; the arrays are as long as a register.
        unsafe {
            let half = |values: &[f32; LANES]| {
                let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(values.as_ptr()));
                _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(rounded))
            };
            let pairs = _mm512_or_si512(half(&low), _mm512_slli_epi32::<16>(half(&high)));
            _mm512_storeu_si512(out.as_mut_ptr().cast(), pairs);
        }
        out
    }
}

/// The exact GELU, `x * (1 + erf(x / sqrt 2)) / 2`.
#[inline(always)]
pub(super) fn gelu<M: Maths>(x: f32) -> f32 {
    x * 0.5 * (1.0 + erf::<M>(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `exp(x)` with a relative error below 2e-7: `2^n * 2^f` with f in -0.5..0.5, the second a Taylor polynomial of degree 7
/// in `f ln 2`. Not-a-number stays one; beyond the range it ends in 0 and infinity.
#[inline(always)]
pub(super) fn exp<M: Maths>(x: f32) -> f32 {
    // Two parts of ln 2, the first exact in few bits (Cody & Waite 1980).
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x > 89.0 { 89.0 } else { x };
    let clamped = if clamped < -104.0 { -104.0 } else { clamped };
    let n = M::fused(clamped, std::f32::consts::LOG2_E, ROUND) - ROUND;
    let f = M::fused(n, -LN2_LOW, M::fused(n, -LN2_HIGH, clamped));
    let mut p = 1.0 / 5040.0;
    p = M::fused(p, f, 1.0 / 720.0);
    p = M::fused(p, f, 1.0 / 120.0);
    p = M::fused(p, f, 1.0 / 24.0);
    p = M::fused(p, f, 1.0 / 6.0);
    p = M::fused(p, f, 0.5);
    p = M::fused(p, f, 1.0);
    p = M::fused(p, f, 1.0);
    // 2^n in two factors, so that results below the normal range and up to infinity come out.
    let half = n * 0.5 + ROUND;
    p * power_of_two(half) * power_of_two(n - (half - ROUND) + ROUND)
}

/// Adding and taking away 1.5 * 2^23 rounds to a whole number, which then stands in the lowest bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// `2^n` for a whole n from -126 to 127, given `n + ROUND`: by its bits, as a cast to a whole number keeps the compiler
/// from using whole registers.
#[inline(always)]
fn power_of_two(shifted: f32) -> f32 {
    f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23)
}

/// `2^x` for x of at most 0, with a relative error below 1e-7 with FMA and 2e-7 without; below -126 it is what it is there.
#[inline(always)]
pub(super) fn exp2_of_negative<M: Maths>(x: f32) -> f32 {
    let x = if x < -126.0 { -126.0 } else { x };
    let shifted = x + ROUND;
    let f = x - (shifted - ROUND);
    // 1 plus f times the polynomial that keeps the largest relative error of the sum least: 2e-9 before rounding.
    let mut p = 1.535_336_2e-4;
    p = M::fused(p, f, 1.339_887_5e-3);
    p = M::fused(p, f, 9.618_437e-3);
    p = M::fused(p, f, 5.550_332_4e-2);
    p = M::fused(p, f, 0.240_226_48);
    p = M::fused(p, f, std::f32::consts::LN_2);
    p = M::fused(p, f, 1.0);
    p * power_of_two(shifted)
}

/// The error function with an absolute error below 3e-7 (Abramowitz & Stegun 1964, 7.1.26); near zero its Taylor series,
/// so that small arguments keep their relative precision.
#[inline(always)]
fn erf<M: Maths>(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4;
    p = M::fused(p, t, -1.453_152);
    p = M::fused(p, t, 1.421_413_7);
    p = M::fused(p, t, -0.284_496_74);
    p = M::fused(p, t, 0.254_829_6);
    let far = 1.0 - p * t * exp::<M>(-a * a);
    // 2 / sqrt(pi) * (x - x^3 / 3 + x^5 / 10 - x^7 / 42 + x^9 / 216)
    let s = a * a;
    let near = a
        * (std::f32::consts::FRAC_2_SQRT_PI
            + s * (-0.376_126_4 + s * (0.112_837_92 + s * (-0.026_866_17 + s * 0.005_223_977_6))));
    let magnitude = if a < 0.4 { near } else { far };
    magnitude.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(from: f64, to: f64) -> impl Iterator<Item = f64> {
        (0..=200_000).map(move |i| from + (to - from) * f64::from(i) / 200_000.0)
    }

    #[test]
    fn exp_is_right_over_its_range() {
        for x in spread(-87.0, 88.0) {
            let x = x as f32;
            let expected = f64::from(x).exp();
            let error = ((f64::from(exp::<Plain>(x)) - expected) / expected).abs();
            assert!(error < 2e-7, "{x}: {error:e}");
        }
        assert_eq!(
            (exp::<Plain>(0.0), exp::<Plain>(f32::NEG_INFINITY), exp::<Plain>(1000.0)),
            (1.0, 0.0, f32::INFINITY)
        );
        assert!(exp::<Plain>(f32::NAN).is_nan());
    }

    #[test]
    fn powers_of_two_are_right_over_their_range() {
        for x in spread(-126.0, 0.0) {
            let x = x as f32;
            let expected = f64::from(x).exp2();
            let error = ((f64::from(exp2_of_negative::<Plain>(x)) - expected) / expected).abs();
            assert!(error < 2e-7, "{x}: {error:e}");
        }
        assert!(exp2_of_negative::<Plain>(f32::NEG_INFINITY) < 2e-38);
    }

    #[test]
    fn erf_is_right_everywhere() {
        // The complementary integral by Simpson's rule in f64.
        let exact = |x: f64| {
            let n = 2000;
            let h = x / f64::from(n);
            let term = |i: i32| (-(f64::from(i) * h).powi(2)).exp();
            let inner: f64 = (1..n).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * term(i)).sum();
            (term(0) + inner + term(n)) * h / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
        };
        for i in -400..=400 {
            let x = f64::from(i) / 100.0;
            let error = (f64::from(erf::<Plain>(x as f32)) - exact(x)).abs();
            assert!(error < 3e-7, "{x}: {error:e}");
        }
        assert!(erf::<Plain>(f32::NAN).is_nan());
    }
}
