"""Every model that can be read can be written to every format that can hold it."""
import importlib.util

import chainer
import numpy
import pytest

import rnnlm
from rnnlm.app import cli
from rnnlm.interchange import convert, inspecting
from rnnlm.interchange.weights import check_model
from rnnlm.structure import Layer, Structure
from layouts import assert_same_bits, draw

V = 6
MODELS = {
    'one size': Structure(V, 3, (Layer('LSTM', 4),) * 2),
    'sizes': Structure(V, 3, (Layer('LSTM', 5), Layer('LSTM', 4))),
    'one-hot': Structure(V, V, (Layer('LSTM', 4),)),
    'hard gates': Structure(V, 3, (Layer('HardSigmoidLSTM', 5), Layer('LSTM', 4))),
}
READ_BACK = ['.npz', '.safetensors', '.weights.h5', '.keras', '.t7', '.pt']
HARD = ['.npz', '.keras', '.onnx']
WORDS = ['a', 'ä', '\n', ' ', 'the', '<unk>']


def weights_of(name):
    weights = draw(MODELS[name].shapes(), 'f4', bound=1)
    for key in weights:
        if key.endswith('/slope'):
            weights[key] = numpy.array(1 / 6, 'f4')
    if name == 'one-hot':
        weights['embed/W'] = numpy.eye(V, dtype='f4')
    return weights


def logits_of(weights, ids):
    model = check_model(weights).build(dropout=0)
    for key, param in model.namedparams():
        param.array[...] = weights[key.strip('/')]
    for key in weights:
        if key.endswith('/slope'):
            model[key.partition('/')[0]].slope = float(weights[key])
    with chainer.using_config('train', False):
        return model.logits(ids).array


def needs(ending):
    if ending in ('.weights.h5', '.keras'):
        pytest.importorskip('h5py')
    if ending in ('.pt', '.py'):
        pytest.importorskip('torch', reason='torch is not in the test extra')
    if ending == '.onnx':
        pytest.importorskip('onnx', reason='onnx is not in the test extra')


IDS = numpy.array([[1, 2], [0, 0], [5, 3], [4, 1]], 'i')


@pytest.mark.parametrize('ending', READ_BACK)
@pytest.mark.parametrize('name', MODELS)
def test_written_and_read_back(name, ending, tmp_path):
    needs(ending)
    weights, path = weights_of(name), str(tmp_path / f'm{ending}')
    if name == 'hard gates' and ending not in HARD:
        with pytest.raises(rnnlm.InputError, match='expected .*sigmoid.*hard|Hard'):
            convert.save(path, weights)
        assert not list(tmp_path.iterdir())
        return
    convert.save(path, weights)
    found = convert.load(path)
    numpy.testing.assert_allclose(
        logits_of(found, IDS), logits_of(weights, IDS), rtol=0, atol=2e-6)
    if ending != '.t7' and name != 'hard gates':
        assert_same_bits(found, weights)
    described = inspecting.describe(path)
    assert described['refused'] is None and described['model']['n_vocab'] == V


@pytest.mark.parametrize('ending', [*READ_BACK, '.onnx', '.py'])
def test_tokens_go_along(ending, tmp_path, capsys):
    needs(ending)
    source, target = tmp_path / 'a', tmp_path / 'b'
    source.mkdir(), target.mkdir()
    vocabulary = rnnlm.Vocabulary(WORDS)
    vocabulary.save(str(source / 'vocabulary.json'))
    convert.save(str(source / 'model.npz'), weights_of('one size'))
    out = str(target / f'm{ending}')
    assert cli.main(['convert', str(source / 'model.npz'), out]) == 0
    assert 'vocabulary.json' in capsys.readouterr().out
    assert rnnlm.Vocabulary.load(str(target / 'vocabulary.json')) == vocabulary
    if ending in ('.safetensors', '.t7'):  # in the file itself
        (target / 'vocabulary.json').unlink()
    if ending in READ_BACK:
        assert convert.load_model(out).vocabulary == vocabulary
    rnnlm.Vocabulary('abcdef').save(str(target / 'vocabulary.json'))
    again = str(target / f'again{ending}')
    assert cli.main(['convert', str(source / 'model.npz'), again]) == 2
    assert '--overwrite' in capsys.readouterr().err
    assert cli.main(['convert', str(source / 'model.npz'), again, '--overwrite']) == 0
    assert rnnlm.Vocabulary.load(str(target / 'vocabulary.json')) == vocabulary


@pytest.mark.parametrize('name', ['sizes', 'hard gates', 'one size'])
def test_onnx(name, tmp_path):
    needs('.onnx')
    onnxruntime = pytest.importorskip('onnxruntime')
    path = str(tmp_path / 'm.onnx')
    weights = weights_of(name)
    convert.save(path, weights, rnnlm.Vocabulary(WORDS))
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    state = {i.name: numpy.zeros([2 if d == 'B' else d for d in i.shape], 'f4')
             for i in session.get_inputs() if i.name != 'ids'}
    assert sorted(state) == (
        ['c', 'h'] if name == 'one size' else ['c0', 'c1', 'h0', 'h1'])
    logits = session.run(['logits'], {'ids': IDS.astype('i8'), **state})[0]
    numpy.testing.assert_allclose(logits, logits_of(weights, IDS), rtol=0, atol=1e-5)
    assert 'ä' in session.get_modelmeta().custom_metadata_map['rnnlm vocabulary']
    assert inspecting.describe(path)['format'] == 'ONNX'
    with pytest.raises(rnnlm.InputError, match='found ONNX, which can only be written'):
        convert.load(path)


def test_twin_of_other_sizes(tmp_path):
    torch = pytest.importorskip('torch', reason='torch is not in the test extra')
    weights, path = weights_of('sizes'), str(tmp_path / 'twin.py')
    convert.save(path, weights)
    spec = importlib.util.spec_from_file_location('twin', path)
    twin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(twin)
    module = twin.load()
    with torch.no_grad():
        whole, _ = module(torch.from_numpy(IDS))
        first, state = module(torch.from_numpy(IDS[:2]))
        second, _ = module(torch.from_numpy(IDS[2:]), state)
    expected = logits_of(weights, IDS)
    numpy.testing.assert_allclose(whole, expected, rtol=0, atol=1e-5)
    numpy.testing.assert_allclose(
        torch.cat([first, second]), expected, rtol=0, atol=1e-5)
