"""The LSTM of many tutorials in plain NumPy, with a matrix for each gate, on [x, h].

wg (the cell input), wi, wf and wo are (n, in + n): the first columns are multiplied
with the input, the others with the previous output.  Biases are bg, bi, bf, bo (n,).
"""
import numpy

from rnnlm.interchange.interleaving import join, split
from rnnlm.interchange.weights import axis_size, check_layer, check_tensors

ORDER = ('a', 'i', 'f', 'o')
LETTERS = 'gifo'


def names():
    """Returns the names of a layer's arrays."""
    return [f'{kind}{letter}' for kind in 'wb' for letter in LETTERS]


def export_layer(layer):
    """Converts a layer to matrices and biases of the four gates.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'wg', 'wi', 'wf', 'wo' (n, in + n) and 'bg', 'bi', 'bf', 'bo' (n,).

    Raises:
        rnnlm.errors.InputError: If it is not a layer.
    """
    check_layer(layer)
    both = numpy.hstack([layer['upward/W'], layer['lateral/W']])
    ws, bs = split(both, ORDER), split(layer['upward/b'], ORDER)
    return {**{f'w{letter}': w for letter, w in zip(LETTERS, ws)},
            **{f'b{letter}': b for letter, b in zip(LETTERS, bs)}}


def import_layer(tensors):
    """Converts such tensors to a layer: the inverse of `export_layer`.

    Raises:
        rnnlm.errors.InputError: If a tensor is missing, unknown, or has a wrong shape
            or dtype.
    """
    n, both = axis_size(tensors, 'wg', 0), axis_size(tensors, 'wg', 1)
    n_in = max(both - n, 1)
    check_tensors(tensors, {**{f'w{letter}': (n, n_in + n) for letter in LETTERS},
                            **{f'b{letter}': (n,) for letter in LETTERS}})
    W = join([tensors[f'w{letter}'] for letter in LETTERS], ORDER)
    return {'upward/W': W[:, :n_in].copy(), 'lateral/W': W[:, n_in:].copy(),
            'upward/b': join([tensors[f'b{letter}'] for letter in LETTERS], ORDER)}
