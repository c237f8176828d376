"""Compiled kernels, each with a plain function that computes the same.

For the processor, compiled by llvmlite (the extra ``fast``) if it is installed:
`recurrent`, the inner loop of `rnnlm.functions.lstm_window`; `output`, what
`rnnlm.functions.softmax_loss` does between two products; `sgd`, the passes of
`rnnlm.training.sgd`; `twister`, the random numbers of `rnnlm.functions.dropout`.

`cuda` holds the kernels for a GPU, which `proof` compares with CuPy's own functions
before they are used.  Set ``rnnlm.kernels.enabled = False`` (or RNNLM_FAST=0 in the
environment) to do without either.
"""
import functools
import importlib
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
    recurrent = compiled('recurrent', xp, dtype)
    return recurrent if recurrent and recurrent.fits(T, B, n) else None


def output_for(xp, dtype, V):
    """What makes losses and gradients of rows of V logits, else None."""
    output = compiled('output', xp, dtype)
    return output if output and output.fits(V) else None


def compiled(name, xp, dtype):
    """The module of compiled kernels of that name for such arrays, else None."""
    if not enabled or xp is not numpy or dtype != numpy.float32:
        return None
    return _compiled(name)


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
def _compiled(name):
    try:
        from rnnlm.kernels import machine
        machine.machine()
        return importlib.import_module(f'rnnlm.kernels.{name}')
    except (ImportError, RuntimeError, OSError) as e:
        logger.info('no compiled kernels: %s', e)
        return None


@functools.lru_cache(maxsize=16)
def _gpu(xp, device, thread):
    from rnnlm.kernels.cuda import gpu
    try:
        return gpu.current(xp)
    except Exception as e:  # what CuPy raises depends on what is missing
        logger.warning('no CUDA kernels, CuPy alone: %s', e)
        return None
