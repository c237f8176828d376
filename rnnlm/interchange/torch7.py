"""Torch7's char-rnn: two nn.Linear for each layer, i2h and h2h, and one for the output.

Both have a bias, and their rows are in blocks i, f, o, g (g is the cell input); see
https://github.com/karpathy/char-rnn, model/LSTM.lua.

char-rnn has no embedding: the first layer gets the character as a one-hot vector.  This
is imported as an embedding that is the identity, (V, V).  On export, the embedding is
merged into the first layer: W_u (E^T onehot) = (W_u E^T) onehot, up to rounding.

Files are checkpoints of char-rnn, of torch-rnn (which has an embedding), or tables of
tensors.
"""
import os
import struct

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import (
    _by_shape, _tokens, _torch7_models, _torch7_reader as lua, _untrusted)
from rnnlm.interchange.naming import (
    Names, block_shapes, export_blocks, export_stack, import_blocks, import_stack)
from rnnlm.interchange.weights import as_float32, axis_size, check_tensors
from rnnlm.serializers.atomic import writing

ORDER = ('i', 'f', 'o', 'a')

LAYER = {'W': 'i2h.weight', 'b': 'i2h.bias', 'U': 'h2h.weight',
         'second b': 'h2h.bias'}

NAMES = Names('embed', 'decoder.weight', 'decoder.bias',
              lambda k, name: name.replace('.', f'_{k + 1}.'))


def export_layer(layer):
    """Converts a layer to the parameters of i2h and h2h.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'i2h.weight' (4n, in), 'i2h.bias' (4n,), 'h2h.weight' (4n, n) and
        'h2h.bias' (4n,), which is zero.

    Raises:
        rnnlm.errors.InputError: If it is not a layer.
    """
    return export_blocks(layer, ORDER, LAYER)


def import_layer(tensors):
    """Converts such tensors to a layer, adding the biases; inverts `export_layer`.

    Raises:
        rnnlm.errors.InputError: If a tensor is missing, unknown, or has a wrong shape
            or dtype.
    """
    return import_blocks(tensors, ORDER, LAYER)


def _layer_shapes(n_in, n):
    return block_shapes(n_in, n, LAYER)


def export_model(weights):
    """Converts a model to char-rnn's form, merging the embedding into layer 1.

    Args:
        weights (dict): Weights as in `rnnlm.interchange.weights`.

    Returns:
        dict: 'i2h_1.weight' (4n, V), 'i2h_1.bias', 'h2h_1.weight', 'h2h_1.bias',
        'i2h_2.weight' (4n, n), ..., 'decoder.weight' (V, n), 'decoder.bias' (V,).

    Raises:
        rnnlm.errors.InputError: If they are not the weights of a model.
    """
    tensors = export_stack(weights, NAMES, export_layer)
    # char-rnn has no embedding, so it is merged into the first layer.
    embed = tensors.pop(NAMES.embed)
    if not _is_identity(embed):
        tensors['i2h_1.weight'] = tensors['i2h_1.weight'] @ embed.T
    return tensors


def import_model(tensors):
    """Converts such tensors to weights, with the identity as the embedding.

    Args:
        tensors (dict): Tensors as `export_model` returns; or with 'embed' (V, m), from
            a model that has an embedding.

    Returns:
        dict: Weights as in `rnnlm.interchange.weights`, with 'embed/W' (V, V) if there
        was no embedding.

    Raises:
        rnnlm.errors.InputError: As in `import_layer`.
    """
    if NAMES.embed not in tensors:
        n_vocab = axis_size(tensors, 'decoder.weight', 0)
        # Checked before (V, V) is created, which needs more memory than the file.
        _by_shape.require_one_hot(n_vocab)
        n_rows = axis_size(tensors, 'i2h_1.weight', 0)
        check_tensors({'i2h_1.weight': tensors['i2h_1.weight']},
                      {'i2h_1.weight': (n_rows, n_vocab)})
        tensors = {NAMES.embed: numpy.eye(
            n_vocab, dtype=tensors['decoder.weight'].dtype), **tensors}
    return import_stack(
        tensors, NAMES, _layer_shapes, import_layer, ('h2h.weight', 1))


def _is_identity(embed):
    n_vocab, n_embed = embed.shape
    return n_vocab == n_embed and numpy.array_equal(embed, numpy.eye(n_vocab))


def read(path):
    """Reads a checkpoint of char-rnn or torch-rnn, or a table of tensors.

    Args:
        path (str): The file, binary or ASCII.

    Returns:
        dict: Name -> array: 'i2h_1.weight', 'i2h_1.bias', ..., 'decoder.bias'; see
        `rnnlm.interchange.torch7`; and 'embed' (V, m) for torch-rnn.

    Raises:
        rnnlm.errors.InputError: If it cannot be read or is none of these.
    """
    return _read(path)[0]


def _read(path):
    root = lua.load(path)
    tensors = _torch7_models.tensors_of(path, root)
    _untrusted.require_room(path, tensors, os.path.getsize(path))
    return {name: numpy.ascontiguousarray(array, array.dtype.newbyteorder('='))
            for name, array in tensors.items()}, root


def load(path):
    """Loads the model in a file, with its tokens if present.

    Args:
        path (str): As in `read`.

    Returns:
        tuple: `rnnlm.interchange._by_shape.Model`, and a list of tokens or None.

    Raises:
        rnnlm.errors.InputError: As in `read` and `import_model`.
    """
    tensors, root = _read(path)
    weights = import_model(as_float32(tensors))
    notes = [] if NAMES.embed in tensors else ['embed is one-hot input, the identity']
    tokens = _tokens.find(_torch7_models.tokens_in(root), len(weights['embed/W']))
    return _by_shape.Model(weights, notes), tokens


def with_tokens(tensors, tokens):
    """Adds the tokens of a model to a table of tensors, as char-rnn's `vocab`.

    Args:
        tensors (dict): Tensors as `export_model` returns.
        tokens (list of bytes): In the order of their ids; or None.

    Returns:
        dict: Argument for `write`.
    """
    if tokens is None:
        return tensors
    return {**tensors, 'vocab': {
        token.decode('utf-8', 'surrogateescape'): i
        for i, token in enumerate(tokens, 1)}}


def write(path, value):
    """Writes a binary file that Lua's torch.load reads.

    Args:
        path (str): The file.
        value: None, a bool, a number, a str, an array of float32, float64, float16,
            int64, int32, int16, int8 or uint8, or a dict of these, without cycles.

    Raises:
        rnnlm.errors.InputError: If it contains anything else.
    """
    # Depth first with an explicit stack: keys and values follow their table.
    parts, index, waiting = [], 0, [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            index += 1
            parts.append(struct.pack('<iii', lua.TABLE, index, len(value)))
            for key, inner in reversed(value.items()):
                waiting += inner, key
        elif isinstance(value, numpy.ndarray):
            index += 2  # one for its storage
            parts += _tensor(numpy.atleast_1d(value), index)
        else:
            parts.append(_plain(value))
    with writing(path) as f:
        f.writelines(parts)


def _plain(value):
    if value is None:
        return struct.pack('<i', lua.NIL)
    if isinstance(value, bool):
        return struct.pack('<ii', lua.BOOLEAN, value)
    if isinstance(value, (int, float)):
        return struct.pack('<id', lua.NUMBER, value)
    if isinstance(value, str):
        text = value.encode('utf-8', 'surrogateescape')
        return struct.pack('<ii', lua.STRING, len(text)) + text
    raise InputError(
        'Torch7: expected None, a bool, a number, a string, an array or a dict, found '
        f'{type(value).__name__}; convert it first')


def _tensor(array, index):
    """Serializes a tensor; the index before its own is that of its storage."""
    dtype = array.dtype.newbyteorder('<')
    kinds = {numpy.dtype(code): kind for kind, code in lua.KINDS.items()
             if not kind.startswith('Cuda')}
    if dtype not in kinds:
        raise InputError(
            f'Torch7: expected an array of one of {", ".join(map(str, kinds))}, found '
            f'{array.dtype}; convert it first')
    n_axes, steps = array.ndim, []
    for axis in range(n_axes):
        steps.append(int(numpy.prod(array.shape[axis + 1:])))
    return [_head(index, f'torch.{kinds[dtype]}Tensor'),
            struct.pack(f'<i{2 * n_axes + 1}q', n_axes, *array.shape, *steps, 1),
            _head(index - 1, f'torch.{kinds[dtype]}Storage'),
            struct.pack('<q', array.size), array.astype(dtype).tobytes()]


def _head(index, name):
    return struct.pack(f'<iii3si{len(name)}s', lua.OBJECT, index, 3, b'V 1', len(name),
                       name.encode('ascii'))
