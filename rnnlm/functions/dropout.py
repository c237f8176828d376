"""Dropout for a window, with the same random numbers as step by step.

Chainer's example draws ``rand(B, n)`` for each dropout layer k of each step t, and the
mask is ``(rand >= ratio) / (1 - ratio)``.  NumPy fills arrays in order.  So one draw
``rand(T, sum_k B n_k)`` per window yields the same numbers, and the same seed gives the
same run as Chainer:

    random[t, start_k:start_k + B n_k].reshape(B, n_k)    numbers of layer k in step t

On the CPU the draw and the comparison are one compiled kernel
(`rnnlm.kernels.twister`).  On a GPU no mask is stored: the number of an element is a
function of a key and the element's position (`rnnlm.functions.philox`), so the backward
pass computes the mask again.
"""
import math

import chainer
from chainer import functions as F
import numpy

from rnnlm import kernels
from rnnlm.functions import philox
from rnnlm.kernels import verification


def starts(B, widths):
    """Returns where the random numbers of each dropout layer start within a step.

    Args:
        B (int): Number of streams.
        widths (list of int): Number of units of each dropout layer.

    Returns:
        list of int: An offset for each layer, and the total.
    """
    return numpy.cumsum([0] + [B * n for n in widths]).tolist()


class WindowDropout:
    """All dropout layers of a model, for one window.

    The numbers are drawn at once, in the order of Chainer's example: by step, by layer,
    (B, n).

    Args:
        xp: numpy or cupy.
        T, B (int): Numbers of steps and streams.
        widths (list of int): Number of units n of each dropout layer.
        ratio (float): Ratio of elements dropped, in (0, 1).
        dtype: Dtype of the inputs.
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
        """Applies dropout layer k to x, a Variable or array (T, B, n)."""
        if not self._gpu:
            return F.dropout(x, self._ratio, mask=self._masks[k])
        return _Dropout(self._gpu, self._key, self._key_there, self._ratio,
                        self._starts[k], self._starts[-1]).apply((x,))[0]


def _compiled_masks(xp, shape, ratio, dtype):
    """Draws a mask by the compiled kernel; None, without drawing, if there is none.

    It equals `masks` of ``philox.uniform(xp, shape)``.
    """
    twister = kernels.compiled('twister', xp, dtype)
    if not twister:
        return None
    scale = numpy.dtype(dtype).type(1 / (1 - ratio))
    found = twister.masks(math.prod(shape), ratio, scale)
    return None if found is None else found.reshape(shape)


def masks(random, dtype, ratio, start, B, n):
    """Returns the mask (T, B, n) of a dropout layer: 0 or 1 / (1 - ratio).

    Args:
        random: (T, ...) in [0, 1); those of the layer start at `start`.
        dtype: Dtype of the mask.
        ratio (float): Ratio of elements dropped, in (0, 1).
        start, B, n (int): First number of the layer; numbers of streams and units.
    """
    scale = numpy.dtype(dtype).type(1 / (1 - ratio))
    own = random[:, start:start + B * n]
    return scale * (own >= ratio).reshape(len(own), B, n)


def window_mask(xp, shape, ratio, dtype):
    """Draws one dropout mask for all steps of a window.

    Args:
        xp: numpy or cupy.
        shape (tuple of int): Shape of the mask.
        ratio (float): Ratio of elements dropped, in (0, 1).
        dtype: Dtype of the mask.

    Returns:
        array: 0 or 1 / (1 - ratio), drawn by `philox.uniform`.
    """
    found = _compiled_masks(xp, shape, ratio, dtype)
    if found is not None:
        return found
    scale = numpy.dtype(dtype).type(1 / (1 - ratio))
    return scale * (philox.uniform(xp, shape) >= ratio)


class _Dropout(chainer.FunctionNode):
    """Function node of dropout on a GPU, which never stores the mask.

    Its backward pass is the same function, applied to the gradient.
    """

    def __init__(self, *how):
        self._how = how

    def forward(self, inputs):
        x, = inputs
        T, B, n = x.shape
        return verification.verify(
            self._how[0], verification.key_of('dropout', x.dtype, T.bit_length(), B, n),
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
