// Shared code of the two persistent kernels, which compute all T steps of a layer in one
// cooperative launch, in float32.  The lateral weights stay in shared memory, distributed
// over the multiprocessors, so a step only reads what the previous step has written: h
// forward, the gradients of the gates backward.  Between steps, all blocks synchronise.
// The idea is from Diamos et al., "Persistent RNNs: Stashing Recurrent Weights On-Chip"
// (2016), who keep the weights in registers.
//
// Of a large layer, the columns of the weights that do not fit into shared memory are
// streamed through it in each step, in chunks.  Their copies are asynchronous and run
// ahead of the products, also while a block waits for others, since weights depend on no
// step.
//
// Tried on an H100 without success: polling the values instead of a counter (the reads of
// all blocks then keep the L2 cache from the writes), and splitting the batch into parts
// whose blocks share a multiprocessor, so that one computes while the other waits.
//
// Compile-time constants from rnnlm/kernels/cuda/plans.py:
//   N, B           units and rows of the batch
//   THREADS        threads in a block
//   OWN            units whose gates a block computes, OWN * B <= THREADS
//   ROWS, INNER    size of the weights W' that a block holds, INNER a multiple of 4
//   TILE_R, TILE_B outputs of a thread: TILE_R rows of W' times TILE_B of the batch
//   ROWS_UP, B_UP  ROWS and B rounded up to whole tiles
//   PARTS          parts of INNER, each summed by its own threads
//   RESIDENT       quads (groups of four columns) of W' that stay in shared memory
//   CHUNK, CHUNKS  quads of a chunk of the others, and number of chunks; 0 if all fit
//   STAGES         chunks that shared memory holds at a time
//   GROUPS         backward: groups of units into which INNER and N are split
//   GROUP          backward: units in such a group, INNER = 4 GROUP

// Shared memory: the resident part of W' (ROWS_UP, RESIDENT_LINE), STAGES chunks
// (ROWS_UP, CHUNK_LINE), and the operand (B_UP, LINE), which the sums (PARTS, ROWS_UP,
// B_UP) overwrite.  Rows from B on hold arbitrary values, because their sums are never
// read.  The length of a line is an odd multiple of 16 bytes, so that threads reading
// adjacent lines have no bank conflicts.
#define ODD(quads) ((quads) + 1 - (quads) % 2)
#define QUADS (INNER / 4)
#define LINE (4 * ODD(QUADS))
#define RESIDENT_LINE (4 * ODD(RESIDENT))
#define CHUNK_LINE (4 * ODD(CHUNK))
#define OPERAND (ROWS_UP * (RESIDENT_LINE + (CHUNKS ? STAGES * CHUNK_LINE : 0)))
// Divisors in code that is never executed if they are 0.
#define CHUNK_OR_1 (CHUNK ? CHUNK : 1)
#define CHUNKS_OR_1 (CHUNKS ? CHUNKS : 1)
static_assert(STAGES >= 2, "a chunk is copied while another is used");
#define SPACE 32  // integers in a cache line: each counter has its own

// Signals that all threads of the block have written what other blocks wait for.
__device__ __forceinline__ void arrive(unsigned* counter)
{
    __syncthreads();
    if (threadIdx.x == 0) add_release(counter);
}

// Waits until `blocks` have arrived `times` times.  Their results must then be read
// through the L2 cache.
__device__ __forceinline__ void wait(const unsigned* counter, unsigned blocks,
                                     unsigned times)
{
    if (threadIdx.x == 0)
        while (load_acquire(counter) < times * blocks) SPIN();
    __syncthreads();
}

// Copies 16 bytes to shared memory through the L2 cache, where other multiprocessors have
// written them.  From compute capability 8.0 on, copies are asynchronous: they form
// groups, each ended by `end_group`, and are complete after `arrived`.
__device__ __forceinline__ void send(float4* to, const float4* from)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 : : "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from) : "memory");
#else
    *to = __ldcg(from);
#endif
}

__device__ __forceinline__ void end_group()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" : : : "memory");
#endif
}

// Waits for the groups of all threads, but not for the last `pending` groups of each.
template <int pending> __device__ __forceinline__ void arrived()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" : : "n"(pending) : "memory");
#endif
    __syncthreads();
}

// Copies (B, INNER) from lines `stride` apart, as one group.
__device__ __forceinline__ void send_quads(real* to, const real* from, int stride)
{
#pragma unroll 4
    for (int k = threadIdx.x; k < B * QUADS; k += THREADS) {
        const int row = k / QUADS, quad = k % QUADS;
        send((float4*)(to + row * LINE) + quad,
             (const float4*)(from + (size_t)row * stride) + quad);
    }
    end_group();
}

// The streamed part of W', chunk after chunk, the same in each step.
struct Stream {
    const real* from;  // (CHUNKS, ROWS_UP, 4 CHUNK), in global memory
    real* to;          // (STAGES, ROWS_UP, CHUNK_LINE), in shared memory
    int sent, used, all;

    // Starts to copy a chunk.  After the last one, groups are empty.
    __device__ __forceinline__ void send_one()
    {
        if (sent < all) {
            const float4* const chunk =
                (const float4*)from + (size_t)(sent % CHUNKS_OR_1) * ROWS_UP * CHUNK;
            float4* const slot = (float4*)(to + sent % STAGES * ROWS_UP * CHUNK_LINE);
            for (int k = threadIdx.x; k < ROWS_UP * CHUNK; k += THREADS)
                send(slot + k / CHUNK_OR_1 * (CHUNK_LINE / 4) + k % CHUNK_OR_1,
                     chunk + k);
        }
        end_group();
        ++sent;
    }

    // Begins to stream for T steps, after this thread has stored its part of W'.
    __device__ __forceinline__ void begin(int T)
    {
        sent = used = 0;
        all = T * CHUNKS;
        if (CHUNKS == 0) return;
        __syncthreads();
        for (int k = 1; k < STAGES; ++k) send_one();
    }

    // Waits until the next chunk has arrived and all threads have used the one before,
    // and starts the copy that overwrites that one.  Returns the chunk.
    __device__ __forceinline__ const real* next()
    {
        arrived<STAGES - 2>();
        send_one();
        return to + used++ % STAGES * ROWS_UP * CHUNK_LINE;
    }
};

// Stores an element of W', to stay in shared memory or be streamed.
__device__ __forceinline__ void store(real* weights, real* streamed, int row, int column,
                                      real value)
{
    const int quad = column / 4 - RESIDENT;
    if (CHUNKS == 0 || quad < 0)
        weights[row * RESIDENT_LINE + column] = value;
    else
        streamed[4 * ((quad / CHUNK_OR_1 * ROWS_UP + row) * CHUNK + quad % CHUNK_OR_1)
                 + column % 4] = value;
}

// Adds to `sum` the terms of a thread's tile and part in W' operand, over some quads.
// The rows of a tile are not adjacent: threads next to each other read adjacent lines.
template <int quads, int line>
__device__ __forceinline__ void add_products(
    real (&sum)[TILE_R][TILE_B], const real* weights, const real* operand, int part)
{
    constexpr int tiles_r = ROWS_UP / TILE_R, tiles_b = B_UP / TILE_B;
    const int row = threadIdx.x / tiles_b % tiles_r, column = threadIdx.x % tiles_b;
    for (int k = part; k < quads; k += PARTS) {
        float4 w[TILE_R], v[TILE_B];
#pragma unroll
        for (int r = 0; r < TILE_R; ++r)
            w[r] = ((const float4*)(weights + (row + r * tiles_r) * line))[k];
#pragma unroll
        for (int b = 0; b < TILE_B; ++b)
            v[b] = ((const float4*)(operand + (column + b * tiles_b) * LINE))[k];
#pragma unroll
        for (int r = 0; r < TILE_R; ++r)
#pragma unroll
            for (int b = 0; b < TILE_B; ++b) {  // four fused products
                sum[r][b] += w[r].x * v[b].x;
                sum[r][b] += w[r].y * v[b].y;
                sum[r][b] += w[r].z * v[b].z;
                sum[r][b] += w[r].w * v[b].w;
            }
    }
}

// sums[part][row][b] = the terms of `part` in sum_k W'[row][k] operand[b][k].
__device__ __forceinline__ void product(const real* weights, Stream& stream,
                                        const real* operand, real* sums)
{
    constexpr int tiles_r = ROWS_UP / TILE_R, tiles_b = B_UP / TILE_B;
    const int part = threadIdx.x / (tiles_r * tiles_b);
    const int row = threadIdx.x / tiles_b % tiles_r, column = threadIdx.x % tiles_b;
    real sum[TILE_R][TILE_B];
#pragma unroll
    for (int r = 0; r < TILE_R; ++r)
#pragma unroll
        for (int b = 0; b < TILE_B; ++b) sum[r][b] = 0;
    if (part < PARTS)
        add_products<RESIDENT, RESIDENT_LINE>(sum, weights, operand, part);
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
        const real* const slot = stream.next();
        if (part < PARTS)
            add_products<CHUNK, CHUNK_LINE>(
                sum, slot, operand + 4 * (RESIDENT + chunk * CHUNK), part);
    }
    __syncthreads();  // the sums overwrite the operand
    if (part < PARTS) {
#pragma unroll
        for (int r = 0; r < TILE_R; ++r)
#pragma unroll
            for (int b = 0; b < TILE_B; ++b)
                sums[(part * ROWS_UP + row + r * tiles_r) * B_UP + column + b * tiles_b] =
                    sum[r][b];
    }
    __syncthreads();
}

__device__ __forceinline__ real total(const real* sums, int row, int b)
{
    real result = 0;
#pragma unroll
    for (int part = 0; part < PARTS; ++part)
        result += sums[(part * ROWS_UP + row) * B_UP + b];
    return result;
}
