// CUDA C++ for a processor: enough of the language to run this project's kernels as
// they stand.  Each thread of a block is a fiber of one thread of the host, so that
// barriers, shared memory and, in a cooperative launch, barriers of the whole grid do
// what they do on a GPU.  A fiber runs until it waits: where a barrier is missing, a
// thread reads what another has not written yet, in one order or another: they take
// turns forwards, backwards, or shuffled anew each time, where mostly one block
// goes as far ahead of the others as it can.  Shared memory begins as NaN.
#include <setjmp.h>
#include <ucontext.h>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#define ON_HOST 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct dim3 { unsigned x, y, z; };
struct __align__(8) float2 { float x, y; };
struct __align__(16) float4 { float x, y, z, w; };
struct __align__(16) double2 { double x, y; };
struct __align__(32) double4 { double x, y, z, w; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace host {

const size_t kStack = 128 * 1024;
enum { FORWARDS, BACKWARDS, SHUFFLED };

struct Block {
    dim3 index;
    unsigned threads, first = 0, started = 0, alive, arrived = 0, generation = 0;
    std::vector<char> shared;
    char* shared_base() {  // as aligned as on a GPU
        return (char*)(((uintptr_t)shared.data() + 127) & ~(uintptr_t)127);
    }
    void release() { if (arrived && arrived == alive) { arrived = 0; ++generation; } }
};

struct Fiber {
    jmp_buf context;
    bool begun = false;
    std::unique_ptr<char[]> stack{new char[kStack]};
    Block* block = nullptr;
    dim3 thread{};
    bool waits = false, done = false;
    unsigned generation = 0;
};

struct Grid {
    dim3 grid, block;
    std::function<void()> kernel;
    jmp_buf scheduler;
    std::vector<std::unique_ptr<Fiber>> fibers;
    int order = 0;  // of blocks and threads: FORWARDS, BACKWARDS or SHUFFLED
    std::minstd_rand random;
};

inline Grid* g = nullptr;
inline Fiber* f = nullptr;
inline std::vector<std::unique_ptr<Fiber>> spare;  // stacks to use again

// The next thread of its block that no fiber has begun; false if there is none.
inline bool next_thread(Fiber* fiber) {
    Block& b = *fiber->block;
    if (b.started == b.threads) return false;
    unsigned k = b.started++;
    k = g->order == BACKWARDS ? b.threads - 1 - k : (k + b.first) % b.threads;
    fiber->thread = {k % g->block.x, k / g->block.x % g->block.y,
                     k / (g->block.x * g->block.y)};
    return true;
}

inline void body() {
    do {
        g->kernel();
        --f->block->alive;
        f->block->release();
    } while (next_thread(f));
    f->done = true;
    _longjmp(g->scheduler, 1);
}

inline void yield()
{
    if (!_setjmp(f->context)) _longjmp(g->scheduler, 1);
}

// Runs fiber `f` until it waits.  The jumps, unlike swapcontext, call no system.
inline void resume()
{
    if (_setjmp(g->scheduler)) return;
    if (f->begun) _longjmp(f->context, 1);
    f->begun = true;
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = f->stack.get();
    context.uc_stack.ss_size = kStack;
    context.uc_link = nullptr;
    makecontext(&context, body, 0);
    setcontext(&context);
}

inline void sync_threads() {
    Block& b = *f->block;
    f->generation = b.generation;
    ++b.arrived;
    b.release();
    f->waits = true;
    yield();
}

// Runs blocks side by side until all their threads have ended; false if they hang.
inline bool run_blocks(std::vector<Block>& blocks) {
    for (auto& fiber : g->fibers) spare.push_back(std::move(fiber));
    g->fibers.clear();
    long idle = 0;
    const Block* ahead = nullptr;
    unsigned turns = 0;
    for (bool all_done = false; !all_done;) {
        // A new fiber for each block whose fibers have left threads unstarted.
        for (Block& b : blocks) {
            if (b.started == b.threads) continue;
            if (spare.empty()) spare.push_back(std::make_unique<Fiber>());
            auto fiber = std::move(spare.back());
            spare.pop_back();
            fiber->block = &b;
            fiber->begun = fiber->waits = fiber->done = false;
            next_thread(fiber.get());
            g->fibers.push_back(std::move(fiber));
            idle = 0;
        }
        all_done = true;
        bool ran = false;
        if (g->order == SHUFFLED && !turns--) {
            ahead = g->random() % 3 ? &blocks[g->random() % blocks.size()] : nullptr;
            turns = g->random() % 50;
        }
        if (g->order == SHUFFLED)
            for (size_t k = g->fibers.size(); k > 1; --k)
                std::swap(g->fibers[k - 1], g->fibers[g->random() % k]);
        for (size_t k = 0; k < g->fibers.size(); ++k) {
            size_t at = g->order == BACKWARDS ? g->fibers.size() - 1 - k : k;
            f = g->fibers[at].get();
            if (f->done) continue;
            all_done = false;
            if (ahead && f->block != ahead) continue;
            if (f->waits && f->generation == f->block->generation) continue;
            f->waits = false;
            ran = true;
            resume();
        }
        for (Block& b : blocks) if (b.started < b.threads) all_done = false;
        if (!ran) turns = 0;
        idle = ran || ahead ? idle + 1 : idle + 1000;
        if (idle > 20000000) return false;
    }
    return true;
}

inline int launch(dim3 grid, dim3 block, size_t shared, bool cooperative,
                  int order, std::function<void()> kernel) {
    Grid here{grid, block, kernel};
    here.order = order;
    g = &here;
    const unsigned total = grid.x * grid.y * grid.z;
    std::vector<Block> blocks;
    for (unsigned n = 0; n < total; ++n) {
        const unsigned k = order == BACKWARDS ? total - 1 - n : n;
        Block b;
        b.index = {k % grid.x, k / grid.x % grid.y, k / (grid.x * grid.y)};
        b.threads = b.alive = block.x * block.y * block.z;
        if (order == SHUFFLED) b.first = here.random() % b.threads;
        b.shared.assign(shared + 256, (char)0xff);
        blocks.push_back(std::move(b));
        if (!cooperative || n + 1 == total) {
            if (!run_blocks(blocks)) return 1;
            blocks.clear();
        }
    }
    for (auto& fiber : here.fibers) spare.push_back(std::move(fiber));
    return 0;
}

}  // namespace host

#define threadIdx (host::f->thread)
#define blockIdx (host::f->block->index)
#define blockDim (host::g->block)
#define gridDim (host::g->grid)
#define __syncthreads() host::sync_threads()
#define DYNAMIC_SHARED(type, name) type* name = (type*)host::f->block->shared_base()
#define SPIN() host::yield()

inline void __threadfence() {}
template <class T> inline T atomicAdd(T* p, T v) { T old = *p; *p += v; return old; }
template <class T> inline T __ldcg(const T* p) { return *p; }
template <class T> inline T __ldg(const T* p) { return *p; }
inline unsigned load_acquire(const unsigned* p) { return *p; }
inline void add_release(unsigned* p) { ++*p; }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
using std::isfinite;
