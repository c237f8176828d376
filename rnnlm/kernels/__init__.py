"""Compiled kernels, each with a reference implementation in NumPy or CuPy.

For the CPU, compiled by llvmlite (the extra ``fast``) if it is installed:

| module | computes | for |
|---|---|---|
| `recurrent` | the steps of an LSTM layer | `rnnlm.functions.lstm_window` |
| `one_stream` | one step of one stream | `rnnlm.inference.next_word` |
| `output` | softmax, cross entropy, their gradient | `rnnlm.functions.softmax_loss` |
| `twister` | dropout masks | `rnnlm.functions.dropout` |
| `sgd` | norm of the gradient, SGD step | `rnnlm.training.sgd` |

`vector` generates their code, `machine` compiles it, and `threads` and `buffers` are
their threads and memory.  `cuda` has the kernels for a GPU, and `verification` compares
them with CuPy before use.  Set ``rnnlm.kernels.enabled = False``, or RNNLM_FAST=0 in
the environment, to disable all kernels.
"""
import functools
import importlib
import logging
import os
import threading

import numpy

from rnnlm.kernels import verification

enabled = os.environ.get('RNNLM_FAST') != '0'
logger = logging.getLogger(__name__)


def recurrent_for(xp, dtype, T, B, n):
    """Returns the kernels for the steps of an LSTM window of this size, or None."""
    gpu = gpu_for(xp, dtype)
    if gpu:
        return gpu.recurrent
    recurrent = compiled('recurrent', xp, dtype)
    return recurrent if recurrent and recurrent.fits(T, B, n) else None


def output_for(xp, dtype, V):
    """Returns the kernels for softmax and cross entropy of V logits, or None."""
    output = compiled('output', xp, dtype)
    return output if output and output.fits(V) else None


def compiled(name, xp, dtype):
    """Returns the module of CPU kernels with this name, or None for other arrays."""
    if not enabled or xp is not numpy or dtype != numpy.float32:
        return None
    return _compiled(name)


def gpu_for(xp, dtype):
    """Returns the CUDA kernels for the current device, or None.

    Args:
        xp: numpy or cupy.
        dtype: Dtype of the arrays; the kernels support float32 and float64.

    Returns:
        rnnlm.kernels.cuda.gpu.Gpu or None.
    """
    if not enabled or xp is numpy or dtype not in (numpy.float32, numpy.float64):
        return None
    if not verification.allowed():
        return None
    return _gpu(xp, xp.cuda.Device().id, threading.get_ident())


def computing(dtype):
    """Returns the dtype to compute in: float32 for float16, else `dtype`."""
    return numpy.promote_types(dtype, numpy.float32)


def dot(xp, a, b, out):
    """Computes the matrix product ``out = a b``, by `Gpu` or by `xp`.

    Products of float16 are summed in float32.
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
    """Computes the sums (n,) of the columns of x (m, n)."""
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
