"""Reading of a Keras file's variables, converted to the same form for all versions.

The form is that of Keras 2 and later: an LSTM's kernel is (in, 4n), with the gates in
blocks i, f, c, o.

Keras 1 has a matrix for each gate, or a single one under shorter names.  A CuDNNLSTM
orders the rows of each gate's matrices differently, and has two concatenated biases.
"""
import re

import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import _keras_config, _keras_names
from rnnlm.interchange._keras_files import read_arrays
from rnnlm.interchange.weights import short_name

# Variables are numbered in a .keras and a .weights.h5, and have these names in a .h5.
VARIABLES = {'embedding': ('embeddings',), 'dense': ('kernel', 'bias'),
             'lstm': ('kernel', 'recurrent_kernel', 'bias')}

# Names in Keras 1; the W of an Embedding was later called embeddings.
OLD = {'W': 'kernel', 'U': 'recurrent_kernel', 'b': 'bias'}
BLOCKS = 'ifco'


def layers_of(file, recurrent_activation=None):
    """Returns the layers of a file's model.

    Args:
        file (rnnlm.interchange._keras_files.File): The file.
        recurrent_activation (str): Used for its LSTMs if it has no configuration.

    Returns:
        tuple: list of `rnnlm.interchange._keras_config.Layer`; list of str, notes
        about the model.

    Raises:
        rnnlm.errors.InputError: If it is not a language model; the message names the
            unknown part.
    """
    if not file.format:
        raise InputError(
            'expected an HDF5 file of Chainer or Keras, found one of something else, '
            f'with {", ".join(map(short_name, list(file.arrays)[:5])) or "no arrays"}')
    if file.config is None:
        return _keras_names.layers_by_names(file, recurrent_activation)
    layers, notes = _keras_config.chain(file.config, file.version)
    if file.beside:
        notes = [f'the layers\' settings are read from {file.beside}', *notes]
    return layers, notes


def tensors_of(file, layers):
    """Returns the variables of layers, by the names of `rnnlm.interchange.keras`.

    Args:
        file (rnnlm.interchange._keras_files.File): The file.
        layers (list of Layer): Result of `layers_of`.

    Returns:
        dict: 'embedding/embeddings', 'lstm/kernel', 'lstm/recurrent_kernel',
        'lstm/bias', 'lstm_1/kernel', ..., 'dense/kernel', 'dense/bias'; and
        'lstm/slope' for a layer with hard gates.

    Raises:
        rnnlm.errors.InputError: If a variable is missing, unknown or of a wrong shape.
    """
    # All arrays of the model are read together, to limit their total size.
    places = _places(file, layers)
    names = [_by_one_name(layer, file.layers[place])
             for layer, place in zip(layers, places)]
    arrays = read_arrays(file, [key for inside in names for key in inside.values()])
    tensors, numbers = {}, dict.fromkeys(VARIABLES, 0)
    for layer, inside in zip(layers, names):
        k, numbers[layer.kind] = numbers[layer.kind], numbers[layer.kind] + 1
        prefix = f'{layer.kind}_{k}' if k else layer.kind
        found = _complete(layer, {name: arrays[key] for name, key in inside.items()})
        tensors.update((f'{prefix}/{name}', array) for name, array in found.items())
        if layer.slope is not None:
            tensors[f'{prefix}/slope'] = numpy.array(layer.slope)
    return tensors


def _places(file, layers):
    """Returns the names of layers in the file."""
    whole = [name for name, inside in file.layers.items() if inside]
    if file.config is None:
        found = [layer.name for layer in layers]
    elif file.format == '.h5':
        found = [layer.name for layer in layers]
        if set(found) != set(whole) and file.beside and len(found) == len(whole):
            found = whole  # a rebuilt model, whose layers have other numbers
    else:
        # Matched by class and number: layers of one class are in order.
        queues, found = {}, []
        for name in whole:
            queues.setdefault(_base(name), []).append(name)
        for layer in layers:
            queue = queues.get(layer.class_name.lower())
            found.append(queue.pop(0) if queue else layer.name)
    for name in found:
        if name not in file.layers:
            raise InputError(
                f'{short_name(name)}: expected the variables of a layer of that name, '
                f'found {", ".join(map(short_name, whole[:8])) or "none at all"}; '
                'save the model again')
    left = [name for name in whole if name not in found]
    if left:
        raise InputError(
            f'{short_name(left[0])}: expected only variables of the layers of the '
            'model, found others; it cannot be converted')
    return found


def _base(name):
    return re.sub(r'_\d+$', '', name).replace('_', '').lower()


def _by_one_name(layer, inside):
    """Returns {name in `VARIABLES`, or of a gate: key} for the variables of a layer."""
    expected, found = VARIABLES[layer.kind], {}
    for name, key in inside.items():
        number = re.fullmatch(r'(?:cell/|layer/)?vars/(\d)', name)
        if number and int(number.group(1)) < len(expected):
            name = expected[int(number.group(1))]
        elif name in OLD:
            name = 'embeddings' if layer.kind == 'embedding' else OLD[name]
        elif layer.kind == 'lstm' and re.fullmatch('[WUb]_[ifco]', name):
            name = f'{OLD[name[0]]} {name[2]}'
        if name.partition(' ')[0] not in expected or name in found:
            raise InputError(
                f'{short_name(layer.name)}: expected a layer {layer.class_name} of '
                f'{", ".join(expected)}, found {short_name(name)} in it; it cannot be '
                'converted')
        found[name] = key
    return found


def _complete(layer, arrays):
    """Returns a layer's variables as in `VARIABLES`, converted from any form."""
    found = {}
    for name in VARIABLES[layer.kind]:
        gates = [arrays.get(f'{name} {gate}') for gate in BLOCKS]
        if all(gate is not None for gate in gates):
            found[name] = numpy.concatenate(gates, axis=-1)
        elif name in arrays:
            found[name] = arrays[name]
    if not layer.bias and 'kernel' in found and found['kernel'].ndim == 2:
        found.setdefault('bias', numpy.zeros_like(found['kernel'][0]))
    missing = [name for name in VARIABLES[layer.kind] if name not in found]
    if missing:
        raise InputError(
            f'{short_name(layer.name)}: expected a layer {layer.class_name} with '
            f'{", ".join(missing)}, found none; save the model again')
    return _of_cudnn(found) if layer.kind == 'lstm' else found


def _of_cudnn(found):
    """Converts an LSTM that has the two biases of a CuDNNLSTM to the usual form."""
    kernel, recurrent, bias = (found[name] for name in VARIABLES['lstm'])
    if bias.ndim != 1 or bias.shape != (2 * kernel.shape[-1],) or kernel.ndim != 2 or (
            recurrent.ndim != 2 or kernel.shape[1] % 4):
        return found
    # The numbers of a gate are those of its matrix (n, in), row by row.
    n_in, n = kernel.shape[0], kernel.shape[1] // 4
    kernels = [gate.reshape(n, n_in).T for gate in numpy.split(kernel, 4, axis=1)]
    recurrents = [gate.T for gate in numpy.split(recurrent, 4, axis=1)]
    return {'kernel': numpy.concatenate(kernels, axis=1),
            'recurrent_kernel': numpy.concatenate(recurrents, axis=1),
            'bias': bias[:4 * n] + bias[4 * n:]}
