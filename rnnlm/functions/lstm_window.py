"""One LSTM layer over a whole window of T steps, in one function node.

The equations stand in `_forward_step` and `_backward_step`; everything else is
shapes and buffers.
"""
import chainer
from chainer import backend
from chainer.utils import type_check

from rnnlm.functions import gates


def lstm_window(x, c, h, upward_W, upward_b, lateral_W):
    """A layer of LSTM units over a window of T steps.

    For t = 1 .. T, with the gate order of `rnnlm.functions.gates`:

    .. math::
        (a_t, i_t, f_t, o_t) &= W_u x_t + b + W_l h_{t-1} \\\\
        c_t &= \\tanh(a_t)\\,\\sigma(i_t) + \\sigma(f_t)\\,c_{t-1} \\\\
        h_t &= \\sigma(o_t)\\,\\tanh(c_t)

    The same numbers as T calls of :class:`chainer.links.LSTM`, up to rounding.
    The products that do not depend on the recurrence (upward, and all weight
    gradients) are one matrix product a window.

    Args:
        x: Variable or array (T, B, in), the inputs of all steps.
        c: (B, n), the cell state before the window; None for zeros.
        h: (B, n), the output before the window; None for zeros.
        upward_W: (4n, in), interleaved as Chainer stores it.
        upward_b: (4n,).
        lateral_W: (4n, n).

    Returns:
        tuple of Variables: the outputs of all steps (T, B, n), the last cell
        state (B, n) and the last output (B, n).

    Raises:
        chainer.utils.type_check.InvalidType: if the shapes or dtypes differ
            from the above; float32 and float64 are supported.
        RuntimeError: if a second derivative is asked for.

    References:
        Hochreiter and Schmidhuber (1997), with the forget gate of Gers,
        Schmidhuber and Cummins (2000); stacked as in Zaremba, Sutskever and
        Vinyals, "Recurrent Neural Network Regularization" (2014).
    """
    if c is None or h is None:
        x_array = x.array if isinstance(x, chainer.Variable) else x
        xp = backend.get_array_module(x_array)
        zeros = xp.zeros(
            (x_array.shape[1], lateral_W.shape[1]), dtype=x_array.dtype)
        c = zeros if c is None else c
        h = zeros if h is None else h
    return LSTMWindow().apply((x, c, h, upward_W, upward_b, lateral_W))


class LSTMWindow(chainer.FunctionNode):

    def check_type_forward(self, in_types):
        type_check._argname(
            in_types, ('x', 'c', 'h', 'upward_W', 'upward_b', 'lateral_W'))
        x, c, h, upward_W, upward_b, lateral_W = in_types
        type_check.expect(
            x.dtype.kind == 'f',
            x.ndim == 3,
            c.ndim == 2,
            upward_W.ndim == 2,
            upward_b.ndim == 1,
            lateral_W.ndim == 2,
        )
        type_check.expect(
            x.shape[0] >= 1,
            c.shape[0] == x.shape[1],
            h.shape == c.shape,
            upward_W.shape[0] == 4 * c.shape[1],
            upward_W.shape[1] == x.shape[2],
            upward_b.shape[0] == upward_W.shape[0],
            lateral_W.shape[0] == upward_W.shape[0],
            lateral_W.shape[1] == c.shape[1],
        )
        for other in (c, h, upward_W, upward_b, lateral_W):
            type_check.expect(other.dtype == x.dtype)

    def forward(self, inputs):
        x, c, h, upward_W, upward_b, lateral_W = inputs
        xp = backend.get_array_module(x)
        T, B, n_in = x.shape
        n = c.shape[1]

        # The sigmoids are taken as (1 + tanh(z / 2)) / 2, and the factor 1/2 of
        # z is put into the weights, where it is exact: one tanh serves all gates.
        halves = xp.ones((4 * n, 1), dtype=x.dtype)
        halves[n:] = 0.5
        W_u = gates.to_blocks(upward_W)
        W_u *= halves
        b = gates.to_blocks(upward_b)
        b *= halves[:, 0]
        W_l = gates.to_blocks(lateral_W)
        W_l *= halves
        # A step's product with a transposed view takes 1.7 times as long.
        W_l_T = xp.ascontiguousarray(W_l.T)  # (n, 4n)

        z = xp.dot(x.reshape(T * B, n_in), W_u.T)
        z += b
        z = z.reshape(T, B, 4 * n)  # pre-activations, then the gates
        hs = xp.empty((T + 1, B, n), dtype=x.dtype)
        cs = xp.empty((T + 1, B, n), dtype=x.dtype)
        tanh_cs = xp.empty((T, B, n), dtype=x.dtype)
        hs[0] = h
        cs[0] = c
        recurrent = xp.empty((B, 4 * n), dtype=x.dtype)
        scratch = xp.empty((B, n), dtype=x.dtype)
        for t in range(T):
            xp.dot(hs[t], W_l_T, out=recurrent)
            z[t] += recurrent
            _forward_step(
                xp, z[t], cs[t], cs[t + 1], tanh_cs[t], hs[t + 1], scratch)

        self.retain_inputs((0, 3, 5))
        self._kept = z, hs, cs, tanh_cs
        # The state is copied: a view would keep the whole window alive.
        return hs[1:], cs[T].copy(), hs[T].copy()

    def backward(self, indexes, grad_outputs):
        # Gradients that nobody asked for are None.
        grads = LSTMWindowGrad(self._kept, grad_outputs, indexes).apply(
            self.get_retained_inputs()
            + tuple(g for g in grad_outputs if g is not None))
        by_index = dict(zip(range(6), grads))
        return tuple(by_index[i] for i in indexes)


class LSTMWindowGrad(chainer.FunctionNode):
    """The gradients of `LSTMWindow`; a node of its own to refuse a second one."""

    def __init__(self, kept, grad_outputs, indexes):
        self._kept = kept
        self._given = [g is not None for g in grad_outputs]
        self._indexes = indexes

    def forward(self, inputs):
        x, upward_W, lateral_W = inputs[:3]
        given = iter(inputs[3:])
        ghs, gc_T, gh_T = [next(given) if g else None for g in self._given]
        gates_of_steps, hs, cs, tanh_cs = self._kept
        xp = backend.get_array_module(x)
        T, B, n_in = x.shape
        n = cs.shape[2]

        W_l = gates.to_blocks(lateral_W)  # (4n, n)
        gzs = xp.empty((T, B, 4 * n), dtype=x.dtype)
        gc = xp.zeros((B, n), dtype=x.dtype)
        gh = xp.zeros((B, n), dtype=x.dtype)
        if gc_T is not None:
            gc += gc_T
        if gh_T is not None:
            gh += gh_T
        scratch = xp.empty((B, n), dtype=x.dtype)
        for t in reversed(range(T)):
            if ghs is not None:
                gh += ghs[t]
            _backward_step(
                xp, gates_of_steps[t], cs[t], tanh_cs[t], gh, gc, gzs[t], scratch)
            xp.dot(gzs[t], W_l, out=gh)

        gz = gzs.reshape(T * B, 4 * n)
        gW_u = gates.to_interleaved(xp.dot(gz.T, x.reshape(T * B, n_in)))
        gW_l = gates.to_interleaved(xp.dot(gz.T, hs[:T].reshape(T * B, n)))
        gb = gates.to_interleaved(gz.sum(axis=0))
        gx = xp.dot(gz, gates.to_blocks(upward_W)).reshape(x.shape)
        return gx, gc, gh, gW_u, gb, gW_l

    def backward(self, indexes, grad_outputs):
        raise RuntimeError(
            'lstm_window has first derivatives only, and a second one was asked '
            'for (enable_double_backprop).  Use the step-by-step path: call the '
            'model once per step with ids of shape (B,).')


def _forward_step(xp, z, c_prev, c, tanh_c, h, scratch):
    """One step in place: z (B, 4n) becomes the gates; c, tanh_c, h are written."""
    n = c.shape[1]
    xp.tanh(z, out=z)
    sigmoids = z[:, n:]
    sigmoids *= 0.5
    sigmoids += 0.5
    a, i, f, o = z[:, :n], z[:, n:2*n], z[:, 2*n:3*n], z[:, 3*n:]
    xp.multiply(a, i, out=c)
    xp.multiply(f, c_prev, out=scratch)
    c += scratch
    xp.tanh(c, out=tanh_c)
    xp.multiply(o, tanh_c, out=h)


def _backward_step(xp, gate, c_prev, tanh_c, gh, gc, gz, scratch):
    """Gradients of one step.

    gh (B, n): the whole gradient of this step's output.  gc (B, n): that of its
    cell state from later steps; becomes that of the step before.  gz (B, 4n): the
    gradient of the pre-activations, written.
    """
    n = gc.shape[1]
    a, i, f, o = gate[:, :n], gate[:, n:2*n], gate[:, 2*n:3*n], gate[:, 3*n:]
    ga, gi, gf, go = gz[:, :n], gz[:, n:2*n], gz[:, 2*n:3*n], gz[:, 3*n:]
    # go = gh tanh(c) o (1 - o)
    xp.multiply(gh, o, out=scratch)
    xp.multiply(scratch, tanh_c, out=go)
    # gc += gh o (1 - tanh(c)^2), and gh o tanh(c)^2 = go tanh(c) so far
    gc += scratch
    xp.multiply(go, tanh_c, out=scratch)
    gc -= scratch
    xp.multiply(go, o, out=scratch)
    go -= scratch
    # ga = gc i (1 - a^2);  gi = gc a i (1 - i)
    xp.multiply(gc, i, out=ga)
    xp.multiply(ga, a, out=gi)
    xp.multiply(gi, a, out=scratch)
    ga -= scratch
    xp.multiply(gi, i, out=scratch)
    gi -= scratch
    # gf = gc c_prev f (1 - f);  gc = gc f for the step before
    gc *= f
    xp.multiply(gc, c_prev, out=gf)
    xp.multiply(gf, f, out=scratch)
    gf -= scratch
