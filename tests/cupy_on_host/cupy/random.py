"""Random numbers, from a stream of their own as in CuPy."""
import numpy

from cupy import _device
from cupy._array import wrap


class RandomState:
    """A stream."""

    def __init__(self, seed=None):
        self._generator = numpy.random.Generator(numpy.random.PCG64(seed))

    def seed(self, seed=None):
        """Begins anew."""
        self.__init__(seed)

    def _draw(self, values, dtype=float):
        _device.refuse_capture('cuRAND')
        return wrap(numpy.asarray(values(self._generator), dtype=dtype))

    def random_sample(self, size=None, dtype=float):
        """In [0, 1)."""
        return self._draw(lambda g: g.random(size), dtype)

    def rand(self, *size, dtype=float):
        """In [0, 1)."""
        return self._draw(lambda g: g.random(size or None), dtype)

    def uniform(self, low=0.0, high=1.0, size=None, dtype=float):
        """In [low, high)."""
        return self._draw(lambda g: g.uniform(low, high, size), dtype)

    def normal(self, loc=0.0, scale=1.0, size=None, dtype=float):
        """Of a normal distribution."""
        return self._draw(lambda g: g.normal(loc, scale, size), dtype)

    def standard_normal(self, size=None, dtype=float):
        """Of the standard normal distribution."""
        return self.normal(size=size, dtype=dtype)

    def randint(self, low, high=None, size=None, dtype=int):
        """Integers."""
        return self._draw(lambda g: g.integers(low, high, size), dtype)


_state = RandomState()


def seed(seed=None):
    """Begins the stream anew."""
    _state.seed(seed)


def get_random_state():
    """The stream."""
    return _state


def __getattr__(name):
    if name.startswith('_'):
        raise AttributeError(name)
    return getattr(_state, name)
