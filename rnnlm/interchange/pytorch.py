"""PyTorch: nn.Embedding, nn.LSTM and nn.Linear, by the names of a state dict.

nn.LSTM keeps the gates in blocks i, f, g, o (g is the cell input), layer k in
weight_ih_l{k} (4n, in) and weight_hh_l{k} (4n, n), and adds up two biases; see
https://pytorch.org/docs/stable/generated/torch.nn.LSTM.html

Its files are state dicts: a zip file of a pickle and the data.  torch is needed to
write one, not to read it: `_torch_pickle` finds out what the pickle describes without
running it.
"""
import io
import re
from collections.abc import Mapping

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import _torch_pickle, _untrusted
from rnnlm.interchange.naming import (
    Names, block_shapes, export_blocks, export_stack, import_blocks, import_stack)
from rnnlm.interchange.weights import short_name
from rnnlm.serializers.atomic import writing

ORDER = ('i', 'f', 'a', 'o')

LAYER = {'W': 'weight_ih_l0', 'U': 'weight_hh_l0', 'b': 'bias_ih_l0',
         'second b': 'bias_hh_l0'}

# Where checkpoints of whole runs keep the state dict.
INNER = ('state_dict', 'model_state_dict', 'model')


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
        others = ', '.join(map(short_name, sorted(names)[:8]))
        raise InputError(
            f'{ending}: expected one tensor with that ending, for the {what}, found '
            f'{len(found) or "none"} among {others or "no tensors at all"}; leave only '
            'an embedding, an LSTM and an output layer')
    return found[0]


def read(path):
    """Reads a state dict, or a checkpoint that holds one.

    Args:
        path (str): a file of torch.save, from PyTorch 1.6 on.

    Returns:
        dict: name -> array; bfloat16 becomes float32, which has all its numbers.

    Raises:
        rnnlm.errors.InputError: if the file cannot be read or holds something else.
    """
    data = _untrusted.read_bytes(path)
    if not data.startswith(b'PK'):
        raise InputError(
            f'{path}: expected a file of PyTorch 1.6 or later, which is a zip file, '
            'found something else; load it in PyTorch and save its state_dict() again')
    with _untrusted.damaged(path, 'a state dict of PyTorch'):
        members = _untrusted.read_members(io.BytesIO(data), _is_needed)
        name, = (name for name in members if name.endswith('/data.pkl'))
        folder = name[:-len('data.pkl')]
        order = '>' if members.get(folder + 'byteorder') == b'big' else '<'
        try:
            found = _torch_pickle.parse(members[name])
        except InputError as e:
            raise InputError(f'{path}: {e}') from None
        state = _state_dict(path, found)
        numbers = {
            storage: _numbers(members[f'{folder}data/{storage.key}'], storage, order)
            for storage in {tensor.storage for tensor in state.values()}}
        tensors = {
            name: _untrusted.view(
                numbers[tensor.storage], tensor.first, tensor.shape, tensor.strides)
            for name, tensor in state.items()}
    _untrusted.require_room(path, tensors, len(data))
    return {name: numpy.array(array, array.dtype.newbyteorder('='), order='C')
            for name, array in tensors.items()}


def write(path, tensors):
    """Writes a state dict; needs torch.

    Args:
        path (str): the file.
        tensors (dict): name -> array.

    Raises:
        rnnlm.errors.InputError: if torch is missing.
    """
    try:
        import torch
    except ImportError:
        raise InputError(
            f'{path}: expected torch to write a state dict of PyTorch, found it '
            'missing; pip install torch, or write a .safetensors file') from None
    state = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    with writing(path) as f:
        torch.save(state, f)


def _is_needed(name):
    return re.fullmatch(r'[^/]*/(data\.pkl|byteorder|data/\d+)', name) is not None


def _numbers(content, storage, order):
    """The elements of a storage, one after the other."""
    if storage.dtype == 'bfloat16':
        return _untrusted.float32(numpy.frombuffer(content, order + 'u2'))
    return numpy.frombuffer(content, order + storage.dtype)


def _state_dict(path, found):
    """{name: tensor}, which may be in one of the usual places of a checkpoint."""
    for name in INNER:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping):
        raise InputError(
            f'{path}: expected a state dict, found {type(found).__name__}; save the '
            "model's state_dict()")
    for name, value in found.items():
        if type(name) is not str or type(value) is not _torch_pickle.Tensor:
            raise InputError(
                f'{path}: expected {short_name(name)!r} to be a tensor, found '
                f"{type(value).__name__}; save the model's state_dict()")
    return found
