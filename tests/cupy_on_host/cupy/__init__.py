"""A stand-in for CuPy on the host, for tests on machines without a GPU.

It has the names of CuPy that Chainer and rnnlm use for a language model.  Arrays wrap
NumPy arrays.  As in CuPy, mixing the two, or converting without `get`, is an error.

What it shows:

- Python that a GPU would not run: missing names, NumPy arrays among CuPy's, NumPy
  functions called on device arrays, arguments that CuPy's functions do not take;
- wrong arithmetic in kernels: the C++ of `ElementwiseKernel` and `ReductionKernel` is
  compiled and run, that of `RawKernel` and `RawModule` too (`tests/cuda_on_host.py`);
- dtypes: promotion is that of the NumPy beneath, and CuPy 14 promotes as NumPy 2 does
  (CuPy 13 as NumPy 1);
- memory that is read before it is written: `empty` gives NaN;
- how often the host waits for the device (`cupy._device.counts`);
- what cannot go into a CUDA graph: captured work is recorded and not run until the
  graph is launched; CuPy's cuBLAS, random numbers, copies from and to the host raise;
- the arguments of cuBLAS and of cooperative launches that are called by ctypes
  (`cupy._libraries`).

What it does not show: speed, races, the limits and the memory of a device (a graph
that uses memory given back finds it still there), several devices, the rounding of a
GPU's functions; and of the real CuPy nothing beyond what is written here.  There is no
cuDNN, as in CuPy 14.  An index out of range raises here; in CuPy it wraps around.
"""
import sys

import numpy

from cupy import _array, _calls, _device, _util, cuda, linalg, random, testing
from cupy._array import ndarray
from cupy._elementwise import ElementwiseKernel
from cupy._raw import RawKernel, RawModule
from cupy._reduction import ReductionKernel

__all__ = [
    'ElementwiseKernel', 'RawKernel', 'RawModule', 'ReductionKernel', 'cuda', 'linalg',
    'ndarray', 'random', 'testing', '_array', '_util']

__version__ = '13.6.0' if numpy.__version__.startswith('1.') else '14.0.0'

for _name in (
        'bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 intp float16 float32 '
        'float64 complex64 complex128 number integer floating generic dtype finfo '
        'iinfo newaxis pi e inf nan').split():
    globals()[_name] = getattr(numpy, _name)
globals().update(_calls.functions())


def get_array_module(*args):
    """cupy if an array of it is among the arguments, else numpy."""
    for arg in args:  # `any` is CuPy's here
        if isinstance(arg, ndarray):
            return sys.modules[__name__]
    return numpy


def fuse(*args, **kwargs):
    """Fused functions are functions."""
    if len(args) == 1 and callable(args[0]):
        return args[0]
    return lambda function: function


def memoize(for_each_device=False):
    """Keeps a function's results."""
    def decorate(function):
        kept = {}
        _memos.append(kept)

        def memoized(*args, **kwargs):
            key = args, tuple(sorted(kwargs.items()))
            if key not in kept:
                kept[key] = function(*args, **kwargs)
            return kept[key]
        return memoized
    return decorate


_memos = []


def clear_memo():
    """Forgets what `memoize` kept."""
    for kept in _memos:
        kept.clear()


def get_default_memory_pool():
    """The pool of the device."""
    return cuda._pool


def get_default_pinned_memory_pool():
    """The pool of the host."""
    return cuda._pinned_pool


def asnumpy(a, stream=None, order='C', out=None, *, blocking=True):
    """The array on the host."""
    if isinstance(a, ndarray):
        return a.get(stream, order, out)
    return numpy.asarray(a, order=order)


def is_available():
    """Whether there is a device."""
    return _device.COUNT > 0
