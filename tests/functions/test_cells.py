"""The cells that other systems have and Chainer lacks."""
import chainer
from chainer import functions as F
from helpers import TOLERANCE, assert_close, lstm_case, variables
import numpy
import pytest

import rnnlm
from rnnlm import functions
from rnnlm.interchange import keras as interchange_keras


def by_steps(inputs, gate, forget_bias):
    """The equations, step by step in Chainer's differentiable functions."""
    x, c, h, W_u, b, W_l = inputs
    hs = []
    for x_t in x:
        z = F.linear(x_t, W_u, b) + F.linear(h, W_l)
        a, i, f, o = (z[:, k::4] for k in range(4))
        f = gate(f + forget_bias) if numpy.isfinite(forget_bias) else 1
        c = F.tanh(a) * gate(i) + f * c
        h = gate(o) * F.tanh(c)
        hs.append(h)
    return F.stack(hs), c, h


GATES = {
    'sigmoid': F.sigmoid,
    'hard_sigmoid': lambda z: F.clip(0.2 * z + 0.5, 0.0, 1.0),
    'hard_sigmoid_6': lambda z: F.clip(z / 6 + 0.5, 0.0, 1.0)}


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize('gate, forget_bias', [
    ('sigmoid', 1.0), ('sigmoid', numpy.inf), ('hard_sigmoid', 0.0),
    ('hard_sigmoid', 1.0), ('hard_sigmoid_6', 0.0), ('hard_sigmoid_6', numpy.inf)])
@pytest.mark.parametrize('shape', [(1, 1, 2, 3), (6, 4, 5, 7), (4, 3, 20, 64)])
def test_cells(xp, shape, gate, forget_bias, dtype):
    inputs, grads = lstm_case(*shape, dtype=dtype)
    inputs[3:] = [w / numpy.sqrt(w.shape[-1]).astype(dtype) for w in inputs[3:]]
    given = [variables(xp, *inputs) for _ in range(2)]
    outputs = [functions.lstm_window(*given[0], gate=gate, forget_bias=forget_bias),
               by_steps(given[1], GATES[gate], forget_bias)]
    for way in outputs:
        for y, g in zip(way, grads):
            y.grad = xp.asarray(g)
        chainer.backward(way)
    for actual, expected in zip(*outputs):
        assert_close(actual.array, chainer.cuda.to_cpu(expected.array), dtype)
    for actual, expected in zip(*given):
        if expected.grad is not None:
            numpy.testing.assert_allclose(
                chainer.cuda.to_cpu(actual.grad), chainer.cuda.to_cpu(expected.grad),
                rtol=10 * TOLERANCE[dtype]['rtol'], atol=20 * TOLERANCE[dtype]['atol'])


def test_without_a_forget_gate_the_cell_forgets_nothing():
    (x, c, h, W_u, b, W_l), _ = lstm_case(5, 2, 3, 4, 'f')
    b[1::4] = -numpy.inf  # nothing comes in either
    _, c_T, _ = functions.lstm_window(x, c, h, W_u, b, W_l, forget_bias=numpy.inf)
    numpy.testing.assert_array_equal(c_T.array, c)


def test_no_such_gate():
    inputs, _ = lstm_case(1, 1, 1, 1, 'f')
    with pytest.raises(rnnlm.InputError, match='gate: expected one of sigmoid, hard_'):
        functions.lstm_window(*inputs, gate='softsign')


@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')
@pytest.mark.parametrize('activation, gate', [
    ('sigmoid', 'sigmoid'), ('hard_sigmoid', 'hard_sigmoid_6')])
def test_gates_of_keras(monkeypatch, activation, gate):
    monkeypatch.setenv('KERAS_BACKEND', 'torch')
    pytest.importorskip('torch', reason='torch is not in the test extra')
    keras = pytest.importorskip('keras', reason='keras is not in the test extra')
    (x, c, h, *weights), _ = lstm_case(5, 2, 3, 4, 'f')
    weights = [2 * w for w in weights]  # so that some gates are shut
    expected = functions.lstm_window(x, c, h, *weights, gate=gate)
    tensors = interchange_keras.export_layer(
        dict(zip(('upward/W', 'upward/b', 'lateral/W'), weights)))
    layer = keras.layers.LSTM(
        4, recurrent_activation=activation, return_sequences=True, return_state=True)
    layer.build((2, 5, 3))
    layer.set_weights([
        tensors[name] for name in ('kernel', 'recurrent_kernel', 'bias')])
    hs, h_T, c_T = (keras.ops.convert_to_numpy(y) for y in layer(
        x.transpose(1, 0, 2), initial_state=[h, c]))
    for found, (actual, name) in zip((hs.transpose(1, 0, 2), c_T, h_T), zip(
            expected, ('hs', 'c', 'h'))):
        numpy.testing.assert_allclose(
            actual.array, found, rtol=1e-5, atol=2e-6, err_msg=name)
