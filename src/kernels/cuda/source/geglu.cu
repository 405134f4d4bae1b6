// ---- Gated GELU: of each `2 * half` values the first half times the GELU of the second. One thread, one result. ----

template <typename T>
__device__ void geglu(const T *x, T *out, unsigned long long count, unsigned long long half) {
    unsigned long long at = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    unsigned long long first = at / half * (2 * half) + at % half;
    store(out + at, value(x[first]) * gelu(value(x[first + half])));
}

#define GEGLU(NAME, T)                                                                                                     \
    extern "C" __global__ void geglu_##NAME(const T *x, T *out, unsigned long long count, unsigned long long half) {       \
        geglu(x, out, count, half);                                                                                        \
    }
GEGLU(f32, float)
GEGLU(f16, f16)
GEGLU(bf16, bf16)
