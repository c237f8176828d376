"""Links a language model may hold: values, dtypes, gradients, serialisation.

Every link is filled with the same random numbers; the number in its row is what
the real thing gave on NumPy 1.23: the sum of its weighted results in float64.
"""

import warnings

import numpy as np
import pytest

from rnnlm._compat import patches

patches.apply()

import chainer  # noqa: E402
import chainer.functions as F  # noqa: E402
import chainer.links as L  # noqa: E402
from chainer import gradient_check, serializers  # noqa: E402

DTYPES = [np.float16, np.float32, np.float64]
T = np.array([0, 3, 1], np.int32)


def once(link, x):
    return link(x)


def twice(link, x):
    """A stateful link: the second step depends on the state of the first."""
    link.reset_state()
    return F.concat((link(x), link(x[::-1])), axis=0)


def with_state(n):
    def call(link, x):
        return link(*[x[:, :3] * (i + 1) for i in range(n)], x)
    return call


def sequences(n_states):
    def call(link, x):
        # Three sequences of lengths 3, 2 and 1 out of x (3, 4).
        xs = [x, x[1:], x[2:]]
        states = [None] * n_states
        *states, ys = link(*states, xs)
        return F.concat([F.flatten(y) for y in list(states) + list(ys)], axis=0)
    return call


def loss(link, x):
    return link(x, T)


def sampled(link, x):
    np.random.seed(8)  # the sampler draws from the global stream
    return link(x, T)


def row(make, call, expected, dtypes=DTYPES, gradient=True, id=None):
    return pytest.param(make, call, expected, dtypes, gradient, id=id)


LINKS = [
    row(lambda: L.Linear(4, 3), once, -1.359811, id='Linear'),
    row(lambda: L.Linear(None, 3, nobias=True), once, -0.9468451, id='Linear lazy'),
    row(lambda: L.Bias(1, (4,)), once, 0.4173473, id='Bias'),
    row(lambda: L.Scale(1, (4,), bias_term=True), once, 0.0877949, id='Scale'),
    row(lambda: L.Bilinear(4, 4, 2), lambda link, x: link(x, x), 2.266381, [np.float32],
        gradient=False, id='Bilinear'),
    row(lambda: L.Highway(4), once, 0.02205416, id='Highway'),
    row(lambda: L.Maxout(4, 3, 2), once, 0.0975852, id='Maxout'),
    row(lambda: L.PReLU((4,)), once, 0.2906009, id='PReLU'),
    row(lambda: L.Swish((4,)), once, 0.1410486, id='Swish'),
    row(lambda: L.LayerNormalization(4), once, -0.3826187, id='LayerNormalization'),
    row(lambda: L.BatchNormalization(4), once, 0.2644638, id='BatchNormalization'),
    row(lambda: L.Convolution1D(1, 2, 3),
        lambda link, x: link(x[:, None]), -0.3838291, id='Convolution1D'),
    row(lambda: L.SimplifiedDropconnect(4, 3, ratio=0.3), lambda link, x: link(
        x, mask=np.arange(36).reshape(3, 3, 4) % 3 > 0), -2.074265,
        id='SimplifiedDropconnect'),
    row(lambda: L.LSTM(4, 3), twice, -0.04641347, id='LSTM'),
    row(lambda: L.StatefulPeepholeLSTM(4, 3), twice, -0.1885545,
        id='StatefulPeepholeLSTM'),
    row(lambda: L.StatefulZoneoutLSTM(4, 3, 0, 0), twice, -0.04641347,
        id='StatefulZoneoutLSTM'),
    row(lambda: L.StatefulGRU(4, 3), twice, -0.1204773, id='StatefulGRU'),
    row(lambda: L.StatefulMGU(4, 3), twice, 0.01311466, id='StatefulMGU'),
    row(lambda: L.StatelessLSTM(4, 3), lambda link, x: F.concat(
        link(x[:, :3], x[:, 1:], x)), 0.2327984, id='StatelessLSTM'),
    row(lambda: L.StatelessGRU(4, 3), with_state(1), 0.5041556, id='StatelessGRU'),
    row(lambda: L.StatelessMGU(4, 3), with_state(1), -0.2165448, id='StatelessMGU'),
    row(lambda: L.ChildSumTreeLSTM(4, 3), lambda link, x: F.concat(
        link(x[:, :3], x[:, 1:], x[:, 1:], x[:, :3], x)), -0.687252,
        id='ChildSumTreeLSTM'),
    row(lambda: L.NaryTreeLSTM(4, 3, 2), lambda link, x: F.concat(
        link(x[:, :3], x[:, 1:], x[:, 1:], x[:, :3], x)), -1.193899, id='NaryTreeLSTM'),
    row(lambda: L.NStepLSTM(2, 4, 3, 0.0), sequences(2), -0.4673684, id='NStepLSTM'),
    row(lambda: L.NStepBiLSTM(2, 4, 3, 0.0), sequences(2), 0.3131515, id='NStepBiLSTM'),
    row(lambda: L.NStepGRU(2, 4, 3, 0.0), sequences(1), -0.4275697, id='NStepGRU'),
    row(lambda: L.NStepBiGRU(1, 4, 3, 0.0), sequences(1), -1.319035, id='NStepBiGRU'),
    row(lambda: L.NStepRNNTanh(2, 4, 3, 0.0), sequences(1), 0.4468533,
        id='NStepRNNTanh'),
    row(lambda: L.NStepRNNReLU(2, 4, 3, 0.0), sequences(1), 0.03682588,
        id='NStepRNNReLU'),
    row(lambda: L.Classifier(L.Linear(4, 5)), loss, 1.692985, id='Classifier'),
    row(lambda: L.CRF1d(4), lambda link, x: link(
        [x, x[::-1]], [T, T]), 2.337824, id='CRF1d'),
    row(lambda: L.BinaryHierarchicalSoftmax(
        4, L.BinaryHierarchicalSoftmax.create_huffman_tree(
            {0: 5, 1: 3, 2: 2, 3: 1})), loss, 4.761486,
        gradient=False, id='BinaryHierarchicalSoftmax'),
    row(lambda: L.NegativeSampling(4, [5, 3, 2, 1], 3), sampled, 8.902606,
        id='NegativeSampling'),
    row(lambda: L.BlackOut(4, [5, 3, 2, 1], 3), sampled, 2.216669, id='BlackOut'),
]
parametrize = pytest.mark.parametrize('make, call, expected, dtypes, gradient', LINKS)


def build(make, dtype, x):
    with chainer.using_config('dtype', dtype), warnings.catch_warnings():
        # Without iDeep or scipy some links say that they are slow.
        warnings.simplefilter('ignore', chainer.warnings.PerformanceWarning)
        link = make()
        for child in link.links():  # a lazy one learns its size
            if isinstance(child, L.Linear) and child.W.array is None:
                child(x)
    rng = np.random.RandomState(2)
    for _, parameter in sorted(link.namedparams()):
        parameter.array[...] = rng.uniform(-0.8, 0.8, parameter.shape)
    return link


def inputs(dtype):
    return np.random.RandomState(1).uniform(-1, 1, (3, 4)).astype(dtype)


def total(y):
    y = y.array.astype(np.float64).ravel()
    return float((y * np.cos(np.arange(y.size))).sum())


@pytest.mark.parametrize('dtype', DTYPES)
@parametrize
def test_value_and_dtype(make, call, expected, dtypes, gradient, dtype):
    if dtype not in dtypes:
        pytest.skip('Chainer refuses this dtype')
    x = chainer.Variable(inputs(dtype))
    link = build(make, dtype, x)
    with chainer.using_config('dtype', dtype):
        y = call(link, x)
        F.sum(y * y).backward()
    tolerance = {np.float16: 3e-2, np.float32: 2e-5, np.float64: 2e-6}[dtype]
    np.testing.assert_allclose(total(y), expected, rtol=tolerance, atol=tolerance)
    assert y.dtype == x.grad.dtype == dtype
    for name, parameter in link.namedparams():
        # Normalisation keeps its statistics in float32 beside float16 inputs.
        assert parameter.dtype in (dtype, np.float32), name
        assert parameter.grad is None or parameter.grad.dtype == parameter.dtype, name


@parametrize
def test_gradients(make, call, expected, dtypes, gradient):
    if not gradient:
        pytest.skip('needs float32 or holds no gradient for its input')
    x = inputs(np.float64)
    link = build(make, np.float64, chainer.Variable(x))
    with chainer.using_config('dtype', np.float64):
        gy = np.cos(np.arange(call(link, chainer.Variable(x)).size)).reshape(
            call(link, chainer.Variable(x)).shape)
        gradient_check.check_backward(
            lambda *args: call(link, args[0]), (x,), np.asarray(gy),
            params=tuple(p for p in link.params() if p.array is not None),
            dtype=np.float64, eps=1e-4, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('form', ['npz', 'hdf5', 'dict', 'copy', 'pickle'])
@parametrize
def test_round_trip(make, call, expected, dtypes, gradient, form, tmp_path):
    import pickle
    x = chainer.Variable(inputs(np.float32))
    link = build(make, np.float32, x)
    other = make()
    path = str(tmp_path / 'link')
    if form == 'npz':
        serializers.save_npz(path, link)
        serializers.load_npz(path, other)
    elif form == 'hdf5':
        pytest.importorskip('h5py')
        serializers.save_hdf5(path, link)
        serializers.load_hdf5(path, other)
    elif form == 'dict':
        serializers.NpzDeserializer(
            chainer.serializers.npz.serialize(link)).load(other)
    elif form == 'copy':
        other = link.copy(mode='copy')
    else:
        other = pickle.loads(pickle.dumps(link))
    assert total(call(other, x)) == total(call(link, x))


def test_embed_id():
    link = L.EmbedID(5, 3, ignore_label=-1)
    link.cleargrads()
    y = link(np.array([[4, -1], [0, 4]], np.int32))
    F.sum(y).backward()
    assert y.shape == (2, 2, 3) and y.dtype == link.W.grad.dtype == np.float32
    np.testing.assert_array_equal(y.array[0, 1], 0)
    np.testing.assert_array_equal(link.W.grad[:, 0], [1, 0, 0, 0, 2])


def test_lstm_is_the_formula():
    """Gates interleaved per unit as (a, i, f, o); bias of the input side only."""
    link = build(lambda: L.LSTM(4, 3), np.float64, None)
    xs = [inputs(np.float64), inputs(np.float64)[::-1]]

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    c = h = np.zeros((3, 3))
    for x in xs:
        z = x @ link.upward.W.array.T + link.upward.b.array + h @ link.lateral.W.array.T
        a, i, f, o = z.reshape(3, 3, 4).transpose(2, 0, 1)
        c = np.tanh(a) * sigmoid(i) + sigmoid(f) * c
        h = sigmoid(o) * np.tanh(c)
        y = link(x)
        np.testing.assert_allclose(y.array, h, rtol=1e-12)
        np.testing.assert_allclose(link.c.array, c, rtol=1e-12)


def test_lstm_keeps_shrinks_and_forgets_its_state():
    link = L.LSTM(4, 3)
    x = inputs(np.float32)
    link(x)
    assert link(x[:2]).shape == (2, 3)      # of a smaller batch the rest is kept
    assert link.h.shape == (3, 3)
    link.set_state(chainer.Variable(x[:, :3]), chainer.Variable(x[:, 1:]))
    np.testing.assert_array_equal(link.c.array, x[:, :3])
    link.reset_state()
    assert link.c is None and link.h is None


def test_lstm_initial_parameters():
    """Forget gates start at one, other biases at zero."""
    link = L.LSTM(4, 3)
    np.testing.assert_array_equal(
        link.upward.b.array.reshape(3, 4), [[0, 0, 1, 0]] * 3)
    assert {p.dtype for p in link.params()} == {np.dtype(np.float32)}


def test_classifier_reports():
    link = L.Classifier(L.Linear(4, 5))
    reporter = chainer.Reporter()
    reporter.add_observer('main', link)
    with reporter:
        y = link(inputs(np.float32), T)
    assert set(reporter.observation) == {'main/loss', 'main/accuracy'}
    assert y is link.loss and link.accuracy.dtype == np.float32
