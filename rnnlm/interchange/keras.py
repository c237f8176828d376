"""Keras: Embedding, LSTM and Dense, by layer and variable.

An LSTM stores transposed matrices, kernel (in, 4n) and recurrent_kernel (n, 4n), with
the gates in blocks i, f, c, o (c is the cell input, our a).  Dense has a kernel (n, V).
See https://keras.io/api/layers/recurrent_layers/lstm/

Before Keras 2.3 the default of an LSTM was recurrent_activation='hard_sigmoid'.  Such
a layer has an extra tensor 'slope', 0.2 until Keras 2 and 1/6 since Keras 3, and
becomes a `rnnlm.links.HardSigmoidLSTM`.  A model without an Embedding has one-hot
input: its embedding is the identity.

Its files need h5py: .keras, .weights.h5 and the .h5 of Keras 1, 2 and 3.
"""
import numpy

from rnnlm.errors import InputError
from rnnlm.interchange import (
    _keras_files, _keras_weights, _keras_writer, _untrusted)
from rnnlm.interchange._keras_files import INSIDE  # noqa: F401
from rnnlm.interchange.interleaving import from_blocks, to_blocks
from rnnlm.interchange.naming import require_full_softmax
from rnnlm.interchange.weights import (
    axis_size, check_layer, check_model, check_tensors, layer_of)
from rnnlm.serializers.atomic import writing

ORDER = ('i', 'f', 'a', 'o')

EMBED, OUTPUT = 'embedding/embeddings', 'dense'

# Maximum vocabulary for one-hot input: the identity uses memory that the file did not.
MOST_ONE_HOT = 10_000


def layer_name(k):
    """Returns Keras's default name (str) of LSTM layer k, 0 the lowest."""
    return f'lstm_{k}' if k else 'lstm'


def export_layer(layer):
    """Converts a layer to the variables of an LSTM.

    Args:
        layer (dict): 'upward/W' (4n, in), 'upward/b' (4n,), 'lateral/W' (4n, n).

    Returns:
        dict: 'kernel' (in, 4n), 'recurrent_kernel' (n, 4n), 'bias' (4n,).

    Raises:
        rnnlm.errors.InputError: If it is not a layer.
    """
    check_layer(layer)
    return {'kernel': to_blocks(layer['upward/W'], ORDER).T.copy(),
            'recurrent_kernel': to_blocks(layer['lateral/W'], ORDER).T.copy(),
            'bias': to_blocks(layer['upward/b'], ORDER)}


def import_layer(tensors):
    """Converts such tensors to a layer: the inverse of `export_layer`.

    Raises:
        rnnlm.errors.InputError: If a tensor is missing, unknown, or has a wrong shape
            or dtype.
    """
    check_tensors(tensors, _layer_shapes(
        axis_size(tensors, 'kernel', 0), axis_size(tensors, 'recurrent_kernel', 0)))
    return {'upward/W': from_blocks(tensors['kernel'].T, ORDER),
            'upward/b': from_blocks(tensors['bias'], ORDER),
            'lateral/W': from_blocks(tensors['recurrent_kernel'].T, ORDER)}


def _layer_shapes(n_in, n):
    return {'kernel': (n_in, 4 * n), 'recurrent_kernel': (n, 4 * n), 'bias': (4 * n,)}


def export_model(weights):
    """Converts a model to Embedding, LSTM layers and Dense.

    Args:
        weights (dict): Weights as in `rnnlm.interchange.weights`.

    Returns:
        dict: 'embedding/embeddings' (V, m), 'lstm/kernel', ..., 'lstm_1/kernel', ...,
        'dense/kernel' (n, V), 'dense/bias' (V,); 'lstm/slope' for hard gates.

    Raises:
        rnnlm.errors.InputError: If they are not the weights of a model.
    """
    structure = check_model(weights)
    require_full_softmax(structure)
    n_layers = len(structure.layers)
    tensors = {EMBED: weights['embed/W']}
    for k in range(n_layers):
        layer = export_layer(layer_of(weights, k + 1))
        slope = weights.get(f'l{k + 1}/slope')
        if slope is not None:
            layer['slope'] = slope
        tensors.update((f'{layer_name(k)}/{name}', layer[name]) for name in layer)
    tensors[f'{OUTPUT}/kernel'] = weights[f'l{n_layers + 1}/W'].T.copy()
    tensors[f'{OUTPUT}/bias'] = weights[f'l{n_layers + 1}/b']
    return tensors


def import_model(tensors):
    """Converts such tensors to weights: the inverse of `export_model`.

    Args:
        tensors (dict): Tensors as `export_model` returns; without
            'embedding/embeddings' the input is one-hot.

    Returns:
        dict: Weights as in `rnnlm.interchange.weights`.

    Raises:
        rnnlm.errors.InputError: As in `import_layer`, or if the input is neither words
            nor one-hot.
    """
    shapes = _shapes(tensors)
    # Without an embedding, the first LSTM reads one-hot vectors.
    if EMBED not in tensors:
        tensors = {EMBED: _identity(tensors, shapes), **tensors}
    check_tensors(tensors, shapes)
    weights = {'embed/W': tensors[EMBED]}
    n_layers = _n_layers(tensors)
    for k in range(n_layers):
        layer = import_layer({name: tensors[f'{layer_name(k)}/{name}']
                              for name in _layer_shapes(1, 1)})
        weights.update((f'l{k + 1}/{name}', layer[name]) for name in layer)
        slope = tensors.get(f'{layer_name(k)}/slope')
        if slope is not None:
            weights[f'l{k + 1}/slope'] = slope
    weights[f'l{n_layers + 1}/W'] = tensors[f'{OUTPUT}/kernel'].T.copy()
    weights[f'l{n_layers + 1}/b'] = tensors[f'{OUTPUT}/bias']
    return weights


def _n_layers(tensors):
    n_layers = 1
    while any(f'{layer_name(n_layers)}/{name}' in tensors
              for name in _layer_shapes(1, 1)):
        n_layers += 1
    return n_layers


def _shapes(tensors):
    """Returns {name: shape} of a model's tensors, from those that give its sizes."""
    n_vocab = axis_size(tensors, f'{OUTPUT}/kernel', 1)
    n_in = n_vocab
    if EMBED in tensors:
        n_in, n_words = (axis_size(tensors, EMBED, axis) for axis in (1, 0))
        if n_words != n_vocab:
            raise InputError(
                f'{OUTPUT}/kernel: expected one output for each of the {n_words:,} '
                f'words of the embedding, found {n_vocab:,}, as in a classifier; the '
                'model cannot be converted')
    shapes = {EMBED: (n_vocab, n_in)}
    for k in range(_n_layers(tensors)):
        n = axis_size(tensors, f'{layer_name(k)}/recurrent_kernel', 0)
        layer = _layer_shapes(n_in, n)
        shapes.update((f'{layer_name(k)}/{name}', layer[name]) for name in layer)
        if f'{layer_name(k)}/slope' in tensors:
            shapes[f'{layer_name(k)}/slope'] = ()
        n_in = n
    return {**shapes, f'{OUTPUT}/kernel': (n_in, n_vocab),
            f'{OUTPUT}/bias': (n_vocab,)}


def _identity(tensors, shapes):
    """Returns the embedding of a model with one-hot input."""
    kernel, (n_vocab, _) = tensors[f'{OUTPUT}/kernel'], shapes[EMBED]
    n_in = axis_size(tensors, 'lstm/kernel', 0)
    if n_in != n_vocab:
        raise InputError(
            'lstm/kernel: expected an Embedding before it, or one-hot input of as '
            f'many numbers as the output has words, {n_vocab:,}, found input of '
            f'{n_in:,}; the model cannot be converted')
    if n_vocab > MOST_ONE_HOT:
        raise InputError(
            f'lstm/kernel: expected one-hot input of at most {MOST_ONE_HOT:,} words, '
            f'found {n_vocab:,}; its embedding would be the identity of that size')
    return numpy.eye(n_vocab, dtype=kernel.dtype)


def read(path, recurrent_activation=None):
    """Reads a model of Embedding or one-hot input, LSTM layers and Dense.

    Args:
        path (str): The file.
        recurrent_activation (str): Used for the LSTM layers, 'sigmoid' or
            'hard_sigmoid', if the file does not specify it.

    Returns:
        dict: 'embedding/embeddings', 'lstm/kernel', 'lstm_1/kernel', ..., the argument
        of `import_model`.

    Raises:
        rnnlm.errors.InputError: If h5py is missing, the file cannot be read, or the
            model computes something else; the message names the part.
    """
    with _keras_files.opened(path) as file:
        layers, _ = _keras_weights.layers_of(file, recurrent_activation)
        return _keras_weights.tensors_of(file, layers)


def load(path):
    """Loads a model from a file, with notes about it.

    Args:
        path (str): The file.

    Returns:
        tuple: Weights as in `rnnlm.interchange.weights`; list of str, the notes.

    Raises:
        rnnlm.errors.InputError: As in `read` and `import_model`.
    """
    with _keras_files.opened(path) as file:
        layers, notes = _keras_weights.layers_of(file)
        return import_model(_keras_weights.tensors_of(file, layers)), notes


def describe(path):
    """Describes what a file holds and what wrote it.

    Args:
        path (str): The file.

    Returns:
        dict: 'format', 'kind' ('model' or 'weights'), 'written by', 'model' (its sizes,
        or None if it is not a language model), 'summary' (the same as text), 'layers'
        (a list of texts), 'notes' (remarks on it), 'refused' (why it cannot be
        converted, or None) and 'arrays' (name -> 'shape' and 'dtype').

    Raises:
        rnnlm.errors.InputError: If h5py is missing, or the file cannot be read.
    """
    with _keras_files.opened(path) as file:
        # A file that cannot be converted is still described: 'refused' says why.
        found = {
            'format': f'Keras {file.format}' if file.format else 'HDF5',
            'kind': 'weights' if file.config is None or file.beside else 'model',
            'written by': _writer(file), 'model': None, 'summary': None,
            'layers': [], 'notes': [], 'refused': None, 'arrays': {}}
        for name in sorted(file.arrays):
            shape, dtype = file.arrays.describe(name)
            found['arrays'][name] = {'shape': list(shape), 'dtype': str(dtype)}
        try:
            with _untrusted.damaged(path, 'a model of Keras'):
                layers, notes = _keras_weights.layers_of(file)
                weights = import_model(_keras_weights.tensors_of(file, layers))
        except InputError as e:
            found['refused'] = str(e)
        else:
            sizes = check_model(weights)
            found.update(
                model=sizes.as_dict(), summary=str(sizes), notes=notes,
                layers=[f'{layer.class_name} {layer.name}' for layer in layers])
    return found


def _writer(file):
    if not file.format:
        return 'neither Chainer nor Keras'
    if file.version is None:
        return 'Keras 3, or 2.12 and later' if file.format == '.weights.h5' else (
            'an unknown version of Keras')
    return f'Keras {file.version}' + (f' on {file.backend}' if file.backend else '')


def write(path, tensors):
    """Writes a .weights.h5, or a whole model in a .keras file, for Keras 3.

    A .weights.h5 is for load_weights of a keras.Sequential of Embedding, LSTM layers
    and Dense; a .keras file for keras.saving.load_model.  The model outputs logits.
    Keras 3 has hard gates of slope 1/6, so weights of gates of slope 0.2 are multiplied
    by 1.2.

    Args:
        path (str): The file, ending in .keras for a whole model.
        tensors (dict): Tensors as `read` returns.

    Raises:
        rnnlm.errors.InputError: If h5py is missing, or if a model with hard gates is to
            be written to a .weights.h5, which cannot represent them.
    """
    if path.endswith('.keras'):
        data = _keras_writer.archive(path, tensors)
    elif any(name.endswith('/slope') for name in tensors):
        raise InputError(
            f'{path}: expected LSTM layers whose gates are sigmoids, because a '
            '.weights.h5 has no settings, found hard gates; write a .keras file')
    else:
        data = _keras_writer.weights_h5(path, tensors)
    with writing(path) as f:
        f.write(data)
