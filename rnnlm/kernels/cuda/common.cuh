// Common header of all kernels.  REAL, the type of the computation, is float or double.
typedef REAL real;

#ifndef ON_HOST
#define DYNAMIC_SHARED(type, name)                                  \
    extern __shared__ __align__(16) unsigned char shared_bytes[];   \
    type* name = (type*)shared_bytes

__device__ __forceinline__ unsigned load_acquire(const unsigned* p)
{
    unsigned value;
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(p)
                 : "memory");
    return value;
}

// Adds 1, after all writes of this thread, and those of its block before a barrier.
__device__ __forceinline__ void add_release(unsigned* p)
{
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" : : "l"(p) : "memory");
}
#define SPIN() ((void)0)
#endif

#ifndef NAN  // NVRTC has no math.h
#define NAN __int_as_float(0x7fffffff)
#define INFINITY __int_as_float(0x7f800000)
#endif

__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }
__device__ __forceinline__ float tangent(float x) { return tanhf(x); }
__device__ __forceinline__ double tangent(double x) { return tanh(x); }

// The same formula of the sigmoid as in NumPy; it cannot overflow.
__device__ __forceinline__ real sigmoid(real x)
{
    return (real)0.5 * tangent((real)0.5 * x) + (real)0.5;
}

// Reduces one value of each thread of a block; returns the result to all threads.
// blockDim.x is a power of two, and `scratch` holds one value for each thread.
template <class T, class Operation>
__device__ __forceinline__ T reduce_block(T value, T* scratch, Operation operation)
{
    scratch[threadIdx.x] = value;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if ((int)threadIdx.x < half)
            scratch[threadIdx.x] =
                operation(scratch[threadIdx.x], scratch[threadIdx.x + half]);
        __syncthreads();
    }
    const T result = scratch[0];
    __syncthreads();  // before the next reduction overwrites it
    return result;
}

struct Add {
    template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};
// Maximum that treats NaN as the largest number, so that it propagates.
struct Largest {
    template <class T> __device__ T operator()(T a, T b) const
    {
        return a > b || a != a ? a : b;
    }
};
