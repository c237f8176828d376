"""What the edited lines of Chainer call, by the name `_patches`."""
import importlib
import operator
import re
import warnings

import numpy

from rnnlm._compat import snapshots, windows  # noqa: F401
from rnnlm._compat.row import numbers, release


def weak(value):
    """A NumPy scalar as a Python number, which does not widen an array."""
    if isinstance(value, (numpy.number, numpy.ndarray)) and value.ndim == 0:
        return value.item()
    return value


def wide(value):
    """A NumPy floating scalar as float64; anything else as it is."""
    if (isinstance(value, (numpy.floating, numpy.ndarray)) and value.ndim == 0
            and value.dtype.kind == 'f'):
        return numpy.float64(value)
    return value


def fitted(value, dtype):
    """A Python integer as an integer type holds it: -1 is 255 as a byte."""
    if isinstance(value, int) and dtype.kind in 'iu':
        return numpy.array(value).astype(dtype)[()]
    return value


def strong_scalars(summary, value, weight):
    """What `Summary.add` adds, its Python numbers as wide as NumPy 1 took them.

    Device arrays are left alone: they never followed NumPy's rules for scalars.
    """
    if any(isinstance(v, (numpy.generic, numpy.ndarray)) and v.ndim == 0
           for v in (value, weight)):
        summary._x, summary._x2, summary._n, value, weight = map(
            _strong, (summary._x, summary._x2, summary._n, value, weight))
    return value, weight


def _strong(value):
    dtype = {float: numpy.float64, int: numpy.int_}.get(type(value))
    return value if dtype is None else dtype(value)


def hdf5_value(dataset):
    """The content of an HDF5 dataset, its strings as `str`."""
    value = numpy.asarray(dataset)
    if value.dtype.kind in 'OS' and isinstance(value[()], bytes):
        return value[()].decode('utf-8')
    return value


def quietly(name):
    """A module whose import may warn."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return importlib.import_module(name)


def nccl():
    """CuPy's module of that name; ImportError if NCCL is missing."""
    module = quietly('cupy.cuda.nccl')
    if not module.available:
        raise ImportError('NCCL is not installed')
    return module


class pkg_resources:
    """As much of the module of this name as `chainer.testing` uses."""

    class ResolutionError(Exception):
        pass

    class WorkingSet:
        def require(self, *requirements):
            compare = {'<': operator.lt, '<=': operator.le, '==': operator.eq,
                       '!=': operator.ne, '>=': operator.ge, '>': operator.gt}
            for requirement in requirements:
                found = release(re.match(r'[\w.-]+', requirement).group())
                clauses = re.findall(r'([<>=!]=?)\s*([\d.]+)', requirement)
                if found is None or not all(compare[relation](found, numbers(v))
                                            for relation, v in clauses):
                    raise pkg_resources.ResolutionError(requirement)
