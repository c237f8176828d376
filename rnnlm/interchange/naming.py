"""A whole model in another system by its names, and layers that two of them share."""
import dataclasses
from typing import Callable

from rnnlm.errors import InputError
from rnnlm.interchange.interleaving import (
    added, from_blocks, second_bias, to_blocks)
from rnnlm.interchange.weights import (
    axis_size, check_layer, check_model, check_tensors, layer_of)


@dataclasses.dataclass(frozen=True)
class Names:
    """What a system calls the tensors of a model.

    Attributes:
        embed (str): of the embedding (V, m).
        output_W (str): of the output layer's matrix (V, n).
        output_b (str): of its bias (V,).
        layer: function of k, 0 the lowest, and a name within a layer, to a name.
        transposed (bool): if true, the output layer's matrix is (n, V).
    """
    embed: str
    output_W: str
    output_b: str
    layer: Callable[[int, str], str]
    transposed: bool = False


def export_stack(weights, names, export_layer):
    """The weights of a model by another system's names.

    Args:
        weights (dict): as of `rnnlm.interchange.weights`.
        names (Names): what the system calls them.
        export_layer: the system's function of that name.

    Returns:
        dict: name -> array.

    Raises:
        rnnlm.errors.InputError: if they are no weights of a model.
    """
    structure = check_model(weights)
    require_sigmoids(structure)
    n_layers = len(structure.layers)
    output_W = weights[f'l{n_layers + 1}/W']
    tensors = {names.embed: weights['embed/W']}
    for k in range(n_layers):
        layer = export_layer(layer_of(weights, k + 1))
        tensors.update((names.layer(k, name), layer[name]) for name in layer)
    tensors[names.output_W] = output_W.T.copy() if names.transposed else output_W
    tensors[names.output_b] = weights[f'l{n_layers + 1}/b']
    return tensors


def import_stack(tensors, names, layer_shapes, import_layer, lateral):
    """The inverse of `export_stack`.

    Args:
        tensors (dict): name -> array, all and only those of the model.
        names (Names): what the system calls them.
        layer_shapes: function of in and n to a dict, the shapes of a layer.
        import_layer: the system's function of that name.
        lateral (tuple): the name within a layer of a matrix that has an axis of n, and
            that axis.

    Returns:
        dict: weights as of `rnnlm.interchange.weights`.

    Raises:
        rnnlm.errors.InputError: if a tensor is missing, one too many, or of another
            shape or dtype.
    """
    n_vocab = axis_size(tensors, names.embed, 0)
    n_in = axis_size(tensors, names.embed, 1)
    n_layers = 1
    while any(names.layer(n_layers, name) in tensors for name in layer_shapes(1, 1)):
        n_layers += 1
    shapes, n = {names.embed: (n_vocab, n_in)}, n_in
    for k in range(n_layers):
        name, axis = lateral
        n_in, n = n, axis_size(tensors, names.layer(k, name), axis)
        layer = layer_shapes(n_in, n)
        shapes.update((names.layer(k, name), layer[name]) for name in layer)
    shapes[names.output_W] = (n, n_vocab) if names.transposed else (n_vocab, n)
    shapes[names.output_b] = (n_vocab,)
    check_tensors(tensors, shapes)

    weights = {'embed/W': tensors[names.embed]}
    for k in range(n_layers):
        layer = import_layer({name: tensors[names.layer(k, name)]
                              for name in layer_shapes(1, 1)})
        weights.update((f'l{k + 1}/{name}', layer[name]) for name in layer)
    output_W = tensors[names.output_W]
    weights[f'l{n_layers + 1}/W'] = output_W.T.copy() if names.transposed else output_W
    weights[f'l{n_layers + 1}/b'] = tensors[names.output_b]
    return weights


def require_sigmoids(structure):
    """Refuses a model whose gates a system does not have.

    Raises:
        rnnlm.errors.InputError: naming the layer.
    """
    for k, layer in enumerate(structure.layers, 1):
        if layer.link != 'LSTM':
            raise InputError(
                f'l{k}: expected an LSTM whose gates are sigmoids, which is what this '
                f'format has, found a {layer.link}; write a .npz, .keras or .onnx file')


def block_shapes(n_in, n, names):
    """dict: the shapes of a layer of blocks with two biases, by name.

    Args:
        n_in, n (int): its inputs and units.
        names (dict): the system's names of 'W', 'U', 'b' and 'second b', in its order.
    """
    shapes = {'W': (4 * n, n_in), 'U': (4 * n, n), 'b': (4 * n,), 'second b': (4 * n,)}
    return {name: shapes[part] for part, name in names.items()}


def export_blocks(layer, order, names):
    """A layer in blocks of rows, for a system that adds up two biases.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).
        order (tuple of str): the system's gates.
        names (dict): as for `block_shapes`.

    Returns:
        dict: name -> array; the second bias is zeros.

    Raises:
        rnnlm.errors.InputError: if it is no layer.
    """
    check_layer(layer)
    b = to_blocks(layer['upward/b'], order)
    parts = {'W': to_blocks(layer['upward/W'], order), 'b': b,
             'U': to_blocks(layer['lateral/W'], order), 'second b': second_bias(b)}
    return {name: parts[part] for part, name in names.items()}


def import_blocks(tensors, order, names):
    """The inverse of `export_blocks`; the biases are added up.

    Raises:
        rnnlm.errors.InputError: if a tensor is missing, one too many, or of another
            shape or dtype.
    """
    check_tensors(tensors, block_shapes(
        axis_size(tensors, names['W'], 1), axis_size(tensors, names['U'], 1), names))
    b = added(tensors[names['b']], tensors[names['second b']])
    return {'upward/W': from_blocks(tensors[names['W']], order),
            'upward/b': from_blocks(b, order),
            'lateral/W': from_blocks(tensors[names['U']], order)}
