//! Elementwise functions on slices that the compiler turns into vector instructions, in the widest form that this
//! processor has. Every form does the same arithmetic in the same order, and gives the same bits.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use super::panel::Value;

/// Declares `$name` over slices as plain code, and as the same code for AVX2 and AVX-512, chosen at each call.
macro_rules! widest {
    ($(#[$doc:meta])* $vis:vis $name:ident, $body:ident, $(<$generic:ident: $bound:ident>,)? ($($arg:ident: $kind:ty),*) $(-> $out:ty)?) => {
        $(#[$doc])*
        #[inline]
        #[expect(unsafe_code, reason = "calls functions that need processor features")]
        $vis fn $name$(<$generic: $bound>)?($($arg: $kind),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::processor::{Instructions, instructions};
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512$(<$generic: $bound>)?($($arg: $kind),*) $(-> $out)? {
                    $body$(::<$generic>)?($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2$(<$generic: $bound>)?($($arg: $kind),*) $(-> $out)? {
                    $body$(::<$generic>)?($($arg),*)
                }
                // SAFETY: the instructions are those that were found on this processor.
                match instructions() {
                    Instructions::Avx512 | Instructions::Avx512Bf16 => return unsafe { avx512$(::<$generic>)?($($arg),*) },
                    Instructions::Avx2 => return unsafe { avx2$(::<$generic>)?($($arg),*) },
                    Instructions::Portable => {}
                }
            }
            $body$(::<$generic>)?($($arg),*)
        }
    };
}
pub(super) use widest;

widest! {
    /// `y = silu(a * x + b)`.
    pub(super) affine_silu, affine_silu_body, <T: Value>, (y: &mut [T], x: &[f32], a: f32, b: f32)
}

widest! {
    /// `y = a * x + b`.
    pub(super) affine, affine_body, <T: Value>, (y: &mut [T], x: &[f32], a: f32, b: f32)
}

widest! {
    /// `y = x * sigmoid(factor * x)`.
    pub(super) sigmoid_weighted, sigmoid_weighted_body, (y: &mut [f32], x: &[f32], factor: f32)
}

widest! {
    /// `y = gelu(x)`, the exact one.
    pub(super) gelu_of, gelu_of_body, (y: &mut [f32], x: &[f32])
}

widest! {
    /// `sums += x - around`, or their squares, value by value.
    pub(super) sums_of_columns, sums_of_columns_body, (sums: &mut [f32], x: &[f32], around: &[f32], squared: bool)
}

widest! {
    /// The sum of all values, in f64 over short runs of f32.
    pub(super) sum, sum_body, (x: &[f32]) -> f64
}

widest! {
    /// The sum of `(x - around)^2`, in f64 over short runs of f32.
    pub(super) sum_of_squares_around, sum_of_squares_body, (x: &[f32], around: f32) -> f64
}

widest! {
    /// `y = value * gelu(gate)`, with the exact GELU.
    pub(super) gated_gelu, gated_gelu_body, (y: &mut [f32], value: &[f32], gate: &[f32])
}

#[inline(always)]
fn affine_silu_body<T: Value>(y: &mut [T], x: &[f32], a: f32, b: f32) {
    for (y, &x) in y.iter_mut().zip(x) {
        let v = x * a + b;
        *y = T::from_f32(v / (1.0 + exp(-v)));
    }
}

#[inline(always)]
fn affine_body<T: Value>(y: &mut [T], x: &[f32], a: f32, b: f32) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = T::from_f32(x * a + b);
    }
}

#[inline(always)]
fn sigmoid_weighted_body(y: &mut [f32], x: &[f32], factor: f32) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = x / (1.0 + exp(-factor * x));
    }
}

#[inline(always)]
fn gelu_of_body(y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = gelu(x);
    }
}

#[inline(always)]
fn sums_of_columns_body(sums: &mut [f32], x: &[f32], around: &[f32], squared: bool) {
    for ((sum, x), around) in sums.iter_mut().zip(x).zip(around) {
        let v = x - around;
        *sum += if squared { v * v } else { v };
    }
}

#[inline(always)]
fn sum_body(x: &[f32]) -> f64 {
    sum_of(x, |v| v)
}

#[inline(always)]
fn sum_of_squares_body(x: &[f32], around: f32) -> f64 {
    sum_of(x, |v| (v - around) * (v - around))
}

#[inline(always)]
fn sum_of(x: &[f32], map: impl Fn(f32) -> f32) -> f64 {
    x.chunks(256)
        .map(|run| {
            let mut lanes = [0.0_f32; 16];
            let (blocks, rest) = run.as_chunks::<16>();
            for block in blocks {
                for (lane, &v) in lanes.iter_mut().zip(block) {
                    *lane += map(v);
                }
            }
            let rest: f32 = rest.iter().map(|&v| map(v)).sum();
            f64::from(lanes.iter().sum::<f32>() + rest)
        })
        .sum()
}

#[inline(always)]
fn gated_gelu_body(y: &mut [f32], value: &[f32], gate: &[f32]) {
    for ((y, &value), &gate) in y.iter_mut().zip(value).zip(gate) {
        *y = value * gelu(gate);
    }
}

/// The exact GELU, `x * (1 + erf(x / sqrt 2)) / 2`.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    x * 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// `exp(x)` with a relative error below 2e-7: `2^n * 2^f` with f in -0.5..0.5, the second a Taylor polynomial of degree 7
/// in `f ln 2`. Not-a-number stays one; beyond the range it ends in 0 and infinity.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Two parts of ln 2, the first exact in few bits (Cody & Waite 1980).
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x > 89.0 { 89.0 } else { x };
    let clamped = if clamped < -104.0 { -104.0 } else { clamped };
    let n = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let f = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    p = p * f + 1.0 / 720.0;
    p = p * f + 1.0 / 120.0;
    p = p * f + 1.0 / 24.0;
    p = p * f + 1.0 / 6.0;
    p = p * f + 0.5;
    p = p * f + 1.0;
    p = p * f + 1.0;
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

/// `2^x` for x of at most 0, with a relative error below 2e-7; below -126 it is what it is there.
#[inline(always)]
pub(super) fn exp2_of_negative(x: f32) -> f32 {
    let x = if x < -126.0 { -126.0 } else { x };
    let shifted = x + ROUND;
    let f = x - (shifted - ROUND);
    // The Taylor series of 2^f for f in -0.5..0.5.
    let mut p = 1.540_353e-4;
    p = p * f + 1.333_355_8e-3;
    p = p * f + 9.618_129e-3;
    p = p * f + 5.550_410_9e-2;
    p = p * f + 0.240_226_5;
    p = p * f + std::f32::consts::LN_2;
    p = p * f + 1.0;
    p * power_of_two(shifted)
}

/// The error function with an absolute error below 3e-7 (Abramowitz & Stegun 1964, 7.1.26); near zero its Taylor series,
/// so that small arguments keep their relative precision.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4;
    p = p * t - 1.453_152;
    p = p * t + 1.421_413_7;
    p = p * t - 0.284_496_74;
    p = p * t + 0.254_829_6;
    let far = 1.0 - p * t * exp(-a * a);
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
            let error = ((f64::from(exp(x)) - expected) / expected).abs();
            assert!(error < 2e-7, "{x}: {error:e}");
        }
        assert_eq!((exp(0.0), exp(f32::NEG_INFINITY), exp(1000.0)), (1.0, 0.0, f32::INFINITY));
        assert!(exp(f32::NAN).is_nan());
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
            let error = (f64::from(erf(x as f32)) - exact(x)).abs();
            assert!(error < 3e-7, "{x}: {error:e}");
        }
        assert!(erf(f32::NAN).is_nan());
    }
}
