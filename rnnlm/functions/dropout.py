"""Dropout of a whole window, with the random numbers of its steps."""
import chainer
from chainer import functions as F
import numpy

from rnnlm import kernels
from rnnlm.functions import philox


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
            self._key = xp.asarray(philox.draw_key())
            return
        random = philox.uniform(xp, (T, self._starts[-1]))
        scale = numpy.dtype(dtype).type(1 / (1 - ratio))
        self._masks = [
            scale * (random[:, start:stop] >= ratio).reshape(T, B, n)
            for start, stop, n in zip(self._starts, self._starts[1:], widths)]

    def __call__(self, k, x):
        """Dropout on its k-th use: x is a Variable or array (T, B, n)."""
        if not self._gpu:
            return F.dropout(x, self._ratio, mask=self._masks[k])
        return _Dropout(self._gpu, self._key, self._ratio, self._starts[k],
                        self._starts[-1]).apply((x,))[0]


class _Dropout(chainer.FunctionNode):
    """Dropout whose mask is never stored; its backward is the same function."""

    def __init__(self, *how):
        self._how = how

    def forward(self, inputs):
        x, = inputs
        gpu, key, ratio, start, stride = self._how
        x = gpu.cuda.xp.ascontiguousarray(x)
        out = gpu.cuda.xp.empty_like(x)
        gpu.rows.dropout(x, out, key, ratio, start, stride)
        return out,

    def backward(self, indexes, grad_outputs):
        return _Dropout(*self._how).apply(grad_outputs)
