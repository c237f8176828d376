"""Norms."""
import numpy

from cupy._array import call


def norm(x, ord=None, axis=None, keepdims=False):
    """As `numpy.linalg.norm`."""
    return call(numpy.linalg.norm, x, ord, axis, keepdims)
