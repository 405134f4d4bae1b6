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

#define ATTENTION(NAME, T, WIDTH, QUERIES, KEYS)                                                                           \
    extern "C" __global__ void attention_##WIDTH##_##NAME(const T *q, const T *k, const T *v, T *out, unsigned queries,    \
                                                          unsigned keys, float scale, int is_backwards) {                  \
        attention<T, WIDTH, QUERIES, KEYS>(q, k, v, out, queries, keys, scale, is_backwards);                              \
    }
ATTENTION(f32, float, 40, 64, 32)
ATTENTION(f32, float, 64, 64, 32)
ATTENTION(f32, float, 80, 64, 16)
ATTENTION(f32, float, 160, 32, 16)
