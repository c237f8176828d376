"""Dive into Deep Learning's LSTM from scratch, with a matrix for each gate and side.

The input is multiplied with W_xi, W_xf, W_xo, W_xc (in, n) from the right, the previous
output with W_hi, ... (n, n).  Biases are b_i, ... (n,).  c is the cell input.  See
https://d2l.ai/chapter_recurrent-modern/lstm.html
"""
from rnnlm.interchange.interleaving import join, split
from rnnlm.interchange.weights import axis_size, check_layer, check_tensors

ORDER = ('i', 'f', 'o', 'a')
LETTERS = 'ifoc'


def names():
    """Returns the names of a layer's arrays."""
    return [f'{kind}{letter}' for kind in ('W_x', 'W_h', 'b_') for letter in LETTERS]


def export_layer(layer):
    """Converts a layer to matrices and biases of the four gates.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'W_xi', 'W_xf', 'W_xo', 'W_xc' (in, n), 'W_hi', ... (n, n) and 'b_i',
        ... (n,).

    Raises:
        rnnlm.errors.InputError: If it is not a layer.
    """
    check_layer(layer)
    tensors = {}
    for letter, W_x, W_h, b in zip(LETTERS, split(layer['upward/W'], ORDER),
                                   split(layer['lateral/W'], ORDER),
                                   split(layer['upward/b'], ORDER)):
        tensors[f'W_x{letter}'] = W_x.T.copy()
        tensors[f'W_h{letter}'] = W_h.T.copy()
        tensors[f'b_{letter}'] = b
    return tensors


def import_layer(tensors):
    """Converts such tensors to a layer: the inverse of `export_layer`.

    Raises:
        rnnlm.errors.InputError: If a tensor is missing, unknown, or has a wrong shape
            or dtype.
    """
    n_in, n = axis_size(tensors, 'W_xi', 0), axis_size(tensors, 'W_xi', 1)
    shapes = {}
    for letter in LETTERS:
        shapes.update({f'W_x{letter}': (n_in, n), f'W_h{letter}': (n, n),
                       f'b_{letter}': (n,)})
    check_tensors(tensors, shapes)
    return {
        'upward/W': join([tensors[f'W_x{letter}'].T for letter in LETTERS], ORDER),
        'upward/b': join([tensors[f'b_{letter}'] for letter in LETTERS], ORDER),
        'lateral/W': join([tensors[f'W_h{letter}'].T for letter in LETTERS], ORDER)}
