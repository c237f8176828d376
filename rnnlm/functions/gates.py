"""Order of the LSTM's four gates; no other module defines it.

Chainer stores the 4n pre-activations z of a layer interleaved per unit.  Rows 4j,
4j + 1, 4j + 2 and 4j + 3 of ``upward.W``, ``upward.b`` and ``lateral.W`` belong to unit
j:

    a   cell input    tanh
    i   input gate    sigmoid
    f   forget gate   sigmoid
    o   output gate   sigmoid

Here the upward weights are W_u, which multiply the input x, and the lateral weights are
W_l, which multiply the previous output h (the input and the recurrent weights of other
systems).  Matrix products keep the interleaved order, so weights are never copied or
permuted; only the gates of a step, which are small, are accessed gate by gate.
"""
GATES = ('a', 'i', 'f', 'o')

# Slope of the activation function of i, f and o, clip(slope z + 0.5, 0, 1); None for
# the sigmoid.  Keras 1 and 2 have a slope of 0.2, Keras 3 one of 1/6.
SLOPES = {'sigmoid': None, 'hard_sigmoid': 0.2, 'hard_sigmoid_6': 1 / 6}


def by_gate(z):
    """Views interleaved (B, 4n) as (4, B, n), one gate after the other."""
    return z.reshape(z.shape[0], -1, 4).transpose(2, 0, 1)
