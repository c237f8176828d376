// SGD with gradient clipping, without the host: the norm, the factor, the step.
// Of an embedding, only the rows that the window has touched.

// partial (gridDim.x,) = the sums of the squares of g (size,), a part each.
extern "C" __global__ void sum_of_squares(long long size, const real* __restrict__ g,
                                          double* __restrict__ partial)
{
    DYNAMIC_SHARED(double, scratch);
    double sum = 0;
    for (long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x; k < size;
         k += (long long)gridDim.x * blockDim.x)
        sum += (double)g[k] * g[k];
    sum = reduce_block(sum, scratch, Add());
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// The same of the rows of gW that `ids` name, a block for each; 0 where first is 0.
extern "C" __global__ void sum_of_squares_of_rows(
    int n, const int* __restrict__ ids, const int* __restrict__ first,
    const real* __restrict__ gW, double* __restrict__ partial)
{
    DYNAMIC_SHARED(double, scratch);
    const real* g = gW + (size_t)ids[blockIdx.x] * n;
    double sum = 0;
    if (first[blockIdx.x])
        for (int k = threadIdx.x; k < n; k += blockDim.x) sum += (double)g[k] * g[k];
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

// One element: the gradient is clipped, the parameter moves against it.
__device__ __forceinline__ void step(real* p, real* g, double factor, real rate)
{
    if (factor != 1) *g *= (real)factor;
    *p -= rate * *g;
}

// p and g: (size,); result: of `clip`; rate[0]: the learning rate.  With a factor of
// NaN nothing changes.
extern "C" __global__ void sgd(long long size, int refuse,
                               const double* __restrict__ result,
                               const double* __restrict__ rate, real* p, real* g)
{
    const double factor = result[1];
    if (refuse && factor != factor) return;
    const real by = (real)rate[0];
    for (long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x; k < size;
         k += (long long)gridDim.x * blockDim.x)
        step(&p[k], &g[k], factor, by);
}

// The same of the rows of W and gW that `ids` name, a block for each.
extern "C" __global__ void sgd_of_rows(
    int n, int refuse, const int* __restrict__ ids, const int* __restrict__ first,
    const double* __restrict__ result, const double* __restrict__ rate, real* W,
    real* gW)
{
    const double factor = result[1];
    if (refuse && factor != factor || !first[blockIdx.x]) return;
    const size_t row = (size_t)ids[blockIdx.x] * n;
    for (int k = threadIdx.x; k < n; k += blockDim.x)
        step(&W[row + k], &gW[row + k], factor, (real)rate[0]);
}

// What changes from window to window: dropout's key and the learning rate.
extern "C" __global__ void set_window(unsigned k0, unsigned k1, double value,
                                      unsigned* key, double* rate)
{
    key[0] = k0;
    key[1] = k1;
    rate[0] = value;
}
