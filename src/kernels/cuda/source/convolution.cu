// ---- Convolution of 3 x 3 on tensor cores: a product over patches that are never laid out (Chetlur et al. 2014,
// arXiv:1410.0759). x is [pictures, channels, height, width] with channels a multiple of 16, weight [channels_out, channels,
// 3, 3]; the grid is (blocks of CONV_PIXELS results, blocks of CONV_ROWS of their channels). Each of the four warps has 32
// channels of 64 pixels, and each thread fetches the patches of one pixel. `channels_added` and `values` are what `finish`
// adds, in the same sum. ----

#define CONV_ROWS 64
#define CONV_PIXELS 128
// Channels that are multiplied at a time, two in a word: a tensor core's 16.
#define CONV_DEPTH 16

template <typename T>
__device__ void convolve3x3(const T *x, const T *weight, const T *bias, const T *channels_added, const T *values, T *out,
                            unsigned pictures, unsigned channels, unsigned height, unsigned width, unsigned channels_out,
                            unsigned out_height, unsigned out_width, unsigned stride, unsigned padding, unsigned apart) {
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
            unsigned picture = to / out_area;
            unsigned long long first = (unsigned long long)picture * channels_out * out_area + to % out_area;
#pragma unroll
            for (int m = 0; m < 2; m++)
#pragma unroll
                for (int lower = 0; lower < 2; lower++) {
                    unsigned row = first_row + warp_row + m * 16 + group + lower * 8;
                    if (row >= channels_out) continue;
                    unsigned long long at = first + (unsigned long long)row * out_area;
                    float sum = sums[m][n][2 * lower + i] + value(bias[row]);
                    if (channels_added) sum += value(channels_added[picture * apart + row]);
                    if (values) sum += value(values[at]);
                    store(out + at, sum);
                }
        }
}

#define CONVOLUTION(NAME, T)                                                                                               \
    extern "C" __global__ void __launch_bounds__(CONV_PIXELS)                                                              \
        convolve3x3_##NAME(const T *x, const T *weight, const T *bias, const T *channels_added, const T *values, T *out,   \
                           unsigned pictures, unsigned channels, unsigned height, unsigned width, unsigned channels_out,   \
                           unsigned out_height, unsigned out_width, unsigned stride, unsigned padding, unsigned apart) {   \
        convolve3x3(x, weight, bias, channels_added, values, out, pictures, channels, height, width, channels_out,         \
                    out_height, out_width, stride, padding, apart);                                                        \
    }
CONVOLUTION(f16, f16)
// Cards before Ampere (8.0) do not multiply bf16, and models are not kept in it on them.
#if defined(EMULATED) || __CUDA_ARCH__ >= 800
CONVOLUTION(bf16, bf16)
#endif
