"""Kernels, each beside the plain function that it stands in for.

`recurrent` is the inner loop of `rnnlm.functions.lstm_window`, compiled for this
processor; it needs llvmlite (the extra ``fast``) and is used when that is there.
`cuda` holds the kernels for a GPU, which `proof` compares with CuPy's own functions
before they are used.  Set ``rnnlm.kernels.enabled = False`` (or RNNLM_FAST=0 in the
environment) to do without either.
"""
import functools
import logging
import os
import threading

import numpy

from rnnlm.kernels import proof

enabled = os.environ.get('RNNLM_FAST') != '0'
logger = logging.getLogger(__name__)


def recurrent_for(xp, dtype, T, B, n):
    """What runs the steps of such a window, else None."""
    gpu = gpu_for(xp, dtype)
    if gpu:
        return gpu.recurrent
    if not enabled or xp is not numpy or dtype != numpy.float32:
        return None
    recurrent = _recurrent()
    return recurrent if recurrent and recurrent.fits(T, B, n) else None


def gpu_for(xp, dtype):
    """The kernels for arrays of `xp` on the current device, else None.

    Args:
        xp: numpy or cupy.
        dtype: Of the arrays; the kernels take float32 and float64.

    Returns:
        rnnlm.kernels.cuda.gpu.Gpu
    """
    if not enabled or xp is numpy or dtype not in (numpy.float32, numpy.float64):
        return None
    if not proof.allowed():
        return None
    return _gpu(xp, xp.cuda.Device().id, threading.get_ident())


def computing(dtype):
    """The dtype in which one computes with arrays of `dtype`: float32 for float16."""
    return numpy.promote_types(dtype, numpy.float32)


def dot(xp, a, b, out):
    """``out = a b``: by `Gpu` where there is one, else by `xp`.

    Sums of products of float16 are made in float32.
    """
    gpu = gpu_for(xp, computing(out.dtype))
    if gpu:
        gpu.cuda.dot(*(x if x.flags.c_contiguous or x.flags.f_contiguous
                       else xp.ascontiguousarray(x) for x in (a, b)), out)
    elif a.dtype == numpy.float16:
        wide = computing(a.dtype)
        out[...] = xp.dot(a.astype(wide), b.astype(wide))
    else:
        xp.dot(a, b, out=out)


def column_sums(xp, x):
    """The sums (n,) of the columns of x (m, n)."""
    gpu = gpu_for(xp, x.dtype)
    if not gpu:
        return x.sum(axis=0)
    out = xp.empty(x.shape[1], x.dtype)
    gpu.output.column_sums(x, out)
    return out


@functools.lru_cache(maxsize=None)
def _recurrent():
    try:
        from rnnlm.kernels import recurrent
        recurrent.machine()
    except (ImportError, RuntimeError, OSError) as e:
        logger.info('no compiled kernels: %s', e)
        return None
    return recurrent


@functools.lru_cache(maxsize=16)
def _gpu(xp, device, thread):
    from rnnlm.kernels.cuda import gpu
    try:
        return gpu.current(xp)
    except Exception as e:  # what CuPy raises depends on what is missing
        logger.warning('no CUDA kernels, CuPy alone: %s', e)
        return None
