// Our own kernels for NVIDIA cards, compiled on the user's machine by NVRTC: nothing is included, as there may be no headers.
// Values are f32, f16 or bf16; all sums are f32. tests/gpu compiles them with nvcc and runs them, thread by thread, on the
// processor.

typedef unsigned short half_bits;

// The upper half of an f32.
struct bf16 {
    half_bits bits;
};

// IEEE's 16 bits.
struct f16 {
    half_bits bits;
};

#ifndef EMULATED
__device__ inline float bits_as_float(unsigned bits) { return __uint_as_float(bits); }
__device__ inline unsigned float_as_bits(float x) { return __float_as_uint(x); }
__device__ inline float value(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}
__device__ inline void store(f16 *at, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(at->bits) : "f"(x)); }

// sums += a b for a [16, 16] and b [16, 8], which the lanes of a warp hold together, on tensor cores: PTX's m16n8k16.
__device__ inline void multiply_add(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2], f16) {
#if __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    for (int half = 0; half < 2; half++)
        asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
#endif
}
#if __CUDA_ARCH__ >= 800
__device__ inline void multiply_add(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2], bf16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif
#endif

__device__ inline float value(float x) { return x; }
__device__ inline float value(bf16 x) { return bits_as_float((unsigned)x.bits << 16); }
__device__ inline void store(float *at, float x) { *at = x; }

// Rounded to the nearest, ties to even; NaN stays NaN.
__device__ inline void store(bf16 *at, float x) {
    unsigned bits = float_as_bits(x);
    bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    at->bits = (half_bits)(is_nan ? 0x7fc0u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

// x * (1 + erf(x / sqrt 2)) / 2
__device__ inline float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }
