"""Keras files with only weights: what names and shapes determine, and what not."""
import h5py
import numpy
import pytest

import rnnlm
from rnnlm.interchange import keras
from layouts import assert_same, draw, model_shapes

V, M, N = 7, 3, 4


@pytest.fixture
def tensors():
    return keras.export_model(draw(model_shapes(V, M, N, 2), 'f4', bound=1))


@pytest.fixture
def save(tmp_path):
    """Writes an HDF5 file of {name: array}, None for an empty group."""
    def save(arrays, layers=None, version='2.3.1'):
        path = str(tmp_path / 'a.h5')
        with h5py.File(path, 'w') as f:
            if layers is not None:
                f.attrs['layer_names'] = [name.encode() for name in layers]
                f.attrs['keras_version'] = version.encode()
            for name, array in arrays.items():
                if array is None:
                    f.create_group(name)
                else:
                    f[name] = array
        return path
    return save


# Names in a .weights.h5, and the same in a .h5.
NUMBERED = {'embedding/embeddings': 'layers/embedding/vars/0',
            'lstm/kernel': 'layers/lstm/cell/vars/0',
            'lstm/recurrent_kernel': 'layers/lstm/cell/vars/1',
            'lstm/bias': 'layers/lstm/cell/vars/2',
            'lstm_1/kernel': 'layers/lstm_1/cell/vars/0',
            'lstm_1/recurrent_kernel': 'layers/lstm_1/cell/vars/1',
            'lstm_1/bias': 'layers/lstm_1/cell/vars/2',
            'dense/kernel': 'layers/dense/vars/0', 'dense/bias': 'layers/dense/vars/1'}
LAYERS = ['embedding', 'lstm', 'lstm_1', 'dense']


def numbered(tensors, *changes):
    """Returns tensors by number, with parts of their names replaced."""
    found = {NUMBERED[name]: array for name, array in tensors.items()}
    for old, new in changes:
        found = {name.replace(old, new): array for name, array in found.items()}
    return found


def named(tensors):
    return {f'{name.partition("/")[0]}/{name}:0': array
            for name, array in tensors.items()}


@pytest.mark.parametrize('changes', [
    [], [('layers/', '_layer_checkpoint_dependencies/')], [('/', '\\')],
    [('lstm_1', 'lstm_2')], [('lstm_1', 'lstm_10'), ('lstm/', 'lstm_9/')],
    [('lstm', 'rnn')], [('dense/', 'time_distributed/layer/')],
    # A custom class: names of attributes.
    [('layers/', '')], [('layers/', ''), ('lstm/', 'lstm1/'), ('lstm_1', 'lstm2'),
                        ('embedding', 'words'), ('dense', 'out')],
], ids=str)
def test_numbered_layers(tensors, changes, save):
    whole = {**numbered(tensors, *changes), 'optimizer/vars/0': numpy.array(3),
             'metrics/mean/vars/0': numpy.ones(2), 'layers/dropout/vars': None,
             'layers/dropout/seed_generator/vars/0': numpy.zeros(2, 'u4')}
    assert_same(keras.read(save(whole)), tensors)


@pytest.mark.parametrize('changes, more, message', [
    ([], {'layers/add/vars': None}, 'add: .* found Add'),
    ([], {'layers/global_average_pooling1d/vars': None}, 'GlobalAveragePooling1D'),
    ([], {'layers/activation/vars': None}, 'activation: .* and the position'),
    ([], {'layers/softmax/vars': None}, 'softmax: .* and the position'),
    ([], {'layers/gate/vars': None}, 'a layer gate without weights'),
    ([], {'layers/layer_normalization/vars/0': numpy.ones(N, 'f')},
     'LayerNormalization'),
    ([], {'layers/dense_1/vars/0': numpy.ones((V, V), 'f'),
          'layers/dense_1/vars/1': numpy.ones(V, 'f')}, 'dense_1: .* Dense once'),
    ([], {'layers/lstm/cell/vars/3': numpy.ones(N, 'f')}, 'vars/3'),
    ([], {'vars/0': numpy.ones(N, 'f')}, 'vars/0: expected the variables of layers'),
    ([], {'layers/sequential/layers/lstm/cell/vars/0': numpy.ones(N, 'f')},
     'found Sequential, a model within the model'),
    ([('lstm/', 'gru/')], {}, 'found GRU'),
    ([('lstm/', 'bidirectional/forward_layer/')], {}, 'found Bidirectional'),
    ([('lstm_1/', 'rnn/')], {}, 'LSTMs that are numbered'),
    ([('layers/lstm/', 'layers/mine/'), ('layers/lstm_1/', 'layers/other/')], {},
     'LSTMs that are numbered'),
], ids=str)
def test_ambiguous_numbered_layers(tensors, changes, more, message, save):
    with pytest.raises(rnnlm.InputError, match=f'a.h5: .*{message}'):
        keras.read(save({**numbered(tensors, *changes), **more}))


def test_other_recurrent_layers_by_their_shapes(tensors, save):
    """Whatever their layers are called."""
    for gates, kind in (3, 'GRU'), (1, 'SimpleRNN'):
        of_class = {name: array[..., :gates * N] if 'cell/' in name else array
                    for name, array in numbered(
                        tensors, ('layers/lstm', 'rnn')).items()}
        with pytest.raises(rnnlm.InputError, match=f'found {kind}'):
            keras.read(save(of_class))
        others = {name.replace('lstm', 'mine'): array[..., :gates * N]
                  if name.startswith('lstm') else array
                  for name, array in tensors.items()}
        layers = [name.replace('lstm', 'mine') for name in LAYERS]
        with pytest.raises(rnnlm.InputError, match=f'found {kind}'):
            keras.read(save(named(others), layers))


@pytest.mark.parametrize('layers, more, message', [
    ([*LAYERS, 'activation_1', 'dropout_1'], {}, None),
    (['input_1', 'my_input', *LAYERS], {}, None), (['drop', *LAYERS], {}, None),
    (['embedding', 'activation_1', 'lstm', 'lstm_1', 'dense'], {},
     'activation_1: .* at the end'),
    ([*LAYERS, 'flatten_1'], {}, 'found Flatten'),
    (['embedding', 'lstm', 'lstm_1', 'add_1', 'dense'], {}, 'found Add'),
    (['embedding', 'lstm', 'my_gate', 'lstm_1', 'dense'], {}, 'layer my_gate without'),
    (['lstm', 'embedding', 'lstm_1', 'dense'], {}, 'Embedding as the first'),
    (LAYERS, {'top_level_model_weights/x:0': numpy.ones(3)}, 'top_level_model_weights'),
    (LAYERS, {'lstm/other/kernel:0': numpy.ones(3)}, 'lstm: .* found lstm/'),
    (LAYERS, {'dense/dense/gate:0': numpy.ones(3)}, 'dense: .* found dense/'),
])
def test_named_layers(tensors, layers, more, message, save):
    path = save({**named(tensors), **more}, layers)
    if message is None:
        assert_same(keras.read(path), tensors)
        return
    with pytest.raises(rnnlm.InputError, match=message):
        keras.read(path)


def test_weights_of_16_bits(tensors, save):
    half = {name: array.astype('f2') for name, array in tensors.items()}
    assert_same(keras.read(save(numbered(half))), {
        name: array.astype('f4') for name, array in half.items()})
    # h5py stores bfloat16 as two untyped bytes.
    upper = {name: (array.view('u4') >> 16).astype('u2')
             for name, array in tensors.items()}
    assert_same(
        keras.read(save(numbered({k: bits.view('V2') for k, bits in upper.items()}))),
        {name: (bits.astype('u4') << 16).view('f4') for name, bits in upper.items()})
    whole = {name: array.astype('i4') for name, array in tensors.items()}
    with pytest.raises(rnnlm.InputError, match='int32'):
        keras.read(save(numbered(whole)))


def test_one_hot_input(tensors, save):
    del tensors['embedding/embeddings']
    one_hot = {**tensors, 'lstm/kernel': numpy.ones((V, 4 * N), 'f')}
    weights, notes = keras.load(save(named(one_hot), LAYERS[1:]))
    numpy.testing.assert_array_equal(weights['embed/W'], numpy.eye(V))
    assert any('one-hot' in note for note in notes)
    with pytest.raises(rnnlm.InputError, match='as many .* words, 7, found .* of 3'):
        keras.load(save(named(tensors), LAYERS[1:]))
    wide = {**one_hot, 'lstm/kernel': numpy.ones((10 ** 5, 4 * N), 'f'),
            'dense/kernel': numpy.ones((N, 10 ** 5), 'f'),
            'dense/bias': numpy.ones(10 ** 5, 'f')}
    with pytest.raises(rnnlm.InputError, match='at most 10,000 words'):
        keras.load(save(named(wide), LAYERS[1:]))


def test_hdf5_of_something_else(save):
    path = save({'data/x': numpy.ones(3)})
    with pytest.raises(rnnlm.InputError, match='a.h5: expected an HDF5 file of Chainer '
                                               'or Keras, .* data/x'):
        keras.read(path)
    found = keras.describe(path)
    assert found['format'] == 'HDF5' and found['written by'] == (
        'neither Chainer nor Keras')
