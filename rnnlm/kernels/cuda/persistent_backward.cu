// ghs: (T, B, N) or null; gate, gz: (T, B, 4N); cs: (T + 1, B, N); tanh_cs: (T, B, N);
// gc, gh: (B, N), gradients of the final state, overwritten by those of the initial one;
// exchange: (2, B, GROUPS, INNER), zero where there is no unit; partial: (GROUPS, B, N);
// streams: as forward; counters: zeros, SPACE for each barrier.
//
// GROUPS adjacent blocks form a team.  Together they compute the gradients of h for the
// same units, and the gates of these units in the next step.  So in the second barrier
// of a step only the blocks of a team wait for each other.
extern "C" __global__ void __launch_bounds__(THREADS) lstm_window_backward(
    int T, const real* __restrict__ ghs, const real* __restrict__ W,
    const real* __restrict__ cs, const real* __restrict__ tanh_cs,
    const Gates* __restrict__ gate, Gates* gz, real* __restrict__ gc,
    real* __restrict__ gh, real* exchange, real* partial, real* streams,
    unsigned* counters)
{
    DYNAMIC_SHARED(real, weights);
    real* const operand = weights + OPERAND;
    real* const sums = operand;
    // The block's part of the product: from the gates of units starting at `from` to the
    // gradients of h of units starting at `to`.
    const int group = blockIdx.x % GROUPS, from = group * GROUP;
    const int to = blockIdx.x / GROUPS * ROWS;
    const int columns = min(ROWS, N - to), inner = 4 * min(GROUP, N - from);
    const bool works = columns > 0 && inner > 0;

    real* const streamed = streams + (size_t)blockIdx.x * CHUNKS * ROWS_UP * 4 * CHUNK;
    for (int k = threadIdx.x; k < ROWS_UP * INNER; k += THREADS) {
        // Reads rows of W, which are columns of W', so that accesses are coalesced.
        const int column = k % ROWS_UP, gate_row = k / ROWS_UP;
        store(weights, streamed, column, gate_row,
              works && column < columns && gate_row < inner
              ? W[(size_t)(4 * from + gate_row) * N + to + column] : (real)0);
    }
    Stream stream = {streamed, weights + ROWS_UP * RESIDENT_LINE};
    stream.begin(T);

    // Each thread has at most one unit of its team, for one row of the batch.
    const int unit = group * OWN + threadIdx.x % OWN, b = threadIdx.x / OWN;
    const bool busy = unit < columns && b < B;
    const int place = b * N + to + unit;
    unsigned* const all = counters;
    unsigned* const team = counters + (1 + blockIdx.x / GROUPS) * SPACE;
    // What the thread writes of `exchange`, in even steps.
    Gates* const own = (Gates*)(exchange + (b * GROUPS + (to + unit) / GROUP) * INNER)
        + (to + unit) % GROUP;
    real c_gradient = 0, h_gradient = 0, c_before, tanh_c, gradient;
    Gates g;
    if (busy) {
        c_gradient = gc[place];
        h_gradient = gh[place];
    }
    // Loads what a step needs that does not depend on the previous step.
    auto prepare = [&](int t) {
        if (!busy || t < 0) return;
        const size_t at = (size_t)t * B * N + place;
        g = gate[at];
        c_before = cs[at];
        tanh_c = tanh_cs[at];
        gradient = ghs ? ghs[at] : (real)0;
    };
    prepare(T - 1);

    for (int t = T - 1; t >= 0; --t) {
        const unsigned step = T - 1 - t;
        Gates now;
        if (busy) {
            now = unit_backward(g, c_before, tanh_c, h_gradient + gradient, &c_gradient);
            own[(t & 1) * B * GROUPS * GROUP] = now;
        }
        arrive(all);
        if (busy) gz[(size_t)t * B * N + place] = now;
        prepare(t - 1);
        wait(all, gridDim.x, step + 1);
        send_quads(operand, exchange + ((t & 1) * B * GROUPS + group) * INNER,
                   GROUPS * INNER);
        arrived<0>();
        product(weights, stream, operand, sums);
        if (works) {
            for (int k = threadIdx.x; k < ROWS * B; k += THREADS) {
                const int row = k % ROWS, line = k / ROWS;
                if (row < columns)
                    partial[((size_t)group * B + line) * N + to + row] =
                        total(sums, row, line);
            }
        }
        arrive(team);
        wait(team, GROUPS, step + 1);
        if (busy) {
            h_gradient = 0;
#pragma unroll
            for (int k = 0; k < GROUPS; ++k)
                h_gradient += __ldcg(&partial[(size_t)k * B * N + place]);
        }
    }
    if (busy) {
        gc[place] = c_gradient;
        gh[place] = h_gradient;
    }
}
