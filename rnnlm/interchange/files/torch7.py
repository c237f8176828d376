"""Torch7's files of tensors: those of a char-rnn checkpoint, or of a table."""
import struct

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange.files import limits, lua
from rnnlm.interchange.weights import shown
from rnnlm.serializers.atomic import writing


def read(path):
    """The tensors of a char-rnn checkpoint, or of a table of tensors.

    Args:
        path (str): the file, binary or ASCII.

    Returns:
        dict: name -> array.  In a graph of nngraph a module that is annotated has that
        name: 'i2h_1.weight', 'i2h_1.bias', ..., 'decoder.bias'; see
        `rnnlm.interchange.torch7`.

    Raises:
        rnnlm.errors.InputError: if it cannot be read or holds neither.
    """
    root = lua.load(path)
    tensors = _annotated(path, root)
    if not tensors and isinstance(root, dict):
        tensors = {name: value for name, value in root.items()
                   if isinstance(name, str) and isinstance(value, numpy.ndarray)}
    if not tensors:
        raise InputError(
            f'{path}: expected a char-rnn checkpoint or a table of tensors, found '
            'neither')
    with open(path, 'rb') as f:
        limits.require_room(path, tensors, f.seek(0, 2))
    return {name: numpy.ascontiguousarray(array, array.dtype.newbyteorder('='))
            for name, array in tensors.items()}


def _annotated(path, root):
    """The parameters of modules that a graph gives a name."""
    tensors, seen, waiting = {}, set(), [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, lua.Object):
            value = value.fields
        if not isinstance(value, dict) or id(value) in seen:
            continue
        seen.add(id(value))
        waiting += value.values()
        name, module = value.get('annotations'), value.get('module')
        name = name.get('name') if isinstance(name, dict) else None
        fields = module.fields if isinstance(module, lua.Object) else None
        if not isinstance(name, str) or not isinstance(fields, dict):
            continue
        for key in 'weight', 'bias':
            array = fields.get(key)
            if not isinstance(array, numpy.ndarray):
                continue
            if tensors.setdefault(f'{name}.{key}', array) is not array:
                raise InputError(
                    f'{path}: expected one {shown(name)}.{key}, found two that '
                    'differ; save one model')
    return tensors


def write(path, value):
    """Writes a binary file that torch.load reads.

    Args:
        path (str): the file.
        value: None, a bool, a number, a str, an array of float32, float64, float16,
            int64, int32, int16, int8 or uint8, or a dict of these; a tree, no cycles.

    Raises:
        rnnlm.errors.InputError: if there is something else in it.
    """
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
    """What is written of a tensor; the index before its own is its storage's."""
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
