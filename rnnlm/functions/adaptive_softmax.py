"""Fused adaptive softmax: head, tails, cross entropy and their gradients.

For a word w with input h (n,), by Grave et al. (2017), section 4:

    w in the short list    p(w) = softmax(W_0 h + b_0)[w]
    w in cluster k         p(w) = softmax(W_0 h + b_0)[cluster k] softmax(W_k P_k h)[w]

So -log p is the sum of one or two cross entropies of full softmax layers, each computed
by `rnnlm.functions.softmax_loss.cross_entropy_of_rows`: the head W_0 (C + K, n) for all
T * B rows of the window, each tail P_k (m, n), W_k (words, m) only for the rows whose
target is in its cluster.  This saves time, because most targets are in the short list
of C words, and C + K is much smaller than V.
"""
import chainer
from chainer import backend
from chainer.utils import type_check
import numpy

from rnnlm import kernels
from rnnlm.functions.softmax_loss import (
    cross_entropy_of_rows, linear_log_probabilities)
from rnnlm.kernels import buffers


def adaptive_softmax_cross_entropy(x, head_W, head_b, tails, ranks, t, rows=None):
    """Computes adaptive softmax and cross entropy over a window.

    .. math::
        L = \\sum_{t=1}^{T} \\frac{1}{B_t} \\sum_{b} -\\log p(y_{tb} \\mid x_{tb})

    with the probabilities of `rnnlm.links.AdaptiveSoftmax`.  Means and targets of -1
    are as in `rnnlm.functions.linear_softmax_cross_entropy`.

    Args:
        x: Variable or array (T, B, n), float16, float32 or float64.
        head_W: (C + K, n), for C words in the short list and K clusters.
        head_b: (C + K,), or None.
        tails: Flat list of the projection (m, n) and the matrix (words, m) of each
            cluster.
        ranks: int (V,), the rank of each word; on the device of x.
        t: (T, B), int; ids in [0, V), or -1.
        rows (RowGradient): If given, records which gradients are zeros.

    Returns:
        Variable: The loss, a scalar.

    Raises:
        chainer.utils.type_check.InvalidType: If a shape or a dtype is invalid.
        RuntimeError: If a second derivative is computed.

    References:
        Grave, Joulin, Cisse, Grangier and Jegou, "Efficient softmax approximation for
        GPUs" (2017), https://arxiv.org/abs/1609.04309
    """
    bias = () if head_b is None else (head_b,)
    return AdaptiveSoftmaxCrossEntropy(ranks, t, rows).apply(
        (x, head_W, *tails, *bias))[0]


def adaptive_log_probabilities(x, head_W, head_b, tails, ranks, t):
    """Computes the log probabilities of words by the same layer, on NumPy.

    Args:
        x: array (M, n), float16, float32 or float64.
        head_W, head_b, tails, ranks: As for `adaptive_softmax_cross_entropy`; arrays.
        t: (M,), int; ids in [0, V).

    Returns:
        array: float64 (M,), natural logarithms.
    """
    dtype = kernels.computing(x.dtype)
    pairs = list(zip(tails[::2], tails[1::2]))
    ranks = ranks[t]
    targets, members = _places(numpy, ranks, head_W, pairs)
    if head_b is None:
        head_b = numpy.zeros(len(head_W), dtype)
    found = linear_log_probabilities(x, head_W, head_b, targets)
    for (P, tail), (begin, inside) in zip(pairs, members):
        if inside.any():
            z = numpy.dot(x[inside].astype(dtype), P.T.astype(dtype))
            found[inside] += linear_log_probabilities(
                z, tail, numpy.zeros(len(tail), dtype), ranks[inside] - begin)
    return found


def tails_without_words(ranks, edges, t):
    """Returns the clusters that contain none of the targets t.

    Args:
        ranks: int (V,), the rank of each word.
        edges: (K + 1,), the ranks at which the clusters begin, and the end of the last.
        t: int array of ids, or -1.

    Returns:
        list of int: Indices of clusters, from 0.
    """
    t = t.ravel()
    found = ranks[t[t >= 0]]
    return [k for k, (begin, end) in enumerate(zip(edges, edges[1:]))
            if not ((begin <= found) & (found < end)).any()]


class AdaptiveSoftmaxCrossEntropy(chainer.FunctionNode):
    """Function node of `adaptive_softmax_cross_entropy`."""

    def __init__(self, ranks, t, rows=None):
        self._ranks = ranks
        self._t = t.array if isinstance(t, chainer.Variable) else t
        self._rows = rows
        self._gradients = None

    def check_type_forward(self, in_types):
        x, W, tails, biases = _parts(in_types)
        type_check.expect(x.dtype.kind == 'f', x.ndim == 3, W.ndim == 2)
        type_check.expect(
            x.shape[0] >= 1, x.shape[1] >= 1, W.dtype == x.dtype,
            W.shape[1] == x.shape[2], W.shape[0] > len(tails))
        for P, tail in tails:
            type_check.expect(P.ndim == 2, tail.ndim == 2)
            type_check.expect(P.dtype == x.dtype, tail.dtype == x.dtype,
                              P.shape[1] == x.shape[2], tail.shape[1] == P.shape[0])
        for b in biases:
            type_check.expect(b.dtype == x.dtype, b.ndim == 1,
                              b.shape[0] == W.shape[0])
        for name, array, ndim in (('t', self._t, 2), ('ranks', self._ranks, 1)):
            if array.dtype.kind != 'i' or array.ndim != ndim:
                raise type_check.InvalidType(
                    f'{name}: int array of {ndim} dimensions',
                    f'{array.dtype} array of shape {array.shape}')
        type_check.expect(x.shape[0] == self._t.shape[0],
                          x.shape[1] == self._t.shape[1])

    def forward(self, inputs):
        self.retain_inputs(range(len(inputs)))
        loss, self._gradients = self._compute(inputs, chainer.config.enable_backprop)
        return loss,

    def _compute(self, inputs, with_gradients):
        """Returns (loss, gradients or None); the gradients of unused tails are None."""
        xp = backend.get_array_module(inputs[0])
        dtype = kernels.computing(inputs[0].dtype)
        x, W, tails, biases = _parts(
            [array.astype(dtype, copy=False) for array in inputs])
        h = x.reshape(-1, x.shape[2])  # (T * B, n)
        valid = self._t >= 0
        counts = xp.maximum(valid.sum(axis=1, keepdims=True), 1)
        weights = (valid / counts).astype(dtype).ravel()
        ranks = self._ranks[xp.where(valid, self._t, 0).ravel()]
        valid = valid.ravel()

        targets, members = _places(xp, ranks, W, tails)
        loss, gx, gW, gb = _cross_entropy(
            xp, h, W, biases[0] if biases else None, targets, weights, with_gradients)
        gradients = [gx, gW]
        for (P, tail), (begin, inside) in zip(tails, members):
            index = xp.flatnonzero(inside & valid)
            if not len(index):  # its gradients are zeros
                gradients += [None, None]
                continue
            r = h[index]
            more, gz, g_tail, _ = _cross_entropy(
                xp, xp.dot(r, P.T), tail, None, ranks[index] - begin, weights[index],
                with_gradients)
            loss = loss + more
            if with_gradients:
                gP = buffers.empty(xp, P.shape, dtype)
                gradients += [xp.dot(gz.T, r, out=gP), g_tail]
                gx[index] += xp.dot(gz, P)  # `index` has no duplicates
        loss = xp.asarray(loss, dtype=dtype)
        if not with_gradients:
            return loss, None
        gradients[0] = gx.reshape(x.shape)
        return loss, gradients + [gb] * len(biases)

    def backward(self, indexes, grad_outputs):
        # The gradients are passed on without a copy, and clipping and optimizers change
        # them in place.  So a second backward pass computes them again.
        inputs = self.get_retained_inputs()
        gradients, self._gradients = self._gradients, None
        if gradients is None:
            _, gradients = self._compute(tuple(v.array for v in inputs), True)
        grads = _Gradient(gradients, self._rows).apply(inputs + grad_outputs)
        return tuple(grads[i] for i in indexes)


class _Gradient(chainer.FunctionNode):
    """Function node that scales the gradients by that of the loss.

    It refuses a second derivative.
    """

    def __init__(self, gradients, rows):
        self._gradients = gradients
        self._rows = rows

    def forward(self, inputs):
        # The inputs of the loss are inputs, so that a second derivative comes here.
        *arrays, g = inputs
        return tuple(self._scaled(gradient, array, g)
                     for gradient, array in zip(self._gradients, arrays))

    def _scaled(self, gradient, array, g):
        xp = backend.get_array_module(g)
        if gradient is None:
            if self._rows is not None:
                return self._rows.zeros(array.shape, array.dtype)
            return xp.zeros_like(array)
        if xp is not numpy or g != 1:  # on a GPU, comparing would wait for the device
            gradient *= g
        with numpy.errstate(over='ignore'):  # float16 may overflow with loss scaling
            return gradient.astype(array.dtype, copy=False)

    def backward(self, indexes, grad_outputs):
        raise RuntimeError(
            'adaptive_softmax_cross_entropy: expected first derivatives only, found a '
            'second one (enable_double_backprop); use '
            'chainer.functions.softmax_cross_entropy on the output of the link')


def _parts(inputs):
    """Returns (x, head_W, [(projection, matrix), ...], [head_b] or [])."""
    n_tails = (len(inputs) - 2) // 2
    tails = inputs[2:2 + 2 * n_tails]
    return (inputs[0], inputs[1], list(zip(tails[::2], tails[1::2])),
            list(inputs[2 + 2 * n_tails:]))


def _places(xp, ranks, head_W, tails):
    """Returns the targets of words in the head, and which words are in each tail.

    Args:
        ranks: int (M,), the ranks of the words.

    Returns:
        tuple: int (M,), the index in the head: of the word, or of its cluster; and for
        each tail its first rank and bool (M,), whether each word is in it.
    """
    first = begin = head_W.shape[0] - len(tails)
    targets, members = ranks.copy(), []
    for k, (_, tail) in enumerate(tails, first):
        inside = (begin <= ranks) & (ranks < begin + len(tail))
        targets[inside] = k
        members.append((begin, inside))
        begin += len(tail)
    return targets, members


def _cross_entropy(xp, h, W, b, targets, weights, with_gradients):
    """Like `cross_entropy_of_rows`, for a bias that may be None."""
    bias = xp.zeros(len(W), h.dtype) if b is None else b
    loss, gh, gW, gb = cross_entropy_of_rows(
        xp, h, W, bias, targets, weights, with_gradients)
    return loss, gh, gW, None if b is None else gb
