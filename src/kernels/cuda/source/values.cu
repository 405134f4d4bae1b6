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

// Two neighbouring words of 8 lines of 16 bytes each, twice: of the lines that lanes 0 to 7 name, and of those of 8 to 15.
// A lane has of the line `lane / 4` the values `lane % 4 * 2` and the next.
__device__ inline void load(unsigned (&b)[2], const half_bits *line) {
    unsigned at = (unsigned)__cvta_generic_to_shared(line);
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(b[0]), "=r"(b[1]) : "r"(at) : "memory");
}
// As `load`, of lines and values turned: of the lines `lane % 4 * 2` and the next the value `lane / 4`.
__device__ inline void load_turned(unsigned (&b)[2], const half_bits *line) {
    unsigned at = (unsigned)__cvta_generic_to_shared(line);
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(b[0]), "=r"(b[1])
                 : "r"(at)
                 : "memory");
}

// Two values as words of 16 bits, the first below.
__device__ inline unsigned rounded_pair(float first, float second, f16) {
    f16 low, high;
    store(&low, first);
    store(&high, second);
    return (unsigned)low.bits | (unsigned)high.bits << 16;
}
#if __CUDA_ARCH__ >= 800
__device__ inline unsigned rounded_pair(float first, float second, bf16) {
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(second), "f"(first));
    return both;
}
#endif

// Begins to copy 16 bytes to a block's memory, or zeros where there are none.
__device__ inline void copy_16_bytes(half_bits *to, const void *from, bool is_there) {
#if __CUDA_ARCH__ >= 800
    unsigned at = (unsigned)__cvta_generic_to_shared(to), bytes = is_there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
#else
    uint4 words = make_uint4(0, 0, 0, 0);
    if (is_there) words = *(const uint4 *)from;
    *(uint4 *)to = words;
#endif
}
// Waits for what this thread has begun to copy.
__device__ inline void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}
#endif

// The values of two neighbouring channels at one place.
template <typename T>
__device__ inline unsigned pair(const T *at, unsigned long long area) {
    return (unsigned)at[0].bits | (unsigned)at[area].bits << 16;
}

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
