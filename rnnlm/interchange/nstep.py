"""Chainer's L.NStepLSTM, with a matrix and a bias for each gate and side.

In each layer, w0 to w3 (n, in) are multiplied with the input and w4 to w7 (n, n) with
the previous output, both in the order i, f, a, o.  b0 to b7 (n,) have the same order
and are added in pairs.  The documentation of Chainer's n_step_lstm swaps the last two
gates; its code, and cuDNN, have the order given here.
"""
from rnnlm.interchange.interleaving import added, join, second_bias, split
from rnnlm.interchange.naming import Names, export_stack, import_stack
from rnnlm.interchange.weights import axis_size, check_layer, check_tensors

ORDER = ('i', 'f', 'a', 'o')
NAMES = Names('embed/W', 'output/W', 'output/b', lambda k, name: f'lstm/{k}/{name}')


def export_layer(layer):
    """Converts a layer to the parameters of one layer of NStepLSTM.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'w0' to 'w3' (n, in), 'w4' to 'w7' (n, n), 'b0' to 'b3' (n,), and 'b4'
        to 'b7' (n,), which are zero.

    Raises:
        rnnlm.errors.InputError: If it is not a layer.
    """
    check_layer(layer)
    ws = split(layer['upward/W'], ORDER) + split(layer['lateral/W'], ORDER)
    bs = split(layer['upward/b'], ORDER)
    bs += [second_bias(b) for b in bs]
    return {**{f'w{i}': w for i, w in enumerate(ws)},
            **{f'b{i}': b for i, b in enumerate(bs)}}


def import_layer(tensors):
    """Converts such tensors to a layer, adding the biases; inverts `export_layer`.

    Raises:
        rnnlm.errors.InputError: If a tensor is missing, unknown, or has a wrong shape
            or dtype.
    """
    check_tensors(tensors, _layer_shapes(
        axis_size(tensors, 'w0', 1), axis_size(tensors, 'w4', 1)))
    ws = [tensors[f'w{i}'] for i in range(8)]
    bs = [added(tensors[f'b{i}'], tensors[f'b{i + 4}']) for i in range(4)]
    return {'upward/W': join(ws[:4], ORDER), 'upward/b': join(bs, ORDER),
            'lateral/W': join(ws[4:], ORDER)}


def _layer_shapes(n_in, n):
    return {**{f'w{i}': (n, n_in if i < 4 else n) for i in range(8)},
            **{f'b{i}': (n,) for i in range(8)}}


def export_model(weights):
    """Converts a model to a Chain of L.EmbedID, L.NStepLSTM and L.Linear.

    Args:
        weights (dict): Weights as in `rnnlm.interchange.weights`.

    Returns:
        dict: 'embed/W' (V, m), 'lstm/0/w0', ..., 'output/W' (V, n), 'output/b' (V,).

    Raises:
        rnnlm.errors.InputError: If they are not the weights of a model.
    """
    return export_stack(weights, NAMES, export_layer)


def import_model(tensors):
    """Converts such tensors to weights: the inverse of `export_model`.

    Raises:
        rnnlm.errors.InputError: As in `import_layer`.
    """
    return import_stack(tensors, NAMES, _layer_shapes, import_layer, ('w4', 0))
