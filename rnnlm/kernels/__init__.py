"""Kernels, each beside the plain function that it stands in for.

`recurrent` is the inner loop of `rnnlm.functions.lstm_window`, compiled for this
processor; it needs llvmlite (the extra ``fast``) and is used when that is there.
Set ``rnnlm.kernels.enabled = False`` (or RNNLM_FAST=0 in the environment) to do
without.
"""
import functools
import logging
import os

import numpy

enabled = os.environ.get('RNNLM_FAST') != '0'
logger = logging.getLogger(__name__)


def recurrent_for(xp, dtype, T, B, n):
    """The module `recurrent` if it takes such a window, else None."""
    if not enabled or xp is not numpy or dtype != numpy.float32:
        return None
    recurrent = _recurrent()
    return recurrent if recurrent and recurrent.fits(T, B, n) else None


@functools.lru_cache(maxsize=None)
def _recurrent():
    try:
        from rnnlm.kernels import recurrent
        recurrent.machine()
    except (ImportError, RuntimeError, OSError) as e:
        logger.info('no compiled kernels: %s', e)
        return None
    return recurrent
