// SGD with gradient clipping, without the host: the norm, the factor, the step.
// Of an embedding, only the rows that the window has touched.

// A part of a parameter and of its gradient, as a block goes through it.
struct Share {
    real *p, *g;
    int size;
};

// The block's share.  The first `rows` blocks have the rows of W and gW that `ids` name,
// of n numbers, none where `first` is 0; each other one has a line of `parts`: the
// addresses of parameter and gradient, and how many numbers.
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

// partial (gridDim.x,) = the sums of the squares of the gradients, a share each.
extern "C" __global__ void sum_of_squares(
    int rows, int n, const int* __restrict__ ids, const int* __restrict__ first,
    real* W, real* gW, const long long* __restrict__ parts,
    double* __restrict__ partial)
{
    DYNAMIC_SHARED(double, scratch);
    const Share share = share_of_block(rows, n, ids, first, W, gW, parts);
    double sum = 0;
#pragma unroll 4
    for (int k = threadIdx.x; k < share.size; k += blockDim.x)
        sum += (double)share.g[k] * share.g[k];
    sum = reduce_block(sum, scratch, Add());
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// result[0] = the norm; result[1] = what gradients are multiplied with: 1, less if the
// norm is more than the threshold, or NaN if `refuse` and the norm is not finite.  A
// threshold below 0 is none.  One block.
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

// The gradients are clipped, the parameters move against them.  result: of `clip`;
// rate[0]: the learning rate.  With a factor of NaN and `refuse` nothing changes.
extern "C" __global__ void sgd(
    int rows, int n, const int* __restrict__ ids, const int* __restrict__ first,
    real* W, real* gW, const long long* __restrict__ parts, int refuse,
    const double* __restrict__ result, const double* __restrict__ rate)
{
    const double factor = result[1];
    if (refuse && factor != factor) return;
    const Share share = share_of_block(rows, n, ids, first, W, gW, parts);
    const real by = (real)rate[0];
#pragma unroll 4
    for (int k = threadIdx.x; k < share.size; k += blockDim.x) {
        if (factor != 1) share.g[k] *= (real)factor;
        share.p[k] -= by * share.g[k];
    }
}

// What changes from window to window: dropout's key and the learning rate.
extern "C" __global__ void set_window(unsigned k0, unsigned k1, double value,
                                      unsigned* key, double* rate)
{
    key[0] = k0;
    key[1] = k1;
    rate[0] = value;
}
