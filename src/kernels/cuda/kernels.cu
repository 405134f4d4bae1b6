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

// ---- Gated GELU: of each `2 * half` values the first half times the GELU of the second. One thread, one result. ----

template <typename T>
__device__ void geglu(const T *x, T *out, unsigned long long count, unsigned long long half) {
    unsigned long long at = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= count) return;
    unsigned long long first = at / half * (2 * half) + at % half;
    store(out + at, value(x[first]) * gelu(value(x[first + half])));
}

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

// ---- Attention, softmax(q^T k / sqrt(WIDTH)) v, without the scores in memory (Dao et al. 2022, arXiv:2205.14135). ----
// q is [heads of all pictures, WIDTH, queries], k and v [.., WIDTH, keys]; the grid is (blocks of QUERIES, heads of all
// pictures). A block has (QUERIES / 4) * (KEYS / 4) threads; each keeps the scores of 4 queries with 4 keys, then 4 queries'
// results in WIDTH / (KEYS / 4) channels.

// Less than every score, and no infinity, whose difference would be no number.
#define HIDDEN -1e30f

template <typename T, int WIDTH, int QUERIES, int KEYS>
__device__ void attention(const T *q, const T *k, const T *v, T *out, unsigned queries, unsigned keys, float scale,
                          int is_backwards) {
    const int LANES = KEYS / 4, THREADS = QUERIES / 4 * LANES, CHANNELS = WIDTH / LANES;
    __shared__ float q_tile[WIDTH][QUERIES];
    __shared__ float k_tile[WIDTH][KEYS];
    // A column more, so that lanes with neighbouring channels read from different banks.
    __shared__ float v_tile[WIDTH][KEYS + 1];
    __shared__ float weights[KEYS][QUERIES];
    const int lane = threadIdx.x % LANES, row = threadIdx.x / LANES * 4;
    const unsigned first_query = blockIdx.x * QUERIES;
    q += (unsigned long long)blockIdx.y * WIDTH * queries;
    out += (unsigned long long)blockIdx.y * WIDTH * queries;
    k += (unsigned long long)blockIdx.y * WIDTH * keys;
    v += (unsigned long long)blockIdx.y * WIDTH * keys;
    // Powers of two are taken: 2^(x log2 e) is e^x.
    const float factor = scale * 1.44269504f;
    for (int i = threadIdx.x; i < WIDTH * QUERIES; i += THREADS) {
        unsigned channel = i / QUERIES, query = first_query + i % QUERIES;
        q_tile[channel][i % QUERIES] =
            query < queries ? factor * value(q[(unsigned long long)channel * queries + query]) : 0.0f;
    }
    float sums[4][CHANNELS], most[4], total[4];
    for (int i = 0; i < 4; i++) {
        most[i] = HIDDEN;
        total[i] = 0.0f;
        for (int c = 0; c < CHANNELS; c++) sums[i][c] = 0.0f;
    }
    // Keys behind the last query of the block are seen by none of it.
    unsigned last_key = is_backwards && first_query + QUERIES < keys ? first_query + QUERIES : keys;
    for (unsigned first_key = 0; first_key < last_key; first_key += KEYS) {
        __syncthreads();
        for (int i = threadIdx.x; i < WIDTH * KEYS; i += THREADS) {
            unsigned channel = i / KEYS, key = first_key + i % KEYS;
            unsigned long long at = (unsigned long long)channel * keys + key;
            k_tile[channel][i % KEYS] = key < keys ? value(k[at]) : 0.0f;
            v_tile[channel][i % KEYS] = key < keys ? value(v[at]) : 0.0f;
        }
        __syncthreads();
        float scores[4][4];
        for (int i = 0; i < 4; i++)
            for (int j = 0; j < 4; j++) scores[i][j] = 0.0f;
#pragma unroll 4
        for (int c = 0; c < WIDTH; c++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) scores[i][j] += q_tile[c][row + i] * k_tile[c][lane * 4 + j];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float highest = most[i];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                unsigned key = first_key + lane * 4 + j;
                if (key >= keys || (is_backwards && key > first_query + row + i)) scores[i][j] = HIDDEN;
                highest = fmaxf(highest, scores[i][j]);
            }
            // The lanes of a row lie side by side in a warp.
            for (int apart = LANES / 2; apart > 0; apart /= 2)
                highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, apart));
            float shrunk = exp2f(most[i] - highest), added = 0.0f;
            most[i] = highest;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float weight = exp2f(scores[i][j] - highest);
                added += weight;
                weights[lane * 4 + j][row + i] = weight;
            }
            for (int apart = LANES / 2; apart > 0; apart /= 2) added += __shfl_xor_sync(0xffffffffu, added, apart);
            total[i] = total[i] * shrunk + added;
#pragma unroll
            for (int c = 0; c < CHANNELS; c++) sums[i][c] *= shrunk;
        }
        __syncthreads();
        for (int key = 0; key < KEYS; key++)
#pragma unroll
            for (int c = 0; c < CHANNELS; c++) {
                float of_channel = v_tile[c * LANES + lane][key];
#pragma unroll
                for (int i = 0; i < 4; i++) sums[i][c] += weights[key][row + i] * of_channel;
            }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        unsigned query = first_query + row + i;
        if (query >= queries) continue;
#pragma unroll
        for (int c = 0; c < CHANNELS; c++)
            store(out + (unsigned long long)(c * LANES + lane) * queries + query, sums[i][c] / total[i]);
    }
}

// ---- Convolution of 3 x 3 on tensor cores: a product over patches that are never laid out (Chetlur et al. 2014,
// arXiv:1410.0759). x is [pictures, channels, height, width] with channels a multiple of 16, weight [channels_out, channels,
// 3, 3]; the grid is (blocks of CONV_PIXELS results, blocks of CONV_ROWS of their channels). Each of the four warps has 32
// channels of 64 pixels, and each thread fetches the patches of one pixel. ----

#define CONV_ROWS 64
#define CONV_PIXELS 128
// Channels that are multiplied at a time, two in a word: a tensor core's 16.
#define CONV_DEPTH 16

// The values of two neighbouring channels at one place.
template <typename T>
__device__ inline unsigned pair(const T *at, unsigned long long area) {
    return (unsigned)at[0].bits | (unsigned)at[area].bits << 16;
}

template <typename T>
__device__ void convolve3x3(const T *x, const T *weight, const float *bias, T *out, unsigned pictures, unsigned channels,
                            unsigned height, unsigned width, unsigned channels_out, unsigned out_height, unsigned out_width,
                            unsigned stride, unsigned padding) {
    // Rows of 8 words are 12 apart, and those of 128 words 136, so that the lanes of a warp read from different banks.
    __shared__ unsigned factors[9][CONV_ROWS][CONV_DEPTH / 2 + 4];
    __shared__ unsigned patches[2][CONV_DEPTH / 2][CONV_PIXELS + 8];
    const unsigned thread = threadIdx.x, warp = thread / 32, quad = thread % 4, group = thread % 32 / 4;
    const unsigned first_row = blockIdx.y * CONV_ROWS, warp_row = warp % 2 * 32, warp_pixel = warp / 2 * 64;
    const unsigned area = height * width, out_area = out_height * out_width, pixels = pictures * out_area;
    const unsigned pixel = blockIdx.x * CONV_PIXELS + thread;
    const int top = (int)(pixel % out_area / out_width * stride) - (int)padding;
    const int left = (int)(pixel % out_area % out_width * stride) - (int)padding;
    const T *picture = x + (unsigned long long)(pixel / out_area) * channels * area;
    float sums[2][8][4];
    for (int m = 0; m < 2; m++)
        for (int n = 0; n < 8; n++)
            for (int i = 0; i < 4; i++) sums[m][n][i] = 0.0f;
    // What the next step multiplies: 16 channels at one of the patch's nine places.
    unsigned next[CONV_DEPTH / 2];
    auto fetch = [&](unsigned step) {
        unsigned tap = step % 9;
        int y = top + (int)(tap / 3), at = left + (int)(tap % 3);
        bool is_seen = pixel < pixels && y >= 0 && y < (int)height && at >= 0 && at < (int)width;
        const T *first = picture + (unsigned long long)(step / 9 * CONV_DEPTH) * area;
        if (is_seen) first += (unsigned)y * width + (unsigned)at;
        for (unsigned j = 0; j < CONV_DEPTH / 2; j++)
            next[j] = is_seen ? pair(first + (unsigned long long)(2 * j) * area, area) : 0u;
    };
    fetch(0);
    const unsigned steps = channels / CONV_DEPTH * 9;
    for (unsigned step = 0; step < steps; step++) {
        unsigned tap = step % 9, buffer = step % 2;
        if (tap == 0) {
            // All have multiplied by the factors of the channels before.
            __syncthreads();
            for (unsigned i = thread; i < CONV_ROWS * CONV_DEPTH * 9; i += CONV_PIXELS) {
                unsigned row = i / (CONV_DEPTH * 9), at = i % (CONV_DEPTH * 9);
                unsigned long long from = ((unsigned long long)(first_row + row) * channels + step / 9 * CONV_DEPTH) * 9 + at;
                half_bits factor = first_row + row < channels_out ? weight[from].bits : (half_bits)0;
                ((half_bits *)factors[at % 9][row])[at / 9] = factor;
            }
        }
        for (unsigned j = 0; j < CONV_DEPTH / 2; j++) patches[buffer][j][thread] = next[j];
        __syncthreads();
        // While these are multiplied, the next are fetched. They are stored to the other buffer, with which all are done.
        if (step + 1 < steps) fetch(step + 1);
        unsigned a[2][4];
#pragma unroll
        for (int m = 0; m < 2; m++) {
            unsigned row = warp_row + m * 16 + group;
            a[m][0] = factors[tap][row][quad];
            a[m][1] = factors[tap][row + 8][quad];
            a[m][2] = factors[tap][row][quad + 4];
            a[m][3] = factors[tap][row + 8][quad + 4];
        }
#pragma unroll
        for (int n = 0; n < 8; n++) {
            unsigned column = warp_pixel + n * 8 + group;
            unsigned b[2] = {patches[buffer][quad][column], patches[buffer][quad + 4][column]};
#pragma unroll
            for (int m = 0; m < 2; m++) multiply_add(sums[m][n], a[m], b, T());
        }
    }
#pragma unroll
    for (int n = 0; n < 8; n++)
#pragma unroll
        for (int i = 0; i < 2; i++) {
            unsigned to = blockIdx.x * CONV_PIXELS + warp_pixel + n * 8 + quad * 2 + i;
            if (to >= pixels) continue;
            T *first = out + (unsigned long long)(to / out_area) * channels_out * out_area + to % out_area;
#pragma unroll
            for (int m = 0; m < 2; m++)
#pragma unroll
                for (int lower = 0; lower < 2; lower++) {
                    unsigned row = first_row + warp_row + m * 16 + group + lower * 8;
                    if (row < channels_out)
                        store(first + (unsigned long long)row * out_area, sums[m][n][2 * lower + i] + bias[row]);
                }
        }
}

// ---- The entries, one for each type of values. The sizes of attention's blocks are also in mod.rs. ----

#define ATTENTION(NAME, T, WIDTH, QUERIES, KEYS)                                                                           \
    extern "C" __global__ void attention_##WIDTH##_##NAME(const T *q, const T *k, const T *v, T *out, unsigned queries,    \
                                                          unsigned keys, float scale, int is_backwards) {                  \
        attention<T, WIDTH, QUERIES, KEYS>(q, k, v, out, queries, keys, scale, is_backwards);                              \
    }

#define ENTRIES(NAME, T)                                                                                                   \
    extern "C" __global__ void geglu_##NAME(const T *x, T *out, unsigned long long count, unsigned long long half) {       \
        geglu(x, out, count, half);                                                                                        \
    }                                                                                                                      \
    extern "C" __global__ void group_statistics_##NAME(const T *x, float *statistics, unsigned long long length) {         \
        group_statistics(x, statistics, length);                                                                           \
    }                                                                                                                      \
    extern "C" __global__ void group_apply_##NAME(const T *x, const T *weight, const T *bias, const float *statistics,     \
                                                  T *out, unsigned long long length, unsigned long long area,              \
                                                  unsigned groups, float eps, int is_activated) {                          \
        group_apply(x, weight, bias, statistics, out, length, area, groups, eps, is_activated);                            \
    }                                                                                                                      \
    ATTENTION(NAME, T, 40, 64, 32)                                                                                         \
    ATTENTION(NAME, T, 64, 64, 32)                                                                                         \
    ATTENTION(NAME, T, 80, 64, 16)                                                                                         \
    ATTENTION(NAME, T, 160, 32, 16)

#define CONVOLUTION(NAME, T)                                                                                               \
    extern "C" __global__ void __launch_bounds__(CONV_PIXELS)                                                              \
        convolve3x3_##NAME(const T *x, const T *weight, const float *bias, T *out, unsigned pictures, unsigned channels,   \
                           unsigned height, unsigned width, unsigned channels_out, unsigned out_height,                    \
                           unsigned out_width, unsigned stride, unsigned padding) {                                        \
        convolve3x3(x, weight, bias, out, pictures, channels, height, width, channels_out, out_height, out_width, stride,  \
                    padding);                                                                                              \
    }

ENTRIES(f32, float)
ENTRIES(f16, f16)
ENTRIES(bf16, bf16)
CONVOLUTION(f16, f16)
// Cards before Ampere (8.0) do not multiply bf16, and models are not kept in it on them.
#if defined(EMULATED) || __CUDA_ARCH__ >= 800
CONVOLUTION(bf16, bf16)
#endif
