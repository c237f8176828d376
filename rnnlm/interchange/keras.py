"""Keras: Embedding, LSTM and Dense, by layer and variable.

An LSTM keeps the transposed matrices, kernel (in, 4n) and recurrent_kernel (n, 4n),
the gates in blocks i, f, c, o (c is the cell input); Dense has a kernel (n, V).  See
https://keras.io/api/layers/recurrent_layers/lstm/

Our gates are sigmoids.  Before Keras 2.3 the default of an LSTM was
recurrent_activation='hard_sigmoid', another function: `check_config` refuses it.
"""
from rnnlm.errors import InputError
from rnnlm.interchange import weights as ours
from rnnlm.interchange.blocks import from_blocks, to_blocks
from rnnlm.interchange.stack import Names, export_stack, import_stack

ORDER = ('i', 'f', 'a', 'o')

# What an LSTM's configuration must say, if it says anything of it.
CONFIG = {'activation': 'tanh', 'recurrent_activation': 'sigmoid',
          'go_backwards': False, 'use_bias': True}


def layer_name(k):
    """str: what Keras calls LSTM layer k, 0 the lowest, unless it is told otherwise."""
    return f'lstm_{k}' if k else 'lstm'


NAMES = Names('embedding/embeddings', 'dense/kernel', 'dense/bias',
              lambda k, name: f'{layer_name(k)}/{name}', transposed=True)


def check_config(config):
    """Refuses an LSTM layer that computes something else than ours.

    Args:
        config (dict): of the layer, as Keras's get_config gives it.

    Raises:
        rnnlm.errors.InputError: naming what it has otherwise.
    """
    for name, expected in CONFIG.items():
        found = config.get(name, expected)
        if found != expected:
            layer = ours.shown(config.get('name', 'lstm'))
            raise InputError(
                f'{layer}: expected an LSTM with {name}={expected!r}, found '
                f'{ours.shown(repr(found))}, which computes something else; train it '
                'with what is expected')


def export_layer(layer):
    """A layer as the variables of an LSTM.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'kernel' (in, 4n), 'recurrent_kernel' (n, 4n), 'bias' (4n,).

    Raises:
        rnnlm.errors.InputError: if it is no layer.
    """
    ours.check_layer(layer)
    return {'kernel': to_blocks(layer['upward/W'], ORDER).T.copy(),
            'recurrent_kernel': to_blocks(layer['lateral/W'], ORDER).T.copy(),
            'bias': to_blocks(layer['upward/b'], ORDER)}


def import_layer(tensors):
    """The inverse of `export_layer`.

    Raises:
        rnnlm.errors.InputError: if a tensor is missing, one too many, or of another
            shape or dtype.
    """
    ours.check(tensors, _layer_shapes(ours.size(tensors, 'kernel', 0),
                                      ours.size(tensors, 'recurrent_kernel', 0)))
    return {'upward/W': from_blocks(tensors['kernel'].T, ORDER),
            'upward/b': from_blocks(tensors['bias'], ORDER),
            'lateral/W': from_blocks(tensors['recurrent_kernel'].T, ORDER)}


def _layer_shapes(n_in, n):
    return {'kernel': (n_in, 4 * n), 'recurrent_kernel': (n, 4 * n), 'bias': (4 * n,)}


def export_model(weights):
    """A model as Embedding, LSTM layers and Dense.

    Args:
        weights (dict): as of `rnnlm.interchange.weights`.

    Returns:
        dict: 'embedding/embeddings' (V, m), 'lstm/kernel', ..., 'lstm_1/kernel', ...,
        'dense/kernel' (n, V), 'dense/bias' (V,).

    Raises:
        rnnlm.errors.InputError: if they are no weights of a model.
    """
    return export_stack(weights, NAMES, export_layer)


def import_model(tensors):
    """The inverse of `export_model`.

    Raises:
        rnnlm.errors.InputError: as `import_layer`.
    """
    return import_stack(tensors, NAMES, _layer_shapes, import_layer)
