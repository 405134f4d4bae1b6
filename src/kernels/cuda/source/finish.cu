// ---- What is added to a result of planes, `rows` of each picture: to all of a plane its row's bias and its own of
// `channels`, in which the pictures are `apart`, and to each value its own of `values`. Any of the three may be null. The grid
// is (planes, blocks of a plane's `area`). ----

template <typename T>
__device__ void finish(const T *y, const T *bias, const T *channels, const T *values, T *out, unsigned area, unsigned rows,
                       unsigned apart) {
    unsigned picture = blockIdx.x / rows, row = blockIdx.x % rows;
    float shift = (bias ? value(bias[row]) : 0.0f) + (channels ? value(channels[picture * apart + row]) : 0.0f);
    unsigned long long start = (unsigned long long)blockIdx.x * area;
    for (unsigned i = blockIdx.y * blockDim.x + threadIdx.x; i < area; i += gridDim.y * blockDim.x) {
        float sum = value(y[start + i]) + shift;
        if (values) sum += value(values[start + i]);
        store(out + start + i, sum);
    }
}

#define FINISH(NAME, T)                                                                                                    \
    extern "C" __global__ void finish_##NAME(const T *y, const T *bias, const T *channels, const T *values, T *out,        \
                                             unsigned area, unsigned rows, unsigned apart) {                               \
        finish(y, bias, channels, values, out, area, rows, apart);                                                         \
    }
FINISH(f32, float)
FINISH(f16, f16)
FINISH(bf16, bf16)
