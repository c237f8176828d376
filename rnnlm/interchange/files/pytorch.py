"""PyTorch's state dicts: a zip file of a pickle and the data; needs torch.

A pickle can run code.  torch.load with weights_only=True does not let it, but it can
still ask for any amount of memory.  So torch is given only pickles that call nothing
but what rebuilds a tensor, in a zip file that is made here of what was looked at.
"""
import contextlib
import io
import pickletools
import zipfile
from collections.abc import Mapping

import numpy

from rnnlm.errors import InputError
from rnnlm.files import writing
from rnnlm.interchange.files import limits

# All that a state dict's pickle has to call, besides the types of storages.
CALLS = {'collections OrderedDict', 'torch._utils _rebuild_tensor_v2',
         'torch._utils _rebuild_parameter'}
STORAGES = {f'torch {kind}Storage' for kind in (
    'Float', 'Double', 'Half', 'BFloat16', 'Int', 'Long', 'Short', 'Char', 'Byte',
    'Bool')}
# Other ways of a pickle to call something.
FORBIDDEN = {'STACK_GLOBAL', 'INST', 'OBJ', 'NEWOBJ', 'NEWOBJ_EX', 'EXT1', 'EXT2',
             'EXT4'}
# Where checkpoints of whole runs keep the state dict.
INNER = ('state_dict', 'model_state_dict', 'model')


def read(path):
    """Reads a state dict, or a checkpoint that holds one.

    Args:
        path (str): a file of torch.save, from PyTorch 1.6 on.

    Returns:
        dict: name -> array; bfloat16 becomes float32, which has all its numbers.

    Raises:
        rnnlm.errors.InputError: if torch is missing, the file cannot be read or holds
            something else.
    """
    torch = _torch(path)
    data = limits.read_bytes(path)
    if not data.startswith(b'PK'):
        raise InputError(
            f"{path}: expected a file of PyTorch 1.6 or later, which is a zip file, "
            'found something else; load it in PyTorch and save its state_dict() again')
    with limits.damaged(path, 'a state dict of PyTorch'):
        members = limits.read_members(path, io.BytesIO(data), lambda name: True)
        _check_pickle(path, members)
        clean = io.BytesIO()
        with zipfile.ZipFile(clean, 'w') as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        clean.seek(0)
        found = torch.load(clean, map_location='cpu', weights_only=True)
        tensors = {name: _array(torch, path, name, value, len(data))
                   for name, value in _state_dict(path, found).items()}
    limits.require_room(path, tensors, len(data))
    return {name: numpy.ascontiguousarray(array) for name, array in tensors.items()}


def write(path, tensors):
    """Writes a state dict.

    Args:
        path (str): the file.
        tensors (dict): name -> array.

    Raises:
        rnnlm.errors.InputError: if torch is missing.
    """
    torch = _torch(path)
    state = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    with writing(path) as f:
        torch.save(state, f)


def _torch(path):
    try:
        import torch
    except ImportError:
        raise InputError(
            f'{path}: expected torch for a state dict of PyTorch, found it missing; '
            'pip install torch, or use a safetensors file') from None
    return torch


def _check_pickle(path, members):
    """Refuses a pickle that calls anything but what a state dict needs."""
    pickle, = (name for name in members if name.endswith('/data.pkl'))
    folder = pickle[:-len('data.pkl')]
    if folder.count('/') != 1 or not all(name.startswith(folder) for name in members):
        raise ValueError(f'{pickle!r} among {len(members)} others')
    for code, argument, _ in pickletools.genops(members[pickle]):
        if code.name in FORBIDDEN or (
                code.name == 'GLOBAL' and argument not in CALLS | STORAGES):
            raise InputError(
                f'{path}: expected tensors only, found a pickle that calls '
                f'{argument or code.name}, which could be anything; save the '
                "model's state_dict()")


def _state_dict(path, found):
    for name in INNER:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(type(name) is str for name in found):
        raise InputError(
            f'{path}: expected a state dict, found {type(found).__name__}; save the '
            "model's state_dict()")
    return found


def _array(torch, path, name, value, room):
    """A tensor as a view of what was loaded; nothing is copied yet."""
    if not isinstance(value, torch.Tensor):
        raise InputError(
            f'{path}: expected {name!r} to be a tensor, found {type(value).__name__}; '
            "save the model's state_dict()")
    if value.numel() * value.element_size() > room:
        raise ValueError(f'{name!r} of {value.numel():,} elements')
    value = value.detach()
    with contextlib.suppress(TypeError):  # NumPy has no bfloat16
        return value.numpy()
    return value.float().numpy()
