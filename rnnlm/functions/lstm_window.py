"""Fused LSTM layer: all T steps of a window in one function node.

For B streams, n units and the gates a, i, f, o of `rnnlm.functions.gates`, step t is

    z_t = W_u x_t + b + W_l h_{t-1}                        pre-activations, (B, 4n)
    a = tanh(z_a)    i = sigmoid(z_i)    f = sigmoid(z_f)    o = sigmoid(z_o)
    c_t = a * i + f * c_{t-1}                              cell state, (B, n)
    h_t = o * tanh(c_t)                                    output, (B, n)

as in Zaremba, Sutskever and Vinyals (2014), section 3.1.  `_forward_step` computes them
from z_t, `_backward_step` their gradients; `_forward` and `_backward` loop over steps.

Only W_l h_{t-1} needs the previous step.  All other products are one matrix product
(GEMM) per window, over its T * B rows, as Appleyard et al. (2016) do for cuDNN:

    before the loop     Z = X W_u^T
    after its backward  gX = gZ W_u    gW_u = gZ^T X    gW_l = gZ^T H    gb = sum of gZ

These loops, on NumPy or CuPy, are the reference of `rnnlm.kernels.recurrent` (compiled
for the CPU) and `rnnlm.kernels.cuda.lstm`.
"""
import chainer
from chainer import backend
from chainer.utils import type_check
import numpy

from rnnlm import kernels
from rnnlm.errors import require
from rnnlm.functions import lateral
from rnnlm.functions.gates import GATES, SLOPES, by_gate
from rnnlm.kernels import buffers, verification


def lstm_window(x, c, h, upward_W, upward_b, lateral_W, gate='sigmoid',
                forget_bias=0.0):
    """Computes an LSTM layer over a window of T steps.

    For t = 1 .. T, with the gate order of `rnnlm.functions.gates`:

    .. math::
        (a_t, i_t, f_t, o_t) &= W_u x_t + b + W_l h_{t-1} \\\\
        c_t &= \\tanh(a_t)\\,\\sigma(i_t) + \\sigma(f_t)\\,c_{t-1} \\\\
        h_t &= \\sigma(o_t)\\,\\tanh(c_t)

    The results equal those of T calls of :class:`chainer.links.LSTM`, up to rounding.
    With float16, factors of matrix products are float16, and everything else is float32
    (mixed precision).

    Args:
        x: Variable or array (T, B, in): float16, float32 or float64.
        c: (B, n), the initial cell state; None for zeros.
        h: (B, n), the initial output; None for zeros.
        upward_W: (4n, in), interleaved as Chainer stores it.
        upward_b: (4n,).
        lateral_W: (4n, n).
        gate (str): Activation function of i, f and o: 'sigmoid', 'hard_sigmoid' or
            'hard_sigmoid_6' (`rnnlm.functions.gates.SLOPES`).
        forget_bias (float): Constant added to the bias of f.  With infinity f is always
            1, as in the LSTM of 1997, which had no forget gate.

    Returns:
        tuple of Variables: The outputs of all steps (T, B, n), the final cell state
        (B, n) and the final output (B, n).

    Raises:
        chainer.utils.type_check.InvalidType: If a shape or a dtype is invalid.
        rnnlm.errors.InputError: If the gate is unknown.
        RuntimeError: If a second derivative is computed.

    References:
        Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997)
        Gers, Schmidhuber and Cummins, "Learning to Forget" (2000), the forget gate
        Zaremba, Sutskever and Vinyals, "Recurrent Neural Network Regularization"
        (2014), section 3.1, https://arxiv.org/abs/1409.2329
        Appleyard, Kocisky and Blunsom, "Optimizing Performance of Recurrent Neural
        Networks on GPUs" (2016), https://arxiv.org/abs/1604.01946
    """
    require('gate', gate, f'one of {", ".join(SLOPES)}', lambda v: v in SLOPES)
    if forget_bias:
        xp = backend.get_array_module(upward_b)
        shift = xp.zeros(upward_b.shape, upward_b.dtype)
        shift[GATES.index('f')::len(GATES)] = forget_bias
        upward_b = upward_b + shift
    if c is None or h is None:
        x_array = x.array if isinstance(x, chainer.Variable) else x
        xp = backend.get_array_module(x_array)
        zeros = xp.zeros(
            (x_array.shape[1], lateral_W.shape[1]), dtype=x_array.dtype)
        c = zeros if c is None else c
        h = zeros if h is None else h
    return LSTMWindow(SLOPES[gate]).apply((x, c, h, upward_W, upward_b, lateral_W))


class LSTMWindow(chainer.FunctionNode):
    """Function node of `lstm_window`.

    Args:
        slope (float): Slope of hard gates; None for sigmoids.
    """

    def __init__(self, slope=None):
        self._slope = slope

    def check_type_forward(self, in_types):
        type_check._argname(
            in_types, ('x', 'c', 'h', 'upward_W', 'upward_b', 'lateral_W'))
        x, c, h, upward_W, upward_b, lateral_W = in_types
        type_check.expect(
            x.dtype.kind == 'f', x.ndim == 3, c.ndim == 2, upward_W.ndim == 2,
            upward_b.ndim == 1, lateral_W.ndim == 2)
        type_check.expect(
            x.shape[0] >= 1, c.shape[0] == x.shape[1], h.shape == c.shape,
            upward_W.shape[0] == 4 * c.shape[1], upward_W.shape[1] == x.shape[2],
            upward_b.shape[0] == upward_W.shape[0],
            lateral_W.shape[0] == upward_W.shape[0],
            lateral_W.shape[1] == c.shape[1])
        for other in (c, h, upward_W, upward_b, lateral_W):
            type_check.expect(other.dtype == x.dtype)

    def forward(self, inputs):
        x = inputs[0]
        dtype = kernels.computing(x.dtype)
        hs, self._kept = verification.verify(
            kernels.gpu_for(backend.get_array_module(x), dtype),
            _key('lstm_window', x, inputs[5], self._slope),
            lambda: self._compute(inputs, dtype), _named_forward)
        self.retain_inputs((0, 1, 2, 3, 4, 5))
        # The final state is copied, because a view would keep the whole window alive.
        _, _, cs, _ = self._kept[1:]
        return (hs[1:].astype(x.dtype, copy=False), cs[-1].astype(x.dtype),
                hs[-1].astype(x.dtype))

    def _compute(self, inputs, dtype):
        """Returns h of all steps (T + 1, B, n), and a tuple for the backward pass."""
        x, c, h, upward_W, upward_b, lateral_W = inputs
        xp = backend.get_array_module(x)
        T, B, n_in = x.shape
        n = c.shape[1]
        upward_b, lateral_W = (
            array.astype(dtype, copy=False) for array in (upward_b, lateral_W))

        def empty(*shape):
            return buffers.empty(xp, shape, dtype)

        z = empty(T, B, 4 * n)  # W_u x of all steps, gates interleaved
        kernels.dot(xp, x.reshape(T * B, n_in), upward_W.T, z.reshape(T * B, 4 * n))
        hs, cs = empty(T + 1, B, n), empty(T + 1, B, n)
        tanh_cs, gate = empty(T, B, n), empty(T, 4, B, n)
        hs[0], cs[0] = h, c
        kernel = self._kernel(xp, dtype, T, B, n)
        if kernel:
            kernel.forward(z, upward_b, lateral_W, hs, cs, tanh_cs, gate)
        else:
            _forward(z, upward_b, lateral_W, hs, cs, tanh_cs, gate, self._slope)
        return hs, (kernel, gate, hs, cs, tanh_cs)

    def _kernel(self, *size):
        return kernels.recurrent_for(*size) if self._slope is None else None

    def backward(self, indexes, grad_outputs):
        # The gradient of an output that was not used is None.
        grads = LSTMWindowGrad(self._kept, grad_outputs, self._slope).apply(
            self.get_retained_inputs()
            + tuple(g for g in grad_outputs if g is not None))
        return tuple(grads[i] for i in indexes)


class LSTMWindowGrad(chainer.FunctionNode):
    """Function node of the gradients of all inputs; it refuses second derivatives."""

    def __init__(self, kept, grad_outputs, slope=None):
        self._kept = kept
        self._slope = slope
        self._given = [g is not None for g in grad_outputs]

    def forward(self, inputs):
        x = inputs[0]
        return verification.verify(
            kernels.gpu_for(backend.get_array_module(x), kernels.computing(x.dtype)),
            _key('the gradient of lstm_window', x, inputs[5], self._slope),
            lambda: self._compute(inputs), _named_backward,
            lambda: 1e-2 * max(float(abs(g).max()) for g in inputs[6:]))

    def _compute(self, inputs):
        """Returns the gradients of the six inputs of `LSTMWindow`."""
        x, _, _, upward_W, _, lateral_W = inputs[:6]
        given = iter(inputs[6:])
        ghs, gc_T, gh_T = [next(given) if g else None for g in self._given]
        kernel, gate, hs, cs, tanh_cs = self._kept
        xp = backend.get_array_module(x)
        T, B, n_in = x.shape
        n = cs.shape[2]

        dtype = kernels.computing(x.dtype)

        def empty(*shape, dtype=x.dtype):
            return buffers.empty(xp, shape, dtype)

        gz = empty(T, B, 4 * n, dtype=dtype)  # interleaved
        gc = xp.zeros((B, n), dtype) if gc_T is None else gc_T.astype(dtype)
        gh = xp.zeros((B, n), dtype) if gh_T is None else gh_T.astype(dtype)
        ghs = (xp.zeros((T, B, n), dtype) if ghs is None
               else ghs.astype(dtype, copy=False))
        lateral_W = lateral_W.astype(dtype, copy=False)
        # `gate` has the memory order of the kernel that wrote it.
        if kernel and (xp is numpy or kernels.gpu_for(xp, dtype)):
            kernel.backward(ghs, lateral_W, cs, tanh_cs, gate, gz, gc, gh)
        else:
            _backward(ghs, lateral_W, cs, tanh_cs, _gates_in_order(kernel, gate), gz,
                      gc, gh, self._slope)

        gz = gz.reshape(T * B, 4 * n)
        gb = kernels.column_sums(xp, gz)
        gz, hs, gb, gc, gh = (array.astype(x.dtype, copy=False)
                              for array in (gz, hs, gb, gc, gh))
        gW_u, gW_l = empty(4 * n, n_in), empty(4 * n, n)
        kernels.dot(xp, gz.T, x.reshape(T * B, n_in), gW_u)
        kernels.dot(xp, gz.T, hs[:T].reshape(T * B, n), gW_l)
        gx = empty(T * B, n_in)
        kernels.dot(xp, gz, upward_W, gx)
        return gx.reshape(x.shape), gc, gh, gW_u, gb, gW_l

    def backward(self, indexes, grad_outputs):
        raise RuntimeError(
            'lstm_window: expected first derivatives only, found a second one '
            '(enable_double_backprop); call the model once per step with ids of shape '
            '(B,)')


def _key(what, x, lateral_W, slope):
    """Returns the key for `verification.verify`, with T rounded to its bit length."""
    T, B, n_in = x.shape
    return verification.key_of(what, x.dtype, T.bit_length(), B, n_in, lateral_W.shape,
                               lateral_W.strides, slope)


def _gates_in_order(kernel, gate):
    """Returns the gates as (T, 4, B, n); CUDA kernels order them T x B x n x 4."""
    if kernel is None:
        return gate
    T, _, B, n = gate.shape
    return gate.reshape(T, B, n, 4).transpose(0, 3, 1, 2)


def _named_forward(result):
    hs, (kernel, gate, _, cs, tanh_cs) = result
    return {'h': hs, 'c': cs, 'tanh(c)': tanh_cs,
            'the gates': _gates_in_order(kernel, gate)}


def _named_backward(gradients):
    names = 'x', 'c', 'h', 'upward_W', 'upward_b', 'lateral_W'
    return {f'the gradient of {name}': array for name, array in zip(names, gradients)}


def _forward(z, b, lateral_W, hs, cs, tanh_cs, gate, slope=None):
    """Computes the steps of a window: z_t = W_u x_t + b + W_l h_{t-1}, then the gates.

    Args:
        z: (T, B, 4n) interleaved, W_u x of all steps.
        b: (4n,), the bias.
        lateral_W: (4n, n).
        hs, cs: (T + 1, B, n); row 0 is the initial state, the others are written.
        tanh_cs: (T, B, n), written.
        gate: (T, 4, B, n), written.
        slope (float): Slope of hard gates; None for sigmoids.
    """
    xp = backend.get_array_module(z)
    T, B, n = tanh_cs.shape

    def steps(rows, blocks):
        size = rows.stop - rows.start
        product, _ = lateral.products(xp, lateral_W, size, blocks)
        total = buffers.empty(xp, (size, 4 * n), z.dtype)
        scratch = buffers.empty(xp, (size, n), z.dtype)
        for t in range(T):
            xp.add(product(hs[t, rows]), z[t, rows], out=total)
            total += b
            _forward_step(xp, by_gate(total), cs[t, rows], gate[t, :, rows],
                          cs[t + 1, rows], tanh_cs[t, rows], hs[t + 1, rows], scratch,
                          slope)

    lateral.split_rows(steps, xp, lateral_W, B)


def _backward(ghs, lateral_W, cs, tanh_cs, gate, gz, gc, gh, slope=None):
    """Computes the gradients of the steps of a window, from the last to the first.

    The gradient of h_t is what the layer above gives, ghs[t], plus what comes from step
    t + 1 through the lateral weights, gz_{t+1} W_l.

    Args:
        ghs: (T, B, n), the gradients of the outputs.
        lateral_W: (4n, n).
        cs, tanh_cs, gate: Results of `_forward`.
        gz: (T, B, 4n) interleaved, written.
        gc, gh: (B, n), the gradients of the final state; overwritten with those of the
            initial state.
        slope (float): Slope of hard gates; None for sigmoids.
    """
    xp = backend.get_array_module(ghs)
    T, B, n = tanh_cs.shape

    def steps(rows, blocks):
        size = rows.stop - rows.start
        _, product = lateral.products(xp, lateral_W, size, blocks)
        gz_step = buffers.empty(xp, (4, size, n), ghs.dtype)
        scratch = buffers.empty(xp, (size, n), ghs.dtype)
        gh_now, gc_now = gh[rows], gc[rows]
        for t in reversed(range(T)):
            gh_now += ghs[t, rows]
            of_step = gate[t, :, rows], cs[t, rows], tanh_cs[t, rows], gh_now, gc_now
            if slope is None:
                _backward_step(xp, *of_step, gz_step, by_gate(gz[t, rows]), scratch)
            else:
                _backward_hard_step(*of_step, by_gate(gz[t, rows]), slope)
            gh_now[...] = product(gz[t, rows])

    lateral.split_rows(steps, xp, lateral_W, B)


def _forward_step(xp, z, c_prev, gate, c, tanh_c, h, scratch, slope=None):
    """Computes the gates and the state of one step from its pre-activations.

    Args:
        z: (4, B, n), a view of the interleaved pre-activations.
        c_prev: (B, n), the cell state of the previous step.
        gate, c, tanh_c, h: (4, B, n) and three times (B, n), written.
        scratch: (B, n), overwritten.
        slope: As in `_forward`.
    """
    xp.tanh(z[0], out=gate[0])
    sigmoids = gate[1:]
    if slope is None:
        # sigmoid(z) = (1 + tanh(z / 2)) / 2 cannot overflow, and exp(-z) can.
        xp.multiply(z[1:], 0.5, out=sigmoids)
        xp.tanh(sigmoids, out=sigmoids)
        sigmoids *= 0.5
        sigmoids += 0.5
    else:
        xp.multiply(z[1:], slope, out=sigmoids)
        sigmoids += 0.5
        xp.clip(sigmoids, 0, 1, out=sigmoids)
    a, i, f, o = gate
    xp.multiply(a, i, out=c)
    xp.multiply(f, c_prev, out=scratch)
    c += scratch
    xp.tanh(c, out=tanh_c)
    xp.multiply(o, tanh_c, out=h)


def _backward_step(xp, gate, c_prev, tanh_c, gh, gc, gz, gz_out, scratch):
    """Computes the gradients of one step: tanh' = 1 - tanh^2, sigmoid' = s (1 - s).

    Args:
        gate, c_prev, tanh_c: Arguments and results of `_forward_step`.
        gh: (B, n), the total gradient of h_t.
        gc: (B, n), the gradient of c_t from later steps; overwritten with that of
            c_{t-1}.
        gz: (4, B, n), overwritten.
        gz_out: (4, B, n), a view: the gradient of the pre-activations, written.
        scratch: (B, n), overwritten.
    """
    a, i, f, o = gate
    ga, gi, gf, go = gz
    # go = gh tanh(c) o (1 - o)
    xp.multiply(gh, o, out=scratch)
    xp.multiply(scratch, tanh_c, out=go)
    # gc += gh o (1 - tanh(c)^2), where gh o tanh(c)^2 is the present go times tanh(c).
    # The difference comes first: it is exactly 0 where tanh(c) is 1, and an error there
    # would be multiplied by c, which may be large.
    xp.multiply(go, tanh_c, out=ga)
    scratch -= ga
    gc += scratch
    xp.multiply(go, o, out=scratch)
    xp.subtract(go, scratch, out=gz_out[3])
    # ga = gc i (1 - a^2);  gi = gc a i (1 - i)
    xp.multiply(gc, i, out=ga)
    xp.multiply(ga, a, out=gi)
    xp.multiply(gi, a, out=scratch)
    xp.subtract(ga, scratch, out=gz_out[0])
    xp.multiply(gi, i, out=scratch)
    xp.subtract(gi, scratch, out=gz_out[1])
    # gf = gc c_prev f (1 - f);  gc = gc f for the previous step
    gc *= f
    xp.multiply(gc, c_prev, out=gf)
    xp.multiply(gf, f, out=scratch)
    xp.subtract(gf, scratch, out=gz_out[2])


def _backward_hard_step(gate, c_prev, tanh_c, gh, gc, gz_out, slope):
    """Like `_backward_step`, for hard gates, whose derivative is `slope` or 0."""
    a, i, f, o = gate
    di, df, do = slope * ((0 < gate[1:]) & (gate[1:] < 1))
    gz_out[3] = gh * tanh_c * do
    gc += gh * o * (1 - tanh_c ** 2)
    gz_out[0] = gc * i * (1 - a ** 2)
    gz_out[1] = gc * a * di
    gz_out[2] = gc * c_prev * df
    gc *= f
