"""The exported graph, run by onnxruntime, computes the same as the model."""
import chainer
import numpy
import pytest

import rnnlm
from rnnlm.interchange import convert, onnx

pytest.importorskip('onnx', reason='onnx is not in the test extra')
onnxruntime = pytest.importorskip(
    'onnxruntime', reason='onnxruntime is not in the test extra')


def weights_of(model):
    return {name.lstrip('/'): param.array for name, param in model.namedparams()}


@pytest.fixture(params=[(1, 3), (2, 4), (3, 5)])
def model(request):
    n_layers, n_embed = request.param
    numpy.random.seed(n_layers)
    return rnnlm.RNNForLM(9, 4, n_layers, init_scale=1.0, n_embed=n_embed)


def session_of(model, tmp_path):
    path = str(tmp_path / 'model.onnx')
    assert convert.save(path, weights_of(model)) == [path]
    return onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])


@pytest.mark.parametrize('T, B', [(1, 1), (6, 1), (1, 3), (7, 4)])
def test_window(model, tmp_path, T, B):
    random = numpy.random.RandomState(0)
    ids = random.randint(0, 9, (T, B))
    c, h = random.uniform(-1, 1, (2, model.n_layers, B, 4)).astype('f')
    model.set_state(list(zip(c, h)))
    with chainer.using_config('train', False):
        expected = model.logits(ids.astype('i')).array
    state = model.get_state()
    logits, next_h, next_c = session_of(model, tmp_path).run(
        ['logits', 'next_h', 'next_c'], {'ids': ids, 'h': h, 'c': c})
    for found, array in ((logits, expected), (next_c, [c for c, _ in state]),
                         (next_h, [h for _, h in state])):
        numpy.testing.assert_allclose(found, array, rtol=1e-5, atol=1e-5)


def test_steps_are_the_window(model, tmp_path):
    session = session_of(model, tmp_path)
    ids = numpy.random.RandomState(0).randint(0, 9, (5, 2))
    h = c = numpy.zeros((model.n_layers, 2, 4), 'f')
    whole, _, _ = session.run(None, {'ids': ids, 'h': h, 'c': c})
    for t in range(5):
        logits, h, c = session.run(None, {'ids': ids[t:t + 1], 'h': h, 'c': c})
        numpy.testing.assert_allclose(logits[0], whole[t], rtol=1e-5, atol=1e-6)


def test_too_large(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx, 'MOST_BYTES', 1000)
    with pytest.raises(rnnlm.InputError, match='at most 1,000 bytes'):
        convert.save(str(tmp_path / 'm.onnx'), weights_of(rnnlm.RNNForLM(9, 4)))
    assert not list(tmp_path.iterdir())
