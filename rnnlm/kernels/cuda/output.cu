// Output layer: softmax, cross entropy and the gradient of the logits, in one pass.

// One block for each of the rows from `first` on.  y: (rows, V) logits without their
// bias b, become (softmax - one-hot) w if `with_gradient`; t: (T, B) targets, all of
// the window's, of which -1 is left out; w is 1 over the number of the step's targets.
// A target that is none makes the loss NaN.
// loss: (rows,), each row's share.  Shared memory: a value for each thread, and if
// `cached` the row.
extern "C" __global__ void softmax_cross_entropy(
    int first, int B, int V, int cached, int with_gradient, real* y,
    const real* __restrict__ b, const int* __restrict__ t, double* __restrict__ loss)
{
    DYNAMIC_SHARED(real, shared);
    real* const scratch = shared;
    real* const out = y + (size_t)blockIdx.x * V;
    real* const row = cached ? shared + blockDim.x : out;
    const int place = first + blockIdx.x, target = t[place];

    real count = 0;
    for (int k = threadIdx.x; k < B; k += blockDim.x)
        count += t[place / B * B + k] >= 0;
    const real weight = target < 0 ? (real)0
                                   : 1 / reduce_block(count, scratch, Add());

    real most = -INFINITY;
    for (int k = threadIdx.x; k < V; k += blockDim.x) {
        row[k] = out[k] + b[k];
        most = Largest()(most, row[k]);
    }
    most = reduce_block(most, scratch, Largest());
    real target_logit = 0;
    if (threadIdx.x == 0 && target >= 0)
        target_logit = target < V ? row[target] - most : (real)NAN;
    __syncthreads();  // before the row changes

    real sum = 0;
    for (int k = threadIdx.x; k < V; k += blockDim.x) {
        row[k] = exponential(row[k] - most);
        sum += row[k];
    }
    sum = reduce_block(sum, scratch, Add());
    if (threadIdx.x == 0)
        loss[blockIdx.x] = target < 0 ? 0.
                                      : (double)weight * (logarithm(sum) - target_logit);
    if (!with_gradient) return;
    const real scale = weight / sum;
    for (int k = threadIdx.x; k < V; k += blockDim.x)
        out[k] = row[k] * scale - (k == target ? weight : (real)0);
}

// out[0] = the sum of x (size,), plus out[0] if `more`; one block.
extern "C" __global__ void total_loss(int size, int more, const double* __restrict__ x,
                                      real* out)
{
    DYNAMIC_SHARED(double, scratch);
    double sum = 0;
    for (int k = threadIdx.x; k < size; k += blockDim.x) sum += x[k];
    sum = reduce_block(sum, scratch, Add());
    if (threadIdx.x == 0) out[0] = (real)(sum + (more ? (double)out[0] : 0.));
}

// out (columns,) = the sums of the columns of y (rows, columns), plus out if `more`.
// Blocks of 32 columns by 8 rows, each thread adding every eighth row.
extern "C" __global__ void column_sums(int rows, int columns, int more,
                                       const real* __restrict__ y, real* out)
{
    DYNAMIC_SHARED(real, parts);
    const int column = blockIdx.x * 32 + threadIdx.x;
    real sum = 0;
    if (column < columns) {
#pragma unroll 4
        for (int row = threadIdx.y; row < rows; row += 8)
            sum += y[(size_t)row * columns + column];
    }
    parts[threadIdx.y * 32 + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y || column >= columns) return;
    for (int k = 1; k < 8; ++k) sum += parts[k * 32 + threadIdx.x];
    out[column] = sum + (more ? out[column] : (real)0);
}

// x (size,) times factor[0]; nothing is moved if that is 1, as it mostly is.
extern "C" __global__ void scale(long long size, const real* __restrict__ factor,
                                 real* x)
{
    const real by = factor[0];
    if (by == 1) return;
    for (long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x; k < size;
         k += (long long)gridDim.x * blockDim.x)
        x[k] *= by;
}
