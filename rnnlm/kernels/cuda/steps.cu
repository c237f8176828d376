// One step of a layer, without its recurrent product.  One thread for each unit of each
// row, `size` = B n threads.

extern "C" __global__ void lstm_step_forward(
    int size, int n, const Gates* __restrict__ z, const Gates* __restrict__ b,
    const real* __restrict__ c_before, Gates* __restrict__ gate, real* __restrict__ c,
    real* __restrict__ tanh_c, real* __restrict__ h)
{
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= size) return;
    Gates sum = z[k];
    const Gates bias = b[k % n];
    sum.a += bias.a;
    sum.i += bias.i;
    sum.f += bias.f;
    sum.o += bias.o;
    real cell = c_before[k];
    h[k] = unit_forward(sum, &gate[k], &cell, &tanh_c[k]);
    c[k] = cell;
}

// gh: the gradient of the output from the next step; ghs: from everything else, or null.
extern "C" __global__ void lstm_step_backward(
    int size, const real* __restrict__ ghs, const real* __restrict__ gh,
    const Gates* __restrict__ gate, const real* __restrict__ c_before,
    const real* __restrict__ tanh_c, real* __restrict__ gc, Gates* __restrict__ gz)
{
    const int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= size) return;
    const real g = gh[k] + (ghs ? ghs[k] : (real)0);
    gz[k] = unit_backward(gate[k], c_before[k], tanh_c[k], g, &gc[k]);
}
