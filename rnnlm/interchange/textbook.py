"""The LSTM of many tutorials in plain NumPy: a matrix a gate, on [x, h].

wg (the cell input), wi, wf and wo are (n, in + n): their first columns are multiplied
with the input, the others with the output before; bg, bi, bf, bo (n,).
"""
import numpy

from rnnlm.interchange.interleaving import join, split
from rnnlm.interchange.weights import axis_size, check_layer, check_tensors

ORDER = ('a', 'i', 'f', 'o')
LETTERS = 'gifo'


def names():
    """list of str: what a layer's arrays are called."""
    return [f'{kind}{letter}' for kind in 'wb' for letter in LETTERS]


def export_layer(layer):
    """A layer as the matrices and biases of the four gates.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'wg', 'wi', 'wf', 'wo' (n, in + n) and 'bg', 'bi', 'bf', 'bo' (n,).

    Raises:
        rnnlm.errors.InputError: if it is no layer.
    """
    check_layer(layer)
    both = numpy.hstack([layer['upward/W'], layer['lateral/W']])
    ws, bs = split(both, ORDER), split(layer['upward/b'], ORDER)
    return {**{f'w{letter}': w for letter, w in zip(LETTERS, ws)},
            **{f'b{letter}': b for letter, b in zip(LETTERS, bs)}}


def import_layer(tensors):
    """The inverse of `export_layer`.

    Raises:
        rnnlm.errors.InputError: if a tensor is missing, one too many, or of another
            shape or dtype.
    """
    n, both = axis_size(tensors, 'wg', 0), axis_size(tensors, 'wg', 1)
    n_in = max(both - n, 1)
    check_tensors(tensors, {**{f'w{letter}': (n, n_in + n) for letter in LETTERS},
                            **{f'b{letter}': (n,) for letter in LETTERS}})
    W = join([tensors[f'w{letter}'] for letter in LETTERS], ORDER)
    return {'upward/W': W[:, :n_in].copy(), 'lateral/W': W[:, n_in:].copy(),
            'upward/b': join([tensors[f'b{letter}'] for letter in LETTERS], ORDER)}
