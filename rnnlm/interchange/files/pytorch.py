"""PyTorch's state dicts: a zip file of a pickle and the data.

torch is needed to write one, not to read it: `rnnlm.interchange.files.pickled` finds
out what the pickle describes without running it.
"""
import io
import re
from collections.abc import Mapping

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange.files import limits, pickled
from rnnlm.interchange.weights import shown
from rnnlm.serializers.atomic import writing

# Where checkpoints of whole runs keep the state dict.
INNER = ('state_dict', 'model_state_dict', 'model')


def read(path):
    """Reads a state dict, or a checkpoint that holds one.

    Args:
        path (str): a file of torch.save, from PyTorch 1.6 on.

    Returns:
        dict: name -> array; bfloat16 becomes float32, which has all its numbers.

    Raises:
        rnnlm.errors.InputError: if the file cannot be read or holds something else.
    """
    data = limits.read_bytes(path)
    if not data.startswith(b'PK'):
        raise InputError(
            f'{path}: expected a file of PyTorch 1.6 or later, which is a zip file, '
            'found something else; load it in PyTorch and save its state_dict() again')
    with limits.damaged(path, 'a state dict of PyTorch'):
        members = limits.read_members(io.BytesIO(data), _is_needed)
        name, = (name for name in members if name.endswith('/data.pkl'))
        folder = name[:-len('data.pkl')]
        order = '>' if members.get(folder + 'byteorder') == b'big' else '<'
        try:
            found = pickled.parse(members[name])
        except InputError as e:
            raise InputError(f'{path}: {e}') from None
        state = _state_dict(path, found)
        numbers = {
            storage: _numbers(members[f'{folder}data/{storage.key}'], storage, order)
            for storage in {tensor.storage for tensor in state.values()}}
        tensors = {
            name: limits.view(
                numbers[tensor.storage], tensor.first, tensor.shape, tensor.strides)
            for name, tensor in state.items()}
    limits.require_room(path, tensors, len(data))
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
        return limits.float32(numpy.frombuffer(content, order + 'u2'))
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
        if type(name) is not str or type(value) is not pickled.Tensor:
            raise InputError(
                f'{path}: expected {shown(name)!r} to be a tensor, found '
                f"{type(value).__name__}; save the model's state_dict()")
    return found
