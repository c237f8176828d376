"""Names of a model's tensors in another system, and layouts that systems share."""
import dataclasses
from typing import Callable

from rnnlm.errors import InputError
from rnnlm.interchange.interleaving import (
    added, from_blocks, second_bias, to_blocks)
from rnnlm.interchange.weights import (
    axis_size, check_layer, check_model, check_tensors, layer_of)


@dataclasses.dataclass(frozen=True)
class Names:
    """Names of a model's tensors in a system.

    Attributes:
        embed (str): Name of the embedding (V, m).
        output_W (str): Name of the output layer's matrix (V, n).
        output_b (str): Name of its bias (V,).
        layer: Function of k, 0 the lowest, and a name within a layer; returns a name.
        transposed (bool): If true, the output layer's matrix is (n, V).
    """
    embed: str
    output_W: str
    output_b: str
    layer: Callable[[int, str], str]
    transposed: bool = False


def export_stack(weights, names, export_layer):
    """Converts the weights of a model to another system's names.

    Args:
        weights (dict): Weights as in `rnnlm.interchange.weights`.
        names (Names): The system's names.
        export_layer: The system's function of that name.

    Returns:
        dict: Name -> array.

    Raises:
        rnnlm.errors.InputError: If they are not the weights of a model.
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
    """Converts tensors to weights: the inverse of `export_stack`.

    Args:
        tensors (dict): Name -> array, exactly those of the model.
        names (Names): The system's names.
        layer_shapes: Function of in and n; returns a dict, the shapes of a layer.
        import_layer: The system's function of that name.
        lateral (tuple): Name within a layer of a matrix that has an axis of size n, and
            that axis.

    Returns:
        dict: Weights as in `rnnlm.interchange.weights`.

    Raises:
        rnnlm.errors.InputError: If a tensor is missing, unknown, or has a wrong shape
            or dtype.
    """
    n_vocab = axis_size(tensors, names.embed, 0)
    n_in = axis_size(tensors, names.embed, 1)
    n_layers = 1
    # Layers are counted by name; a missing tensor is then reported by `check_tensors`.
    while any(names.layer(n_layers, name) in tensors for name in layer_shapes(1, 1)):
        n_layers += 1
    shapes, n = {names.embed: (n_vocab, n_in)}, n_in
    for k in range(n_layers):
        # The lateral matrix is square up to a factor of 4, so one axis gives n.
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
    """Raises InputError for a model with gates that are not sigmoids.

    Raises:
        rnnlm.errors.InputError: If there are such gates; the message names the layer.
    """
    for k, layer in enumerate(structure.layers, 1):
        if layer.link != 'LSTM':
            raise InputError(
                f'l{k}: expected an LSTM whose gates are sigmoids, as in this format, '
                f'found a {layer.link}; write a .npz, .keras or .onnx file')


def block_shapes(n_in, n, names):
    """Returns the shapes of a layer of blocks with two biases, by name (dict).

    Args:
        n_in, n (int): Its numbers of inputs and units.
        names (dict): The system's names of 'W', 'U', 'b' and 'second b', in its order.
    """
    shapes = {'W': (4 * n, n_in), 'U': (4 * n, n), 'b': (4 * n,), 'second b': (4 * n,)}
    return {name: shapes[part] for part, name in names.items()}


def export_blocks(layer, order, names):
    """Converts a layer to blocks of rows, for a system that adds two biases.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).
        order (tuple of str): The system's gates.
        names (dict): As for `block_shapes`.

    Returns:
        dict: Name -> array; the second bias is zero.

    Raises:
        rnnlm.errors.InputError: If it is not a layer.
    """
    check_layer(layer)
    b = to_blocks(layer['upward/b'], order)
    parts = {'W': to_blocks(layer['upward/W'], order), 'b': b,
             'U': to_blocks(layer['lateral/W'], order), 'second b': second_bias(b)}
    return {name: parts[part] for part, name in names.items()}


def import_blocks(tensors, order, names):
    """Converts such tensors to a layer, adding the biases; inverts `export_blocks`.

    Raises:
        rnnlm.errors.InputError: If a tensor is missing, unknown, or has a wrong shape
            or dtype.
    """
    check_tensors(tensors, block_shapes(
        axis_size(tensors, names['W'], 1), axis_size(tensors, names['U'], 1), names))
    b = added(tensors[names['b']], tensors[names['second b']])
    return {'upward/W': from_blocks(tensors[names['W']], order),
            'upward/b': from_blocks(b, order),
            'lateral/W': from_blocks(tensors[names['U']], order)}
