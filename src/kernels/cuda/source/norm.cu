// ---- Group normalisation, in two kernels: mean and squared deviation of each part of a group, then the values. ----
// The grid is (parts of a group, groups of all pictures); a group's `length` values lie in order.

#define NORM_THREADS 256

// The sum over the block, for every thread.
__device__ inline float sum_of_block(float x, float *room) {
    unsigned thread = threadIdx.x;
    room[thread] = x;
    __syncthreads();
    for (unsigned half = NORM_THREADS / 2; half > 0; half /= 2) {
        if (thread < half) room[thread] += room[thread + half];
        __syncthreads();
    }
    float sum = room[0];
    __syncthreads();
    return sum;
}

template <typename T>
__device__ void group_statistics(const T *x, float *statistics, unsigned long long length) {
    __shared__ float room[NORM_THREADS];
    unsigned long long begin = length * blockIdx.x / gridDim.x, end = length * (blockIdx.x + 1) / gridDim.x;
    const T *group = x + length * blockIdx.y;
    float sum = 0.0f;
    for (unsigned long long i = begin + threadIdx.x; i < end; i += NORM_THREADS) sum += value(group[i]);
    float count = (float)(end - begin);
    float mean = sum_of_block(sum, room) / fmaxf(count, 1.0f);
    float squares = 0.0f;
    for (unsigned long long i = begin + threadIdx.x; i < end; i += NORM_THREADS) {
        float centred = value(group[i]) - mean;
        squares += centred * centred;
    }
    squares = sum_of_block(squares, room);
    if (threadIdx.x == 0) {
        float *mine = statistics + 2 * (blockIdx.y * (unsigned long long)gridDim.x + blockIdx.x);
        mine[0] = mean;
        mine[1] = squares;
    }
}

template <typename T>
__device__ void group_apply(const T *x, const T *weight, const T *bias, const float *statistics, T *out,
                            unsigned long long length, unsigned long long area, unsigned groups, float eps, int is_activated) {
    unsigned parts = gridDim.x;
    const float *of_group = statistics + 2 * blockIdx.y * (unsigned long long)parts;
    // The parts' means and deviations to those of the group (Chan, Golub & LeVeque 1979).
    float sum = 0.0f;
    for (unsigned part = 0; part < parts; part++) {
        float count = (float)(length * (part + 1) / parts - length * part / parts);
        sum += count * of_group[2 * part];
    }
    float mean = sum / (float)length, squares = 0.0f;
    for (unsigned part = 0; part < parts; part++) {
        float count = (float)(length * (part + 1) / parts - length * part / parts);
        float apart = of_group[2 * part] - mean;
        squares += of_group[2 * part + 1] + count * apart * apart;
    }
    float scale = rsqrtf(squares / (float)length + eps);
    unsigned long long begin = length * blockIdx.x / parts, end = length * (blockIdx.x + 1) / parts;
    unsigned long long start = length * blockIdx.y, first_channel = blockIdx.y % groups * (length / area);
    for (unsigned long long i = begin + threadIdx.x; i < end; i += NORM_THREADS) {
        unsigned long long channel = first_channel + i / area;
        float y = (value(x[start + i]) - mean) * scale * value(weight[channel]) + value(bias[channel]);
        store(out + start + i, is_activated ? y / (1.0f + expf(-y)) : y);
    }
}

#define GROUP_NORM(NAME, T)                                                                                                \
    extern "C" __global__ void group_statistics_##NAME(const T *x, float *statistics, unsigned long long length) {         \
        group_statistics(x, statistics, length);                                                                           \
    }                                                                                                                      \
    extern "C" __global__ void group_apply_##NAME(const T *x, const T *weight, const T *bias, const float *statistics,     \
                                                  T *out, unsigned long long length, unsigned long long area,              \
                                                  unsigned groups, float eps, int is_activated) {                          \
        group_apply(x, weight, bias, statistics, out, length, area, groups, eps, is_activated);                            \
    }
GROUP_NORM(f32, float)
GROUP_NORM(f16, f16)
GROUP_NORM(bf16, bf16)

// ---- Layer normalisation of each token's channels; x is [B, channels, tokens]. The grid is (blocks of LAYER_TOKENS tokens,
// B). The threads of a warp have neighbouring tokens, and LAYER_SLICES warps share the channels. ----

#define LAYER_TOKENS 32
#define LAYER_SLICES 16

// The sum over the threads of a token, for each of them.
__device__ inline float sum_of_slices(float x, float (*room)[LAYER_TOKENS]) {
    unsigned token = threadIdx.x % LAYER_TOKENS;
    room[threadIdx.x / LAYER_TOKENS][token] = x;
    __syncthreads();
    float sum = 0.0f;
    for (unsigned slice = 0; slice < LAYER_SLICES; slice++) sum += room[slice][token];
    __syncthreads();
    return sum;
}

template <typename T>
__device__ void layer_norm(const T *x, const T *weight, const T *bias, T *out, unsigned channels, unsigned tokens, float eps) {
    __shared__ float room[LAYER_SLICES][LAYER_TOKENS];
    unsigned token = blockIdx.x * LAYER_TOKENS + threadIdx.x % LAYER_TOKENS, slice = threadIdx.x / LAYER_TOKENS;
    unsigned long long start = (unsigned long long)blockIdx.y * channels * tokens + token;
    // Behind the last token there are no channels, but all threads meet in the sums.
    unsigned end = token < tokens ? channels : 0;
    float sum = 0.0f, squares = 0.0f;
    for (unsigned channel = slice; channel < end; channel += LAYER_SLICES)
        sum += value(x[start + (unsigned long long)channel * tokens]);
    float mean = sum_of_slices(sum, room) / (float)channels;
    for (unsigned channel = slice; channel < end; channel += LAYER_SLICES) {
        float centred = value(x[start + (unsigned long long)channel * tokens]) - mean;
        squares += centred * centred;
    }
    float scale = rsqrtf(sum_of_slices(squares, room) / (float)channels + eps);
    for (unsigned channel = slice; channel < end; channel += LAYER_SLICES) {
        unsigned long long at = start + (unsigned long long)channel * tokens;
        store(out + at, (value(x[at]) - mean) * scale * value(weight[channel]) + value(bias[channel]));
    }
}

#define LAYER_NORM(NAME, T)                                                                                                \
    extern "C" __global__ void __launch_bounds__(LAYER_TOKENS *LAYER_SLICES)                                               \
        layer_norm_##NAME(const T *x, const T *weight, const T *bias, T *out, unsigned channels, unsigned tokens,          \
                          float eps) {                                                                                     \
        layer_norm(x, weight, bias, out, channels, tokens, eps);                                                           \
    }
LAYER_NORM(f32, float)
LAYER_NORM(f16, f16)
LAYER_NORM(bf16, bf16)
