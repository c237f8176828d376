"""The functions of the module: NumPy's, called on device arrays."""
import functools

import numpy

from cupy import _device
from cupy._array import Host, _host_index, call, ndarray, to_host, wrap

UFUNCS = (
    'abs absolute add arccos arcsin arctan arctan2 arctanh bitwise_and bitwise_or '
    'bitwise_xor ceil copysign cos cosh divide equal exp expm1 floor floor_divide fmod '
    'greater greater_equal invert isfinite isinf isnan left_shift less less_equal log '
    'log10 log1p log2 logical_and logical_not logical_or maximum minimum modf multiply '
    'negative not_equal positive power reciprocal remainder right_shift rint sign sin '
    'sinh sqrt square subtract tan tanh true_divide').split()

PLAIN = (
    'all allclose amax amin any argmax argmin argsort array_equal atleast_1d '
    'broadcast_arrays broadcast_to can_cast clip concatenate copy count_nonzero '
    'cumprod cumsum diag dstack expand_dims fix flip fliplr flipud hstack isclose max '
    'mean meshgrid min moveaxis nanmax nanmin ndim outer pad percentile prod '
    'promote_types ravel repeat reshape result_type rollaxis sort squeeze stack std '
    'sum swapaxes take tile trace transpose tril triu var vstack where').split()

# These are cuBLAS's.
PRODUCTS = 'dot einsum inner matmul tensordot vdot'.split()

# The host waits for the size of their results.
WAITING = 'argwhere bincount flatnonzero nonzero unique'.split()

# No array goes in.
FRESH = 'arange eye full identity linspace ones tri zeros'.split()
LIKE = 'full_like ones_like zeros_like'.split()


class ufunc:
    """One of CuPy's elementwise functions; it takes fewer arguments than NumPy's."""

    def __init__(self, name):
        self._numpy = getattr(numpy, name)
        self.__name__ = name
        self.name = f'cupy_{name}'
        self.nin, self.nout = self._numpy.nin, self._numpy.nout

    def __call__(self, *args, **kwargs):
        unknown = set(kwargs) - {'out', 'dtype', 'casting'}
        if unknown:
            raise TypeError(f'Wrong arguments {unknown}')
        if len(args) > self.nin:
            kwargs['out'], = args[self.nin:]
            args = args[:self.nin]
        if isinstance(kwargs.get('out'), tuple):
            kwargs['out'], = kwargs['out']
        if 'out' in kwargs and kwargs['out'] is None:
            del kwargs['out']
        if not isinstance(kwargs.get('out', wrap(None)), ndarray):
            raise TypeError('Output arguments type must be cupy.ndarray')
        return call(self._numpy, *args, **kwargs)

    def at(self, a, indices, b=None):
        """In place, index by index."""
        if self.__name__ not in ('add', 'subtract', 'maximum', 'minimum'):
            raise NotImplementedError(f'{self.name}.at')
        call(self._numpy.at, a, Host(_host_index(indices)), b)

    def reduce(self, array, axis=0, dtype=None, out=None, keepdims=False):
        """The sum or the product."""
        if self.__name__ not in ('add', 'multiply'):
            raise NotImplementedError(f'{self.name}.reduce')
        name = {'add': 'sum', 'multiply': 'prod'}[self.__name__]
        kwargs = {} if out is None else {'out': out}
        return getattr(array, name)(axis=axis, dtype=dtype, keepdims=keepdims, **kwargs)


def array(obj, dtype=None, copy=True, order='K', subok=False, ndmin=0, *,
          blocking=False):
    """A new device array."""
    if isinstance(obj, ndarray):
        return call(numpy.array, obj, dtype=dtype, order=order, ndmin=ndmin)
    if isinstance(obj, (list, tuple)) and any(isinstance(x, ndarray) for x in obj):
        return call(numpy.array, list(obj), dtype=dtype, ndmin=ndmin)
    _device.upload()
    return wrap(numpy.array(obj, dtype=dtype, order=order, ndmin=ndmin))


def asarray(a, dtype=None, order=None, *, copy=None, blocking=False):
    """A device array, the same one if it can be."""
    if isinstance(a, ndarray) and dtype in (None, a.dtype) and order in (None, 'K'):
        return a
    return array(a, dtype, order=order or 'K')


def ascontiguousarray(a, dtype=None):
    """The same if it is contiguous, else a copy."""
    if not isinstance(a, ndarray):
        return array(a, dtype, order='C')
    if a.flags.c_contiguous and dtype in (None, a.dtype) and a.ndim:
        return a
    return call(numpy.array, a, dtype=dtype, order='C', ndmin=1)


def empty(shape, dtype=float, order='C'):
    """An array full of NaN or -1."""
    return ndarray(shape, dtype, order=order)


def empty_like(prototype, dtype=None, order='K', subok=None, shape=None):
    """As `empty`, in the shape and dtype of another."""
    host = numpy.empty_like(to_host(prototype), dtype, order, False, shape)
    filled = ndarray(host.shape, host.dtype,
                     order='C' if host.flags.c_contiguous else 'F')
    return filled


def copyto(dst, src, casting='same_kind', where=None):
    """Copies, with broadcasting."""
    if not isinstance(dst, ndarray):
        raise TypeError(f'Unsupported type {type(dst)}')
    kwargs = {} if where is None else {'where': to_host(where)}
    host, src = dst._host, to_host(src)
    _device.enqueue(lambda: numpy.copyto(host, src, casting, **kwargs))


def fill_diagonal(a, val, wrap=False):
    """Sets the diagonal."""
    host, val = a._host, to_host(val)
    _device.enqueue(lambda: numpy.fill_diagonal(host, val, wrap))


def split(ary, indices_or_sections, axis=0):
    """Parts along an axis; the places may be a NumPy array, as in CuPy."""
    return call(numpy.split, ary, Host(indices_or_sections), axis)


def functions():
    """Name to function."""
    made = {name: ufunc(name) for name in UFUNCS}
    for names, before in (
            (PLAIN, None), (LIKE, None), (FRESH, None),
            (PRODUCTS, lambda: _device.refuse_capture('cuBLAS')),
            (WAITING, lambda: _device.wait('the size of a result'))):
        for name in names:
            made[name] = _plain(getattr(numpy, name), before)
    for function in (array, asarray, ascontiguousarray, copyto, empty, empty_like,
                     fill_diagonal, split):
        made[function.__name__] = function
    made['asanyarray'] = asarray
    return made


def _plain(function, before):
    @functools.wraps(function, assigned=('__name__', '__doc__'), updated=())
    def of_device(*args, **kwargs):
        if before:
            before()
        if kwargs.get('out', 0) is None:
            del kwargs['out']
        return call(function, *args, **kwargs)
    return of_device
