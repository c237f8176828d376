"""Reading of torch.save files: their pickles, and the data of their tensors.

Since PyTorch 1.6 they are zip files with a pickle, data.pkl, and a member for each
storage.  Before, they were five pickles (magic number, protocol, system, object, names
of the storages), followed by the storages, each preceded by its number of elements.
"""
import io
import re
from typing import NamedTuple

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import _torch_module, _torch_pickle, _untrusted

MAGIC = 0x1950a86a20f9469cfc6c
PROTOCOL = 1001


class File(NamedTuple):
    """Content of a torch.save file with a model.

    Attributes:
        tensors (dict): Name -> array; bfloat16 becomes float32, without loss.
        classes (dict): Prefix of parameter names -> class, for a whole nn.Module.
        root: Whole content of the file, from `rnnlm.interchange._torch_pickle`.
        writer (str): The versions of PyTorch that write such files.
        found (str): Where in the file the parameters are.
    """
    tensors: dict
    classes: dict
    root: object
    writer: str
    found: str


def read(path):
    """Reads a state dict, a checkpoint that contains one, or a pickled nn.Module.

    Args:
        path (str): A torch.save file of any version since 0.1.10.

    Returns:
        File: With the tensors of the only model in it.

    Raises:
        rnnlm.errors.InputError: If the file cannot be read or holds something else.
    """
    data = _untrusted.read_bytes(path)
    _refuse_tar(path, data)
    with _untrusted.damaged(path, 'a file of torch.save'):
        if data.startswith(b'PK'):
            root, storage_of = _open_zip(path, data)
            writer = 'PyTorch 1.6 or later'
        else:
            root, storage_of = _open_old(path, data)
            writer = 'PyTorch before 1.6, or its old format'
        model = _torch_module.find(path, root)
        _torch_module.require_tensors(path, model)
        # Tensors can share a storage, which is read once; each tensor is a view of it.
        numbers, tensors = {}, {}
        for name, tensor in model.tensors.items():
            place = tensor.storage.dtype, tensor.storage.key
            if place not in numbers:
                numbers[place] = storage_of(*place)
            tensors[name] = _untrusted.view(
                numbers[place], tensor.first, tensor.shape, tensor.strides)
    _untrusted.require_room(path, tensors, len(data))
    # Copies, because views would keep the whole file in memory.
    tensors = {name: numpy.array(array, array.dtype.newbyteorder('='), order='C')
               for name, array in tensors.items()}
    return File(tensors, model.classes, root, writer, model.place)


def _refuse_tar(path, data):
    if data[257:262] == b'ustar' or data.startswith((b'sys_info\0', b'storages\0')):
        raise InputError(
            f'{path}: expected a file of PyTorch 0.1.10 or later, found the tar file '
            'of an earlier one; load it in PyTorch 1 and save it again')


def _open_zip(path, data):
    """Returns the pickle's content, and a function (dtype, key) -> storage's data."""
    members = _untrusted.read_members(io.BytesIO(data), _is_needed)
    pickles = [name for name in members if name.endswith('/data.pkl')]
    if any(name.endswith('/constants.pkl') for name in members):
        raise InputError(
            f'{path}: expected a file of torch.save, found one of torch.jit.save; load '
            "it in PyTorch and save the model's state_dict() with torch.save")
    name, = pickles
    folder = name[:-len('data.pkl')]
    order = '>' if members.get(folder + 'byteorder') == b'big' else '<'
    return _torch_pickle.parse(members[name]), lambda dtype, key: _numbers(
        members[f'{folder}data/{key}'], dtype, order)


def _is_needed(name):
    return re.fullmatch(
        r'[^/]*/(data\.pkl|constants\.pkl|byteorder|data/\d+)', name) is not None


def _open_old(path, data):
    """Like `_open_zip`, for the format before PyTorch 1.6."""
    stream = io.BytesIO(data)
    if _torch_pickle.parse(stream, 100) != MAGIC:
        raise ValueError('another magic number')
    if _torch_pickle.parse(stream, 100) != PROTOCOL:
        raise ValueError('another protocol')
    system = _torch_pickle.parse(stream, 10000)
    order = '<' if system.get('little_endian', True) else '>'
    dtypes, places = {}, {}
    root = _torch_pickle.parse(stream, storages=dtypes)
    keys = _torch_pickle.parse(stream)
    at = stream.tell()
    for key in keys:
        if key not in dtypes:
            raise InputError(
                f'{path}: expected tensors of floats or integers, found a quantized '
                "one or one of another type; save the model's state_dict() as floats")
        n = int.from_bytes(data[at:at + 8], 'little' if order == '<' else 'big')
        places[key] = at + 8, at + 8 + n * _size(dtypes[key])
        _, at = places[key]
        if at > len(data):
            raise ValueError(f'a storage of {n:,} elements')
    whole = memoryview(data)
    return root, lambda dtype, key: _numbers(
        whole[slice(*places[key])], dtype, order)


def _size(dtype):
    return 2 if dtype == 'bfloat16' else numpy.dtype(dtype).itemsize


def _numbers(content, dtype, order):
    """Returns the elements of a storage."""
    if dtype == 'bfloat16':
        return _untrusted.float32(numpy.frombuffer(content, order + 'u2'))
    return numpy.frombuffer(content, order + dtype)
