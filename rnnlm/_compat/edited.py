"""Helper functions called by the patched lines of Chainer, under the name `_patches`.
"""
import importlib
import operator
import re
import warnings

import numpy

from rnnlm._compat import snapshots, windows  # noqa: F401
from rnnlm._compat.row import numbers, release


def weak(value):
    """Converts a NumPy scalar to a Python number, which does not widen an array."""
    if isinstance(value, (numpy.number, numpy.ndarray)) and value.ndim == 0:
        return value.item()
    return value


def wide(value):
    """Converts a NumPy floating-point scalar to float64; returns the rest unchanged."""
    if (isinstance(value, (numpy.floating, numpy.ndarray)) and value.ndim == 0
            and value.dtype.kind == 'f'):
        return numpy.float64(value)
    return value


def fitted(value, dtype):
    """Wraps a Python integer to an integer dtype: -1 becomes 255 as uint8."""
    if isinstance(value, int) and dtype.kind in 'iu':
        return numpy.array(value).astype(dtype)[()]
    return value


def strong_scalars(summary, value, weight):
    """Widens the Python numbers that `Summary.add` adds, as NumPy 1 did.

    Leaves device arrays alone: they never followed NumPy's rules for scalars.
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
    """Returns the content of an HDF5 dataset, with strings as `str`."""
    value = numpy.asarray(dataset)
    if value.dtype.kind in 'OS' and isinstance(value[()], bytes):
        return value[()].decode('utf-8')
    return value


def quietly(name):
    """Imports a module and suppresses its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return importlib.import_module(name)


def nccl():
    """Imports `cupy.cuda.nccl`; raises ImportError if NCCL is missing."""
    module = quietly('cupy.cuda.nccl')
    if not module.available:
        raise ImportError('NCCL is not installed')
    return module


class pkg_resources:
    """Replacement for the part of `pkg_resources` that `chainer.testing` uses."""

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
