// ghs: (T, B, N) or null; gate, gz: (T, B, 4N); cs: (T + 1, B, N); tanh_cs: (T, B, N);
// gc, gh: (B, N), of the state after the window, become those of the state before;
// partial: (GROUPS, B, N); counter: 0.
extern "C" __global__ void __launch_bounds__(THREADS) lstm_window_backward(
    int T, const real* __restrict__ ghs, const real* __restrict__ W,
    const real* __restrict__ cs, const real* __restrict__ tanh_cs,
    const Gates* __restrict__ gate, Gates* gz, real* __restrict__ gc,
    real* __restrict__ gh, real* partial, unsigned* counter)
{
    DYNAMIC_SHARED(real, weights);
    real* const operand = weights + ROWS_UP * LINE;
    real* const sums = operand;
    // The block's share of the product: of the gates of `from`, its units, the share
    // in the gradients of h of `to`.
    const int from = blockIdx.x % GROUPS * GROUP;
    const int to = blockIdx.x / GROUPS * ROWS;
    const int columns = min(ROWS, N - to), inner = 4 * min(GROUP, N - from);
    const bool works = columns > 0 && inner > 0;

    for (int k = threadIdx.x; k < ROWS_UP * LINE; k += THREADS) {
        // Read along the lines of W, which are the columns of W'.
        const int column = k % ROWS_UP, gate_row = k / ROWS_UP;
        weights[column * LINE + gate_row] =
            works && column < columns && gate_row < inner
            ? W[(size_t)(4 * from + gate_row) * N + to + column] : (real)0;
    }

    const int unit = threadIdx.x % OWN, b = threadIdx.x / OWN;
    const int first = blockIdx.x * OWN;
    const bool busy = first + unit < N && b < B;
    const int place = b * N + first + unit;
    real c_gradient = 0, h_gradient = 0;
    if (busy) {
        c_gradient = gc[place];
        h_gradient = gh[place];
    }

    for (int t = T - 1; t >= 0; --t) {
        const unsigned step = T - 1 - t;
        const size_t at = (size_t)t * B * N + place;
        Gates g;
        real c_before, tanh_c;
        if (busy) {
            g = gate[at];
            c_before = cs[at];
            tanh_c = tanh_cs[at];
            if (ghs) h_gradient += ghs[at];
            gz[at] = unit_backward(g, c_before, tanh_c, h_gradient, &c_gradient);
        }
        arrive(counter);
        wait(counter, 2 * step + 1);
        if (works) {
            if (inner < INNER)
                for (int k = threadIdx.x; k < B * (INNER - inner); k += THREADS)
                    operand[k / (INNER - inner) * LINE + inner + k % (INNER - inner)] =
                        0;
            load_quads(operand, (const real*)(gz + (size_t)t * B * N + from), B, 4 * N,
                       inner / 4);
        }
        __syncthreads();
        product(weights, operand, sums);
        if (works) {
            for (int k = threadIdx.x; k < ROWS * B; k += THREADS) {
                const int row = k % ROWS, line = k / ROWS;
                if (row < columns)
                    partial[((size_t)(blockIdx.x % GROUPS) * B + line) * N + to + row] =
                        total(sums, row, line);
            }
        }
        arrive(counter);
        wait(counter, 2 * step + 2);
        if (busy) {
            h_gradient = 0;
            for (int group = 0; group < GROUPS; ++group)
                h_gradient += __ldcg(&partial[(size_t)group * B * N + place]);
        }
    }
    if (busy) {
        gc[place] = c_gradient;
        gh[place] = h_gradient;
    }
}
