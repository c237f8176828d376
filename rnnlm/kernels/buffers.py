"""Memory pool for the arrays of a window, on the CPU.

Each window needs arrays of the same sizes.  Large new arrays cost a page fault per
4 KB, since the system zeroes each page.  So memory returns to a pool when no array or
view refers to it any more, and serves the next request of its size.
"""
import collections
import contextlib
import math
import mmap
import threading
import weakref

import numpy

# Memory of a size is freed if none of this many requests was for it.  A training window
# makes some 25 requests.
PATIENCE = 250

# Alignment of arrays in bytes: a cache line, and the widest vector register.
LINE = 64

# Minimum size in bytes for which `sparse_zeros` maps pages itself.
LEAST_SPARSE = 2 ** 20

_local = threading.local()  # a pool for each thread, so no lock is needed


class _Pool:
    """Unused memory by size.

    Attributes:
        free (dict): {size: list of byte arrays}.
        asked (OrderedDict): {size: number of the last request for it}, least recent
            first.
        requests (int): Number of requests.
    """

    def __init__(self):
        self.free = {}
        self.asked = collections.OrderedDict()
        self.requests = 0

    def take(self, size):
        """Returns (memory of a size, the list to return it to)."""
        self.requests += 1
        self.asked[size] = self.requests
        self.asked.move_to_end(size)
        oldest = next(iter(self.asked))
        if self.asked[oldest] < self.requests - PATIENCE:
            del self.asked[oldest], self.free[oldest]
        free = self.free.setdefault(size, [])
        try:
            return free.pop(), free
        except IndexError:
            return numpy.empty(size + LINE, numpy.uint8), free


def empty(xp, shape, dtype):
    """Returns an uninitialised array, like ``xp.empty``, from the pool on NumPy.

    CuPy has its own pool.
    """
    dtype = numpy.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if xp is not numpy or not size:
        return xp.empty(shape, dtype)
    if not hasattr(_local, 'pool'):
        _local.pool = _Pool()
    memory, free = _local.pool.take(_rounded(size))
    start = -memory.ctypes.data % LINE
    # The base of `array` is not an array, so NumPy makes `array` the base of all its
    # views.  It lives as long as the last of them, and then returns the memory.
    array = numpy.frombuffer(memoryview(memory)[start:start + size], dtype)
    weakref.finalize(array, free.append, memory).atexit = False
    return array.reshape(shape)


def _rounded(size):
    """Rounds a size up by at most an eighth, so that similar sizes share memory."""
    step = max(LINE, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


def sparse_zeros(shape, dtype):
    """Returns a new NumPy array of zeros, of which few rows will be written.

    The system allocates and zeroes a 4 KB page on first access, so rows that are not
    accessed cost nothing.  ``numpy.zeros`` may reuse memory, which it must zero, or get
    huge pages of 2 MB.
    """
    dtype = numpy.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST_SPARSE:
        return numpy.zeros(shape, dtype)
    # Private, so that a forked process does not write into the same memory.
    kwargs = {'flags': mmap.MAP_PRIVATE} if hasattr(mmap, 'MAP_PRIVATE') else {}
    memory = mmap.mmap(-1, size, **kwargs)
    with contextlib.suppress(AttributeError, OSError):  # only Linux has it
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return numpy.frombuffer(memory, dtype).reshape(shape)


def clear():
    """Frees the memory in the pool of this thread."""
    _local.__dict__.pop('pool', None)
