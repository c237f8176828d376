"""Untrusted HDF5 files, and descriptions of files by `rnnlm inspect`."""
import json
import sys

import chainer
import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.serializers import hdf5_worker
from rnnlm.serializers.archive import open_archive

h5py = pytest.importorskip('h5py')


@pytest.fixture
def model():
    return rnnlm.RNNForLM(20, 6)


def test_hdf5_of_chainer_loads(model, tmp_path):
    path = str(tmp_path / 'model.h5')
    chainer.serializers.save_hdf5(path, chainer.links.Classifier(model))
    other = rnnlm.RNNForLM(20, 6)
    rnnlm.load_model(path, other)
    for (name, param), (_, loaded) in zip(model.namedparams(), other.namedparams()):
        numpy.testing.assert_array_equal(param.array, loaded.array, err_msg=name)


def test_hdf5_of_other_sizes_is_refused(model, tmp_path):
    path = str(tmp_path / 'model.h5')
    chainer.serializers.save_hdf5(path, model)
    other = rnnlm.RNNForLM(20, 7)
    before = [param.array.copy() for param in other.params()]
    with pytest.raises(rnnlm.InputError, match=r"'embed/W' of shape \(20, 7\)"):
        rnnlm.load_model(path, other)
    for param, array in zip(other.params(), before):
        numpy.testing.assert_array_equal(param.array, array)


def test_hdf5_links_are_not_followed(model, tmp_path):
    chainer.serializers.save_hdf5(str(tmp_path / 'elsewhere.h5'), model)
    path = str(tmp_path / 'model.h5')
    with h5py.File(path, 'w') as f:
        f['embed/W'] = h5py.ExternalLink('elsewhere.h5', '/embed/W')
        f['l1'] = h5py.SoftLink('/l1')
        f['x'] = h5py.SoftLink('/nowhere')
    with open_archive(path) as archive:
        assert list(archive) == []
    with pytest.raises(rnnlm.InputError, match='no embed/W'):
        rnnlm.load_model(path, model)


def test_hdf5_that_claims_much_is_refused(tmp_path):
    path = str(tmp_path / 'model.h5')
    with h5py.File(path, 'w') as f:
        f.create_dataset('embed/W', (10 ** 6, 10 ** 6), 'f', chunks=(100, 100))
        f.create_dataset('zeros', data=numpy.zeros(10 ** 6), compression='gzip')
    with open_archive(path) as archive:
        for read in archive.describe, archive.__getitem__:
            with pytest.raises(rnnlm.InputError, match='not stored'):
                read('embed/W')
        assert not archive['zeros'].any()


def test_hdf5_groups_that_hold_each_other(tmp_path):
    path = str(tmp_path / 'model.h5')
    with h5py.File(path, 'w') as f:
        group = f.create_group('a')
        group['again'] = group['and again'] = group['above'] = f['/']
        group['self'] = group['itself'] = group
        group['W'] = 3.0
    with open_archive(path) as archive:
        assert {name.rpartition('/')[2] for name in archive} == {'W'}
        assert archive['a/W'] == 3


def test_hdf5_data_of_other_kinds_are_refused(tmp_path):
    (tmp_path / 'secret').write_bytes(bytes(80))
    path = str(tmp_path / 'model.h5')
    with h5py.File(path, 'w') as f:
        f['text'] = 'of any length'
        f.create_dataset('outside', (10,), 'f8', external=[
            (str(tmp_path / 'secret'), 0, 80)])
        f['good'] = numpy.arange(3)
    with open_archive(path) as archive:
        assert archive['good'].tolist() == [0, 1, 2]
        for name, match in ('text', 'of objects'), ('outside', 'not stored'):
            with pytest.raises(rnnlm.InputError, match=match):
                archive[name]


@pytest.mark.parametrize('keep', [8, 100, 1000, 4000])
def test_truncated_hdf5(model, tmp_path, keep):
    path = tmp_path / 'model.h5'
    chainer.serializers.save_hdf5(str(path), model)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(rnnlm.InputError, match='model.h5'):
        rnnlm.load_model(str(path), model)


def test_bits_flipped_in_hdf5(model, tmp_path):
    path = tmp_path / 'model.h5'
    chainer.serializers.save_hdf5(str(path), model)
    whole = path.read_bytes()
    random = numpy.random.RandomState(0)
    for _ in range(10):
        broken = bytearray(whole)
        for _ in range(random.randint(1, 20)):
            broken[random.randint(len(broken))] ^= 1 << random.randint(8)
        path.write_bytes(bytes(broken))
        try:
            rnnlm.load_model(str(path), model)
        except rnnlm.InputError:
            pass


def test_hdf5_without_h5py(model, tmp_path, monkeypatch):
    path = str(tmp_path / 'model.h5')
    chainer.serializers.save_hdf5(path, model)
    monkeypatch.setitem(sys.modules, 'h5py', None)
    with pytest.raises(rnnlm.InputError, match='pip install h5py'):
        rnnlm.load_model(path, model)


def test_hdf5_that_crashes_its_reader_in_silence(model, tmp_path, monkeypatch):
    """As on Windows, where a crash is an exit status and not a signal."""
    path = str(tmp_path / 'model.h5')
    chainer.serializers.save_hdf5(path, model)
    script = tmp_path / 'crash.py'
    script.write_text('import os; os._exit(5)')
    monkeypatch.setattr(hdf5_worker, '__file__', str(script))
    with pytest.raises(rnnlm.InputError, match='model.h5.*crashed with status 5'):
        rnnlm.load_model(path, model)


@pytest.mark.parametrize('version, name, kind, writer', [
    ('1.24.0', 'snapshot_iter_60', 'snapshot of a trainer', 'Chainer 1.11 to 1.24'),
    ('7.8.1', 'snapshot_iter_60', 'snapshot of a trainer', 'Chainer 3 to 7'),
    ('1.24.0', 'model_iter_60', 'model', 'Chainer 1.5 or later'),
    ('7.8.1', 'model.npz', 'model', 'Chainer 1.5 or later'),
])
def test_inspect(version, name, kind, writer, path_of, capsys):
    path = path_of('snapshots', 'chainer-' + version, name)
    assert cli.main(['inspect', path]) == 0
    text = capsys.readouterr().out
    assert kind in text and writer in text and '2 x ' in text
    assert 'float32' in text and 'embed/W' in text
    assert cli.main(['inspect', path, '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert found['kind'] == kind and found['written by'].startswith(writer)
    sizes = found['model']
    embed, = (entry for array, entry in found['arrays'].items()
              if array.endswith('embed/W'))
    assert embed == {'shape': [sizes['n_vocab'], sizes['n_units']],
                     'dtype': 'float32'}


def test_inspect_other_files(tmp_path, capsys):
    path = str(tmp_path / 'any.npz')
    numpy.savez(path, x=numpy.array(None), y=numpy.array([{}], dtype=object))
    assert cli.main(['inspect', path]) == 0  # does not read what it cannot
    assert 'None     1               y' in capsys.readouterr().out
    for name, data in (('none', None), ('text', b'no archive'), ('empty', b'')):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        assert cli.main(['inspect', str(tmp_path / name)]) == 2
        assert name in capsys.readouterr().err
