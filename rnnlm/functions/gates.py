"""The order of the LSTM's four gates, defined here and nowhere else.

Chainer stores a layer's 4n pre-activations interleaved per unit: rows
4j, 4j + 1, 4j + 2, 4j + 3 of ``upward.W``, ``upward.b`` and ``lateral.W`` belong to
unit j and are, in this order,

    a   cell input    tanh
    i   input gate    sigmoid
    f   forget gate   sigmoid
    o   output gate   sigmoid

The products with the weights keep that order, so that no weight is ever moved; the
gates of a step, which are small, are worked on gate by gate.
"""
GATES = ('a', 'i', 'f', 'o')

# What i, f and o may go through instead of a sigmoid: straight lines between 0 and 1,
# clip(slope z + 0.5), as Keras has them: until its version 2, and since its version 3.
SLOPES = {'sigmoid': None, 'hard_sigmoid': 0.2, 'hard_sigmoid_6': 1 / 6}


def by_gate(z):
    """(B, 4n) interleaved -> (4, B, n), one after the other; a view."""
    return z.reshape(z.shape[0], -1, 4).transpose(2, 0, 1)
