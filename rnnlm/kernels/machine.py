"""This processor."""
import functools

from rnnlm.kernels.vector import Machine


@functools.lru_cache(maxsize=None)
def machine():
    """rnnlm.kernels.vector.Machine"""
    return Machine()
