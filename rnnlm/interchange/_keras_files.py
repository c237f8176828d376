"""Reading of Keras files: the layers in them, and their variables.

A .keras file is a zip file of config.json, metadata.json and model.weights.h5.  There,
and in a .weights.h5, layers are named by class and number, and variables by number:
layers/lstm_1/cell/vars/0.  In Keras 2.12 the first part is
_layer_checkpoint_dependencies; for a subclassed model it is missing.

In a .h5 of Keras 1, 2 and 3 layers and variables have names, and an attribute has the
order of the layers: lstm_1/lstm_1/kernel:0, and lstm_1/lstm_1_W_i before Keras 2.
"""
import contextlib
import io
import math
import os
import re
from typing import Any, Dict, NamedTuple, Optional

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import _untrusted
from rnnlm.interchange.weights import short_name
from rnnlm.serializers import reading
from rnnlm.serializers.hdf5 import Hdf5
from rnnlm.serializers.hdf5_worker import EMPTY_GROUPS

INSIDE = 'config.json', 'model.weights.h5'
METADATA = 'metadata.json'

# Layer's group, path in it, and number of a variable.
NUMBERED = re.compile(
    r'(?:(?:_layer_checkpoint_dependencies|layers)/)?([^/]+)/((?:[^/]+/)*vars/\d{1,3})')
NUMBERED_EMPTY = re.compile(
    r'(?:_layer_checkpoint_dependencies|layers)/([^/]+)(?:/vars)?')
# State of the training, which is skipped.
TRAINING = re.compile(
    r'(optimizer|metrics|_metrics|compile_metrics|_?loss_tracker|_optimizer)/.*'
    r'|(.*/)?seed_generator/.*')

# Keras 2 with TensorFlow writes kernel:0, and kernel_1:0 after loading.
NAMED = re.compile(r'(embeddings|recurrent_kernel|kernel|bias)(?:_\d+)?(?::\d+)?')
# Keras 1: lstm_1_W_i.
NAMED_ONCE = re.compile(r'(?:.*_)?([WUb](?:_[ifco])?)(?:_\d+)?(?::\d+)?')

# Group of the variables that belong to no layer.
OWN = 'top_level_model_weights'


class File(NamedTuple):
    """Content of a Keras file.

    Attributes:
        format (str): '.keras', '.weights.h5' or '.h5'; '' if Keras did not write it.
        config: The parsed JSON configuration; None if there is none.
        beside (str): The file with the configuration, if it is separate.
        version, backend (str): Version and backend of Keras; None if unknown.
        layers (dict): Name of a layer -> {name of a variable in it: key in `arrays`},
            in the order of the layers if known; empty if it has no variables.
        ordered (bool): Whether the order is known.
        arrays (Mapping): Key -> array.
        n_bytes (int): Size of the file.
    """
    format: str
    config: Any
    beside: Optional[str]
    version: Optional[str]
    backend: Optional[str]
    layers: Dict[str, Dict[str, str]]
    ordered: bool
    arrays: Hdf5
    n_bytes: int


@contextlib.contextmanager
def opened(path):
    """Opens a Keras file as a `File`, within a context.

    Args:
        path (str): A file of Keras.

    Raises:
        rnnlm.errors.InputError: If h5py is missing, or the file cannot be read.  Errors
            raised inside the context get the path as a prefix.
    """
    data = _untrusted.read_bytes(path)
    config, version = None, None
    archived = data.startswith(b'PK')
    with _named(path):
        if archived:
            with _untrusted.damaged(path, 'a .keras file'):
                members = _untrusted.read_members(
                    io.BytesIO(data), lambda name: name in (*INSIDE, METADATA))
                text, data = (members[name] for name in INSIDE)
                config = _untrusted.parse_json(text, constants=True)
                metadata = _untrusted.parse_json(members.get(METADATA, b'{}'))
                version = _text_of(metadata.get('keras_version'))
        with Hdf5(path, data) as archive:
            with _untrusted.damaged(path, 'weights of Keras'):
                yield _read(path, archive, len(data), config, version, archived)


@contextlib.contextmanager
def _named(path):
    try:
        yield
    except InputError as e:
        if str(path) in str(e):
            raise
        raise InputError(f'{path}: {e}') from None


def _read(path, archive, n_bytes, config, version, archived):
    keys = {key: key.replace('\\', '/') for key in archive}  # Windows paths
    numbered = any(re.search(r'(^|/)vars/\d+$', key) for key in keys.values())
    beside, backend = None, None
    if not archived:
        text, version, backend = (_text(archive, name) for name in (
            'model_config', 'keras_version', 'backend'))
        if text is not None:
            config = _untrusted.parse_json(text, constants=True)
        else:
            config, beside = _config_beside(path)
            version = version or _version_of(config or {})
    if numbered or archived:
        layers = _numbered(keys, archive.texts(EMPTY_GROUPS) or ())
    else:
        layers = _named_layers(keys, archive.texts('layer_names') or ())
        if version is None and any(
                name[0] in 'WUb' for inside in layers.values() for name in inside
                if NAMED_ONCE.fullmatch(name)):
            version = '1'  # files with only weights do not say so
    kind = '.keras' if archived else '.weights.h5' if numbered else '.h5'
    if not layers and config is None:
        kind = ''
    return File(kind, config, beside, version, backend, layers,
                not (numbered or archived), archive, n_bytes)


def _config_beside(path):
    """Returns (configuration, its file) for a file of weights, or (None, None)."""
    stem = re.sub(r'(\.weights)?\.\w+$', '', os.fspath(path))
    for beside in (f'{stem}.json', os.path.join(os.path.dirname(path), 'model.json')):
        if os.path.isfile(beside):
            try:
                found = reading.read_json(beside, "a model's to_json()")
            except InputError:
                continue  # a file of something else
            if isinstance(found, dict) and {'class_name', 'config'} <= set(found):
                return found, beside
    return None, None


def _version_of(config):
    """Returns the version that wrote a configuration; Keras 3 only names its package.
    """
    version = _text_of(config.get('keras_version'))
    return version or ('3' if 'module' in config else None)


def _text(archive, name):
    """Returns the only text of an attribute; None if there is none."""
    texts = archive.texts(name) or [None]
    if len(texts) > 1:
        raise ValueError(f'{len(texts)} texts of {name}')
    return texts[0]


def _text_of(value):
    return value if isinstance(value, str) else None


def _numbered(keys, empty):
    """Returns {layer: {variable: key}}, with layers sorted by number."""
    layers = {}
    for key, name in keys.items():
        if TRAINING.fullmatch(name):
            continue
        found = NUMBERED.fullmatch(name)
        if not found:
            raise InputError(
                f'{short_name(name)}: expected the variables of layers, found another; '
                'save the model itself')
        layers.setdefault(found.group(1), {})[found.group(2)] = key
    for name in empty:
        found = NUMBERED_EMPTY.fullmatch(name.replace('\\', '/'))
        if found:
            layers.setdefault(found.group(1), {})
    return dict(sorted(layers.items(), key=lambda item: _number(item[0])))


def _number(name):
    base, number = re.fullmatch(r'(.*?)_?(\d{0,9})', name, re.DOTALL).groups()
    return base, int(number or 0)


def _named_layers(keys, names):
    """Returns {layer: {variable: key}}, in the order given by the attribute."""
    root = ''
    if any(name.startswith('model_weights/') for name in keys.values()):
        root = 'model_weights/'
    layers = {name: {} for name in names}
    if any(name.startswith(root + OWN) for name in keys.values()):
        layers[OWN] = {}
    for key, name in keys.items():
        if not name.startswith(root):
            continue
        layer, inner = _layer_of(name[len(root):], layers)
        if layer is not None:
            layers[layer][inner] = key
    return {name: _variables(inside) for name, inside in layers.items()}


def _layer_of(name, layers):
    """Splits a variable's name into (layer, rest)."""
    at = name.find('/')
    while at >= 0:
        if name[:at] in layers:
            return name[:at], name[at + 1:]
        at = name.find('/', at + 1)
    return None, None


def _variables(inside):
    """Returns the variables of a layer by Keras's names, such as 'kernel' or 'W_i'.

    If they belong to several layers, as in a model within a model, they keep their
    full names.
    """
    if len({name.rpartition('/')[0] for name in inside}) > 1:
        return inside
    found = {}
    for name, key in inside.items():
        last = name.rpartition('/')[2]
        match = NAMED.fullmatch(last) or NAMED_ONCE.fullmatch(last)
        found[match.group(1) if match else name] = key
    return found if len(found) == len(inside) else inside


def read_arrays(file, keys):
    """Reads some arrays of a file, as float32 or float64.

    Args:
        file (File): The file.
        keys (list of str): Keys of the arrays.

    Returns:
        dict: Key -> array.

    Raises:
        ValueError: If they claim more bytes than the file has, or are not numbers.
    """
    room, found = _untrusted.MOST_SHARED * file.n_bytes, {}
    for key in keys:
        shape, dtype = file.arrays.describe(key)
        room -= math.prod(shape) * max(dtype.itemsize, 1)
        bfloat16 = dtype.kind == 'V' and dtype.itemsize == 2
        if (dtype.kind != 'f' and not bfloat16) or room < 0:
            raise ValueError(f'{key!r} of {shape} of {dtype} in {file.n_bytes:,} '
                             'bytes, which are not stored')
        array = file.arrays[key]
        if bfloat16:
            array = _untrusted.float32(numpy.frombuffer(
                array.tobytes(), '<u2').reshape(shape))
        elif dtype.itemsize < 4:
            array = array.astype('f4')
        found[key] = array.astype(array.dtype.newbyteorder('='), copy=False)
    return found
