// Dropout, embedding lookup, and the sum of the embedding gradients.

// Computes out = dropout(x), both (T, row).  Step t uses the random numbers starting at
// t stride + start.  An element is set to 0 if its number, of 24 bits in [0, 1), is below
// the ratio.  x and out may be the same.  Called on gradients, it is the backward.  A
// thread computes one block of four numbers of the generator, of which only those of the
// step are used; `blocks` = row / 4 + 2 is the maximum number of blocks of a step.
extern "C" __global__ void dropout(
    long long threads, int blocks, int row, long long start, long long stride,
    const unsigned* key, float ratio, real scale, const real* x, real* out)
{
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= threads) return;
    const long long t = thread / blocks, begin = t * stride + start;
    const long long block = begin / 4 + thread % blocks;
    unsigned numbers[4];
    philox(block, key[0], key[1], numbers);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const long long column = 4 * block + i - begin;
        if (column < 0 || column >= row) continue;
        const float u = (numbers[i] >> 8) * 5.9604644775390625e-8f;
        out[t * row + column] = u >= ratio ? x[t * row + column] * scale : (real)0;
    }
}

// Computes out (K, n) = W[ids], a block for each row; NaN for ids not in W (V, n).
extern "C" __global__ void take_rows(int V, int n, const int* __restrict__ ids,
                                     const real* __restrict__ W,
                                     real* __restrict__ out)
{
    const int id = ids[blockIdx.x];
    const bool known = id >= 0 && id < V;
    for (int k = threadIdx.x; k < n; k += blockDim.x)
        out[(size_t)blockIdx.x * n + k] = known ? W[(size_t)id * n + k] : (real)NAN;
}

// Sets gW[ids] = 0: clears what the previous window wrote.
extern "C" __global__ void clear_rows(int V, int n, const int* __restrict__ ids,
                                      real* __restrict__ gW)
{
    const int id = ids[blockIdx.x];
    if (id < 0 || id >= V) return;
    for (int k = threadIdx.x; k < n; k += blockDim.x) gW[(size_t)id * n + k] = 0;
}

// Sums the rows of gy (K, n) with the same id into gW[id], adding to it if `more`.  Sets
// first (K,) to 1 at the first occurrence of each valid id.  There is a block for each of
// the K rows, but only those of first occurrences sum, `tile` rows at a time.  They sum in
// the order of the rows, so the result is deterministic.  Shared memory: 2 tile + 2
// integers.
extern "C" __global__ void sum_rows(int K, int V, int n, int more, int tile,
                                    const int* __restrict__ ids,
                                    const real* __restrict__ gy, int* first, real* gW)
{
    DYNAMIC_SHARED(int, list);
    int* const same = list + tile;
    int* const before = same + tile;
    int* const length = before + 1;
    const int here = blockIdx.x, id = ids[here];
    if (threadIdx.x == 0) *before = id < 0 || id >= V;
    __syncthreads();
    for (int k = threadIdx.x; k < here; k += blockDim.x)
        if (ids[k] == id) *before = 1;  // a benign race: all write the same value
    __syncthreads();
    const bool is_first = !*before;
    if (threadIdx.x == 0) first[here] = is_first;
    if (!is_first) return;
    real* to = gW + (size_t)id * n;
    for (int start = here; start < K; start += tile) {
        const int size = min(tile, K - start);
        if (threadIdx.x == 0) *length = 0;
        for (int k = threadIdx.x; k < size; k += blockDim.x)
            same[k] = ids[start + k] == id;
        __syncthreads();
        for (int k = threadIdx.x; k < size; k += blockDim.x) {
            if (!same[k]) continue;
            int rank = 0;  // number of earlier rows with this id
            for (int j = 0; j < k; ++j) rank += same[j];
            list[rank] = start + k;
            atomicAdd(length, 1);
        }
        __syncthreads();
        for (int column = threadIdx.x; column < n; column += blockDim.x) {
            real sum = more || start > here ? to[column] : (real)0;
#pragma unroll 4
            for (int k = 0; k < *length; ++k) sum += gy[(size_t)list[k] * n + column];
            to[column] = sum;
        }
        __syncthreads();  // before the next tile overwrites the list
    }
}
