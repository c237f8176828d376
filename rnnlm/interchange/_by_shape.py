"""Assembly of a language model from layers and matrices of any names, by their shapes.

The embedding (V, m) is the matrix without a bias, the output layer (V, n) the one with
a bias.  Without an embedding, the input is one-hot and the embedding the identity.
If the output layer has no matrix, it is tied.
"""
import re
from typing import NamedTuple, Optional

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange.weights import short_name

# Maximum vocabulary with one-hot input, whose embedding is the identity of that size.
MOST_ONE_HOT = 10_000

# Maximum number of tensors in a language model; a thousand layers have 3,003.
MOST_TENSORS = 10_000

LEAVE = 'keep only an embedding, LSTM layers and an output layer'


class Matrix(NamedTuple):
    """Module that is not an LSTM layer: its name, its matrix W and bias b, or None.

    Some files also tell its class, 'Embedding' or 'Linear'.
    """
    name: str
    W: Optional[numpy.ndarray]
    b: Optional[numpy.ndarray]
    kind: Optional[str] = None


class Model(NamedTuple):
    """Weights as in `rnnlm.interchange.weights`, with notes for the user.

    Attributes:
        weights (dict): Name -> array.
        notes (list of str): Which tensors became which parameters.
    """
    weights: dict
    notes: list


def in_order(names, what):
    """Sorts the names of consecutive modules by the numbers in them.

    Args:
        names (sequence of str): One or more names.
        what (str): Name for messages, such as 'weight_ih_l0'.

    Raises:
        rnnlm.errors.InputError: If they differ in more than numbers.
    """
    if len({re.sub(r'[._/]?\d+', '', name) for name in names}) > 1:
        raise InputError(
            f'{what}: expected one LSTM, or several whose names differ in a number, '
            f'found {len(names)}: {_listed(names)}; {LEAVE}')
    return sorted(names, key=lambda name: [
        int(number[-18:]) for number in re.findall(r'\d+', name)])


def assemble(layers, matrices):
    """Assembles a model from its parts.

    Args:
        layers (list): (name, layer) from the bottom up, each a dict as in
            `rnnlm.interchange.weights.check_layer`.
        matrices (list of Matrix): Everything else.

    Returns:
        Model: With separate arrays where the file has two names for one tensor.

    Raises:
        rnnlm.errors.InputError: If there are other parts, or sizes do not fit.
    """
    # The order came from numbers in names; sizes must confirm it.
    for (below, one), (above, other) in zip(layers, layers[1:]):
        n, n_in = one['lateral/W'].shape[1], other['upward/W'].shape[1]
        if n != n_in:
            raise InputError(
                f'{short_name(above)}: expected a layer of {n} inputs, the outputs of '
                f'{short_name(below)}, found one of {n_in}; {LEAVE}')
    n_in = layers[0][1]['upward/W'].shape[1]
    n = layers[-1][1]['lateral/W'].shape[1]
    output, rest = _output(matrices, n)
    embed = _embedding(rest, n_in, output)
    output_W = embed.W if output.W is None else output.W
    if output_W is None or output_W.shape[1] != n or len(embed.W) != len(output_W):
        shape = None if output_W is None else output_W.shape
        raise InputError(
            f'{short_name(output.name)}: expected the shape {(len(embed.W), n)}, that '
            f'of the output layer for {len(embed.W)} words, found {shape}; {LEAVE}')
    weights, notes = {'embed/W': embed.W}, [_note('embed', embed.name)]
    for k, (name, layer) in enumerate(layers, 1):
        weights.update((f'l{k}/{part}', array) for part, array in layer.items())
        notes.append(_note(f'l{k}', name))
    last, b = f'l{len(layers) + 1}', output.b
    weights[f'{last}/W'] = output_W
    weights[f'{last}/b'] = (
        numpy.zeros(len(output_W), output_W.dtype) if b is None else b)
    notes.append(_note(last, output.name))
    if output.W is None:
        notes[-1] += ', whose matrix is that of the embedding'
    return Model(weights, notes)


def _note(ours, theirs):
    return f'{ours} is {short_name(theirs) or "the only one without a name"}'


def _output(matrices, n):
    """Returns the output layer, and the other matrices."""
    with_bias = [matrix for matrix in matrices if matrix.b is not None]
    if len(with_bias) > 1:
        raise InputError(
            f'bias: expected one other layer with a bias, the output layer, '
            f'found {len(with_bias)}: '
            f'{_listed([matrix.name for matrix in with_bias])}; {LEAVE}')
    if with_bias:
        return with_bias[0], [m for m in matrices if m is not with_bias[0]]
    # An output layer without a bias: the other matrix is the embedding.
    if not matrices:
        raise InputError(
            'bias: expected an output layer in addition to the LSTM, found no other '
            f'tensors; {LEAVE}')
    fitting = [m for m in matrices if m.W is not None and m.W.shape[1] == n]
    if len(matrices) > 1:
        named = [m for m in fitting if m.kind == 'Linear']
        named = named or [m for m in fitting if _sounds_like_output(m.name)]
        fitting = named if len(named) == 1 else fitting
    if len(fitting) != 1:
        names = _listed([matrix.name for matrix in matrices])
        raise InputError(
            f'bias: expected one layer of {n} inputs that is the output layer, found '
            f'{len(fitting) or "none"} among {names}; {LEAVE}')
    return fitting[0], [m for m in matrices if m is not fitting[0]]


def _sounds_like_output(name):
    return re.search(r'(?i)out|dec|fc|linear|proj|head|softmax|lo\b|hy|dense',
                     name) is not None


def _embedding(rest, n_in, output):
    """Returns the embedding; if there is none, the identity (V, V)."""
    if not rest:
        n_vocab = len(output.W if output.W is not None else output.b)
        if n_in != n_vocab:
            raise InputError(
                'weight: expected one matrix without a bias, the embedding, or one-hot '
                f'input of {n_vocab:,} numbers, found none, and input of {n_in:,}; '
                f'{LEAVE}')
        if output.W is None:
            raise InputError(
                f'{short_name(output.name)}: expected an output matrix, found only a '
                f'bias; {LEAVE}')
        require_one_hot(n_vocab)
        return Matrix('one-hot input, the identity',
                      numpy.eye(n_vocab, dtype=output.W.dtype), None)
    first = rest[0]
    for other in rest[1:]:  # may be the same tensor under another name
        if other.W.shape != first.W.shape or not numpy.array_equal(other.W, first.W):
            raise InputError(
                'weight: expected one matrix without a bias, the embedding, found '
                f'{len(rest)}: {_listed([matrix.name for matrix in rest])}; {LEAVE}')
    if first.kind == 'Linear':
        raise InputError(
            f'{short_name(first.name)}: expected an Embedding before the LSTM, found a '
            f'Linear, whose matrix is transposed; {LEAVE}')
    if first.W.shape[1] != n_in:
        raise InputError(
            f'{short_name(first.name)}: expected the shape (V, {n_in}), that of the '
            f'embedding of a layer of {n_in} inputs, found {first.W.shape}; {LEAVE}')
    return first


def require_one_hot(n_vocab):
    """Raises InputError if the identity embedding would be too large."""
    if n_vocab > MOST_ONE_HOT:
        raise InputError(
            f'expected a model with one-hot input of at most {MOST_ONE_HOT:,} '
            f'characters, found one of {n_vocab:,}; its embedding would be the '
            'identity of that size')


def _listed(names):
    shown = ', '.join(short_name(name) or "''" for name in list(names)[:8])
    return shown + (', ...' if len(names) > 8 else '')
