"""Arrays that are used again from window to window.

A training step needs the same few large arrays each time.  Fresh ones cost a page
fault for every 4 KB; these are kept and handed out again once nobody else holds
them, so that their number never grows beyond what is alive at once.
"""
import collections
import contextlib
import math
import mmap
import threading
import weakref

import numpy

# Memory of a size that this many requests did not ask for is let go.  A training
# window makes some 25.
PATIENCE = 250

# Memory begins at a multiple of that many bytes: a line of the cache, and as much as
# the widest vector.
LINE = 64

# Bytes from which on `sparse_zeros` asks the system for pages.
LEAST_SPARSE = 2 ** 20

_local = threading.local()  # two models in two threads share nothing


class _Pool:
    """Memory that nobody uses, by its size, the size that was asked for last last.

    Attributes:
        free: size -> list of arrays of bytes.
        asked: size -> the number of the request that asked for it last.
        requests (int): How many there were.
    """

    def __init__(self):
        self.free = {}
        self.asked = collections.OrderedDict()
        self.requests = 0

    def take(self, size):
        """(memory of that size, where to give it back)."""
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
    """An array of undefined content, as ``xp.empty``.

    On NumPy its memory may be that of an array of an earlier window, to which nobody
    refers any more, neither to itself nor to a view.  CuPy has a pool of its own.
    """
    dtype = numpy.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if xp is not numpy or not size:
        return xp.empty(shape, dtype)
    if not hasattr(_local, 'pool'):
        _local.pool = _Pool()
    memory, free = _local.pool.take(_rounded(size))
    start = -memory.ctypes.data % LINE
    # The array refers to no other array: all views refer to it, and it lives as long
    # as the last of them.
    array = numpy.frombuffer(memoryview(memory)[start:start + size], dtype)
    weakref.finalize(array, free.append, memory).atexit = False
    return array.reshape(shape)


def _rounded(size):
    """A size that serves similar ones too, up to an eighth larger."""
    step = max(LINE, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step


def sparse_zeros(shape, dtype):
    """A new NumPy array of zeros, of which only a few rows will be touched.

    Only the pages that are touched cost anything.  ``numpy.zeros`` takes memory that
    was used before, or pages of 2 MB, and fills all of it.
    """
    dtype = numpy.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < LEAST_SPARSE:
        return numpy.zeros(shape, dtype)
    # Not shared with the children of a fork, where the system knows the difference.
    kwargs = {'flags': mmap.MAP_PRIVATE} if hasattr(mmap, 'MAP_PRIVATE') else {}
    memory = mmap.mmap(-1, size, **kwargs)
    with contextlib.suppress(AttributeError, OSError):  # Linux alone has it
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return numpy.frombuffer(memory, dtype).reshape(shape)


def clear():
    """Forgets the memory of this thread."""
    _local.__dict__.pop('pool', None)
