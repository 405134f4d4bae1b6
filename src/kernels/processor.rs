//! Which instructions of this processor the kernels use: found once, at the first product.

use std::sync::OnceLock;

use super::card::CANDLE;

/// A set of instructions, each a subset of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// What every processor of the architecture has, as the compiler uses it.
    Portable,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, VL, BW and DQ.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with products of bf16 pairs.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    /// NEON.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// NEON with products of bf16 pairs (Apple's M2, Graviton 3 and later).
    #[cfg(target_arch = "aarch64")]
    NeonBf16,
}

impl Instructions {
    /// All of this architecture.
    #[cfg(target_arch = "x86_64")]
    pub(super) const ALL: [Self; 4] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16];
    /// All of this architecture.
    #[cfg(target_arch = "aarch64")]
    pub(super) const ALL: [Self; 3] = [Self::Portable, Self::Neon, Self::NeonBf16];
    /// All of this architecture.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(super) const ALL: [Self; 1] = [Self::Portable];

    /// Its name for people and for `CALOTYPE_KERNELS`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => "avx512bf16",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Self::NeonBf16 => "neonbf16",
        }
    }

    /// True where products of bf16 pairs are faster than those of f32.
    #[must_use]
    pub fn prefers_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Self::Avx512Bf16;
        #[cfg(target_arch = "aarch64")]
        return self == Self::NeonBf16;
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        return false;
    }

    /// The most that this processor has.
    fn found() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let has_avx512 = has_avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            if has_avx512 && is_x86_feature_detected!("avx512bf16") {
                return Self::Avx512Bf16;
            }
            if has_avx512 {
                return Self::Avx512;
            }
            if has_avx2 {
                return Self::Avx2;
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            let has_bf16 = std::arch::is_aarch64_feature_detected!("bf16");
            return if has_bf16 { Self::NeonBf16 } else { Self::Neon };
        }
        Self::Portable
    }
}

/// What the kernels use here: the most that the processor has, or less where `CALOTYPE_KERNELS` names a smaller set.
#[must_use]
pub fn instructions() -> Instructions {
    static CHOSEN: OnceLock<Instructions> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let found = Instructions::found();
        let Ok(wanted) = std::env::var("CALOTYPE_KERNELS") else { return found };
        match Instructions::ALL.into_iter().find(|set| set.label() == wanted) {
            Some(set) if set <= found => set,
            None if wanted == CANDLE => found,
            _ => {
                tracing::warn!(
                    "CALOTYPE_KERNELS={wanted} is not among what this processor has, up to {}",
                    found.label()
                );
                found
            }
        }
    })
}
