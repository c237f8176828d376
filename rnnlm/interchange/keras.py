"""Keras: Embedding, LSTM and Dense, by layer and variable.

An LSTM keeps the transposed matrices, kernel (in, 4n) and recurrent_kernel (n, 4n),
the gates in blocks i, f, c, o (c is the cell input, our a); Dense has a kernel (n, V).
See https://keras.io/api/layers/recurrent_layers/lstm/

Our gates are sigmoids.  Before Keras 2.3 the default of an LSTM was
recurrent_activation='hard_sigmoid', another function: `check_config` refuses it.

Its files of weights are .weights.h5, .keras and the .h5 of Keras 2; they need h5py.
A .keras file is a zip file of config.json and model.weights.h5.  There and in a
.weights.h5 layers have the name of their class and a number, variables are numbers:
layers/lstm_1/cell/vars/0.  In a .h5 both have names, and the order of the layers is
in an attribute.
"""
import io
import math
import re

from rnnlm.errors import InputError
from rnnlm.interchange import _untrusted
from rnnlm.interchange.interleaving import from_blocks, to_blocks
from rnnlm.interchange.naming import Names, export_stack, import_stack
from rnnlm.interchange.weights import axis_size, check_layer, check_tensors, short_name
from rnnlm.serializers.atomic import writing
from rnnlm.serializers.hdf5 import Hdf5

ORDER = ('i', 'f', 'a', 'o')

# What an LSTM's configuration must say, if it says anything of it.
CONFIG = {'activation': 'tanh', 'recurrent_activation': 'sigmoid',
          'go_backwards': False, 'use_bias': True}

# Variables by number, in a .weights.h5; by these names in a .h5.
VARIABLES = {'embedding': ('embeddings',), 'dense': ('kernel', 'bias'),
             'lstm': ('kernel', 'recurrent_kernel', 'bias')}

LSTMS = ['LSTM', 'LSTMCell']

INSIDE = 'config.json', 'model.weights.h5'


def layer_name(k):
    """str: what Keras calls LSTM layer k, 0 the lowest, unless it is told otherwise."""
    return f'lstm_{k}' if k else 'lstm'


NAMES = Names('embedding/embeddings', 'dense/kernel', 'dense/bias',
              lambda k, name: f'{layer_name(k)}/{name}', transposed=True)


def check_config(config):
    """Refuses an LSTM layer that computes something else than ours.

    Args:
        config (dict): of the layer, as Keras's get_config gives it.

    Raises:
        rnnlm.errors.InputError: naming what it has otherwise.
    """
    for name, expected in CONFIG.items():
        found = config.get(name, expected)
        if found != expected:
            layer = short_name(config.get('name', 'lstm'))
            raise InputError(
                f'{layer}: expected an LSTM with {name}={expected!r}, found '
                f'{short_name(repr(found))}, which computes something else; train it '
                'with what is expected')


def export_layer(layer):
    """A layer as the variables of an LSTM.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'kernel' (in, 4n), 'recurrent_kernel' (n, 4n), 'bias' (4n,).

    Raises:
        rnnlm.errors.InputError: if it is no layer.
    """
    check_layer(layer)
    return {'kernel': to_blocks(layer['upward/W'], ORDER).T.copy(),
            'recurrent_kernel': to_blocks(layer['lateral/W'], ORDER).T.copy(),
            'bias': to_blocks(layer['upward/b'], ORDER)}


def import_layer(tensors):
    """The inverse of `export_layer`.

    Raises:
        rnnlm.errors.InputError: if a tensor is missing, one too many, or of another
            shape or dtype.
    """
    check_tensors(tensors, _layer_shapes(
        axis_size(tensors, 'kernel', 0), axis_size(tensors, 'recurrent_kernel', 0)))
    return {'upward/W': from_blocks(tensors['kernel'].T, ORDER),
            'upward/b': from_blocks(tensors['bias'], ORDER),
            'lateral/W': from_blocks(tensors['recurrent_kernel'].T, ORDER)}


def _layer_shapes(n_in, n):
    return {'kernel': (n_in, 4 * n), 'recurrent_kernel': (n, 4 * n), 'bias': (4 * n,)}


def export_model(weights):
    """A model as Embedding, LSTM layers and Dense.

    Args:
        weights (dict): as of `rnnlm.interchange.weights`.

    Returns:
        dict: 'embedding/embeddings' (V, m), 'lstm/kernel', ..., 'lstm_1/kernel', ...,
        'dense/kernel' (n, V), 'dense/bias' (V,).

    Raises:
        rnnlm.errors.InputError: if they are no weights of a model.
    """
    return export_stack(weights, NAMES, export_layer)


def import_model(tensors):
    """The inverse of `export_model`.

    Raises:
        rnnlm.errors.InputError: as `import_layer`.
    """
    return import_stack(tensors, NAMES, _layer_shapes, import_layer)


def read(path, recurrent_activation=None):
    """Reads a model of Embedding, LSTM layers and Dense.

    Args:
        path (str): the file.
        recurrent_activation (str): what the LSTM layers were made with, where the
            file does not say; 'sigmoid' is what can be read.

    Returns:
        dict: 'embedding/embeddings', 'lstm/kernel', 'lstm_1/kernel', ..., as
        `import_model` takes it.

    Raises:
        rnnlm.errors.InputError: if h5py is missing, the file cannot be read, or its
            LSTM computes something else than ours.
    """
    if recurrent_activation is not None:
        check_config({'recurrent_activation': recurrent_activation})
    data = _untrusted.read_bytes(path)
    if data.startswith(b'PK'):
        with _untrusted.damaged(path, 'a .keras file'):
            members = _untrusted.read_members(
                io.BytesIO(data), lambda name: name in INSIDE)
            config, weights = (members[name] for name in INSIDE)
            _check_layers(path, _untrusted.parse_json(config))
        data = weights
    with Hdf5(path, data) as archive:
        with _untrusted.damaged(path, 'weights of Keras'):
            if any(name.startswith('layers/') for name in archive):
                names = _names_by_number(archive)
            else:
                names = _names_in_order(path, archive, recurrent_activation)
            tensors, room = {}, _untrusted.MOST_SHARED * len(data)
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


def _names_in_order(path, archive, recurrent_activation):
    """{our name: name in the file} of a .h5 of Keras 2."""
    config, version = (_text(archive, name) for name in (
        'model_config', 'keras_version'))
    root = ''
    if any(name.startswith('model_weights/') for name in archive):
        root = 'model_weights/'
    if config is not None:
        _check_layers(path, _untrusted.parse_json(config))
    elif recurrent_activation is None and not _sigmoid_by_default(version):
        raise InputError(
            f"{path}: expected weights of Keras 2.3 or later, or a model that says its "
            f"recurrent_activation, found weights of Keras {str(version)[:20]}, whose "
            "default was hard_sigmoid; save the whole model, or give "
            "recurrent_activation='sigmoid' if it was that")
    names, n_layers = {}, {kind: 0 for kind in VARIABLES}
    below = _below(archive)
    for layer in archive.texts('layer_names') or ():
        keys = below.pop(f'{root}{layer}/', [])
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


def _below(archive):
    """{group, with a slash at its end: the names of all arrays below it}."""
    found = {}
    for key in archive:
        for slash in re.finditer('/', key):
            found.setdefault(key[:slash.end()], []).append(key)
    return found


def _text(archive, name):
    """The only text of an attribute; None if there is none."""
    texts = archive.texts(name) or [None]
    if len(texts) > 1:
        raise ValueError(f'{len(texts)} texts of {name}')
    return texts[0]


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
                    check_config(inner)
                except InputError as e:
                    raise InputError(f'{path}: {e}') from None
