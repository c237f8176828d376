"""Weights of a language model by name, and checks of tensors.

    embed/W         (V, m)     the embedding
    l1/upward/W     (4n, m)    layer 1, gates interleaved (`rnnlm.functions.gates`);
    l1/upward/b     (4n,)      in l2, l3, ... upward/W is (4n, n)
    l1/lateral/W    (4n, n)
    l{N+1}/W        (V, n)     the output layer after N layers
    l{N+1}/b        (V,)

An adaptive softmax is named as in `rnnlm.structure`.
"""
import re

import numpy

from rnnlm.errors import InputError, printable
from rnnlm import structure
from rnnlm.links.adaptive_softmax import is_permutation
from rnnlm.structure import layer_shapes

FLOATS = ('float32', 'float64')
LAYER = ('upward/W', 'upward/b', 'lateral/W')


def check_layer(layer):
    """Raises InputError unless the argument is an LSTM layer.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        tuple: in and n.

    Raises:
        rnnlm.errors.InputError: If a name is missing or unknown, or a shape or dtype is
            wrong.
    """
    n_in, n = axis_size(layer, 'upward/W', 1), axis_size(layer, 'lateral/W', 1)
    check_tensors(layer, layer_shapes(n_in, n))
    return n_in, n


def check_model(weights):
    """Raises InputError unless the argument holds a language model's weights.

    Args:
        weights (dict): See the top of this file.

    Returns:
        rnnlm.structure.Structure: Its links and their sizes.

    Raises:
        rnnlm.errors.InputError: As in `check_layer`.
    """
    for name in 'embed/W', 'l1/lateral/W':
        axis_size(weights, name, 0)
    found = structure.guess(
        {name: _array(weights, name).shape for name in weights})._replace(tied=False)
    check_tensors(weights, found.shapes())
    ranks = weights.get(f'l{len(found.layers) + 1}/ranks')
    if ranks is not None and not is_permutation(ranks):
        raise InputError(
            f'l{len(found.layers) + 1}/ranks: expected each number from 0 to '
            f'{found.n_vocab - 1} once, found other values')
    return found


def untied(weights):
    """Returns the same weights with a separate output matrix, if the model is tied.

    Args:
        weights (dict): As in `check_model`, but 'l{N+1}/W' may be missing.

    Returns:
        dict: With 'l{N+1}/W', which is 'embed/W' if it was missing.
    """
    output = _output_matrix(weights)
    if output in weights or 'embed/W' not in weights:
        return dict(weights)
    return {**weights, output: weights['embed/W']}


def shares_embedding(weights):
    """Returns whether the output matrix equals the embedding, as in a tied model."""
    output = weights.get(_output_matrix(weights))
    return output is not None and numpy.array_equal(output, weights['embed/W'])


def _output_matrix(weights):
    """Returns the name of the output matrix, that after the last layer."""
    n_layers = count_matching(weights, r'l(\d+)/lateral/W', first=1)
    return f'l{n_layers + 1}/W'


def layer_of(weights, k):
    """Returns layer k, 1 the lowest, of a model's weights (dict)."""
    return {name: weights[f'l{k}/{name}'] for name in LAYER}


def axis_size(tensors, name, axis, ndim=2):
    """Returns the length of an axis of a tensor, which must have `ndim` axes."""
    array = _array(tensors, name)
    if array.ndim != ndim or not array.size:
        raise InputError(
            f'{name}: expected {ndim} dimensions, none of them 0, found the shape '
            f'{array.shape}')
    return array.shape[axis]


def count_matching(tensors, pattern, first=0):
    """Returns how many names match, with consecutive numbers starting at `first`."""
    found = {int(match.group(1)) for match in (
        re.fullmatch(pattern, name, re.ASCII) for name in tensors)
        if match and len(match.group(1)) < 6}
    number = 0
    while first + number in found:
        number += 1
    return number


def check_tensors(tensors, shapes):
    """Raises InputError unless the names and shapes match, all of one float dtype.

    Args:
        tensors (dict): Name -> NumPy array.
        shapes (dict): Name -> shape.

    Raises:
        rnnlm.errors.InputError: If not; the message names the tensor.
    """
    # All arrays must have the dtype of the first one.
    dtype = None
    for name, shape in shapes.items():
        array = _array(tensors, name)
        if array.shape != shape:
            raise InputError(
                f'{name}: expected the shape {shape}, found {array.shape}')
        if name.rpartition('/')[2] in structure.SETTINGS:
            continue  # not a parameter
        if array.dtype not in FLOATS:
            raise InputError(
                f'{name}: expected {" or ".join(FLOATS)}, found {array.dtype}; convert '
                "it first, for example by .astype('float32')")
        dtype = dtype or array.dtype
        if array.dtype != dtype:
            raise InputError(
                f'{name}: expected {dtype}, like {next(iter(shapes))}, found '
                f'{array.dtype}; convert all to one')
    known = f'{", ".join(list(shapes)[:8])}{", ..." if len(shapes) > 8 else ""}'
    for name in tensors:
        if name not in shapes:
            raise InputError(
                f'{short_name(name)}: expected no tensor of that name, found one; '
                f'keep only {known}')


def check_arrays(tensors):
    """Raises InputError unless all values are NumPy arrays.

    Raises:
        rnnlm.errors.InputError: If not; the message names the first one.
    """
    for name in tensors:
        _array(tensors, name)


def check_dtypes(tensors):
    """Raises InputError unless all tensors have one float dtype, of 32 or 64 bits.

    Args:
        tensors (dict): Name -> NumPy array.

    Raises:
        rnnlm.errors.InputError: If not; the message names the tensor.
    """
    first = None
    for name in tensors:
        array = _array(tensors, name)
        if array.dtype not in FLOATS:
            raise InputError(
                f'{short_name(name)}: expected {" or ".join(FLOATS)}, found '
                f"{array.dtype}; convert it first, for example by .astype('float32')")
        first = first or (name, array.dtype)
        if array.dtype != first[1]:
            raise InputError(
                f'{short_name(name)}: expected {first[1]}, like '
                f'{short_name(first[0])}, found {array.dtype}; convert all to one')


def as_float32(tensors):
    """Converts float16 to float32, without loss, and leaves the rest (dict)."""
    with numpy.errstate(all='ignore'):
        return {name: array.astype('f4') if array.dtype == numpy.float16 else array
                for name, array in tensors.items()}


def short_name(name):
    """Returns a name from a file, escaped and shortened for a message (str)."""
    return printable(name, 80)


def _array(tensors, name):
    if name not in tensors:
        found = ', '.join(repr(short_name(other)) for other in list(tensors)[:8])
        raise InputError(
            f'{name}: expected a tensor of that name, found none among '
            f'{found or "no tensors"}{", ..." if len(tensors) > 8 else ""}')
    array = tensors[name]
    if not isinstance(array, numpy.ndarray):
        raise InputError(
            f'{name}: expected a NumPy array, found {type(array).__name__}; convert '
            'it to NumPy first')
    return array
