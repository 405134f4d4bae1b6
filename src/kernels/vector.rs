//! Elementwise functions on slices that the compiler turns into vector instructions, in the widest form that this
//! processor has. Every form does the same arithmetic in the same order; those with FMA give the same bits.

#![expect(clippy::inline_always, reason = "only what is inlined is compiled for its caller's processor features")]

use super::maths::{Maths, exp, gelu};
use super::panel::Value;

/// Declares `$name` over slices as plain code, and as the same code for AVX2 and AVX-512, chosen at each call. With
/// `maths M,` the code is given the processor's [`Maths`](super::maths::Maths) as its first parameter.
macro_rules! widest {
    (
        $(#[$doc:meta])*
        $vis:vis $name:ident, $body:ident, $(maths $maths:ident,)? $(<$generic:ident: $bound:ident>,)?
        ($($arg:ident: $kind:ty),*) $(-> $out:ty)?
    ) => {
        $(#[$doc])*
        #[inline]
        #[cfg_attr(
            target_arch = "x86_64",
            expect(unsafe_code, reason = "calls functions that need processor features")
        )]
        $vis fn $name$(<$generic: $bound>)?($($arg: $kind),*) $(-> $out)? {
            #[inline]
            fn portable$(<$generic: $bound>)?($($arg: $kind),*) $(-> $out)? {
                $(type $maths = $crate::kernels::maths::Plain;)?
                $body::<$($maths,)? $($generic)?>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernels::processor::{Instructions, instructions};
                #[target_feature(enable = "avx512bf16,avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512bf16$(<$generic: $bound>)?($($arg: $kind),*) $(-> $out)? {
                    $(type $maths = $crate::kernels::maths::FusedBf16;)?
                    $body::<$($maths,)? $($generic)?>($($arg),*)
                }
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512$(<$generic: $bound>)?($($arg: $kind),*) $(-> $out)? {
                    $(type $maths = $crate::kernels::maths::Fused;)?
                    $body::<$($maths,)? $($generic)?>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2$(<$generic: $bound>)?($($arg: $kind),*) $(-> $out)? {
                    $(type $maths = $crate::kernels::maths::Fused;)?
                    $body::<$($maths,)? $($generic)?>($($arg),*)
                }
                // SAFETY: the instructions are those that were found on this processor.
                match instructions() {
                    Instructions::Avx512Bf16 => return unsafe { avx512bf16$(::<$generic>)?($($arg),*) },
                    Instructions::Avx512 => return unsafe { avx512$(::<$generic>)?($($arg),*) },
                    Instructions::Avx2 => return unsafe { avx2$(::<$generic>)?($($arg),*) },
                    Instructions::Portable => {}
                }
            }
            portable$(::<$generic>)?($($arg),*)
        }
    };
}
pub(super) use widest;

widest! {
    /// `y = silu(a * x + b)`.
    pub(super) affine_silu, affine_silu_body, maths M, <T: Value>, (y: &mut [T], x: &[f32], a: f32, b: f32)
}

widest! {
    /// `y = a * x + b`.
    pub(super) affine, affine_body, <T: Value>, (y: &mut [T], x: &[f32], a: f32, b: f32)
}

widest! {
    /// `y = x * sigmoid(factor * x)`.
    pub(super) sigmoid_weighted, sigmoid_weighted_body, maths M, (y: &mut [f32], x: &[f32], factor: f32)
}

widest! {
    /// `y = gelu(x)`, the exact one.
    pub(super) gelu_of, gelu_of_body, maths M, (y: &mut [f32], x: &[f32])
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
    pub(super) gated_gelu, gated_gelu_body, maths M, (y: &mut [f32], value: &[f32], gate: &[f32])
}

#[inline(always)]
fn affine_silu_body<M: Maths, T: Value>(y: &mut [T], x: &[f32], a: f32, b: f32) {
    for (y, &x) in y.iter_mut().zip(x) {
        let v = x * a + b;
        *y = T::from_f32(v / (1.0 + exp::<M>(-v)));
    }
}

#[inline(always)]
fn affine_body<T: Value>(y: &mut [T], x: &[f32], a: f32, b: f32) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = T::from_f32(x * a + b);
    }
}

#[inline(always)]
fn sigmoid_weighted_body<M: Maths>(y: &mut [f32], x: &[f32], factor: f32) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = x / (1.0 + exp::<M>(-factor * x));
    }
}

#[inline(always)]
fn gelu_of_body<M: Maths>(y: &mut [f32], x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = gelu::<M>(x);
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
fn gated_gelu_body<M: Maths>(y: &mut [f32], value: &[f32], gate: &[f32]) {
    for ((y, &value), &gate) in y.iter_mut().zip(value).zip(gate) {
        *y = value * gelu::<M>(gate);
    }
}
