"""Arrays that are used again from window to window.

A training step needs the same few large arrays each time.  Fresh ones cost a page
fault for every 4 KB; these are kept and handed out again once nobody else holds
them, so that their number never grows beyond what is alive at once.
"""
import collections
import contextlib
import math
import mmap
import sys
import threading

import numpy

# A training window asks for some 15; those that were not asked for longest are let go.
MOST_SHAPES = 64

# Bytes from which on `sparse_zeros` asks the system for pages.
LEAST_SPARSE = 2 ** 20

_local = threading.local()  # two models in two threads share nothing


def empty(xp, shape, dtype):
    """An array of undefined content, as ``xp.empty``.

    On NumPy it may be one of an earlier window, which nobody refers to any more,
    neither itself nor through a view.  CuPy has a memory pool of its own.
    """
    if xp is not numpy:
        return xp.empty(shape, dtype)
    pool = _local.__dict__.setdefault('pool', collections.OrderedDict())
    key = shape, numpy.dtype(dtype)
    kept = pool.setdefault(key, [])
    pool.move_to_end(key)
    if len(pool) > MOST_SHAPES:
        pool.popitem(last=False)
    for k in range(len(kept)):
        if _references(kept, k) == _UNUSED:
            return kept[k]
    kept.append(numpy.empty(shape, dtype))
    return kept[-1]


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


def _references(kept, k):
    return sys.getrefcount(kept[k])


def clear():
    """Forgets the arrays of this thread."""
    _local.__dict__.pop('pool', None)


_UNUSED = _references([numpy.empty(0)], 0)  # by the list alone
