"""The order of the LSTM's four gates, defined here and nowhere else.

Chainer stores a layer's 4n pre-activations interleaved per unit: rows
4j, 4j+1, 4j+2, 4j+3 of ``upward.W``, ``upward.b`` and ``lateral.W`` belong to
unit j and are, in this order,

    a   cell input    tanh
    i   input gate    sigmoid
    f   forget gate   sigmoid
    o   output gate   sigmoid

The window functions compute on blocks instead: all a, then all i, f, o, so that
a gate of a step is one run of memory per row.  `to_blocks` and `to_interleaved`
are the only two places where one becomes the other.
"""
GATES = ('a', 'i', 'f', 'o')


def to_blocks(p):
    """(4n, ...) interleaved -> (4n, ...) in blocks a, i, f, o; a new array."""
    by_unit = p.reshape((p.shape[0] // 4, 4) + p.shape[1:])  # (n, 4, ...)
    return by_unit.swapaxes(0, 1).copy().reshape(p.shape)


def to_interleaved(p):
    """(4n, ...) in blocks a, i, f, o -> (4n, ...) interleaved; a new array."""
    by_gate = p.reshape((4, p.shape[0] // 4) + p.shape[1:])  # (4, n, ...)
    return by_gate.swapaxes(0, 1).copy().reshape(p.shape)
