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

// ---- The same on tensor cores, for 16 bits. A warp has TILES * 16 queries and keeps their scores with KEYS keys, which it
// multiplies from the registers that they were summed in (Dao 2023, arXiv:2307.08691). ----

#define ATTENTION_WARPS 4

template <typename T, int WIDTH, int TILES, int KEYS>
__device__ void attention_of_tiles(const T *q, const T *k, const T *v, T *out, unsigned queries, unsigned keys, float scale,
                                   int is_backwards) {
    const int THREADS = ATTENTION_WARPS * 32, DEPTHS = (WIDTH + 15) / 16, OF_BLOCK = ATTENTION_WARPS * TILES * 16;
    // Lines are 16 bytes longer than their keys, so that eight of them lie in different banks. Of keys and values two tiles
    // each: the next one comes while one is multiplied.
    __shared__ __align__(16) half_bits k_tile[2][DEPTHS * 16][KEYS + 8];
    __shared__ __align__(16) half_bits v_tile[2][WIDTH][KEYS + 8];
    const unsigned thread = threadIdx.x, lane = thread % 32, quad = lane % 4, group = lane / 4;
    const unsigned first_query = blockIdx.x * OF_BLOCK + thread / 32 * TILES * 16;
    q += (unsigned long long)blockIdx.y * WIDTH * queries;
    out += (unsigned long long)blockIdx.y * WIDTH * queries;
    k += (unsigned long long)blockIdx.y * WIDTH * keys;
    v += (unsigned long long)blockIdx.y * WIDTH * keys;
    const bool is_aligned = keys % 8 == 0 && ((unsigned long long)k | (unsigned long long)v) % 16 == 0;
    auto bring = [&](unsigned tile) {
        const unsigned buffer = tile % 2, first_key = tile * KEYS;
        if (is_aligned) {
            for (unsigned i = thread; i < WIDTH * KEYS / 8; i += THREADS) {
                unsigned channel = i / (KEYS / 8), at = i % (KEYS / 8) * 8;
                bool is_there = first_key + at < keys;
                unsigned long long from = is_there ? (unsigned long long)channel * keys + first_key + at : 0;
                copy_16_bytes(&k_tile[buffer][channel][at], k + from, is_there);
                copy_16_bytes(&v_tile[buffer][channel][at], v + from, is_there);
            }
            return;
        }
        for (unsigned i = thread; i < WIDTH * KEYS; i += THREADS) {
            unsigned channel = i / KEYS, at = i % KEYS;
            bool is_there = first_key + at < keys;
            unsigned long long from = (unsigned long long)channel * keys + first_key + at;
            k_tile[buffer][channel][at] = is_there ? k[from].bits : (half_bits)0;
            v_tile[buffer][channel][at] = is_there ? v[from].bits : (half_bits)0;
        }
    };
    bring(0);
    // Channels that a head lacks of a whole number of products.
    for (unsigned i = thread; i < 2 * (DEPTHS * 16 - WIDTH) * KEYS; i += THREADS)
        k_tile[i % 2][WIDTH + i / 2 / KEYS][i / 2 % KEYS] = 0;
    unsigned of_q[TILES][DEPTHS][4];
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int d = 0; d < DEPTHS; d++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                unsigned query = first_query + m * 16 + group + i % 2 * 8, channel = d * 16 + quad * 2 + i / 2 * 8;
                bool is_there = query < queries && channel < WIDTH;
                of_q[m][d][i] = is_there ? pair(q + (unsigned long long)channel * queries + query, queries) : 0u;
            }
    // Of the rows `group` and `group + 8` of each tile; totals are of this lane's keys until the end.
    float sums[TILES][WIDTH / 8][4], most[TILES][2], total[TILES][2];
    for (int m = 0; m < TILES; m++) {
        for (int n = 0; n < WIDTH / 8; n++)
            for (int i = 0; i < 4; i++) sums[m][n][i] = 0.0f;
        for (int lower = 0; lower < 2; lower++) {
            most[m][lower] = HIDDEN;
            total[m][lower] = 0.0f;
        }
    }
    // Powers of two are taken: 2^(x log2 e) is e^x.
    const float factor = scale * 1.44269504f;
    // Keys behind the last query of the block are seen by none of it.
    const unsigned end = (blockIdx.x + 1) * OF_BLOCK, last_key = is_backwards && end < keys ? end : keys;
    const unsigned tiles = (last_key + KEYS - 1) / KEYS;
    for (unsigned tile = 0; tile < tiles; tile++) {
        const unsigned buffer = tile % 2, first_key = tile * KEYS;
        wait_for_copies();
        // All see the tile, and all are done with the one before.
        __syncthreads();
        if (tile + 1 < tiles) bring(tile + 1);
        float scores[TILES][KEYS / 8][4];
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int i = 0; i < 4; i++) scores[m][n][i] = 0.0f;
#pragma unroll
        for (int d = 0; d < DEPTHS; d++)
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
                unsigned b[2];
                load_turned(b, &k_tile[buffer][d * 16 + lane % 16][n * 8]);
#pragma unroll
                for (int m = 0; m < TILES; m++) multiply_add(scores[m][n], of_q[m][d], b, T());
            }
        const bool hides = first_key + KEYS > keys || is_backwards;
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int lower = 0; lower < 2; lower++) {
                unsigned query = first_query + m * 16 + group + lower * 8;
                float highest = most[m][lower];
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float &score = scores[m][n][2 * lower + i];
                        unsigned key = first_key + n * 8 + quad * 2 + i;
                        if (hides && (key >= keys || (is_backwards && key > query))) score = HIDDEN;
                        highest = fmaxf(highest, score);
                    }
                // The four lanes of a row.
                for (int apart = 1; apart < 4; apart *= 2)
                    highest = fmaxf(highest, __shfl_xor_sync(0xffffffffu, highest, apart));
                float shrunk = exp2f((most[m][lower] - highest) * factor), added = 0.0f;
                most[m][lower] = highest;
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float &score = scores[m][n][2 * lower + i];
                        score = exp2f((score - highest) * factor);
                        added += score;
                    }
                total[m][lower] = total[m][lower] * shrunk + added;
#pragma unroll
                for (int n = 0; n < WIDTH / 8; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) sums[m][n][2 * lower + i] *= shrunk;
            }
#pragma unroll
        for (int s = 0; s < KEYS / 16; s++) {
            unsigned weights[TILES][4];
#pragma unroll
            for (int m = 0; m < TILES; m++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float(&two)[4] = scores[m][2 * s + i / 2];
                    weights[m][i] = rounded_pair(two[i % 2 * 2], two[i % 2 * 2 + 1], T());
                }
#pragma unroll
            for (int n = 0; n < WIDTH / 8; n++) {
                unsigned b[2];
                load(b, &v_tile[buffer][n * 8 + lane % 8][s * 16 + lane / 8 % 2 * 8]);
#pragma unroll
                for (int m = 0; m < TILES; m++) multiply_add(sums[m][n], weights[m], b, T());
            }
        }
    }
#pragma unroll
    for (int m = 0; m < TILES; m++)
#pragma unroll
        for (int lower = 0; lower < 2; lower++) {
            float of_row = total[m][lower];
            for (int apart = 1; apart < 4; apart *= 2) of_row += __shfl_xor_sync(0xffffffffu, of_row, apart);
            unsigned query = first_query + m * 16 + group + lower * 8;
            if (query >= queries) continue;
#pragma unroll
            for (int n = 0; n < WIDTH / 8; n++)
#pragma unroll
                for (int i = 0; i < 2; i++)
                    store(out + (unsigned long long)(n * 8 + quad * 2 + i) * queries + query, sums[m][n][2 * lower + i] / of_row);
        }
}

// ---- The entries. The sizes of the blocks are also in own/attention.rs. ----

#define ATTENTION(WIDTH, QUERIES, KEYS)                                                                                    \
    extern "C" __global__ void attention_##WIDTH##_f32(const float *q, const float *k, const float *v, float *out,         \
                                                       unsigned queries, unsigned keys, float scale, int is_backwards) {   \
        attention<float, WIDTH, QUERIES, KEYS>(q, k, v, out, queries, keys, scale, is_backwards);                          \
    }
ATTENTION(40, 64, 32)
ATTENTION(64, 64, 32)
ATTENTION(80, 64, 16)
ATTENTION(160, 32, 16)

#define ATTENTION_OF_TILES(NAME, T, WIDTH, TILES, KEYS)                                                                    \
    extern "C" __global__ void __launch_bounds__(ATTENTION_WARPS * 32)                                                     \
        attention_##WIDTH##_##NAME(const T *q, const T *k, const T *v, T *out, unsigned queries, unsigned keys,            \
                                   float scale, int is_backwards) {                                                        \
        attention_of_tiles<T, WIDTH, TILES, KEYS>(q, k, v, out, queries, keys, scale, is_backwards);                       \
    }
#define ATTENTIONS_OF_TILES(NAME, T)                                                                                       \
    ATTENTION_OF_TILES(NAME, T, 40, 2, 64)                                                                                 \
    ATTENTION_OF_TILES(NAME, T, 64, 2, 32)                                                                                 \
    ATTENTION_OF_TILES(NAME, T, 80, 2, 32)                                                                                 \
    ATTENTION_OF_TILES(NAME, T, 160, 1, 16)
ATTENTIONS_OF_TILES(f16, f16)
// Cards before Ampere (8.0) do not multiply bf16, and models are not kept in it on them.
#if defined(EMULATED) || __CUDA_ARCH__ >= 800
ATTENTIONS_OF_TILES(bf16, bf16)
#endif
