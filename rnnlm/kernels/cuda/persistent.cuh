// Shared code of the two persistent kernels, which compute all T steps of a layer in one
// cooperative launch, in float32.  The lateral weights stay in shared memory, distributed
// over the multiprocessors, so a step only reads what the previous step has written: h
// forward, the gradients of the gates backward.  Between steps, all blocks synchronise.
// The idea is from Diamos et al., "Persistent RNNs: Stashing Recurrent Weights On-Chip"
// (2016), who keep the weights in registers.
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
//   GROUPS         backward: groups of units into which INNER and N are split
//   GROUP          backward: units in such a group, INNER = 4 GROUP

// Shared memory: W' (ROWS_UP, LINE), then the operand (B_UP, LINE), which the sums
// (PARTS, ROWS_UP, B_UP) overwrite.  Rows from B on hold arbitrary values, because their
// sums are never read.  The length of a line is an odd multiple of 16 bytes, so that
// threads reading adjacent lines have no bank conflicts.
#define LINE (INNER / 4 % 2 ? INNER : INNER + 4)
#define QUADS (INNER / 4)
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

// sums[part][row][b] = the terms of `part` in sum_k W'[row][k] operand[b][k].
// The rows of a tile are not adjacent: threads next to each other read adjacent lines.
__device__ __forceinline__ void product(const real* weights, const real* operand,
                                        real* sums)
{
    constexpr int tiles_r = ROWS_UP / TILE_R, tiles_b = B_UP / TILE_B;
    const int part = threadIdx.x / (tiles_r * tiles_b);
    const int row = threadIdx.x / tiles_b % tiles_r, column = threadIdx.x % tiles_b;
    real sum[TILE_R][TILE_B];
#pragma unroll
    for (int r = 0; r < TILE_R; ++r)
#pragma unroll
        for (int b = 0; b < TILE_B; ++b) sum[r][b] = 0;
    if (part < PARTS) {
        for (int k = part; k < QUADS; k += PARTS) {
            float4 w[TILE_R], v[TILE_B];
#pragma unroll
            for (int r = 0; r < TILE_R; ++r)
                w[r] = ((const float4*)(weights + (row + r * tiles_r) * LINE))[k];
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

// Copies 16 bytes to shared memory through the L2 cache, where other multiprocessors have
// written them.  From compute capability 8.0 on, copies are asynchronous and complete at
// `arrived`.
__device__ __forceinline__ void send(float4* to, const float4* from)
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 : : "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from) : "memory");
#else
    *to = __ldcg(from);
#endif
}

__device__ __forceinline__ void arrived()
{
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" : : : "memory");
#endif
    __syncthreads();
}

// Copies (B, INNER) from lines `stride` apart; complete after `arrived`.
__device__ __forceinline__ void send_quads(real* to, const real* from, int stride)
{
#pragma unroll 4
    for (int k = threadIdx.x; k < B * QUADS; k += THREADS) {
        const int row = k / QUADS, quad = k % QUADS;
        send((float4*)(to + row * LINE) + quad,
             (const float4*)(from + (size_t)row * stride) + quad);
    }
}
