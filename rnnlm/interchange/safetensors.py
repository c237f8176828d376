"""safetensors: the length of a header, the header in JSON, and the data.

https://github.com/huggingface/safetensors#format
"""
import json
import math
import struct

import numpy

from rnnlm._version import __version__
from rnnlm.errors import InputError
from rnnlm.interchange import _tokens, _untrusted, pytorch
from rnnlm.interchange._by_shape import LEAVE
from rnnlm.interchange.weights import as_float32, short_name
from rnnlm.serializers.atomic import writing

# Key of the properties of a model in the metadata.
METADATA = 'rnnlm model'

DTYPES = {'F16': '<f2', 'F32': '<f4', 'F64': '<f8', 'I32': '<i4', 'I64': '<i8'}
# Dtypes of masks and counts, which may accompany the weights.
OTHERS = {'BOOL': '?', 'I8': 'i1', 'U8': 'u1', 'I16': '<i2', 'U16': '<u2', 'U32': '<u4',
          'U64': '<u8'}
# Dtypes that NumPy does not have, or that are not floats.
NOT_READ = ('F8_E4M3', 'F8_E5M2', 'F8_E8M0', 'F6_E2M3', 'F6_E3M2', 'F4', 'C64')


def read(path):
    """Reads a safetensors file.

    Args:
        path (str): The file.

    Returns:
        dict: Name -> array; bfloat16 becomes float32, without loss.

    Raises:
        rnnlm.errors.InputError: If it cannot be read.
    """
    return _read(path)[0]


def load(path):
    """Loads the model in a file, by PyTorch's names, with its tokens if present.

    Args:
        path (str): The file.

    Returns:
        tuple: `rnnlm.interchange._by_shape.Model`; a `Vocabulary`, a list of tokens or
        None; and the dropout that it was trained with, or None.

    Raises:
        rnnlm.errors.InputError: As in `read`, or if it is not a language model.
    """
    tensors, metadata = _read(path)
    # save_model writes shared tensors once: {name of the other: name in the file}.
    tied = {name: tensors[kept] for name, kept in metadata.items()
            if kept in tensors and name not in tensors}
    if len(tied) > _untrusted.MOST_SHARED:
        raise InputError(
            f'{path}: expected at most {_untrusted.MOST_SHARED} tensors that are tied, '
            f'found {len(tied)}; {LEAVE}')
    found = pytorch.import_noted(as_float32({**tensors, **tied}))
    return (found, _tokens_in(metadata, len(found.weights['embed/W'])),
            _dropout_in(metadata))


def metadata_of(structure, vocabulary=None, dropout=None):
    """Returns the metadata of a model for the header of its file, a dict of str.

    Args:
        structure (rnnlm.structure.Structure): The structure of the model.
        vocabulary (Vocabulary): Its tokens, if known.
        dropout (float): The dropout ratio in training, if known.
    """
    found = {'rnnlm': __version__, 'n_vocab': structure.n_vocab,
             'n_embed': structure.n_embed,
             'n_units': [layer.n_units for layer in structure.layers],
             'dropout': dropout, 'tokens': vocabulary and vocabulary.tokens}
    metadata = {'format': 'pt', METADATA: json.dumps(found)}
    if vocabulary is not None:
        text = _tokens.to_text(vocabulary)
        # A larger header could not be read; vocabulary.json also has the tokens.
        if len(json.dumps(text)) <= _tokens.MOST_BYTES // 2:
            metadata[_tokens.METADATA] = text
    return metadata


def read_with_writer(path):
    """Returns the tensors of `read`, and what wrote them: rnnlm or an unknown program.
    """
    tensors, metadata = _read(path)
    version = _facts_in(metadata).get('rnnlm')
    return tensors, (
        f'rnnlm {version}' if type(version) is str else 'an unknown program')


def _facts_in(metadata):
    """Returns the properties of a model that `metadata_of` wrote; {} without any."""
    try:
        found = _untrusted.parse_json(metadata.get(METADATA, ''), _tokens.MOST_BYTES)
    except ValueError:
        return {}
    return found if type(found) is dict else {}


def _dropout_in(metadata):
    """Returns the dropout ratio that `metadata_of` wrote; None if there is none."""
    dropout = _facts_in(metadata).get('dropout')
    return dropout if type(dropout) in (int, float) and 0 <= dropout < 1 else None


def _tokens_in(metadata, n_vocab):
    """Returns our tokens, or a JSON vocabulary under a usual name, or None."""
    tokens = _tokens.of_text(metadata.get(_tokens.METADATA, ''), n_vocab)
    if tokens is not None:
        return tokens
    found = {}
    for name in _tokens.NAMES:
        try:
            found[name] = _untrusted.parse_json(
                metadata.get(name, ''), _tokens.MOST_BYTES)
        except ValueError:
            continue
    return _tokens.find(found, n_vocab)


def _read(path):
    """Reads a file; returns its tensors and its metadata, a dict of texts."""
    data = _untrusted.read_bytes(path)
    with _untrusted.damaged(path, 'a safetensors file'):
        n_header, = struct.unpack_from('<Q', data)
        if n_header > len(data) - 8:
            raise ValueError(f'a header of {n_header:,} bytes in {len(data):,}')
        header = _untrusted.parse_json(data[8:8 + n_header], _tokens.MOST_BYTES)
        body = memoryview(data)[8 + n_header:]
        metadata = header.pop('__metadata__', None) or {}
        if not all(type(text) is str for text in metadata.values()):
            raise ValueError('metadata that are not texts')
        for name, entry in header.items():
            _check_entry(name, entry, len(data))
        end, tensors = 0, {}
        for name, entry in sorted(header.items(), key=lambda e: e[1]['data_offsets']):
            begin, stop = entry['data_offsets']
            if begin != end:
                raise ValueError(f'{name!r} starts at {begin}, not at {end}')
            if entry['dtype'] in NOT_READ:
                raise InputError(
                    f'{path}: {short_name(name)}: expected floats of 16, 32 or 64 '
                    f'bits, found {entry["dtype"]}; save the model as one of them')
            tensors[name] = _tensor(body, begin, stop, entry['dtype'], entry['shape'])
            end = stop
        if end != len(body):
            raise ValueError(f'{len(body):,} bytes of data, not {end:,}')
        return tensors, metadata


def _check_entry(name, entry, size):
    """Raises ValueError for an invalid header entry of a file of `size` bytes."""
    offsets, shape = entry['data_offsets'], entry['shape']
    if type(offsets) is not list or type(shape) is not list or len(offsets) != 2 or (
            len(shape) > _untrusted.MOST_AXES) or not all(
                type(x) is int and 0 <= x <= size for x in offsets + shape):
        raise ValueError(f'{name[:80]!r} without two offsets and a shape in '
                         f'{size:,} bytes')


def _tensor(body, begin, stop, dtype, shape):
    """Returns an array of part of the data; raises ValueError unless it fits."""
    stored = '<u2' if dtype == 'BF16' else {**DTYPES, **OTHERS}[dtype]
    n_bytes = math.prod(shape) * numpy.dtype(stored).itemsize
    if stop - begin != n_bytes or stop > len(body):
        raise ValueError(f'{shape} of {dtype} in {stop - begin:,} bytes')
    array = numpy.frombuffer(body[begin:stop], stored)
    if dtype == 'BF16':
        array = _untrusted.float32(array)
    return array.reshape(shape).astype(array.dtype.newbyteorder('='), copy=False)


def write(path, tensors, metadata=None):
    """Writes a safetensors file.

    Args:
        path (str): The file.
        tensors (dict): Name -> array of float16, float32, float64, int32 or int64.
        metadata (dict): Texts by name, for the header.

    Raises:
        rnnlm.errors.InputError: If an array has another dtype.
    """
    names = {numpy.dtype(dtype): name for name, dtype in DTYPES.items()}
    header, parts, end = {}, [], 0
    for name, array in tensors.items():
        if array.dtype.newbyteorder('<') not in names:
            raise InputError(
                f'{name}: expected one of {", ".join(map(str, names))}, found '
                f'{array.dtype}; convert it first')
        stored = array.dtype.newbyteorder('<')
        parts.append(array.astype(stored, copy=False).tobytes())
        header[name] = {'dtype': names[stored], 'shape': list(array.shape),
                        'data_offsets': [end, end + len(parts[-1])]}
        end += len(parts[-1])
    if metadata:
        header['__metadata__'] = metadata
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)  # data at a multiple of 8 bytes
    with writing(path) as f:
        f.write(struct.pack('<Q', len(text)) + text)
        f.writelines(parts)
