"""Keras's files of weights: .weights.h5, .keras and the .h5 of Keras 2; needs h5py.

A .keras file is a zip file of config.json and model.weights.h5.  There and in a
.weights.h5 layers have the name of their class and a number, variables are numbers:
layers/lstm_1/cell/vars/0.  In a .h5 both have names, and the order of the layers is
in an attribute.
"""
import io
import math
import re

from rnnlm.errors import InputError
from rnnlm.interchange import keras
from rnnlm.interchange.files import hdf5_texts, limits
from rnnlm.serializers.atomic import writing
from rnnlm.serializers.hdf5 import Hdf5

# Variables by number, in a .weights.h5; by these names in a .h5.
VARIABLES = {'embedding': ('embeddings',), 'dense': ('kernel', 'bias'),
             'lstm': ('kernel', 'recurrent_kernel', 'bias')}
LSTMS = ['LSTM', 'LSTMCell']
INSIDE = 'config.json', 'model.weights.h5'


def read(path, recurrent_activation=None):
    """Reads a model of Embedding, LSTM layers and Dense.

    Args:
        path (str): the file.
        recurrent_activation (str): what the LSTM layers were made with, where the
            file does not say; 'sigmoid' is what can be read.

    Returns:
        dict: 'embedding/embeddings', 'lstm/kernel', 'lstm_1/kernel', ..., as
        `rnnlm.interchange.keras` takes it.

    Raises:
        rnnlm.errors.InputError: if h5py is missing, the file cannot be read, or its
            LSTM computes something else than ours.
    """
    if recurrent_activation is not None:
        keras.check_config({'recurrent_activation': recurrent_activation})
    data = limits.read_bytes(path)
    if data.startswith(b'PK'):
        with limits.damaged(path, 'a .keras file'):
            members = limits.read_members(
                io.BytesIO(data), lambda name: name in INSIDE)
            config, weights = (members[name] for name in INSIDE)
            _check_layers(path, limits.parse_json(config))
        data = weights
    with Hdf5(path, data) as archive:
        with limits.damaged(path, 'weights of Keras'):
            if any(name.startswith('layers/') for name in archive):
                names = _names_by_number(archive)
            else:
                names = _names_in_order(path, archive, data, recurrent_activation)
            tensors, room = {}, limits.MOST_SHARED * len(data)
            for name, key in names.items():
                shape, dtype = archive.describe(key)
                room -= math.prod(shape) * dtype.itemsize
                if dtype.kind not in 'fiu' or room < 0:
                    raise ValueError(f'{name!r} of {shape} of {dtype} in {len(data):,} '
                                     'bytes, which are not there')
                tensors[name] = archive[key]
    return tensors


def write(path, tensors):
    """Writes a .weights.h5, for the load_weights of a Keras 3 model.

    The model is keras.Sequential of Embedding, LSTM layers and Dense.

    Args:
        path (str): the file.
        tensors (dict): as `read` returns them.

    Raises:
        rnnlm.errors.InputError: if h5py is missing.
    """
    try:
        import h5py
    except ImportError:
        raise InputError(
            f'{path}: expected h5py to write an HDF5 file, found it missing; '
            'pip install h5py') from None
    data = io.BytesIO()
    with h5py.File(data, 'w') as f:
        for name, array in tensors.items():
            layer, variable = name.split('/')
            kind = re.sub(r'_\d+$', '', layer)
            cell = 'cell/' if kind == 'lstm' else ''
            number = VARIABLES[kind].index(variable)
            f[f'layers/{layer}/{cell}vars/{number}'] = array
            f.require_group(f'layers/{layer}/vars')
    with writing(path) as f:
        f.write(data.getvalue())


def _names_by_number(archive):
    """{our name: name in the file} of a .weights.h5."""
    names = {}
    for key in archive:
        found = re.fullmatch(
            r'layers/((embedding|lstm|dense)(?:_\d{1,5})?)/(?:cell/)?vars/(\d)', key)
        if found:
            variable = VARIABLES[found.group(2)][int(found.group(3))]
            names[f'{found.group(1)}/{variable}'] = key
        elif '/seed_generator/' not in key and not key.startswith('optimizer/'):
            names[key] = key  # something else, which the import refuses by name
    return names


def _names_in_order(path, archive, data, recurrent_activation):
    """{our name: name in the file} of a .h5 of Keras 2."""
    config, version = (_text(data, name) for name in ('model_config', 'keras_version'))
    root = ''
    if any(name.startswith('model_weights/') for name in archive):
        root = 'model_weights/'
    if config is not None:
        _check_layers(path, limits.parse_json(config))
    elif recurrent_activation is None and not _sigmoid_by_default(version):
        raise InputError(
            f"{path}: expected weights of Keras 2.3 or later, or a model that says its "
            f"recurrent_activation, found weights of Keras {str(version)[:20]}, whose "
            "default was hard_sigmoid; save the whole model, or give "
            "recurrent_activation='sigmoid' if it was that")
    names, n_layers = {}, {kind: 0 for kind in VARIABLES}
    layers, = hdf5_texts.find(data, 'layer_names')
    for layer in layers:
        keys = [key for key in archive if key.startswith(f'{root}{layer}/')]
        # Keras 2 with TensorFlow writes kernel:0.
        variables = {key.rpartition('/')[2].partition(':')[0]: key for key in keys}
        for kind, expected in VARIABLES.items():
            if keys and sorted(variables) == sorted(expected):
                k, n_layers[kind] = n_layers[kind], n_layers[kind] + 1
                name = f'{kind}_{k}' if k else kind
                names.update((f'{name}/{variable}', key)
                             for variable, key in variables.items())
                keys = []
        names.update((key, key) for key in keys)
    return names


def _text(data, name):
    """The text of an attribute that is one text wherever it is; None if it is nowhere.
    """
    found = {text for texts in hdf5_texts.find(data, name) for text in texts}
    if len(found) > 1:
        raise ValueError(f'different texts of {name}')
    return found.pop() if found else None


def _sigmoid_by_default(version):
    found = re.match(r'(\d{1,5})\.(\d{1,5})', version or '')
    return found and tuple(map(int, found.groups())) >= (2, 3)


def _check_layers(path, config):
    """Refuses a model with an LSTM that computes something else, wherever it is."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
            inner = value.get('config')
            if isinstance(inner, dict) and value.get('class_name') in LSTMS:
                try:
                    keras.check_config(inner)
                except InputError as e:
                    raise InputError(f'{path}: {e}') from None
