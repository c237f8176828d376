"""Of `cupyx` what Chainer uses; see `cupy`."""


def rsqrt(x):
    """1 / sqrt(x)."""
    return 1 / x ** .5


def scatter_add(a, slices, value):
    """``a[slices] += value``, also where an index comes twice."""
    a.scatter_add(slices, value)


def get_runtime_info(full=False):
    """What Chainer prints of it."""
    return 'CuPy on the host'
