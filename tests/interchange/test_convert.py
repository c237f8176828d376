"""`rnnlm convert`: from every format to every other."""
import importlib.util
import sys

import chainer
import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.interchange import convert
from rnnlm.interchange.weights import untied

pytest.importorskip('h5py')

WITHOUT_TORCH = ['a.npz', 'a.safetensors', 'a.weights.h5']


@pytest.fixture(params=[2, 1])
def model(request):
    return rnnlm.RNNForLM(9, 4, request.param, n_embed=3)


def weights_of(model):
    return {name.lstrip('/'): param.array for name, param in model.namedparams()}


def assert_same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        numpy.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize('second', WITHOUT_TORCH)
@pytest.mark.parametrize('first', WITHOUT_TORCH)
def test_round_trip(model, first, second, tmp_path, capsys):
    begin, end = str(tmp_path / 'begin.npz'), str(tmp_path / 'end.npz')
    rnnlm.save_npz(begin, chainer.links.Classifier(model))
    paths = [begin, *(str(tmp_path / str(k) / name) for k, name in enumerate(
        (first, second))), end]
    for k in range(2):
        (tmp_path / str(k)).mkdir()
    for source, target in zip(paths, paths[1:]):
        assert cli.main(['convert', source, target]) == 0
        first_line = capsys.readouterr().out.split('\n')[0]
        assert first_line == (
            f'written  {target}: {model.n_layers} x 4 LSTM units, embedding 3, '
            'vocabulary 9')
    other = rnnlm.RNNForLM(9, 4, model.n_layers, n_embed=3)
    rnnlm.load_model(end, other)
    assert_same(weights_of(other), weights_of(model))


def test_tied_model_and_folder(tmp_path, capsys):
    model = rnnlm.RNNForLM(9, 4, tied=True)
    rnnlm.save_npz(str(tmp_path / 'model.npz'), model)
    target = str(tmp_path / 'a.safetensors')
    assert cli.main(['convert', str(tmp_path), target]) == 0
    assert_same(convert.load(target), untied(weights_of(model)))


def test_hdf5_of_chainer(model, tmp_path):
    path = str(tmp_path / 'a.h5')
    chainer.serializers.save_hdf5(path, model)
    assert_same(convert.load(path), weights_of(model))


def test_char_rnn(model, tmp_path):
    path = str(tmp_path / 'a.t7')
    convert.save(path, weights_of(model))
    found = convert.load(path)
    numpy.testing.assert_array_equal(found['embed/W'], numpy.eye(9))
    numpy.testing.assert_allclose(
        found['l1/upward/W'], weights_of(model)['l1/upward/W'] @ model.embed.W.array.T,
        rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_twin(model, dtype, tmp_path, capsys):
    torch = pytest.importorskip('torch', reason='torch is not in the test extra')
    weights = {name: w.astype(dtype) for name, w in weights_of(model).items()}
    source, path = str(tmp_path / 'a.npz'), str(tmp_path / 'twin.py')
    convert.save(source, weights)
    assert cli.main(['convert', source, path]) == 0
    assert f'{path} and {path[:-3]}.pt: ' in capsys.readouterr().out
    spec = importlib.util.spec_from_file_location('twin', path)
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    ids = numpy.random.RandomState(0).randint(0, 9, (6, 2)).astype('i')
    logits, (h, c) = twin.load()(torch.from_numpy(ids))
    with chainer.using_config('train', False):
        numpy.testing.assert_allclose(
            logits.detach(), model.logits(ids).array, rtol=1e-5, atol=1e-6)
    for k, state in enumerate(model.get_state()):
        for found, expected in zip((c, h), state):
            numpy.testing.assert_allclose(
                found[k].detach(), expected, rtol=1e-5, atol=1e-6)
    assert str(logits.dtype) == f'torch.{dtype}'
    assert_same(convert.load(path[:-3] + '.pt'), weights)
    lines = (tmp_path / 'twin.py').read_text().split('\n')
    assert max(map(len, lines)) <= 88 and lines[0].startswith('"""')


def test_state_dict_is_read_without_torch(model, tmp_path, monkeypatch):
    pytest.importorskip('torch', reason='torch is not in the test extra')
    path = str(tmp_path / 'a.pt')
    convert.save(path, weights_of(model))
    monkeypatch.setitem(sys.modules, 'torch', None)
    assert_same(convert.load(path), weights_of(model))


def test_without_torch(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'torch', None)
    source = str(tmp_path / 'a.npz')
    rnnlm.save_npz(source, model)
    assert cli.main(['convert', source, str(tmp_path / 'a.pt')]) == 2
    assert 'pip install torch' in capsys.readouterr().err


@pytest.mark.parametrize('source, target, message', [
    ('none.npz', 'b.npz', 'none.npz: expected a file that can be read'),
    ('a.npz', 'b.tflite', 'b.tflite: expected a file ending in .npz, .pt'),
    ('a.npz', 'none/b.pt', 'no folder'), ('a.txt', 'b.npz', 'the ending of its format'),
    ('a.zip', 'b.npz', 'expected'), (
        'other.npz', 'b.npz', 'expected the parameters of an LSTM'),
])
def test_what_cannot_be_converted(model, source, target, message, tmp_path, capsys):
    rnnlm.save_npz(str(tmp_path / 'a.npz'), model)
    numpy.savez(str(tmp_path / 'other.npz'), x=numpy.ones(3))
    (tmp_path / 'a.txt').write_text('hello')
    (tmp_path / 'a.zip').write_bytes(b'PK')
    assert cli.main(['convert', str(tmp_path / source), str(tmp_path / target)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / target).exists()
