"""Embedding lookup for a window, and its gradient.

    forward     y[t, b] = W[ids[t, b]]                               (T, B, n)
    backward    gW[v] = sum of gy[t, b] over all (t, b) with id v    (V, n)

The gradient is a sum of rows by id (a segment sum or scatter-add).  On NumPy, ids are
sorted and the rows of equal ids added (`sum_rows`).  At most T * B of the V rows of gW
are not zero; `RowGradient` records which, so that clipping and SGD skip all others.
"""
import chainer
from chainer import backend
import numpy

from rnnlm import kernels
from rnnlm.kernels import buffers, verification


def embedding(ids, W, rows=None):
    """Looks up the rows of an embedding matrix: ``W[ids]``.

    The result equals :func:`chainer.functions.embed_id`.  The gradient is summed over
    sorted ids, not by a Python loop over words.

    Args:
        ids: Variable or int array (T, B), at least one, each in [0, V).
        W: Variable or array (V, n).
        rows (RowGradient): If given, makes the gradient, and records its rows.

    Returns:
        Variable: (T, B, n).

    Raises:
        RuntimeError: If a second derivative is computed.
    """
    ids = ids.array if isinstance(ids, chainer.Variable) else ids
    return Embedding(ids, rows).apply((W,))[0]


class Embedding(chainer.FunctionNode):
    """Function node of `embedding`."""

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
    """Function node of the gradient of `embedding`; it refuses a second one."""

    def __init__(self, ids, shape, rows):
        self._ids = ids
        self._shape = shape
        self._rows = rows

    def forward(self, inputs):
        gy, = inputs
        ids, gy = self._ids.ravel(), gy.reshape(-1, self._shape[1])
        if self._rows is not None:
            return self._rows.set(ids, gy, self._shape),
        return verification.verify(
            kernels.gpu_for(backend.get_array_module(gy), kernels.computing(gy.dtype)),
            verification.key_of('the gradient of embedding', gy.dtype,
                                len(ids).bit_length(), self._shape),
            lambda: self._sums(ids, gy), lambda gW: {'the gradient of W': gW}),

    def _sums(self, ids, gy):
        """Computes the gradient (V, n) from that of the rows, gy (K, n)."""
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
            'embedding: expected first derivatives only, found a second one '
            '(enable_double_backprop); use chainer.functions.embed_id')


# Number of ids up to which `sum_rows` sums the remaining rows of each id at once.
FEW = 16


class RowGradient:
    """Gradients that are zero except in known rows, on NumPy.

    The gradient of an embedding is not zero in the rows of the window's words.  The
    gradient of a parameter that the window does not use is zero everywhere.  Both are
    dense arrays, so that optimizers and hooks can use them as usual.  They are new for
    each window, because others may keep or change them; memory pages that are not
    touched cost nothing (`buffers.sparse_zeros`).

    Attributes:
        array: (V, n), the embedding's gradient in the last window; None before the
            first.
        ids: int (K,), the rows of `array` that may not be zero, without duplicates.
    """

    def __init__(self):
        self.array = None
        self.ids = None
        self._zeros = []

    def begin(self):
        """Starts a window, and drops the records of the previous one."""
        self._zeros = []

    def set(self, ids, rows, shape):
        """Makes the gradient of an embedding: row v is the sum of rows[k], ids[k] = v.
        """
        self.array = buffers.sparse_zeros(shape, rows.dtype)
        self.ids, sums = sum_rows(ids, rows)
        self.array[self.ids] = sums
        return self.array

    def zeros(self, shape, dtype):
        """Makes the gradient of a parameter that the window does not use: zeros."""
        self._zeros.append(buffers.sparse_zeros(shape, dtype))
        return self._zeros[-1]

    def fill(self, array):
        """Records that any row of a gradient may be nonzero now."""
        self._zeros = [zeros for zeros in self._zeros if zeros is not array]
        if array is self.array:
            self.ids = numpy.arange(len(array))

    def of(self, array):
        """Returns the rows of a gradient that may be nonzero; None if all may.

        Returns:
            int array (K,) or None.
        """
        if array is self.array:
            return self.ids
        return NO_ROWS if any(array is zeros for zeros in self._zeros) else None


NO_ROWS = numpy.empty(0, dtype=int)


def sum_rows(index, rows):
    """Sums rows with equal indices, on NumPy.

    Args:
        index: int (M,), at least one.
        rows: (M, ...).

    Returns:
        tuple: The distinct indices in ascending order, and the sum of the rows of each.
    """
    order = numpy.argsort(index, kind='stable')
    ordered = index[order]
    starts = numpy.flatnonzero(numpy.r_[True, ordered[1:] != ordered[:-1]])
    counts = numpy.diff(starts, append=len(index))
    # Pass k adds the k-th row of every index that has one: few passes with long
    # vectors.  numpy.add.at and numpy.add.reduceat take several times as long.
    sums = rows[order[starts]]
    for k in range(1, counts.max()):
        more = numpy.flatnonzero(counts > k)
        if len(more) <= FEW:  # few very frequent ids, such as spaces or padding
            for j in more:
                rest = order[starts[j] + k:starts[j] + counts[j]]
                sums[j] += rows[rest].sum(axis=0)
            break
        sums[more] += rows[order[starts[more] + k]]
    return ordered[starts], sums


def add_rows(xp, out, index, rows):
    """Computes ``out[index[k]] += rows[k]`` for all k, with duplicate indices.

    Args:
        xp: numpy or cupy.
        out: (V, ...), changed in place.
        index: int (M,), each in [0, V).
        rows: (M, ...).
    """
    if xp is not numpy:
        xp.add.at(out, index, rows)
        return
    index, sums = sum_rows(index, rows)
    out[index] += sums
