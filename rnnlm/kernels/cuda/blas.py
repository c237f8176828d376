"""Matrix products by cuBLAS, called directly.

CuPy's own wrapper refuses to run while a stream is captured into a graph.  cuBLAS
itself allows it, once its workspace is set.  The library is the one that CuPy loaded.
"""
import ctypes
import functools
import re
import sys
import weakref

import chainer
import numpy

# NVIDIA's recommendation for Hopper; other GPUs need less.
WORKSPACE = 32 * 2 ** 20

# File names on Linux and on Windows.
NAMES = ('libcublas.so.13', 'libcublas.so.12', 'cublas64_13.dll', 'cublas64_12.dll')

# Constants from cublas_api.h and library_types.h.
_N, _T = 0, 1
# Partial sums of a product keep the precision of the result, also for float16.
_MATH = 16  # CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION, else the default
_REAL_TYPES = {'float16': 2, 'float32': 0, 'float64': 1}
_COMPUTE_32F, _COMPUTE_64F, _COMPUTE_32F_FAST_TF32 = 68, 70, 77
_DEFAULT_ALGORITHM = -1


class Blas:
    """cuBLAS handle for the current device and thread.

    Args:
        xp: cupy.
    """

    def __init__(self, xp):
        self._xp = xp
        self._library = library(xp)
        handle = ctypes.c_void_p()
        self._call('cublasCreate_v2', ctypes.byref(handle))
        self._handle = handle
        # Not at exit of Python, because CUDA may have shut down before.
        weakref.finalize(self, self._library.cublasDestroy_v2, handle).atexit = False
        self._call('cublasSetMathMode', handle, _MATH)
        self._workspace = xp.empty(WORKSPACE, numpy.uint8)
        self._stream = None

    def dot(self, a, b, out, more=False, scale=1.0):
        """Computes ``out = scale a b``, plus out if `more`, on the current stream.

        With ``chainer.config.tf32``, float32 factors are rounded to TF32 (10 bits of
        mantissa), which is several times as fast.

        Args:
            a: (m, k), float16, float32 or float64, contiguous or the transpose of a
                contiguous array, or a slice of its rows.
            b: (k, n), likewise.
            out: (m, n), rows contiguous.  The product of float16 factors may be
                float32.
            more (bool): Whether to add the product to `out`.
            scale (float): Factor of the product.
        """
        m, k = a.shape
        n = b.shape[1]
        if b.shape[0] != k or out.shape != (m, n):
            raise ValueError(f'{a.shape} times {b.shape} into {out.shape}')
        self._prepare()
        a_op, a_line = _layout(a)
        b_op, b_line = _layout(b)
        out_op, out_line = _layout(out)
        if out_op != _N:
            raise ValueError('out: expected contiguous rows')
        wide = out.dtype == numpy.float64
        scalar = ctypes.c_double if wide else ctypes.c_float
        # cuBLAS is column-major: row-major out is out^T = b^T a^T to it.
        self._call(
            'cublasGemmEx', self._handle, b_op, a_op, n, m, k,
            ctypes.byref(scalar(scale)), _pointer(b), _REAL_TYPES[b.dtype.name], b_line,
            _pointer(a), _REAL_TYPES[a.dtype.name], a_line,
            ctypes.byref(scalar(1 if more else 0)), _pointer(out),
            _REAL_TYPES[out.dtype.name], out_line, _compute_type(a.dtype, out.dtype),
            _DEFAULT_ALGORITHM)

    def _prepare(self):
        stream = self._xp.cuda.get_current_stream().ptr
        if stream != self._stream:
            self._call('cublasSetStream_v2', self._handle, ctypes.c_void_p(stream))
            # Setting the stream resets the workspace.
            self._call('cublasSetWorkspace_v2', self._handle,
                       _pointer(self._workspace), ctypes.c_size_t(WORKSPACE))
            self._stream = stream

    def _call(self, name, *args):
        status = getattr(self._library, name)(*args)
        if status:
            raise RuntimeError(f'{name}: cuBLAS status {status}')


def tf32():
    """Returns whether ``chainer.config.tf32`` is set."""
    return bool(getattr(chainer.config, 'tf32', False))


def _layout(x):
    """Returns the memory layout of a matrix: (operation, leading dimension)."""
    size = x.dtype.itemsize
    rows, columns = x.strides
    if columns == size or x.shape[1] == 1:
        return _N, max(rows // size, x.shape[1])
    if rows == size or x.shape[0] == 1:
        return _T, max(columns // size, x.shape[0])
    raise ValueError(f'expected contiguous lines, found strides {x.strides}')


def _pointer(x):
    return ctypes.c_void_p(x.data.ptr)


@functools.lru_cache(maxsize=None)
def library(xp):
    """Returns the cuBLAS library that CuPy has loaded.

    PyTorch and others may have loaded another one; the one of CuPy's version is chosen.

    Raises:
        RuntimeError: If it is not found.
    """
    wanted = xp.cuda.cublas.getVersion(xp.cuda.Device().cublas_handle)  # loads it
    try:
        with open('/proc/self/maps', encoding=sys.getfilesystemencoding(),
                  errors='surrogateescape') as f:
            paths = re.findall(r'(/\S*libcublas\.so\S*)', f.read())
    except OSError:
        paths = []  # not Linux
    found = []
    for name in [*dict.fromkeys(paths), *NAMES]:
        try:
            found.append(ctypes.CDLL(name))
        except OSError:
            pass
    if not found:
        raise RuntimeError('libcublas: expected the one that CuPy uses in this '
                           'process, found none')
    return next((one for one in found if _version(one) == wanted), found[0])


def _version(library):
    """Returns the version of a cuBLAS as CuPy writes it (int), or 0 if unknown."""
    parts = []
    for part in range(3):  # major, minor, patch
        value = ctypes.c_int()
        if library.cublasGetProperty(part, ctypes.byref(value)):
            return 0
        parts.append(value.value)
    major, minor, patch = parts
    return 10000 * major + 100 * minor + patch


def _compute_type(factors, product):
    """Returns the compute type that cuBLAS uses for factors of a dtype."""
    if product == numpy.float64:
        return _COMPUTE_64F
    fast = factors == numpy.float32 and tf32()
    return _COMPUTE_32F_FAST_TF32 if fast else _COMPUTE_32F
