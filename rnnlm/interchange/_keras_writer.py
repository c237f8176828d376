"""Writing of files for Keras 3: a .weights.h5, or a whole model as a .keras file."""
import io
import json
import re
import zipfile

import numpy

from rnnlm._version import __version__
from rnnlm.errors import InputError
from rnnlm.functions.gates import SLOPES
from rnnlm.interchange._keras_weights import VARIABLES

# Slope of hard gates in Keras 3.
SLOPE = SLOPES['hard_sigmoid_6']


def weights_h5(path, tensors):
    """Returns the bytes of a .weights.h5.

    Args:
        path (str): Where it will be written, for messages.
        tensors (dict): Tensors as in `rnnlm.interchange.keras.read`.

    Raises:
        rnnlm.errors.InputError: If h5py is missing.
    """
    try:
        import h5py
    except ImportError:
        raise InputError(
            f'{path}: writing an HDF5 file needs h5py, which is not installed; '
            'pip install h5py') from None
    data = io.BytesIO()
    with h5py.File(data, 'w') as f:
        for name, array in tensors.items():
            layer, variable = name.split('/')
            if variable == 'slope':
                continue
            kind = re.sub(r'_\d+$', '', layer)
            cell = 'cell/' if kind == 'lstm' else ''
            number = VARIABLES[kind].index(variable)
            f[f'layers/{layer}/{cell}vars/{number}'] = array
            f.require_group(f'layers/{layer}/vars')
    return data.getvalue()


def archive(path, tensors):
    """Returns the bytes of a .keras file: a Sequential that outputs logits.

    Weights of hard gates whose slope differs from Keras 3's are rescaled.
    """
    tensors = dict(tensors)
    layers = [_layer('InputLayer', 'input_layer', batch_shape=[None, None],
                     dtype='int32')]
    for name in dict.fromkeys(name.partition('/')[0] for name in tensors):
        kind = re.sub(r'_\d+$', '', name)
        own = {variable: tensors[f'{name}/{variable}'] for variable in VARIABLES[kind]}
        dtype = str(next(iter(own.values())).dtype)
        if kind == 'embedding':
            n_vocab, n_embed = own['embeddings'].shape
            layers.append(_layer('Embedding', name, input_dim=n_vocab,
                                 output_dim=n_embed, dtype=dtype))
        elif kind == 'dense':
            layers.append(_layer('Dense', name, units=len(own['bias']), dtype=dtype))
        else:
            slope = tensors.get(f'{name}/slope')
            if slope is not None:
                tensors.update((f'{name}/{variable}', _rescaled(array, slope))
                               for variable, array in own.items())
            layers.append(_layer(
                'LSTM', name, units=len(own['bias']) // 4, return_sequences=True,
                recurrent_activation='sigmoid' if slope is None else 'hard_sigmoid',
                dtype=dtype))
    config = {'module': 'keras', 'class_name': 'Sequential', 'registered_name': None,
              'config': {'name': 'rnnlm', 'layers': layers}}
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w') as f:
        f.writestr('metadata.json', json.dumps(
            {'keras_version': '3.0.0', 'written_by': f'rnnlm {__version__}'}))
        f.writestr('config.json', json.dumps(config))
        f.writestr('model.weights.h5', weights_h5(path, tensors))
    return data.getvalue()


def _layer(kind, name, **settings):
    return {'module': 'keras.layers', 'class_name': kind, 'registered_name': None,
            'config': {'name': name, **settings}}


def _rescaled(array, slope):
    """Rescales gates i, f and o of a variable to Keras 3's slope."""
    blocks = numpy.split(array, 4, axis=-1)
    for k in 0, 1, 3:
        blocks[k] = blocks[k] * array.dtype.type(float(slope) / SLOPE)
    return numpy.concatenate(blocks, axis=-1)
