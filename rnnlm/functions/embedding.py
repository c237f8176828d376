"""Rows of a matrix by their ids, and the sum of their gradients."""
import chainer
from chainer import backend
import numpy

from rnnlm import kernels
from rnnlm.kernels import buffers, proof


def embedding(ids, W, rows=None):
    """The rows of `W` that `ids` name: ``W[ids]``.

    The same numbers as :func:`chainer.functions.embed_id`; the gradient is
    summed over sorted ids instead of a Python loop over words.

    Args:
        ids: Variable or int array (T, B), at least one, each in [0, V).
        W: Variable or array (V, n).
        rows (RowGradient): if given, keeps the gradient between two windows.

    Returns:
        Variable: (T, B, n).

    Raises:
        RuntimeError: if a second derivative is asked for.
    """
    ids = ids.array if isinstance(ids, chainer.Variable) else ids
    return Embedding(ids, rows).apply((W,))[0]


class Embedding(chainer.FunctionNode):

    def __init__(self, ids, rows):
        self._ids = ids
        self._rows = rows

    def forward(self, inputs):
        W, = inputs
        self._shape = W.shape
        return W[self._ids],

    def backward(self, indexes, grad_outputs):
        return EmbeddingGrad(self._ids, self._shape, self._rows).apply(grad_outputs)


class EmbeddingGrad(chainer.FunctionNode):

    def __init__(self, ids, shape, rows):
        self._ids = ids
        self._shape = shape
        self._rows = rows

    def forward(self, inputs):
        gy, = inputs
        ids, gy = self._ids.ravel(), gy.reshape(-1, self._shape[1])
        if self._rows is not None:
            return self._rows.set(ids, gy, self._shape),
        return proof.prove(
            kernels.gpu_for(backend.get_array_module(gy), kernels.computing(gy.dtype)),
            proof.key_of('the gradient of embedding', gy.dtype, len(ids).bit_length(),
                         self._shape),
            lambda: self._sums(ids, gy), lambda gW: {'the gradient of W': gW}),

    def _sums(self, ids, gy):
        """The gradient (V, n) of rows gy (K, n)."""
        xp, dtype = backend.get_array_module(gy), gy.dtype
        gy = gy.astype(kernels.computing(dtype), copy=False)
        gW = xp.zeros(self._shape, dtype=gy.dtype)
        gpu = kernels.gpu_for(xp, gy.dtype)
        if gpu:
            first = xp.empty(len(ids), numpy.int32)
            gpu.rows.sum(ids.astype(numpy.int32, copy=False),
                         xp.ascontiguousarray(gy), first, gW)
        else:
            add_rows(xp, gW, ids, gy)
        return gW.astype(dtype, copy=False)

    def backward(self, indexes, grad_outputs):
        raise RuntimeError(
            'embedding has first derivatives only, and a second one was asked for '
            '(enable_double_backprop).  Use chainer.functions.embed_id.')


# Indexes that are summed one by one when all others are done.
FEW = 16


class RowGradient:
    """Gradients that are zero but for some rows of a window, on NumPy.

    That of an embedding has the rows of the window's words; those of parameters that
    the window does not use have none.  They are dense arrays, new for each window,
    since others may keep or change them; only the pages that are touched cost anything.

    Attributes:
        array: (V, n), the embedding's gradient of the last window; None before the
            first.
        ids: int (K,), the rows of the window, each once.
    """

    def __init__(self):
        self.array = None
        self.ids = None
        self._zeros = []

    def begin(self):
        """Begins a window: the gradients of the last one are no more known."""
        self._zeros = []

    def set(self, ids, rows, shape):
        """Makes the array of a window: the sum of rows[k] at ids[k], else zeros."""
        self.array = buffers.sparse_zeros(shape, rows.dtype)
        self.ids, sums = sum_rows(ids, rows)
        self.array[self.ids] = sums
        return self.array

    def zeros(self, shape, dtype):
        """Makes the gradient of a parameter that the window does not use."""
        self._zeros.append(buffers.sparse_zeros(shape, dtype))
        return self._zeros[-1]

    def fill(self, array):
        """Notes that a gradient has no rows of zeros any more."""
        self._zeros = [zeros for zeros in self._zeros if zeros is not array]
        if array is self.array:
            self.ids = numpy.arange(len(array))

    def of(self, array):
        """int (K,): the rows of a gradient that may not be zero; None if all may."""
        if array is self.array:
            return self.ids
        return NO_ROWS if any(array is zeros for zeros in self._zeros) else None


NO_ROWS = numpy.empty(0, dtype=int)


def sum_rows(index, rows):
    """(the different indexes, the sums of their rows), on NumPy."""
    order = numpy.argsort(index, kind='stable')
    ordered = index[order]
    starts = numpy.flatnonzero(numpy.r_[True, ordered[1:] != ordered[:-1]])
    counts = numpy.diff(starts, append=len(index))
    # The first row of each, then the second rows of those that have one, and so on:
    # numpy.add.at and numpy.add.reduceat take several times as long.
    sums = rows[order[starts]]
    for k in range(1, counts.max()):
        more = numpy.flatnonzero(counts > k)
        if len(more) <= FEW:  # blanks, or the padding of texts: each at once
            for j in more:
                rest = order[starts[j] + k:starts[j] + counts[j]]
                sums[j] += rows[rest].sum(axis=0)
            break
        sums[more] += rows[order[starts[more] + k]]
    return ordered[starts], sums


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
    index, sums = sum_rows(index, rows)
    out[index] += sums
