"""Keras files: written by Keras, and malicious ones."""
import io
import json
import os
import re
import struct
import zipfile

import numpy
import pytest

import rnnlm
from rnnlm.interchange import keras
from rnnlm.interchange.weights import check_model
from rnnlm.serializers import hdf5_worker
from rnnlm.serializers.hdf5 import Hdf5
from rnnlm.structure import Layer, Structure
from layouts import assert_same, assert_same_bits, draw, model_shapes

h5py = pytest.importorskip('h5py')

V, M, N = 7, 3, 4


@pytest.fixture
def weights():
    return draw(model_shapes(V, M, N, 2), 'f4', bound=1)


@pytest.fixture
def keras_itself():
    pytest.importorskip('torch', reason='torch is not in the test extra')
    os.environ.setdefault('KERAS_BACKEND', 'torch')
    return pytest.importorskip('keras', reason='keras is not in the test extra')


def zipped(members, **options):
    data = io.BytesIO()
    with zipfile.ZipFile(data, 'w', **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def members_of(data):
    with zipfile.ZipFile(data) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def keras_model(keras_itself, **options):
    layers = keras_itself.layers
    return keras_itself.Sequential([
        layers.Input((None,)), layers.Embedding(V, M, name='words'),
        layers.LSTM(N, return_sequences=True, name='z', **options),
        layers.Dropout(0.5, seed=1),
        layers.LSTM(N, return_sequences=True, name='b', **options), layers.Dense(V)])


FORMATS = ['a.keras', 'a.weights.h5', 'a.h5']


# Warnings of Keras's own code with a new NumPy.
keras_warns = pytest.mark.filterwarnings(
    'ignore:__array__ implementation:DeprecationWarning')


@keras_warns
@pytest.mark.parametrize('name', FORMATS)
def test_files_of_keras(name, weights, tmp_path, keras_itself):
    model = keras_model(keras_itself)
    model.compile('adam', 'mse')
    expected = dict(zip(keras.export_model(weights), model.get_weights()))
    path = str(tmp_path / name)
    (model.save_weights if name == 'a.weights.h5' else model.save)(path)
    assert_same(keras.read(path), expected)
    model = keras_model(keras_itself, recurrent_activation='hard_sigmoid')
    model.set_weights(list(expected.values()))
    if name != 'a.weights.h5':  # which does not say so
        model.save(path)
        assert_same(keras.read(path), with_slopes(expected, 1 / 6))


@keras_warns
def test_keras_reads_ours(weights, tmp_path, keras_itself):
    path = str(tmp_path / 'a.weights.h5')
    tensors = keras.export_model(weights)
    keras.write(path, tensors)
    assert_same(keras.read(path), tensors)
    model = keras_model(keras_itself)
    model.load_weights(path)
    assert_same(dict(zip(tensors, model.get_weights())), tensors)


def say_the_same(weights, model):
    """Returns whether a Keras model and ours with these weights compute the same."""
    ids = numpy.array([[1, 4, 0, 6, 4]])
    ours = check_model(weights).build(dropout=0)
    for name, param in ours.namedparams():
        param.array[...] = weights[name.lstrip('/')]
    for k, layer in enumerate(ours.layers, 1):
        if hasattr(layer, 'slope'):
            layer.slope = float(weights[f'l{k}/slope'])
    numpy.testing.assert_allclose(
        numpy.asarray(model.predict(ids, verbose=0))[0],
        ours.logits(ids.T.astype('i')).array[:, 0], rtol=0, atol=1e-6)


@keras_warns
@pytest.mark.parametrize('slope', [None, .2, 1 / 6])
def test_keras_loads_our_archive(slope, tmp_path, keras_itself):
    sizes = Structure(V, M, (Layer('LSTM' if slope is None else 'HardSigmoidLSTM', 5),
                             Layer('LSTM', N)))
    weights = draw({name: shape for name, shape in sizes.shapes().items() if shape},
                   'f4', bound=2)
    if slope is not None:
        weights['l1/slope'] = numpy.array(slope)
    path = str(tmp_path / 'a.keras')
    keras.write(path, keras.export_model(weights))
    say_the_same(weights, keras_itself.saving.load_model(path))
    again = keras.import_model(keras.read(path))
    assert check_model(again) == sizes
    if slope != .2:
        assert_same_bits(again, weights)


def test_hard_gates_need_a_file_that_says_so(weights, tmp_path):
    tensors = with_slopes(keras.export_model(weights), .2)
    with pytest.raises(rnnlm.InputError, match='a.weights.h5: .* write a .keras file'):
        keras.write(str(tmp_path / 'a.weights.h5'), tensors)


def save_as_keras_2(path, weights, version, config=None):
    with h5py.File(path, 'w') as f:
        root = f
        if config is not None:
            f.attrs['model_config'] = json.dumps(config).encode()
            root = f.create_group('model_weights')
        root.attrs['keras_version'] = version.encode()
        tensors = keras.export_model(weights)
        root.attrs['layer_names'] = [b'words', b'drop', b'z', b'b', b'out']
        for theirs, ours in (('words', 'embedding'), ('z', 'lstm'), ('b', 'lstm_1'),
                             ('out', 'dense')):
            for name, array in tensors.items():
                layer, variable = name.split('/')
                if layer == ours:
                    root[f'{theirs}/{theirs}/{variable}:0'] = array
        root.create_group('drop')
    return tensors


def with_slopes(tensors, slope):
    return {**tensors, 'lstm/slope': numpy.array(slope),
            'lstm_1/slope': numpy.array(slope)}


def layers_of_keras_2(recurrent_activation):
    def layer(kind, name, **settings):
        return {'class_name': kind, 'config': {'name': name, **settings}}

    lstm = {'return_sequences': True, 'recurrent_activation': recurrent_activation}
    return {'class_name': 'Sequential', 'config': [
        layer('Embedding', 'words'), layer('Dropout', 'drop'),
        layer('LSTM', 'z', **lstm), layer('LSTM', 'b', **lstm), layer('Dense', 'out')]}


@pytest.mark.parametrize('version, gates', [
    ('2.3.1', 'sigmoid'), ('2.2.4', 'hard_sigmoid'), ('2.1.6-tf', 'hard_sigmoid'),
    ('1.2.0', 'hard_sigmoid'), ('2.2.4-tf', None), ('', None)])
def test_weights_alone_of_keras_2(weights, version, gates, tmp_path):
    """The default gates of their version are assumed, if it had one default."""
    path = str(tmp_path / 'a.h5')
    tensors = save_as_keras_2(path, weights, version)
    expected = {'sigmoid': tensors, 'hard_sigmoid': with_slopes(tensors, .2)}
    if gates is None:
        with pytest.raises(rnnlm.InputError, match='a.h5: .* or hard_sigmoid'):
            keras.read(path)
    else:
        assert_same(keras.read(path), expected[gates])
        assert gates in keras.describe(path)['notes'][0]
    assert_same(keras.read(path, 'sigmoid'), tensors)
    # A configuration beside it takes precedence.
    (tmp_path / 'a.json').write_text(json.dumps(
        {**layers_of_keras_2('sigmoid'), 'keras_version': version or '2.0.0'}))
    assert_same(keras.read(path), tensors)
    (tmp_path / 'a.json').rename(tmp_path / 'model.json')
    assert_same(keras.read(path), tensors)
    assert 'model.json' in keras.describe(path)['notes'][0]


def test_files_of_keras_2(weights, tmp_path):
    path = str(tmp_path / 'a.h5')
    tensors = save_as_keras_2(path, weights, '2.2.4', layers_of_keras_2('sigmoid'))
    assert_same(keras.read(path), tensors)
    save_as_keras_2(path, weights, '2.2.4', layers_of_keras_2('hard_sigmoid'))
    assert_same(keras.read(path), with_slopes(tensors, .2))
    save_as_keras_2(path, weights, '3.0.0', layers_of_keras_2('hard_sigmoid'))
    assert_same(keras.read(path), with_slopes(tensors, 1 / 6))
    save_as_keras_2(path, weights, '', layers_of_keras_2('hard_sigmoid'))
    with pytest.raises(rnnlm.InputError, match='version of Keras that wrote it'):
        keras.read(path)


def test_hdf5_with_links(weights, tmp_path):
    path = str(tmp_path / 'a.weights.h5')
    keras.write(str(tmp_path / 'other.h5'), keras.export_model(weights))
    name = 'layers/embedding/vars/0'
    with h5py.File(path, 'w') as f:
        f[name] = h5py.ExternalLink('other.h5', name)
        f['layers/dense/vars/1'] = numpy.zeros(3)
        f['layers/a'] = f['layers']  # contains itself
        f['layers/b'] = f['layers']
    with pytest.raises(rnnlm.InputError, match='expected a layer Dense once'):
        keras.read(path)

    def virtual(f):
        layout = h5py.VirtualLayout((V, M), 'f4')
        layout[...] = h5py.VirtualSource('other.h5', name, (V, M))
        f.create_virtual_dataset(name, layout)

    def external(f):
        f.create_dataset(
            name, (V, M), 'f4', external=[(__file__, 0, h5py.h5f.UNLIMITED)])

    def large(f):
        f.create_dataset(name, (10 ** 6, 10 ** 6), 'f4', chunks=(100, 100))

    def packed(f):
        f.create_dataset(name, data=numpy.zeros((10 ** 4, 10)), compression='gzip')

    def texts(f):
        f[name] = ['a', 'b']

    for make in virtual, external, large, packed, texts:
        keras.write(path, keras.export_model(weights))
        with h5py.File(path, 'r+') as f:
            del f[name]
            make(f)
        with pytest.raises(rnnlm.InputError, match='are not stored|of objects'):
            keras.read(path)


@pytest.mark.parametrize('libver', ['earliest', 'latest'])
def test_texts_of_hdf5(libver, tmp_path):
    path = str(tmp_path / 'a.h5')

    def texts(attributes, name, group='/'):
        with h5py.File(path, 'w', libver=libver) as f:
            f.require_group(group).attrs.update(attributes)
        out = io.BytesIO()
        hdf5_worker.convert(path, out)
        return json.loads(members_of(out)[hdf5_worker.ATTRIBUTES_MEMBER]).get(name)

    many = {f'other {k}': k for k in range(50)}  # stored in another way
    for found, expected in (
            ('ä' * 30000, ['ä' * 30000]), (numpy.bytes_(b'abc'), ['abc']), (b'', ['']),
            (['x', '', 'yz'], ['x', '', 'yz']), (numpy.array([], 'S1'), []),
            (numpy.array([b'de', b'f']), ['de', 'f'])):
        for group in '/', 'model_weights':
            assert texts({**many, 'layer_names': found}, 'layer_names', group
                         ) == expected
            assert texts(many, 'layer_names', group) is None
    for found in 5, h5py.Empty('S3'), numpy.zeros((2, 2), 'S1'), b'\xff':
        assert re.match(r'\w+Error: ', texts({'keras_version': found}, 'keras_version'))


def test_too_many_texts(tmp_path):
    path = str(tmp_path / 'a.h5')
    with h5py.File(path, 'w', libver='latest') as f:
        f.attrs.create('layer_names', numpy.zeros(20_000, 'S1'))
    with Hdf5(path) as archive:
        with pytest.raises(ValueError, match='20,000 texts'):
            archive.texts('layer_names')


def test_texts_of_hdf5_that_claim_much(weights, tmp_path):
    path = tmp_path / 'a.h5'
    save_as_keras_2(str(path), weights, '2.3.1')
    whole = path.read_bytes()
    heap = whole.index(b'GCOL')
    reference = struct.pack('<IQ', len('2.3.1'), heap)
    for old, new in ((reference, struct.pack('<IQ', 2 ** 32 - 1, heap)),
                     (reference, struct.pack('<IQ', 5, 2 ** 63)),
                     (reference, struct.pack('<IQ', 5, heap + 1)),
                     # An object whose claimed size overlaps itself.
                     (whole[heap + 24:heap + 32], struct.pack('<Q', 2 ** 64 - 16))):
        assert old in whole
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(rnnlm.InputError, match='expected weights of Keras|damaged'):
            keras.read(str(path))


@pytest.mark.parametrize('config', [b'[' * 100000, b'{', b'{"a":1,"a":2}', b'\xff'])
def test_keras_with_a_broken_configuration(config, write):
    path = write('a.keras', zipped(
        {'config.json': config, 'model.weights.h5': b''}))
    with pytest.raises(rnnlm.InputError, match='a .keras file'):
        keras.read(path)
