"""Fused output layer: linear layer, softmax, cross entropy and their gradients.

For the rows h (M, n) of a window, M = T * B, with targets y (M,) and weights w (M,):

    logits     Z = H W^T + b                                   (M, V)
    loss       L = -sum_m w_m log p_m,  log p_m = z_{m, y_m} - logsumexp(z_m)
    gradients  gZ = w (softmax(Z) - one-hot(y))                (M, V)
               gH = gZ W    gW = gZ^T H    gb = sum of the rows of gZ

logsumexp(z) is max(z) + log(sum(exp(z - max(z)))), which does not overflow.

Loss and gradients are computed together, for chunks of rows: Z takes 4 M V bytes (28 MB
for 700 words and V = 10,000), more than anything else in a window.  gZ overwrites Z.
The weights are 1 / B_t, so that L is the sum over the steps of the mean over the batch.

`_softmax` is the implementation for NumPy and CuPy, and the reference of
`_compiled_softmax` (`rnnlm.kernels.output`) and `_compute_on_gpu`
(`rnnlm.kernels.cuda.output`).
"""
import chainer
from chainer import backend
from chainer.utils import type_check
import numpy

from rnnlm import kernels
from rnnlm.functions.embedding import add_rows
from rnnlm.functions.output_gradient import add_product, product
from rnnlm.kernels import buffers, threads, verification

# Logits per chunk of rows (64 MiB of float32): bounds memory, whatever T * B * V is.
CHUNK_ELEMENTS = 2 ** 24

GRADIENTS = 'the gradient of x', 'the gradient of W', 'the gradient of b'

# Logits that fit into the L2 cache of a core (1 MiB of float32).
BLOCK_ELEMENTS = 2 ** 18


def linear_softmax_cross_entropy(x, W, b, t, last=None):
    """Computes linear layer, softmax and cross entropy over a window.

    .. math::
        L = \\sum_{t=1}^{T} \\frac{1}{B_t} \\sum_{b}
            -\\log \\mathrm{softmax}(W x_{tb} + b)_{y_{tb}}

    which is the sum over the steps of the mean over the batch, as in Chainer's
    examples/ptb.  A target of -1 is ignored, in the sum and in the count :math:`B_t`
    (:func:`chainer.functions.softmax_cross_entropy`).

    The gradients are computed together with the loss, in chunks of rows
    (`CHUNK_ELEMENTS`), so memory does not grow with the window.

    With float16, factors of matrix products are float16, and everything else, the loss
    too, is float32 (mixed precision).  Gradients become float16 only in the backward
    pass, after loss scaling, which keeps them from underflow.

    Args:
        x: Variable or array (T, B, n), float16, float32 or float64.
        W: (V, n).
        b: (V,).
        t: (T, B), int; ids in [0, V), or -1.
        last (list): If given, the logits of the last step, an array (B, V), are
            appended to it.

    Returns:
        Variable: The loss, a scalar.

    Raises:
        chainer.utils.type_check.InvalidType: If a shape or a dtype is invalid.
        RuntimeError: If a second derivative is computed.
    """
    return LinearSoftmaxCrossEntropy(t, last).apply((x, W, b))[0]


def linear_log_probabilities(x, W, b, t):
    """Computes the log probabilities of words by the same layer, on NumPy.

    Args:
        x: array (M, n), float16, float32 or float64.
        W: (V, n).
        b: (V,).
        t: (M,), int; ids in [0, V).

    Returns:
        array: float64 (M,), natural logarithms.
    """
    dtype = kernels.computing(x.dtype)
    x, W, b = (array.astype(dtype, copy=False) for array in (x, W, b))
    output = kernels.output_for(numpy, dtype, len(b))
    found = numpy.empty(len(x))
    chunk = rows_at_once(len(x), len(b))
    for start in range(0, len(x), chunk):
        part = slice(start, start + chunk)
        targets = t[part].astype(numpy.int64)
        y = buffers.empty(numpy, (len(targets), len(b)), dtype)
        numpy.dot(x[part], W.T, out=y)
        if output:
            found[part] = output.log_probabilities(y, b, targets)
        else:
            with numpy.errstate(invalid='ignore'):  # infinite logits give NaN
                log_p, total = _exponentials(
                    numpy, y, b, (numpy.arange(len(y)), targets))
                found[part] = log_p - numpy.log(total, dtype=numpy.float64)
    return found


class LinearSoftmaxCrossEntropy(chainer.FunctionNode):
    """Function node of `linear_softmax_cross_entropy`."""

    def __init__(self, t, last=None):
        self._t = t.array if isinstance(t, chainer.Variable) else t
        self._last = last

    def check_type_forward(self, in_types):
        type_check._argname(in_types, ('x', 'W', 'b'))
        x, W, b = in_types
        type_check.expect(x.dtype.kind == 'f', x.ndim == 3, W.ndim == 2, b.ndim == 1)
        type_check.expect(
            x.shape[0] >= 1, x.shape[1] >= 1, W.dtype == x.dtype, b.dtype == x.dtype,
            W.shape[1] == x.shape[2], b.shape[0] == W.shape[0])
        t = self._t
        if t.dtype.kind != 'i' or t.ndim != 2:
            raise type_check.InvalidType(
                't: int array of shape (T, B)',
                f'{t.dtype} array of shape {t.shape}')
        type_check.expect(x.shape[0] == t.shape[0], x.shape[1] == t.shape[1])

    def forward(self, inputs):
        self.retain_inputs((0, 1, 2))
        loss, self._gradients, last = self._verify(
            inputs, chainer.config.enable_backprop)
        if self._last is not None:
            self._last += last
        return loss,

    def _verify(self, inputs, with_gradients):
        """Returns (loss, gradients or None, list with the logits of the last step)."""
        x, W, _ = inputs
        T, B = x.shape[:2]

        def compute():
            last = None if self._last is None else []
            return (*self._compute(inputs, with_gradients, last), last)

        def named(result):
            loss, gradients, _ = result
            arrays = [loss, *(gradients or ())]
            return dict(zip(('the loss', *GRADIENTS), arrays))

        # If all probabilities are 1, the gradients consist of rounding errors only.
        return verification.verify(
            kernels.gpu_for(backend.get_array_module(x), kernels.computing(x.dtype)),
            verification.key_of(
                'linear_softmax_cross_entropy', x.dtype, (T * B).bit_length(), B,
                W.shape, W.strides, with_gradients),
            compute, named, lambda: 1e-2)

    def _compute(self, inputs, with_gradients, last=None):
        """Returns (loss, gradients of x, W and b, or None)."""
        xp = backend.get_array_module(inputs[0])
        dtype = kernels.computing(inputs[0].dtype)
        gpu = kernels.gpu_for(xp, dtype)
        if gpu:
            if last is not None:
                last.append(_logits(inputs[0][-1:], *inputs[1:]))
            return _compute_on_gpu(gpu, *inputs, self._t, with_gradients)
        x, W, b = (array.astype(dtype, copy=False) for array in inputs)
        rows = x.reshape(-1, W.shape[1])  # (T * B, n)
        t = self._t
        valid = t >= 0
        counts = xp.maximum(valid.sum(axis=1, keepdims=True), 1)
        weights = (valid / counts).astype(x.dtype).ravel()  # (T * B,)
        targets = xp.where(valid, t, 0).ravel()

        on_last_chunk = None if last is None else (
            lambda y: last.append(_last_logits(xp, x, y, W, b)))
        loss, gx, gW, gb = cross_entropy_of_rows(
            xp, rows, W, b, targets, weights, with_gradients, on_last_chunk)
        loss = xp.asarray(loss, dtype=x.dtype)
        if not with_gradients:
            return loss, None
        return loss, (gx.reshape(x.shape), gW, gb)

    def backward(self, indexes, grad_outputs):
        # The gradients are passed on without a copy, and clipping and optimizers change
        # them in place.  So a second backward pass computes them again.
        inputs = self.get_retained_inputs()
        gradients, self._gradients = self._gradients, None
        if gradients is None:
            _, gradients, _ = self._verify(tuple(v.array for v in inputs), True)
        grads = LinearSoftmaxCrossEntropyGrad(gradients).apply(inputs + grad_outputs)
        return tuple(grads[i] for i in indexes)


class LinearSoftmaxCrossEntropyGrad(chainer.FunctionNode):
    """Function node that scales the gradients by that of the loss.

    It refuses a second derivative.
    """

    def __init__(self, gradients):
        self._gradients = gradients

    def forward(self, inputs):
        # x, W and b are inputs, so that a second derivative calls `backward`.
        g = inputs[-1]
        xp = backend.get_array_module(g)
        gpu = kernels.gpu_for(xp, g.dtype)
        sizes = [gradient.size.bit_length() for gradient in self._gradients]
        key = verification.key_of(
            'the gradient of linear_softmax_cross_entropy', g.dtype, *sizes)
        if gpu and verification.needed(key):  # with a factor other than the usual 1
            factor = xp.asarray(1.5 * g, dtype=g.dtype)
            verification.verify(
                gpu, key, lambda: _scaled([x.copy() for x in self._gradients], factor),
                lambda gradients: dict(zip(GRADIENTS, gradients)))
        gradients = _scaled(self._gradients, g)
        with numpy.errstate(over='ignore'):  # float16 may overflow with loss scaling
            return tuple(gradient.astype(array.dtype, copy=False)
                         for gradient, array in zip(gradients, inputs))

    def backward(self, indexes, grad_outputs):
        raise RuntimeError(
            'linear_softmax_cross_entropy: expected first derivatives only, found a '
            'second one (enable_double_backprop); use '
            'chainer.functions.softmax_cross_entropy on the logits')


def _scaled(gradients, g):
    """Multiplies gradients by g in place, and returns them."""
    xp = backend.get_array_module(g)
    gpu = kernels.gpu_for(xp, g.dtype)
    for gradient in gradients:
        if gpu:
            gpu.output.scale(gradient, g)
        # On a GPU, comparing g would wait for the device.
        elif xp is not numpy or g != 1:
            gradient *= g
    return gradients


def cross_entropy_of_rows(xp, rows, W, b, targets, weights, with_gradients,
                          on_last_chunk=None):
    """Computes the weighted sum of cross entropies of rows (M, n), in chunks of rows.

    Args:
        xp: numpy or cupy.
        rows: (M, n), the inputs of the linear layer.
        W: (V, n).
        b: (V,).
        targets: int (M,), each in [0, V).
        weights: (M,), the factor of each row's cross entropy.
        with_gradients (bool): Whether to compute the gradients too.
        on_last_chunk: If given, called with ``rows W^T`` of the last chunk.

    Returns:
        tuple: The sum; the gradients of rows, W and b, or None for each.
    """
    V = len(W)
    softmax = _compiled_softmax if kernels.output_for(xp, rows.dtype, V) else _softmax
    loss, gW, gb = 0, None, None
    gx = buffers.empty(xp, rows.shape, rows.dtype) if with_gradients else None
    chunk = rows_at_once(len(rows), V)
    for start in range(0, len(rows), chunk):
        part = slice(start, start + chunk)
        r = rows[part]
        y = buffers.empty(xp, (len(r), V), rows.dtype)
        xp.dot(r, W.T, out=y)
        if on_last_chunk and start + chunk >= len(rows):
            on_last_chunk(y)
        found, more_gb, factors = softmax(
            xp, y, r, W, b, targets[part], weights[part],
            gx[part] if with_gradients else None)
        loss = loss - found
        if not with_gradients:
            continue
        if gW is None:
            gW, gb = buffers.empty(xp, W.shape, W.dtype), more_gb
            product(xp, gW, y, *factors)
        else:
            add_product(xp, gW, y, *factors)
            gb += more_gb
    return loss, gx, gW, gb


def _last_logits(xp, x, y, W, b):
    """Returns the logits (B, V) of the last step.

    Args:
        y: The logits of the last chunk, without bias.
    """
    B = x.shape[1]
    if len(y) < B:
        return _logits(x[-1:], W, b)
    logits = buffers.empty(xp, (B, len(b)), y.dtype)
    return xp.add(y[-B:], b, out=logits)


def _logits(x, W, b):
    """Computes the logits (B, V) of one step x (1, B, n)."""
    return backend.get_array_module(x).dot(x[0], W.T) + b


def rows_at_once(rows, V):
    """Returns the number of rows in a chunk, each of V logits."""
    return max(1, min(rows, CHUNK_ELEMENTS // V))


def _compute_on_gpu(gpu, x, W, b, t, with_gradients):
    """Like `LinearSoftmaxCrossEntropy._compute`, by CUDA kernels."""
    xp, dtype = gpu.cuda.xp, kernels.computing(x.dtype)
    x, W, b = map(xp.ascontiguousarray, (x, W, b.astype(dtype, copy=False)))
    t = xp.ascontiguousarray(t.astype(numpy.int32, copy=False))
    rows = rows_at_once(t.size, len(b))
    y, loss = xp.empty((rows, len(b)), dtype), xp.empty((), dtype)
    gradients = (tuple(xp.empty(array.shape, dtype) for array in (x, W, b))
                 if with_gradients else None)
    gpu.output.compute(x, W, b, t, y, xp.empty(rows, numpy.float64), loss, gradients)
    return loss, gradients


def _softmax(xp, y, rows, W, b, targets, weights, gx):
    """Computes the weighted log probabilities of a chunk of rows, and their gradients.

    Args:
        xp: numpy or cupy.
        y: (M, V), the logits without bias; overwritten.
        rows: (M, n), the inputs of the linear layer.
        W, b: (V, n) and (V,).
        targets, weights: (M,), the words to predict and the factor of each.
        gx: (M, n), the gradient of the rows, written; None for no gradients.

    Returns:
        tuple: The sum of weights times log probabilities; the gradient of b; and the
        arguments of `product` after y, for the gradient of W.
    """
    log_p, total = _exponentials(xp, y, b, (xp.arange(len(rows)), targets))
    found = xp.dot(weights, log_p - xp.log(total))
    if gx is None:
        return found, None, None
    # gZ = (exp(z) / total - one-hot) * weight is never stored, because it would take
    # another pass over the large matrix y (M, V).  Both products use y = exp(z): the
    # factor weight / total multiplies the small matrices (M, n), and the one-hot term
    # is subtracted from single rows of the results.
    y_scale = (weights / total)[:, None]
    xp.dot(y, W, out=gx)
    gx *= y_scale
    gx -= W[targets] * weights[:, None]
    gb = xp.dot(y_scale[:, 0], y)
    add_rows(xp, gb, targets, -weights)
    return found, gb, (rows * y_scale, (targets, rows * -weights[:, None]))


def _compiled_softmax(xp, y, rows, W, b, targets, weights, gx):
    """Like `_softmax`, by compiled kernels, which replace y by gZ."""
    output = kernels.output_for(xp, y.dtype, len(b))
    targets = targets.astype(numpy.int64, copy=False)
    if gx is None:
        return xp.dot(weights, output.log_probabilities(y, b, targets)), None, None
    log_p, gb = output.gradients(y, b, targets, weights)
    xp.dot(y, W, out=gx)
    return xp.dot(weights, log_p), gb, (rows,)


def _exponentials(xp, y, b, index):
    """Replaces logits by exp(z - max(z)), the first half of log-sum-exp, in place.

    Args:
        xp: numpy or cupy.
        y: (M, V), the logits without bias; overwritten.
        b: (V,), the bias.
        index: (rows, targets), the places of the targets in y.

    Returns:
        tuple: Z - max(z) at `index`, and the sums of the exponentials; each (M,).
    """
    log_p, total = xp.empty((2, len(y)), y.dtype)

    def work(start, stop):
        part = slice(start, stop)
        rows = y[part]
        rows += b
        rows -= rows.max(axis=1, keepdims=True)
        log_p[part] = rows[index[0][:len(rows)], index[1][part]]
        xp.exp(rows, out=rows)
        rows.sum(axis=1, out=total[part])

    def in_cache(start, stop):
        # Few rows at a time, so that they stay in the cache during the four passes.
        block = max(1, BLOCK_ELEMENTS // y.shape[1])
        for first in range(start, stop, block):
            work(first, min(first + block, stop))

    if xp is numpy:
        threads.split(in_cache, len(y), grain=1 + 2 * BLOCK_ELEMENTS // y.shape[1])
    else:
        work(0, len(y))
    return log_p, total
