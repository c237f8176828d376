"""The array, and how functions of NumPy are called on it."""
import functools
import operator

import numpy

from cupy import _device
from cupy._memory import Flags, MemoryPointer


class ndarray:
    """An array of the device.

    Args: as for `cupy.ndarray`; its content begins as NaN or -1.
    """

    __array_priority__ = 100

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order='C'):
        if memptr is not None:
            self._host = memptr._view(shape, numpy.dtype(dtype), strides, order)
            return
        _device.allocated()
        self._host = numpy.empty(shape, dtype, order)
        if self._host.flags.c_contiguous or self._host.flags.f_contiguous:
            self._host.T.reshape(-1, order='A').view('u1')[...] = (
                255 if self.dtype.kind != 'b' else 1)

    # What it is.

    shape = property(lambda self: self._host.shape,
                     lambda self, shape: setattr(self._host, 'shape', shape))
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: Flags(self._host.flags))
    _c_contiguous = property(lambda self: self._host.flags.c_contiguous)
    data = property(lambda self: MemoryPointer(self._host))
    T = property(lambda self: wrap(self._host.T))
    real = property(lambda self: wrap(self._host.real))
    imag = property(lambda self: wrap(self._host.imag))

    @property
    def base(self):
        return None if self._host.base is None else self

    @property
    def device(self):
        from cupy import cuda
        return cuda.Device(0)

    def __len__(self):
        return len(self._host)

    def __iter__(self):
        return map(wrap, self._host) if self.ndim > 1 else (
            self[k] for k in range(len(self)))

    # To and from the host.

    def get(self, stream=None, order='C', out=None, blocking=True):
        """A NumPy array of the content; waits for the device if it is blocking."""
        if blocking or out is None:
            _device.wait('get')
        if out is None:
            return numpy.array(self._host, order=order)
        out[...] = self._host
        return out

    def set(self, arr, stream=None):
        """Copies a NumPy array of the same shape and dtype here."""
        if not isinstance(arr, numpy.ndarray):
            raise TypeError(f'expected a numpy.ndarray, found {type(arr)}')
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise TypeError(f'{arr.dtype} array of {arr.shape} cannot be set to '
                            f'{self.dtype} array of {self.shape}')
        _device.upload()
        self._host[...] = arr

    def _scalar(self, what):
        _device.wait(what)
        return self._host.item()

    def item(self, *args):
        _device.wait('item')
        return self._host.item(*args)

    def tolist(self):
        _device.wait('tolist')
        return self._host.tolist()

    def tobytes(self, order='C'):
        _device.wait('tobytes')
        return self._host.tobytes(order)

    def __float__(self):
        return float(self._scalar('float'))

    def __int__(self):
        return int(self._scalar('int'))

    def __bool__(self):
        _device.wait('bool')
        return bool(self._host)

    def __index__(self):
        return operator.index(self._scalar('index'))

    def __complex__(self):
        return complex(self._scalar('complex'))

    def __format__(self, spec):
        return format(self._scalar('format') if self.ndim == 0 else self.get(), spec)

    def __repr__(self):
        return repr(self.get())

    def __str__(self):
        return str(self.get())

    def __array__(self, dtype=None, copy=None):
        raise TypeError('Implicit conversion to a NumPy array is not allowed. '
                        'Please use `.get()` to construct a NumPy array explicitly.')

    def __reduce__(self):
        return _from_host, (self.get(),)

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    # What NumPy does when it meets one.

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        import cupy
        if method != '__call__' or not hasattr(cupy, ufunc.__name__):
            return NotImplemented
        return getattr(cupy, ufunc.__name__)(*inputs, **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        import cupy
        if not hasattr(cupy, function.__name__):
            return NotImplemented
        return getattr(cupy, function.__name__)(*args, **kwargs)

    # Content.

    def __getitem__(self, index):
        index = _host_index(index)
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(p, numpy.ndarray) and p.dtype.kind == 'b' for p in parts):
            _device.wait('boolean index')  # for the size of the result
        found = call(operator.getitem, self, Host(index))
        if isinstance(found, ndarray) and found._host.base is not None:
            # As in CuPy, a view refers to the array that owns the memory.
            found._owner = getattr(self, '_owner', self)
        return found

    def __setitem__(self, index, value):
        if isinstance(value, numpy.ndarray):
            if value.ndim:
                raise ValueError('non-scalar numpy.ndarray cannot be used for fill')
            value = value[()]
        host, index, value = self._host, _host_index(index), to_host(value)

        def work():
            with numpy.errstate(all='ignore'):
                host[index] = value
        _device.enqueue(work)

    def fill(self, value):
        """Sets all elements."""
        self[...] = value

    def astype(self, dtype, order='K', casting=None, subok=None, copy=True):
        """A copy of another dtype; itself where that is its dtype and copy is false."""
        if not copy and self.dtype == dtype:
            return self
        return call(numpy.ndarray.astype, self, dtype, order)

    def reduced_view(self, dtype=None):
        """The same elements in as few dimensions as may be; contiguous ones only."""
        return wrap(self._host.reshape(-1)) if self.flags.c_contiguous else self

    def scatter_add(self, slices, value):
        """``numpy.add.at``."""
        call(numpy.add.at, self, Host(_host_index(slices)), value)

    def dot(self, b, out=None):
        """The matrix product."""
        import cupy
        return cupy.dot(self, b, out=out)

    def __matmul__(self, other):
        import cupy
        return cupy.matmul(self, other)

    def __rmatmul__(self, other):
        import cupy
        return cupy.matmul(other, self)


class Host:
    """Something for `call` to leave as it is."""

    def __init__(self, value):
        self.value = value


def wrap(host):
    """The device array that lies in a NumPy array."""
    array = ndarray.__new__(ndarray)
    array._host = host
    return array


def _from_host(host):
    _device.upload()
    return wrap(host)


def to_host(value):
    """What NumPy sees of an argument; NumPy arrays are refused as in CuPy."""
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, Host):
        return value.value
    if isinstance(value, numpy.ndarray):
        raise TypeError(f'Unsupported type {type(value)}')
    if isinstance(value, (tuple, list)):
        return type(value)(map(to_host, value))
    return value


def _host_index(index):
    """An index; NumPy arrays in it are sent to the device, as in CuPy."""
    if isinstance(index, tuple):
        return tuple(map(_host_index, index))
    if isinstance(index, (numpy.ndarray, list)):
        _device.upload()
        return numpy.asarray(index)
    return index._host if isinstance(index, ndarray) else index


def _wrap_all(result):
    if isinstance(result, (numpy.ndarray, numpy.generic)):
        return wrap(numpy.asarray(result))
    if isinstance(result, (tuple, list)):
        return type(result)(map(_wrap_all, result))
    return result


def call(function, *args, **kwargs):
    """Enqueues ``function(*args, **kwargs)``, a function of NumPy.

    While work is recorded the function is called once for the result's shape, and
    fills it when the graph is launched; a view is no work.
    """
    out = kwargs.get('out')
    args, kwargs = to_host(args), {k: to_host(v) for k, v in kwargs.items()}

    def work():
        with numpy.errstate(all='ignore'):
            return function(*args, **kwargs)

    if out is not None or getattr(function, '__name__', '') == 'at':
        _device.enqueue(work)
        return out
    result = work()
    if _is_view(result, args):
        return _wrap_all(result)
    if not _device.is_capturing():
        _device.enqueue(lambda: None)
        return _wrap_all(result)
    result = numpy.asarray(result)
    array = ndarray(result.shape, result.dtype)
    _device.enqueue(lambda: numpy.copyto(array._host, work()))
    return array


def _is_view(result, args):
    if isinstance(result, (tuple, list)):
        return all(_is_view(part, args) for part in result)
    return isinstance(result, numpy.ndarray) and any(
        isinstance(a, numpy.ndarray) and numpy.may_share_memory(a, result)
        for a in args)


def _define():
    """Methods and operators that are NumPy's but for `call`."""
    def method(name):
        function = getattr(numpy.ndarray, name)

        @functools.wraps(function)
        def of_device(self, *args, **kwargs):
            return call(function, self, *args, **kwargs)
        setattr(ndarray, name, of_device)

    def binary(name):
        import_name = {'truediv': 'true_divide', 'floordiv': 'floor_divide',
                       'mod': 'remainder', 'pow': 'power', 'sub': 'subtract',
                       'mul': 'multiply', 'lshift': 'left_shift',
                       'rshift': 'right_shift', 'and': 'bitwise_and',
                       'or': 'bitwise_or', 'xor': 'bitwise_xor'}.get(name, name)
        function = getattr(numpy, import_name)

        def forward(self, other):
            return _known(other, lambda: call(function, self, other))

        def reflected(self, other):
            return _known(other, lambda: call(function, other, self))

        def in_place(self, other):
            return _known(other, lambda: call(function, self, other, out=self))
        setattr(ndarray, f'__{name}__', forward)
        setattr(ndarray, f'__r{name}__', reflected)
        setattr(ndarray, f'__i{name}__', in_place)

    def _known(other, operate):
        if isinstance(other, (ndarray, numpy.ndarray, numpy.generic, int, float,
                              complex)):
            return operate()
        return NotImplemented

    def comparison(name, function):
        def compare(self, other):
            return _known(other, lambda: call(function, self, other))
        setattr(ndarray, f'__{name}__', compare)

    for name in (
            'all any argmax argmin argsort clip conj copy cumprod cumsum diagonal '
            'flatten max mean min prod ravel repeat reshape round searchsorted squeeze '
            'std sum swapaxes take trace transpose var view').split():
        method(name)
    for name in ('add sub mul truediv floordiv mod pow and or xor lshift '
                 'rshift').split():
        binary(name)
    for name, function in (
            ('eq', numpy.equal), ('ne', numpy.not_equal), ('lt', numpy.less),
            ('le', numpy.less_equal), ('gt', numpy.greater),
            ('ge', numpy.greater_equal)):
        comparison(name, function)
    ndarray.__hash__ = None
    ndarray.__neg__ = lambda self: call(numpy.negative, self)
    ndarray.__pos__ = lambda self: call(numpy.positive, self)
    ndarray.__abs__ = lambda self: call(numpy.absolute, self)
    ndarray.__invert__ = lambda self: call(numpy.invert, self)
    ndarray.nonzero = lambda self: _waiting_nonzero(self)


def _waiting_nonzero(array):
    _device.wait('nonzero')
    return call(numpy.nonzero, array)


_define()
