"""Of `cupyx` what Chainer uses; see `cupy`."""


def rsqrt(x, out=None, dtype=None):
    """1 / sqrt(x)."""
    return (1 / x ** .5).astype(dtype or x.dtype, copy=False)


def scatter_add(a, slices, value):
    """``a[slices] += value``, also where an index comes twice."""
    a.scatter_add(slices, value)


def get_runtime_info(full=False):
    """What Chainer prints of it."""
    return 'CuPy on the host'
