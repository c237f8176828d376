"""Parameters of links as arrays, which they were until Chainer 1.4."""
import chainer

from rnnlm.legacy import release

# Operators that return arrays, and those that change the parameter.
OPERATORS = tuple(
    'getitem add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod '
    'pow rpow neg pos abs matmul rmatmul lt le gt ge eq ne repr str'.split())
IN_PLACE = 'iadd', 'isub', 'imul', 'itruediv', 'ifloordiv', 'imod', 'ipow'
METHODS = 'item', 'mean', 'reshape', 'transpose'  # that variables also have


def array_of(value):
    """Returns the array of a parameter, until 1.4; any other value unchanged."""
    if isinstance(value, chainer.Parameter) and release.before(1, 5):
        return value.array
    return value


def set_item(original):
    """``param[...] = values``."""
    def __setitem__(self, key, value):
        self.array[key] = array_of(value)
    return __setitem__


def as_array(original):
    """``numpy.asarray(param)``."""
    def __array__(self, dtype=None, copy=None):
        return chainer.cuda.to_cpu(self.array).astype(
            dtype or self.dtype, copy=bool(copy))
    return __array__


def method(name):
    """Method or operator of a parameter that acted on its array and returned one."""
    def serve(original):
        if not release.before(1, 5):
            return original
        return lambda self, *args, **kwargs: getattr(self.array, name)(
            *map(array_of, args), **kwargs)
    return serve


def in_place(name):
    """``link.W *= 2``, which changes the array."""
    def serve(original):
        if not release.before(1, 5):
            return original

        def operator(self, other):
            array = self.array
            found = getattr(array, name)(array_of(other))
            return self if found is array else NotImplemented
        return operator
    return serve


def transposed(original):
    """``link.W.T``."""
    return property(lambda self: self.array.T) if release.before(1, 5) else original


def array_attribute(original):
    """``link.W.max()``: attributes that a parameter lacks are those of its array."""
    def __getattr__(self, name):
        if name.startswith('_') or not release.before(1, 5):
            raise AttributeError(
                f'{type(self).__name__!r} object has no attribute {name!r}')
        return getattr(self.array, name)
    return __getattr__


def init(original):
    """``Variable(link.W)``."""
    if not release.before(1, 5):
        return original
    return lambda self, *args, **kwargs: original(
        self, *map(array_of, args),
        **{name: array_of(value) for name, value in kwargs.items()})


def function(original):
    """A function of an array."""
    if not release.before(1, 5):
        return original
    return lambda array, *args, **kwargs: original(array_of(array), *args, **kwargs)


# Rows as in `table`: (name, since, instead, serve).
ROWS = (
    *((f'chainer.Parameter.{name}', '1.5', 'param.array', serve)
      for name, serve in (
          ('__setitem__', set_item), ('__array__', as_array), ('T', transposed),
          ('__getattr__', array_attribute),
          *((f'__{name}__', method(f'__{name}__')) for name in OPERATORS),
          *((f'__{name}__', in_place(f'__{name}__')) for name in IN_PLACE),
          *((name, method(name)) for name in METHODS))),
    ('chainer.Variable.__init__', '1.5', 'param.array', init),
    *((f'chainer.{name}', '1.5', 'param.array', function)
      for name in ('cuda.to_cpu', 'cuda.to_gpu', 'initializers._get_initializer')),
)
