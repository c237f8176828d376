"""Files written by versions of Keras, compared with what their models computed.

recorded/make_keras.py recorded both.
"""

import chainer
import numpy
import pytest
import recorded

import rnnlm
from rnnlm.interchange import keras
from rnnlm.interchange.weights import check_model
from rnnlm.serializers import hdf5_worker

pytest.importorskip('h5py')


def extract(archive, name, folder):
    """Extracts a file, and the configuration beside it if there is one."""
    stem = name.partition('.')[0]
    for member, data in recorded.members(archive).items():
        if member in (name, f'{stem}.json'):
            (folder / member).write_bytes(data)
    return str(folder / name)


def computed(weights, ids):
    """Computes logits (T, V) of the model with these weights."""
    model = check_model(weights).build(dropout=0)
    for name, param in model.namedparams():
        param.array[...] = weights[name.lstrip('/')]
    for name, slope in weights.items():
        if name.endswith('/slope'):
            model[name.partition('/')[0]].slope = float(slope)
    with chainer.using_config('train', False):
        return model.logits(numpy.array(ids, 'i').T).array[:, 0]


def check(weights, entry):
    found, expected = computed(weights, entry['ids']), numpy.array(entry['output'])[0]
    if expected.ndim == 1:  # only of the last step
        found = found[-1]
    if abs(expected.sum(-1) - 1).max() < 1e-5:
        found = numpy.exp(found)
        found = found / found.sum(-1, keepdims=True)
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert numpy.ptp(expected) > .05


@pytest.fixture
def here(monkeypatch):
    """Reads HDF5 files in this process, which saves most of the time."""
    def convert(path, out):
        hdf5_worker.convert(path, out)
        return ''
    monkeypatch.setattr(hdf5_worker, 'convert_apart', convert)


def written_by(archive, name):
    """Returns the expected text about what wrote a file."""
    version = archive.split('-')[1]
    if name == 'beside.weights.h5' and version >= '2.12':
        return version if version < '3' else 'Keras 3'
    if name.endswith('.weights.h5') and version >= '2.12':
        return 'Keras 3, or 2.12 and later'
    if 'weights.h5' in name and version < '2':
        return 'Keras 1'
    return f'Keras {version}'


@pytest.mark.parametrize('archive, name, entry', list(recorded.cases('keras')))
def test_recorded_file(archive, name, entry, tmp_path, here):
    path = extract(archive, name, tmp_path)
    found = keras.describe(path)
    assert written_by(archive, name) in found['written by']
    if 'refused' in entry:
        with pytest.raises(rnnlm.InputError, match=entry['refused']) as e:
            keras.load(path)
        assert found['model'] is None and found['refused'] in str(e.value)
        return
    weights, notes = keras.load(path)
    check(weights, entry)
    assert found['refused'] is None and found['notes'] == notes
    assert found['layers'][-1].startswith(('Dense', 'TimeDistributed'))


def test_there_are_recorded_files():
    """From Keras 1, 2 and 3, and from TensorFlow's Keras."""
    versions = recorded.archives('keras')
    assert {name.split('-')[1].split('.')[0] for name in versions} == {'1', '2', '3'}
    assert len(versions) >= 5
