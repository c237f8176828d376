// z: (T, B, 4N) without bias; hs, cs: (T + 1, B, N), row 0 is the initial state; tanh_cs:
// (T, B, N); gate: (T, B, 4N); exchange: (2, B, INNER), zero where k >= N; streams:
// (blocks, CHUNKS, ROWS_UP, 4 CHUNK), overwritten, null if CHUNKS is 0; counter: 0.
extern "C" __global__ void __launch_bounds__(THREADS) lstm_window_forward(
    int T, const Gates* __restrict__ z, const Gates* __restrict__ bias,
    const real* __restrict__ W, real* hs, real* __restrict__ cs,
    real* __restrict__ tanh_cs, Gates* __restrict__ gate, real* exchange,
    real* streams, unsigned* counter)
{
    DYNAMIC_SHARED(real, weights);
    real* const operand = weights + OPERAND;
    real* const sums = operand;
    const int first = blockIdx.x * OWN;
    const int own = min(OWN, N - first);

    real* const streamed = streams + (size_t)blockIdx.x * CHUNKS * ROWS_UP * 4 * CHUNK;
    for (int k = threadIdx.x; k < ROWS_UP * INNER; k += THREADS) {
        const int row = k / INNER, column = k % INNER;
        store(weights, streamed, row, column, row < 4 * own && column < N
              ? W[(size_t)(4 * first + row) * N + column] : (real)0);
    }
    Stream stream = {streamed, weights + ROWS_UP * RESIDENT_LINE};
    stream.begin(T);

    // Each thread has at most one unit, for one row, and keeps its cell state.
    const int unit = threadIdx.x % OWN, b = threadIdx.x / OWN;
    const bool busy = unit < own && b < B;
    const int place = b * N + first + unit;
    Gates z_bias;
    real c = 0;
    if (busy) {
        z_bias = bias[first + unit];
        c = cs[place];
    }

    for (int t = 0; t < T; ++t) {
        Gates sum;
        if (busy) sum = z[(size_t)t * B * N + place];  // loaded during the product
        if (t == 0) {
            for (int k = threadIdx.x; k < B * LINE; k += THREADS) {
                const int row = k / LINE, column = k % LINE;
                operand[k] = column < N ? hs[row * N + column] : (real)0;
            }
        } else {
            wait(counter, gridDim.x, t);
            send_quads(operand, exchange + (t & 1) * B * INNER, INNER);
        }
        arrived<0>();
        product(weights, stream, operand, sums);

        Gates g;
        real tanh_c, h = 0;
        if (busy) {
            sum.a += z_bias.a + total(sums, 4 * unit, b);
            sum.i += z_bias.i + total(sums, 4 * unit + 1, b);
            sum.f += z_bias.f + total(sums, 4 * unit + 2, b);
            sum.o += z_bias.o + total(sums, 4 * unit + 3, b);
            h = unit_forward(sum, &g, &c, &tanh_c);
            exchange[((t + 1) & 1) * B * INNER + b * INNER + first + unit] = h;
        }
        arrive(counter);
        if (busy) {
            const size_t at = (size_t)t * B * N + place;
            hs[at + B * N] = h;
            cs[at + B * N] = c;
            tanh_cs[at] = tanh_c;
            gate[at] = g;
        }
    }
}
