// Runs our kernels for NVIDIA cards on the processor, every thread of a block a thread of the system, and compares the
// results with the formulas in f64. It shows that the arithmetic and the indices are right, not that a card agrees.
#include <immintrin.h>

#include <algorithm>
#include <barrier>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#define EMULATED
#define __device__
#define __global__
#define __launch_bounds__(threads)
#define __align__(bytes) __attribute__((aligned(bytes)))
// Blocks run one after the other, so that what a block's threads share may be shared by all.
#define __shared__ static

struct Size {
    unsigned x, y;
};
static thread_local Size threadIdx, blockIdx;
static Size blockDim, gridDim;
static std::unique_ptr<std::barrier<>> all;
static float slots[1024];

static void __syncthreads() { all->arrive_and_wait(); }
static float __shfl_xor_sync(unsigned, float x, int apart) {
    slots[threadIdx.x] = x;
    __syncthreads();
    float found = slots[threadIdx.x ^ apart];
    __syncthreads();
    return found;
}
static float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
static float bits_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}
static unsigned float_as_bits(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
struct f16;
struct bf16;
static float value(f16 x);
static void store(f16 *at, float x);
template <typename T>
static void multiply_add(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2], T);
template <typename T>
static unsigned rounded_pair(float first, float second, T);

// What the lanes of a warp name, for `load` and `load_turned`.
static const unsigned short *lines[1024];
static void load(unsigned (&b)[2], const unsigned short *line) {
    unsigned warp = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
    lines[threadIdx.x] = line;
    __syncthreads();
    for (unsigned i = 0; i < 2; i++) std::memcpy(&b[i], lines[warp + 8 * i + lane / 4] + lane % 4 * 2, 4);
    __syncthreads();
}
static void load_turned(unsigned (&b)[2], const unsigned short *line) {
    unsigned warp = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
    lines[threadIdx.x] = line;
    __syncthreads();
    for (unsigned i = 0; i < 2; i++) {
        const unsigned short **first = &lines[warp + 8 * i + lane % 4 * 2];
        b[i] = (unsigned)first[0][lane / 4] | (unsigned)first[1][lane / 4] << 16;
    }
    __syncthreads();
}
static void copy_16_bytes(unsigned short *to, const void *from, bool is_there) {
    if (is_there) std::memcpy(to, from, 16);
    else std::memset(to, 0, 16);
}
static void wait_for_copies() {}

#include "../../src/kernels/cuda/source/values.cu"
#include "../../src/kernels/cuda/source/geglu.cu"
#include "../../src/kernels/cuda/source/norm.cu"
#include "../../src/kernels/cuda/source/finish.cu"
#include "../../src/kernels/cuda/source/attention.cu"
#include "../../src/kernels/cuda/source/convolution.cu"

static float value(f16 x) { return _cvtsh_ss(x.bits); }
static void store(f16 *at, float x) { at->bits = _cvtss_sh(x, 0); }

// The product of a warp, its lanes' words laid out as PTX has them for m16n8k16.
static unsigned words[1024][6];
template <typename T>
static float half_of(unsigned word, unsigned upper) {
    T x;
    x.bits = (half_bits)(word >> (16 * upper));
    return value(x);
}
template <typename T>
static void multiply_add(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2], T) {
    for (int i = 0; i < 4; i++) words[threadIdx.x][i] = a[i];
    for (int i = 0; i < 2; i++) words[threadIdx.x][4 + i] = b[i];
    __syncthreads();
    unsigned warp = threadIdx.x / 32 * 32, lane = threadIdx.x % 32;
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (unsigned k = 0; k < 16; k++) {
            unsigned of_a = warp + row % 8 * 4 + k % 8 / 2, of_b = warp + column * 4 + k % 8 / 2;
            float left = half_of<T>(words[of_a][row / 8 + k / 8 * 2], k % 2), right = half_of<T>(words[of_b][4 + k / 8], k % 2);
            sums[i] += left * right;
        }
    }
    __syncthreads();
}

template <typename T>
static unsigned rounded_pair(float first, float second, T) {
    T low, high;
    store(&low, first);
    store(&high, second);
    return (unsigned)low.bits | (unsigned)high.bits << 16;
}

static void launch(Size grid, unsigned threads, const std::function<void()> &kernel) {
    gridDim = grid;
    blockDim = {threads, 1};
    for (unsigned y = 0; y < grid.y; y++)
        for (unsigned x = 0; x < grid.x; x++) {
            all = std::make_unique<std::barrier<>>(threads);
            std::vector<std::thread> running;
            for (unsigned thread = 0; thread < threads; thread++)
                running.emplace_back([=, &kernel] {
                    threadIdx = {thread, 0};
                    blockIdx = {x, y};
                    kernel();
                });
            for (auto &one : running) one.join();
        }
}

template <typename T>
static std::vector<T> wave(size_t count, double step, double size) {
    std::vector<T> values(count);
    for (size_t i = 0; i < count; i++) store(&values[i], (float)(std::sin(step * (double)i) * size));
    return values;
}

static int failures = 0;

template <typename T>
static void compare(const char *what, const char *type, int number, const std::vector<T> &found,
                    const std::vector<double> &expected, double tolerance) {
    double worst = 0.0, largest = 0.0;
    for (size_t i = 0; i < expected.size(); i++) {
        double difference = std::fabs(value(found[i]) - expected[i]);
        worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
        largest = std::max(largest, std::fabs(expected[i]));
    }
    bool is_right = worst <= tolerance * largest;
    failures += !is_right;
    std::printf("%s %s %d: %.1e of %.1e allowed%s\n", what, type, number, worst / largest, tolerance, is_right ? "" : "  WRONG");
}

template <typename T>
static void check_attention(const char *type, double tolerance, unsigned width, unsigned queries, unsigned keys, int is_backwards,
                            unsigned of_block, unsigned threads, void (*kernel)(const T *, const T *, const T *, T *, unsigned, unsigned, float, int)) {
    const unsigned heads = 2;
    auto q = wave<T>(heads * width * queries, 0.37, 3.0), k = wave<T>(heads * width * keys, 0.11, 3.0),
         v = wave<T>(heads * width * keys, 0.23, 2.0);
    std::vector<T> out(q.size());
    float scale = 1.0f / std::sqrt((float)width);
    launch({(queries + of_block - 1) / of_block, heads}, threads, [&] {
        kernel(q.data(), k.data(), v.data(), out.data(), queries, keys, scale, is_backwards);
    });
    std::vector<double> expected(q.size());
    for (unsigned head = 0; head < heads; head++)
        for (unsigned query = 0; query < queries; query++) {
            std::vector<double> scores(keys);
            double most = -INFINITY, total = 0.0;
            for (unsigned key = 0; key < keys; key++) {
                double sum = 0.0;
                for (unsigned c = 0; c < width; c++)
                    sum += (double)value(q[(head * width + c) * queries + query]) * value(k[(head * width + c) * keys + key]);
                scores[key] = is_backwards && key > query ? -INFINITY : sum * scale;
                most = std::max(most, scores[key]);
            }
            for (auto &score : scores) total += score = std::exp(score - most);
            for (unsigned c = 0; c < width; c++) {
                double sum = 0.0;
                for (unsigned key = 0; key < keys; key++) sum += scores[key] * value(v[(head * width + c) * keys + key]);
                expected[(head * width + c) * queries + query] = sum / total;
            }
        }
    compare(is_backwards ? "attention backwards" : "attention", type, (int)width, out, expected, tolerance);
}

template <typename T>
static void check_norm(const char *type, double tolerance, unsigned parts, int is_activated) {
    const unsigned batch = 2, groups = 4, of_group = 3, area = 35, channels = groups * of_group, length = of_group * area;
    const float eps = 1e-5f;
    // Far from zero: sums of squares alone would lose the deviation.
    auto x = wave<T>(batch * channels * area, 0.7, 1.0), weight = wave<T>(channels, 0.3, 2.0), bias = wave<T>(channels, 0.9, 1.0);
    for (auto &one : x) store(&one, value(one) + 20.0f);
    std::vector<T> out(x.size());
    std::vector<float> statistics(2 * batch * groups * parts);
    launch({parts, batch * groups}, NORM_THREADS, [&] { group_statistics(x.data(), statistics.data(), (unsigned long long)length); });
    launch({parts, batch * groups}, NORM_THREADS, [&] {
        group_apply(x.data(), weight.data(), bias.data(), statistics.data(), out.data(), (unsigned long long)length,
                    (unsigned long long)area, groups, eps, is_activated);
    });
    std::vector<double> expected(x.size());
    for (unsigned group = 0; group < batch * groups; group++) {
        double mean = 0.0, squares = 0.0;
        for (unsigned i = 0; i < length; i++) mean += value(x[group * length + i]) / length;
        for (unsigned i = 0; i < length; i++) squares += std::pow(value(x[group * length + i]) - mean, 2);
        for (unsigned i = 0; i < length; i++) {
            unsigned channel = group % groups * of_group + i / area;
            double y = (value(x[group * length + i]) - mean) / std::sqrt(squares / length + eps);
            y = y * value(weight[channel]) + value(bias[channel]);
            expected[group * length + i] = is_activated ? y / (1.0 + std::exp(-y)) : y;
        }
    }
    compare(is_activated ? "group-norm and SiLU, parts" : "group-norm, parts", type, (int)parts, out, expected, tolerance);
}

template <typename T>
static void check_layer_norm(const char *type, double tolerance, unsigned channels, unsigned tokens) {
    const unsigned batch = 2;
    const float eps = 1e-5f;
    auto x = wave<T>(batch * channels * tokens, 0.7, 1.0), weight = wave<T>(channels, 0.3, 2.0), bias = wave<T>(channels, 0.9, 1.0);
    for (auto &one : x) store(&one, value(one) + 20.0f);
    std::vector<T> out(x.size());
    launch({(tokens + LAYER_TOKENS - 1) / LAYER_TOKENS, batch}, LAYER_TOKENS * LAYER_SLICES,
           [&] { layer_norm(x.data(), weight.data(), bias.data(), out.data(), channels, tokens, eps); });
    std::vector<double> expected(x.size());
    for (unsigned i = 0; i < batch * tokens; i++) {
        unsigned first = i / tokens * channels * tokens + i % tokens;
        double mean = 0.0, squares = 0.0;
        for (unsigned c = 0; c < channels; c++) mean += value(x[first + c * tokens]) / channels;
        for (unsigned c = 0; c < channels; c++) squares += std::pow(value(x[first + c * tokens]) - mean, 2);
        for (unsigned c = 0; c < channels; c++)
            expected[first + c * tokens] =
                (value(x[first + c * tokens]) - mean) / std::sqrt(squares / channels + eps) * value(weight[c]) + value(bias[c]);
    }
    compare("layer-norm, channels", type, (int)channels, out, expected, tolerance);
}

// What is added to a result: a bias, one for each channel, of all pictures together or of each, and one for each value.
static const int BIAS = 1, CHANNELS = 2, OF_EACH = 4, VALUES = 8;

template <typename T>
struct Addends {
    std::vector<T> bias, channels, values;
    unsigned rows, apart;

    Addends(int which, unsigned batch, unsigned rows, size_t count)
        : bias(wave<T>(which & BIAS ? rows : 0, 1.3, 1.0)),
          channels(wave<T>(which & CHANNELS ? (which & OF_EACH ? batch * rows : rows) : 0, 0.9, 1.0)),
          values(wave<T>(which & VALUES ? count : 0, 0.05, 1.0)), rows(rows), apart(which & OF_EACH ? rows : 0) {}

    static const T *given(const std::vector<T> &values) { return values.empty() ? nullptr : values.data(); }

    double sum(unsigned picture, unsigned row, size_t at) const {
        double sum = bias.empty() ? 0.0 : value(bias[row]);
        if (!channels.empty()) sum += value(channels[(apart ? picture * rows : 0) + row]);
        return values.empty() ? sum : sum + value(values[at]);
    }
};

template <typename T>
static void check_finish(const char *type, double tolerance, int which, unsigned area, unsigned threads, unsigned blocks) {
    const unsigned batch = 2, rows = 5;
    auto y = wave<T>(batch * rows * area, 0.37, 1.0);
    Addends<T> added(which, batch, rows, y.size());
    std::vector<T> out(y.size());
    launch({batch * rows, blocks}, threads, [&] {
        finish(y.data(), added.given(added.bias), added.given(added.channels), added.given(added.values), out.data(), area, rows,
               added.apart);
    });
    std::vector<double> expected(y.size());
    for (size_t i = 0; i < expected.size(); i++)
        expected[i] = value(y[i]) + added.sum(i / area / rows, i / area % rows, i);
    compare("finish, of addends", type, which, out, expected, tolerance);
}

template <typename T>
static void check_geglu(const char *type, double tolerance, unsigned half) {
    const unsigned rows = 3, count = rows * half;
    auto x = wave<T>(2 * count, 0.37, 4.0);
    std::vector<T> out(count);
    launch({(count + 255) / 256, 1}, 256, [&] { geglu(x.data(), out.data(), (unsigned long long)count, (unsigned long long)half); });
    std::vector<double> expected(count);
    for (unsigned i = 0; i < count; i++) {
        double of_value = value(x[i / half * 2 * half + i % half]), gate = value(x[i / half * 2 * half + half + i % half]);
        expected[i] = of_value * 0.5 * gate * (1.0 + std::erf(gate / std::sqrt(2.0)));
    }
    compare("geglu, half", type, (int)half, out, expected, tolerance);
}

template <typename T>
static void check_convolution(const char *type, double tolerance, unsigned channels_out, unsigned height, unsigned width,
                              unsigned stride, unsigned padding, int which) {
    const unsigned pictures = 2, channels = 32;
    const unsigned out_height = (height + 2 * padding - 3) / stride + 1, out_width = (width + 2 * padding - 3) / stride + 1;
    auto x = wave<T>(pictures * channels * height * width, 0.37, 1.0), weight = wave<T>(channels_out * channels * 9, 0.71, 0.5);
    std::vector<T> out(pictures * channels_out * out_height * out_width);
    Addends<T> added(which, pictures, channels_out, out.size());
    const unsigned pixels = pictures * out_height * out_width;
    launch({(pixels + CONV_PIXELS - 1) / CONV_PIXELS, (channels_out + CONV_ROWS - 1) / CONV_ROWS}, CONV_PIXELS, [&] {
        convolve3x3(x.data(), weight.data(), added.bias.data(), added.given(added.channels), added.given(added.values), out.data(),
                    pictures, channels, height, width, channels_out, out_height, out_width, stride, padding, added.apart);
    });
    std::vector<double> expected(out.size());
    for (size_t i = 0; i < expected.size(); i++) {
        unsigned at_x = i % out_width, at_y = i / out_width % out_height, row = i / out_width / out_height % channels_out;
        unsigned picture = i / out_width / out_height / channels_out;
        double sum = added.sum(picture, row, i);
        for (unsigned channel = 0; channel < channels; channel++)
            for (unsigned tap = 0; tap < 9; tap++) {
                int y = (int)(at_y * stride + tap / 3) - (int)padding, at = (int)(at_x * stride + tap % 3) - (int)padding;
                if (y < 0 || y >= (int)height || at < 0 || at >= (int)width) continue;
                sum += (double)value(weight[(row * channels + channel) * 9 + tap]) *
                       value(x[((picture * channels + channel) * height + y) * width + at]);
            }
        expected[i] = sum;
    }
    compare("convolution, channels out", type, (int)channels_out, out, expected, tolerance);
}

template <typename T>
static void check_convolutions(const char *type, double tolerance) {
    check_convolution<T>(type, tolerance, 70, 9, 11, 1, 1, BIAS);
    check_convolution<T>(type, tolerance, 3, 16, 8, 1, 1, BIAS | CHANNELS);
    check_convolution<T>(type, tolerance, 64, 9, 7, 2, 1, BIAS | VALUES);
    check_convolution<T>(type, tolerance, 33, 9, 13, 2, 0, BIAS | CHANNELS | OF_EACH | VALUES);
}

template <typename T>
static void check_all(const char *type, double tolerance) {
    for (int is_activated : {0, 1})
        for (unsigned parts : {1, 3, 64}) check_norm<T>(type, tolerance, parts, is_activated);
    check_layer_norm<T>(type, tolerance, 3, 77);
    check_layer_norm<T>(type, tolerance, 35, 64);
    check_layer_norm<T>(type, tolerance, 320, 33);
    for (int which : {BIAS, CHANNELS, CHANNELS | OF_EACH, VALUES, BIAS | CHANNELS | OF_EACH | VALUES}) {
        check_finish<T>(type, tolerance, which, 77, 96, 1);
        check_finish<T>(type, tolerance, which, 301, 32, 3);
    }
    for (unsigned half : {1, 37, 320}) check_geglu<T>(type, tolerance, half);
}

#define CHECK_ATTENTIONS(NAME, TOLERANCE)                                                                                  \
    for (int is_backwards : {0, 1}) {                                                                                      \
        check_attention<NAME>(#NAME, TOLERANCE, 40, 1, 1, is_backwards, 128, 128, attention_40_##NAME);                    \
        check_attention<NAME>(#NAME, TOLERANCE, 40, 70, 77, is_backwards, 128, 128, attention_40_##NAME);                  \
        check_attention<NAME>(#NAME, TOLERANCE, 40, 136, 136, is_backwards, 128, 128, attention_40_##NAME);                \
        check_attention<NAME>(#NAME, TOLERANCE, 64, 130, 72, is_backwards, 128, 128, attention_64_##NAME);                 \
        check_attention<NAME>(#NAME, TOLERANCE, 64, 33, 65, is_backwards, 128, 128, attention_64_##NAME);                  \
        check_attention<NAME>(#NAME, TOLERANCE, 80, 100, 100, is_backwards, 128, 128, attention_80_##NAME);                \
        check_attention<NAME>(#NAME, TOLERANCE, 160, 65, 40, is_backwards, 64, 128, attention_160_##NAME);                 \
    }

int main() {
    check_attention<float>("f32", 1e-5, 40, 1, 1, 0, 64, 128, attention_40_f32);
    check_attention<float>("f32", 1e-5, 40, 70, 77, 0, 64, 128, attention_40_f32);
    check_attention<float>("f32", 1e-5, 64, 3, 130, 0, 64, 128, attention_64_f32);
    check_attention<float>("f32", 1e-5, 64, 65, 65, 1, 64, 128, attention_64_f32);
    check_attention<float>("f32", 1e-5, 80, 64, 50, 0, 64, 64, attention_80_f32);
    check_attention<float>("f32", 1e-5, 160, 33, 40, 1, 32, 32, attention_160_f32);
    CHECK_ATTENTIONS(f16, 1e-3)
    CHECK_ATTENTIONS(bf16, 8e-3)
    check_all<float>("f32", 1e-5);
    check_all<f16>("f16", 1e-3);
    check_all<bf16>("bf16", 8e-3);
    check_convolutions<f16>("f16", 1e-3);
    check_convolutions<bf16>("bf16", 8e-3);
    return failures > 0;
}
