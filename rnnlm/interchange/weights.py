"""The weights of a language model by name, and checks of what others call theirs.

    embed/W         (V, m)     the embedding
    l1/upward/W     (4n, m)    layer 1, gates interleaved (`rnnlm.functions.gates`);
    l1/upward/b     (4n,)      l2, l3, ... have (4n, n)
    l1/lateral/W    (4n, n)
    l{N+1}/W        (V, n)     the output layer after N layers
    l{N+1}/b        (V,)
"""
import re

import numpy

from rnnlm.errors import InputError, printable
from rnnlm import structure
from rnnlm.structure import layer_shapes

FLOATS = ('float32', 'float64')
LAYER = ('upward/W', 'upward/b', 'lateral/W')


def check_layer(layer):
    """Refuses what is not one LSTM layer.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        tuple: in and n.

    Raises:
        rnnlm.errors.InputError: if a name is missing or one too many, or a shape or
            dtype is not as it should be.
    """
    n_in, n = axis_size(layer, 'upward/W', 1), axis_size(layer, 'lateral/W', 1)
    check_tensors(layer, layer_shapes(n_in, n))
    return n_in, n


def check_model(weights):
    """Refuses what are not the weights of a language model.

    Args:
        weights (dict): see the top of this file.

    Returns:
        rnnlm.structure.Structure: its links and their sizes.

    Raises:
        rnnlm.errors.InputError: as `check_layer`.
    """
    for name in 'embed/W', 'l1/lateral/W':
        axis_size(weights, name, 0)
    found = structure.guess(
        {name: _array(weights, name).shape for name in weights})._replace(tied=False)
    check_tensors(weights, found.shapes())
    return found


def untied(weights):
    """The same model with an output matrix of its own, if it shares the embedding's.

    Args:
        weights (dict): as `check_model` takes them, but 'l{N+1}/W' may be missing.

    Returns:
        dict: with 'l{N+1}/W', which is 'embed/W' where it was missing.
    """
    n_layers = count_matching(weights, r'l(\d+)/lateral/W', first=1)
    output = f'l{n_layers + 1}/W'
    if output in weights or 'embed/W' not in weights:
        return dict(weights)
    return {**weights, output: weights['embed/W']}


def layer_of(weights, k):
    """dict: layer k, 1 the lowest, of a model's weights."""
    return {name: weights[f'l{k}/{name}'] for name in LAYER}


def axis_size(tensors, name, axis, ndim=2):
    """The length of an axis of a tensor that must be there, of `ndim` axes, not empty.
    """
    array = _array(tensors, name)
    if array.ndim != ndim or not array.size:
        raise InputError(
            f'{name}: expected {ndim} dimensions, none of them 0, found the shape '
            f'{array.shape}')
    return array.shape[axis]


def count_matching(tensors, pattern, first=0):
    """How many names match, with the number in them going up from `first`."""
    found = {int(match.group(1)) for match in (
        re.fullmatch(pattern, name, re.ASCII) for name in tensors)
        if match and len(match.group(1)) < 6}
    number = 0
    while first + number in found:
        number += 1
    return number


def check_tensors(tensors, shapes):
    """Refuses other than exactly these names and shapes, all of one float dtype.

    Args:
        tensors (dict): name -> NumPy array.
        shapes (dict): name -> shape.

    Raises:
        rnnlm.errors.InputError: naming the tensor, what was expected and found.
    """
    dtype = None
    for name, shape in shapes.items():
        array = _array(tensors, name)
        if array.shape != shape:
            raise InputError(
                f'{name}: expected the shape {shape}, found {array.shape}')
        if not shape:
            continue  # a setting, not a parameter
        if array.dtype not in FLOATS:
            raise InputError(
                f'{name}: expected {" or ".join(FLOATS)}, found {array.dtype}; convert '
                "it first, by .astype('float32') say")
        dtype = dtype or array.dtype
        if array.dtype != dtype:
            raise InputError(
                f'{name}: expected {dtype}, as of {next(iter(shapes))}, found '
                f'{array.dtype}; convert all to one')
    known = f'{", ".join(list(shapes)[:8])}{", ..." if len(shapes) > 8 else ""}'
    for name in tensors:
        if name not in shapes:
            raise InputError(
                f'{short_name(name)}: expected no tensor of that name, found one; '
                f'leave only {known}')


def check_arrays(tensors):
    """Refuses what are no NumPy arrays.

    Raises:
        rnnlm.errors.InputError: naming the first.
    """
    for name in tensors:
        _array(tensors, name)


def check_dtypes(tensors):
    """Refuses tensors that are not all of one float dtype, 32 or 64.

    Args:
        tensors (dict): name -> NumPy array.

    Raises:
        rnnlm.errors.InputError: naming the tensor, what was expected and found.
    """
    first = None
    for name in tensors:
        array = _array(tensors, name)
        if array.dtype not in FLOATS:
            raise InputError(
                f'{short_name(name)}: expected {" or ".join(FLOATS)}, found '
                f"{array.dtype}; convert it first, by .astype('float32') say")
        first = first or (name, array.dtype)
        if array.dtype != first[1]:
            raise InputError(
                f'{short_name(name)}: expected {first[1]}, as of '
                f'{short_name(first[0])}, found {array.dtype}; convert all to one')


def as_float32(tensors):
    """dict: the same with float32 where there was float16, which has all its numbers.
    """
    with numpy.errstate(all='ignore'):
        return {name: array.astype('f4') if array.dtype == numpy.float16 else array
                for name, array in tensors.items()}


def short_name(name):
    """str: a name from a file as it stands in a message, which it may not flood."""
    return printable(name, 80)


def _array(tensors, name):
    if name not in tensors:
        found = ', '.join(repr(short_name(other)) for other in list(tensors)[:8])
        raise InputError(
            f'{name}: expected a tensor of that name, found none among '
            f'{found or "no tensors at all"}{", ..." if len(tensors) > 8 else ""}')
    array = tensors[name]
    if not isinstance(array, numpy.ndarray):
        raise InputError(
            f'{name}: expected a NumPy array, found {type(array).__name__}; take it '
            'off the GPU or out of its framework first')
    return array
