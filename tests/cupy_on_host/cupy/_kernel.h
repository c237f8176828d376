// What the C++ of a CuPy kernel may use, for a processor.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#define __device__
#define __forceinline__ inline
#define __restrict__

using std::acos; using std::asin; using std::atan; using std::atan2; using std::ceil;
using std::cos; using std::cosh; using std::erf; using std::erfc; using std::exp;
using std::expm1; using std::fabs; using std::floor; using std::fmod; using std::isfinite;
using std::isinf; using std::isnan; using std::lgamma; using std::log; using std::log10;
using std::log1p; using std::log2; using std::pow; using std::round; using std::sin;
using std::sinh; using std::sqrt; using std::tan; using std::tanh; using std::abs;

template <class A, class B> inline typename std::common_type<A, B>::type max(A a, B b) {
    return a > b ? a : b;
}
template <class A, class B> inline typename std::common_type<A, B>::type min(A a, B b) {
    return a < b ? a : b;
}
template <class T> inline T rsqrt(T x) { return 1 / sqrt(x); }
template <class T> inline float fast_log(T x) { return log((float)x); }
#define __logf fast_log  // libm has others of these names
#define __expf exp
inline int __float2int_rd(float x) { return (int)floor(x); }
template <class T, class U> inline T atomicAdd(T* p, U v) {
    T old = *p;
    *p += v;
    return old;
}
template <class T, class U> inline T atomicMax(T* p, U v) {
    T old = *p;
    if (v > old) *p = v;
    return old;
}

#ifdef __FLT16_MAX__  // not before g++ 12
// CUDA's half, computed in float.
struct float16 {
    _Float16 value;
    float16() {}
    template <class T> float16(T x) : value((_Float16)(float)x) {}
    operator float() const { return (float)value; }
    template <class T> float16& operator+=(T x) { return *this = *this + (float)x; }
    template <class T> float16& operator-=(T x) { return *this = *this - (float)x; }
    template <class T> float16& operator*=(T x) { return *this = *this * (float)x; }
    template <class T> float16& operator/=(T x) { return *this = *this / (float)x; }
};
#define ON_FLOAT16(f) inline float16 f(float16 x) { return f((float)x); }
ON_FLOAT16(tanh) ON_FLOAT16(exp) ON_FLOAT16(log) ON_FLOAT16(sqrt) ON_FLOAT16(fabs)
#endif

// How an argument lies in memory; its twin is INFO in _compile.py.
struct Info {
    char* data;
    int64_t ndim, size, shape_[8], strides_[8];
};

// A raw array: its elements by one index in C order, or by an index of each dimension.
template <class T> struct CArray {
    const Info* info;
    const int64_t* shape() const { return info->shape_; }
    const int64_t* strides() const { return info->strides_; }
    ptrdiff_t size() const { return info->size; }
    template <class I, class = typename std::enable_if<std::is_integral<I>::value>::type>
    T& operator[](const I* index) const {
        char* p = info->data;
        for (int64_t d = 0; d < info->ndim; ++d) p += index[d] * info->strides_[d];
        return *(T*)p;
    }
    template <class I, class = typename std::enable_if<std::is_integral<I>::value>::type>
    T& operator[](I at) const {
        char* p = info->data;
        ptrdiff_t i = at;
        for (int64_t d = info->ndim; d-- > 0;) {
            p += i % info->shape_[d] * info->strides_[d];
            i /= info->shape_[d];
        }
        return *(T*)p;
    }
};

// Where the loop is.
struct CIndexer {
    const Info* info;
    ptrdiff_t index[8];
    ptrdiff_t size() const { return info->size; }
    void set(ptrdiff_t i) {
        for (int64_t d = info->ndim; d-- > 0;) {
            index[d] = i % info->shape_[d];
            i /= info->shape_[d];
        }
    }
    const ptrdiff_t* get() const { return index; }
};
