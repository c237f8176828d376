"""Dropout of a whole window, with the random numbers of its steps."""
import math

import chainer
from chainer import functions as F
import numpy

from rnnlm import kernels
from rnnlm.functions import philox
from rnnlm.kernels import proof


def starts(B, widths):
    """Where the numbers of each use of dropout begin in a step; last, where they end.

    Args:
        B (int): Rows.
        widths (list of int): Units of each use.

    Returns:
        list of int: one more than there are uses.
    """
    return numpy.cumsum([0] + [B * n for n in widths]).tolist()


class WindowDropout:
    """The uses of dropout in one window of a model.

    One draw for the window takes the numbers in the order in which the steps of
    Chainer's example take theirs: by step, by use, (B, n).

    Args:
        xp: numpy or cupy.
        T, B (int): Steps and rows of the window.
        widths (list of int): Units n of each use of dropout.
        ratio (float): How much is dropped, in (0, 1).
        dtype: Of what is dropped from.
    """

    def __init__(self, xp, T, B, widths, ratio, dtype):
        self._ratio = ratio
        self._starts = starts(B, widths)
        self._gpu = kernels.gpu_for(xp, dtype)
        if self._gpu:
            self._key = philox.draw_key()
            self._key_there = xp.asarray(self._key)
            return
        whole = _compiled_masks(xp, (T, self._starts[-1]), ratio, dtype)
        if whole is not None:
            self._masks = [whole[:, start:start + B * n].reshape(T, B, n)
                           for start, n in zip(self._starts, widths)]
            return
        random = philox.uniform(xp, (T, self._starts[-1]))
        self._masks = [masks(random, dtype, ratio, start, B, n)
                       for start, n in zip(self._starts, widths)]

    def __call__(self, k, x):
        """Dropout on its k-th use: x is a Variable or array (T, B, n)."""
        if not self._gpu:
            return F.dropout(x, self._ratio, mask=self._masks[k])
        return _Dropout(self._gpu, self._key, self._key_there, self._ratio,
                        self._starts[k], self._starts[-1]).apply((x,))[0]


def _compiled_masks(xp, shape, ratio, dtype):
    """What `masks` makes of ``philox.uniform(xp, shape)``, or None; then nothing is
    drawn.
    """
    twister = kernels.compiled('twister', xp, dtype)
    if not twister:
        return None
    scale = numpy.dtype(dtype).type(1 / (1 - ratio))
    found = twister.masks(math.prod(shape), ratio, scale)
    return None if found is None else found.reshape(shape)


def masks(random, dtype, ratio, start, B, n):
    """(T, B, n): what dropout multiplies with.

    Args:
        random: (T, ...) in [0, 1), of which those from `start` on are its own.
    """
    scale = numpy.dtype(dtype).type(1 / (1 - ratio))
    own = random[:, start:start + B * n]
    return scale * (own >= ratio).reshape(len(own), B, n)


def window_mask(xp, shape, ratio, dtype):
    """What dropout multiplies with in all steps of a window alike.

    Args:
        xp: numpy or cupy.
        shape (tuple of int): Of what is dropped from in one step.
        ratio (float): How much is dropped, in (0, 1).
        dtype: Of what is dropped from.

    Returns:
        array: of that shape and dtype, drawn by `philox.uniform`.
    """
    found = _compiled_masks(xp, shape, ratio, dtype)
    if found is not None:
        return found
    scale = numpy.dtype(dtype).type(1 / (1 - ratio))
    return scale * (philox.uniform(xp, shape) >= ratio)


class _Dropout(chainer.FunctionNode):
    """Dropout whose mask is never stored; its backward is the same function."""

    def __init__(self, *how):
        self._how = how

    def forward(self, inputs):
        x, = inputs
        T, B, n = x.shape
        return proof.prove(
            self._how[0], proof.key_of('dropout', x.dtype, T.bit_length(), B, n),
            lambda: self._compute(x), lambda out: {'the output': out}),

    def _compute(self, x):
        gpu, key, key_there, ratio, start, stride = self._how
        xp = gpu.cuda.xp
        if not kernels.gpu_for(xp, x.dtype):
            random = philox.numbers(xp, key, (len(x), stride))
            return x * masks(random, x.dtype, ratio, start, *x.shape[1:])
        x = xp.ascontiguousarray(x)
        out = xp.empty_like(x)
        gpu.rows.dropout(x, out, key_there, ratio, start, stride)
        return out

    def backward(self, indexes, grad_outputs):
        return _Dropout(*self._how).apply(grad_outputs)
