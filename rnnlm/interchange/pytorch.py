"""PyTorch: nn.Embedding, nn.LSTM and nn.Linear, by the names of a state dict.

nn.LSTM keeps the gates in blocks i, f, g, o (g is the cell input), layer k in
weight_ih_l{k} (4n, in) and weight_hh_l{k} (4n, n), and adds up two biases; see
https://pytorch.org/docs/stable/generated/torch.nn.LSTM.html
"""
import re

from rnnlm.errors import InputError
from rnnlm.interchange import weights as ours
from rnnlm.interchange.stack import (
    Names, block_shapes, export_blocks, export_stack, import_blocks, import_stack)

ORDER = ('i', 'f', 'a', 'o')

LAYER = {'W': 'weight_ih_l0', 'U': 'weight_hh_l0', 'b': 'bias_ih_l0',
         'second b': 'bias_hh_l0'}


def export_layer(layer):
    """A layer as the parameters of an nn.LSTM of one layer.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'weight_ih_l0' (4n, in), 'weight_hh_l0' (4n, n), 'bias_ih_l0' (4n,) and
        'bias_hh_l0' (4n,), which is zeros.

    Raises:
        rnnlm.errors.InputError: if it is no layer.
    """
    return export_blocks(layer, ORDER, LAYER)


def import_layer(tensors):
    """The inverse of `export_layer`; the biases are added up.

    Raises:
        rnnlm.errors.InputError: if a tensor is missing, one too many, or of another
            shape or dtype.
    """
    return import_blocks(tensors, ORDER, LAYER)


def _layer_shapes(n_in, n):
    return block_shapes(n_in, n, LAYER)


def export_model(weights):
    """A model as a state dict.

    Args:
        weights (dict): as of `rnnlm.interchange.weights`.

    Returns:
        dict: 'embed.weight' (V, m), 'lstm.weight_ih_l0', ..., 'output.weight' (V, n),
        'output.bias' (V,).

    Raises:
        rnnlm.errors.InputError: if they are no weights of a model.
    """
    return export_stack(weights, _names('embed.', 'lstm.', 'output.'), export_layer)


def import_model(tensors):
    """The inverse of `export_model`, whatever the three modules are called.

    The LSTM is the module with a weight_ih_l0, the output layer the one with a bias,
    the embedding the one without; in PyTorch's example word_language_model they are
    rnn, decoder and encoder.

    Args:
        tensors (dict): a state dict as NumPy arrays.

    Returns:
        dict: weights as of `rnnlm.interchange.weights`.

    Raises:
        rnnlm.errors.InputError: if the modules are not told apart by that, or a
            tensor is missing, one too many, or of another shape or dtype.
    """
    lstm = _prefix('LSTM', 'weight_ih_l0', tensors)
    others = {name for name in tensors if not re.fullmatch(
        re.escape(lstm) + r'(weight|bias)_\w+', name)}
    output = _prefix('output layer', 'bias', others)
    embed = _prefix('embedding', 'weight', others - {output + 'weight'})
    return import_stack(
        tensors, _names(embed, lstm, output), _layer_shapes, import_layer)


def _names(embed, lstm, output):
    return Names(embed + 'weight', output + 'weight', output + 'bias',
                 lambda k, name: f'{lstm}{name[:-1]}{k}')


def _prefix(what, ending, names):
    """What stands before the only name that is `ending` or ends in a dot and that."""
    found = [name[:-len(ending)] for name in names
             if name == ending or name.endswith('.' + ending)]
    if len(found) != 1:
        others = ', '.join(map(ours.shown, sorted(names)[:8]))
        raise InputError(
            f'{ending}: expected one tensor with that ending, for the {what}, found '
            f'{len(found) or "none"} among {others or "no tensors at all"}; leave only '
            'an embedding, an LSTM and an output layer')
    return found[0]
