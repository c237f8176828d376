// Output layer: softmax, cross entropy and the gradient of the logits in one kernel.
//
// For a row z (V,) of logits with target y and weight w:
//   m = max(z),  e = exp(z - m),  s = sum(e)       log-sum-exp: m + log(s)
//   loss = w (log(s) - (z_y - m))
//   gradient = w (e / s - one-hot(y))

// One block for each row, starting at row `first`.  y: (rows, V) logits without their
// bias b; overwritten by (softmax - one-hot) w if `with_gradient`.  t: (T, B) targets of
// the whole window; -1 is ignored.  w: 1 / (number of targets in the step).  An invalid
// target makes the loss NaN.
// loss: (rows,), the contribution of each row.  Shared memory: a value for each thread,
// and the row if `cached`.
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
    __syncthreads();  // before the row is overwritten

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

// Sums x (size,) into out[0], adding to it if `more`.  One block.
extern "C" __global__ void total_loss(int size, int more, const double* __restrict__ x,
                                      real* out)
{
    DYNAMIC_SHARED(double, scratch);
    double sum = 0;
    for (int k = threadIdx.x; k < size; k += blockDim.x) sum += x[k];
    sum = reduce_block(sum, scratch, Add());
    if (threadIdx.x == 0) out[0] = (real)(sum + (more ? (double)out[0] : 0.));
}

// Sums the columns of y (rows, columns) into out (columns,), adding to it if `more`.
// A block has 32 columns by 8 rows, and each thread adds every eighth row.
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

// Multiplies x (size,) by factor[0].  Returns early if the factor is 1, the usual case.
extern "C" __global__ void scale(long long size, const real* __restrict__ factor,
                                 real* x)
{
    const real by = factor[0];
    if (by == 1) return;
    for (long long k = (long long)blockIdx.x * blockDim.x + threadIdx.x; k < size;
         k += (long long)gridDim.x * blockDim.x)
        x[k] *= by;
}
