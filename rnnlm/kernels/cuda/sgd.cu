// SGD with gradient clipping, without the host: the norm, the factor, the step.
// Of an embedding, only the rows used in the window are updated.

#define AT_ONCE 8  // elements of a thread in flight

// Part of a parameter and of its gradient, handled by one block.
struct Share {
    real *p, *g;
    int size;
};

// Returns the part of a block.  Each of the first `rows` blocks has the row of W and gW
// given by `ids`, of n numbers, or nothing if its `first` is 0.  Each other block has a
// row of `parts`: the addresses of parameter and gradient, and their size.
__device__ __forceinline__ Share share_of_block(
    int rows, int n, const int* ids, const int* first, real* W, real* gW,
    const long long* parts)
{
    const int k = blockIdx.x;
    Share share;
    if (k < rows) {
        const size_t at = first[k] ? (size_t)ids[k] * n : 0;
        share.p = W + at;
        share.g = gW + at;
        share.size = first[k] ? n : 0;
    } else {
        const long long* part = parts + 3 * (size_t)(k - rows);
        share.p = (real*)part[0];
        share.g = (real*)part[1];
        share.size = (int)part[2];
    }
    return share;
}

// Computes partial (gridDim.x,), the sum of squared gradients of each block.
extern "C" __global__ void sum_of_squares(
    int rows, int n, const int* __restrict__ ids, const int* __restrict__ first,
    real* W, real* gW, const long long* __restrict__ parts,
    double* __restrict__ partial)
{
    DYNAMIC_SHARED(double, scratch);
    const Share share = share_of_block(rows, n, ids, first, W, gW, parts);
    double sum = 0;
#pragma unroll 16  // loads are in flight together
    for (int k = threadIdx.x; k < share.size; k += blockDim.x)
        sum += (double)share.g[k] * share.g[k];
    sum = reduce_block(sum, scratch, Add());
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// Computes result[0], the norm, and result[1], the factor of the gradients: 1, or less if
// the norm exceeds the threshold, or NaN if `refuse` and the norm is not finite.  A
// negative threshold disables clipping.  One block.
extern "C" __global__ void clip(int size, int refuse, double threshold,
                                const double* __restrict__ partial, double* result)
{
    DYNAMIC_SHARED(double, scratch);
    double sum = 0;
    for (int k = threadIdx.x; k < size; k += blockDim.x) sum += partial[k];
    sum = reduce_block(sum, scratch, Add());
    if (threadIdx.x) return;
    const double norm = sqrt(sum);
    double factor = 1;
    if (threshold >= 0 && !(norm <= threshold)) factor = threshold / norm;
    if (refuse && !isfinite(norm)) factor = NAN;
    result[0] = norm;
    result[1] = factor;
}

// Clips the gradients and updates the parameters.  result: computed by `clip`; rate[0]:
// the learning rate.  Changes nothing if the factor is NaN and `refuse` is set.
extern "C" __global__ void sgd(
    int rows, int n, const int* __restrict__ ids, const int* __restrict__ first,
    real* W, real* gW, const long long* __restrict__ parts, int refuse,
    const double* __restrict__ result, const double* __restrict__ rate)
{
    const double factor = result[1];
    if (refuse && factor != factor) return;
    const Share share = share_of_block(rows, n, ids, first, W, gW, parts);
    const real by = (real)rate[0];
    // A thread loads several elements before it stores the first, since the compiler
    // cannot know that a store does not change what is loaded next.
    for (int start = threadIdx.x; start < share.size; start += AT_ONCE * blockDim.x) {
        real p[AT_ONCE], g[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) {
            const int k = start + i * blockDim.x;
            if (k < share.size) {
                p[i] = share.p[k];
                g[i] = share.g[k];
            }
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; ++i) {
            const int k = start + i * blockDim.x;
            if (k >= share.size) break;
            if (factor != 1) share.g[k] = g[i] *= (real)factor;
            share.p[k] = p[i] - by * g[i];
        }
    }
}
