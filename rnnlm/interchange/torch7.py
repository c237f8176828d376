"""Torch7's char-rnn: two nn.Linear a layer, i2h and h2h, and one for the output.

Both have a bias, and the rows of both are in blocks i, f, o, g (g is the cell input);
see https://github.com/karpathy/char-rnn, model/LSTM.lua.

It has no embedding: the first layer is given the character as a one-hot vector.  That
is an embedding that is the identity, (V, V), and so it is imported.  The other way
round, what the embedding does is put into the first layer: W_u (E^T onehot) is
(W_u E^T) onehot, up to rounding, unless E is the identity and nothing is to be done.
"""
import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import weights as ours
from rnnlm.interchange.stack import (
    Names, block_shapes, export_blocks, export_stack, import_blocks, import_stack)

MOST_CHARACTERS = 10_000
ORDER = ('i', 'f', 'o', 'a')
LAYER = {'W': 'i2h.weight', 'b': 'i2h.bias', 'U': 'h2h.weight',
         'second b': 'h2h.bias'}
NAMES = Names('embed', 'decoder.weight', 'decoder.bias',
              lambda k, name: name.replace('.', f'_{k + 1}.'))


def export_layer(layer):
    """A layer as the parameters of i2h and h2h.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'i2h.weight' (4n, in), 'i2h.bias' (4n,), 'h2h.weight' (4n, n) and
        'h2h.bias' (4n,), which is zeros.

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
    """A model as char-rnn's, the embedding put into the first layer.

    Args:
        weights (dict): as of `rnnlm.interchange.weights`.

    Returns:
        dict: 'i2h_1.weight' (4n, V), 'i2h_1.bias', 'h2h_1.weight', 'h2h_1.bias',
        'i2h_2.weight' (4n, n), ..., 'decoder.weight' (V, n), 'decoder.bias' (V,).

    Raises:
        rnnlm.errors.InputError: if they are no weights of a model.
    """
    tensors = export_stack(weights, NAMES, export_layer)
    embed = tensors.pop(NAMES.embed)
    if not _is_identity(embed):
        tensors['i2h_1.weight'] = tensors['i2h_1.weight'] @ embed.T
    return tensors


def import_model(tensors):
    """The inverse of `export_model`, for an embedding that is the identity.

    Args:
        tensors (dict): as `export_model` returns them.

    Returns:
        dict: weights as of `rnnlm.interchange.weights`, 'embed/W' of (V, V).

    Raises:
        rnnlm.errors.InputError: as `import_layer`.
    """
    n_vocab = ours.size(tensors, 'decoder.weight', 0)
    dtype = tensors['decoder.weight'].dtype
    # Before (V, V) is made, which takes memory that the file did not.
    if n_vocab > MOST_CHARACTERS:
        raise InputError(
            f'decoder.weight: expected a model of at most {MOST_CHARACTERS:,} '
            f'characters, found one of {n_vocab:,}; its embedding would be the '
            'identity of that size')
    n_rows = ours.size(tensors, 'i2h_1.weight', 0)
    ours.check({'i2h_1.weight': tensors['i2h_1.weight']},
               {'i2h_1.weight': (n_rows, n_vocab)})
    return import_stack({NAMES.embed: numpy.eye(n_vocab, dtype=dtype), **tensors},
                        NAMES, _layer_shapes, import_layer)


def _is_identity(embed):
    n_vocab, n_embed = embed.shape
    return n_vocab == n_embed and numpy.array_equal(embed, numpy.eye(n_vocab))
