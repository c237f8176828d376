"""Variable, Link, FunctionNode, Reporter, random functions, npz: the core."""

import copy
import pickle

import numpy as np
import pytest

from rnnlm._compat import patches

patches.apply()

import chainer  # noqa: E402
import chainer.functions as F  # noqa: E402
import chainer.links as L  # noqa: E402
from chainer import reporter, serializers  # noqa: E402

DTYPES = [np.float16, np.float32, np.float64]


# Variable and FunctionNode ----------------------------------------------------

@pytest.mark.parametrize('dtype', DTYPES)
def test_arithmetic_keeps_the_dtype(dtype):
    for shape in ((), (3,)):
        x = chainer.Variable(np.full(shape, 0.5, dtype))
        numbers = (2, 2.0, np.float64(2), np.float32(2), np.int64(2))
        for n in numbers:
            for y in (x + n, n - x, x * n, n / x, x ** n, n ** x, x - n, x / n):
                assert y.dtype == dtype, (shape, type(n))
            y.cleargrad()
            F.sum(y).backward()
            assert x.grad.dtype == dtype
            x.cleargrad()


def test_backward_accumulates_and_unchains():
    x = chainer.Variable(np.array([1., 2.], np.float32))
    y = x * x
    z = F.sum(y * x)
    z.backward(retain_grad=True)
    np.testing.assert_allclose(x.grad, 3 * x.array ** 2)
    np.testing.assert_allclose(y.grad, x.array)
    z.unchain_backward()
    assert y.creator is None and z.creator is None
    x.cleargrad()
    assert x.grad is None
    with chainer.no_backprop_mode():
        assert (x * 2).creator is None


def test_truncated_history():
    """A recurrent loss cut by unchain_backward sees only the last window."""
    w = chainer.Variable(np.array(2., np.float64))
    h = chainer.Variable(np.array(1., np.float64))
    for _ in range(2):
        h = h * w
    h.unchain_backward()
    for _ in range(2):
        h = h * w
    h.backward()
    np.testing.assert_allclose(w.grad, 4 * 2 * 2)


def test_grad_of_grad():
    x = chainer.Variable(np.array([0.3, 0.7], np.float64))
    g, = chainer.grad([F.sum(F.tanh(x))], [x], enable_double_backprop=True)
    gg, = chainer.grad([F.sum(g)], [x])
    t = np.tanh(x.array)
    np.testing.assert_allclose(gg.array, -2 * t * (1 - t * t))


class Scale(chainer.FunctionNode):
    """New style: 3 x, twice differentiable."""

    def forward(self, inputs):
        self.retain_inputs((0,))
        return 3 * inputs[0],

    def backward(self, indexes, gys):
        assert self.get_retained_inputs()[0].shape == gys[0].shape
        return 3 * gys[0],


class OldScale(chainer.Function):
    def forward(self, inputs):
        return 3 * inputs[0],

    def backward(self, inputs, gys):
        return 3 * gys[0],


@pytest.mark.parametrize('apply', [lambda x: Scale().apply((x,))[0],
                                   lambda x: OldScale()(x)])
def test_own_function(apply):
    x = chainer.Variable(np.ones(3, np.float32))
    seen = []

    class Hook(chainer.FunctionHook):
        name = 'seen'

        def forward_postprocess(self, function, inputs):
            seen.append(function.label)

    with Hook():
        y = apply(x)
    F.sum(y).backward()
    np.testing.assert_array_equal(x.grad, [3, 3, 3])
    assert len(seen) == 1 and y.creator.label == seen[0]


def test_type_check_names_the_argument():
    with pytest.raises(chainer.utils.type_check.InvalidType):
        F.linear(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
    with pytest.raises(TypeError):
        chainer.Variable(np.ones(2, np.float32)).grad = [1, 2]


def test_debug_mode_finds_nan():
    with chainer.using_config('debug', True), np.errstate(invalid='ignore'):
        with pytest.raises(RuntimeError, match='NaN'):
            F.sqrt(chainer.Variable(np.array([-1.], np.float32)))


# Random functions -------------------------------------------------------------

@pytest.mark.parametrize('dtype', DTYPES)
def test_dropout_draws_one_uniform_per_unit(dtype):
    x = np.ones((50, 40), dtype)
    np.random.seed(1)
    variable = chainer.Variable(x)
    y = F.dropout(variable, 0.3)
    F.sum(y).backward()
    np.random.seed(1)
    mask = (np.random.rand(50, 40) >= 0.3) * dtype(1 / (1 - 0.3))
    np.testing.assert_array_equal(y.array, mask)
    np.testing.assert_array_equal(variable.grad, mask)
    assert y.dtype == variable.grad.dtype == dtype
    with chainer.using_config('train', False):
        assert F.dropout(variable, 0.3) is variable


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('function', [
    lambda x: F.zoneout(x, x * 2, 0.3), lambda x: F.gaussian(x, x), F.rrelu,
    lambda x: F.gumbel_softmax(x, 0.7), lambda x: F.dropout(x, 0.9),
    lambda x: F.simplified_dropconnect(x, x * 2, ratio=0.4)])
def test_random_function(function, dtype):
    x = chainer.Variable(np.random.RandomState(0).randn(4, 4).astype(dtype))
    np.random.seed(2)
    y = function(x)
    F.sum(y * y).backward()
    assert y.dtype == x.grad.dtype == dtype
    np.random.seed(2)
    np.testing.assert_array_equal(function(x).array, y.array)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('name', [
    'Zero', 'One', 'NaN', 'Normal', 'HeNormal', 'GlorotNormal', 'LeCunNormal',
    'Uniform', 'HeUniform', 'GlorotUniform', 'LeCunUniform', 'Orthogonal'])
def test_initializer(name, dtype):
    initializer = getattr(chainer.initializers, name)()
    np.random.seed(3)
    a = chainer.initializers.generate_array(initializer, (6, 4), np, dtype=dtype)
    np.random.seed(3)
    b = chainer.initializers.generate_array(initializer, (6, 4), np, dtype=dtype)
    assert a.dtype == dtype
    np.testing.assert_array_equal(a, b)
    if name == 'LeCunNormal':
        np.random.seed(3)
        np.testing.assert_array_equal(
            a, np.random.normal(0, np.sqrt(1. / 4), (6, 4)).astype(dtype))


# Link -------------------------------------------------------------------------

class Pair(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.a = L.Linear(3, 2)
            self.b = L.Linear(None, 2)
        self.add_persistent('count', 0)

    def forward(self, x):
        self.count += 1
        return self.b(F.tanh(self.a(x)))


def test_chain_and_its_copies():
    np.random.seed(0)
    model = Pair()
    x = np.ones((2, 3), np.float32)
    y = model(x)
    assert [n for n, _ in sorted(model.namedparams())] == [
        '/a/W', '/a/b', '/b/W', '/b/b']
    assert model.count_params() == 3 * 2 + 2 + 2 * 2 + 2
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)),
                  model.copy(mode='copy')):
        np.testing.assert_array_equal(other(x).array, y.array)
        other.a.W.array[...] = 0
        assert model.a.W.array.any()
    fresh = model.copy(mode='init')
    assert (fresh.a.W.array != model.a.W.array).any()
    F.sum(y).backward()
    total = Pair()
    total(x)
    total.cleargrads()
    total.addgrads(model)
    np.testing.assert_array_equal(total.a.W.grad, model.a.W.grad)
    total.copyparams(model)
    np.testing.assert_array_equal(total.b.W.array, model.b.W.array)
    total.disable_update()
    assert not total.update_enabled
    assert model.repeat(2)[1].a.W.shape == (2, 3)


def test_chain_list_and_sequential():
    layers = chainer.ChainList(L.Linear(2, 2), L.Linear(2, 2))
    layers.append(L.Linear(2, 1))
    assert [n for n, _ in layers.namedlinks(skipself=True)] == ['/0', '/1', '/2']
    model = chainer.Sequential(L.Linear(2, 3), F.relu, L.Linear(3, 1))
    model.insert(1, F.tanh)
    assert len(model) == 4 and model(np.ones((5, 2), np.float32)).shape == (5, 1)
    assert len(list(model.repeat(2).params())) == 8


@pytest.mark.parametrize('form', ['npz', 'npz uncompressed', 'hdf5'])
def test_link_files(form, tmp_path):
    path, x = str(tmp_path / 'file'), np.ones((2, 3), np.float32)
    model, other = Pair(), Pair()
    y = model(x)
    if form == 'hdf5':
        pytest.importorskip('h5py')
        serializers.save_hdf5(path, model)
        serializers.load_hdf5(path, other)
    else:
        serializers.save_npz(path, model, compression=form == 'npz')
        serializers.load_npz(path, other)
        # An uninitialised parameter is an array of the object None.
        assert set(np.load(path).files) == {'a/W', 'a/b', 'b/W', 'b/b', 'count'}
    assert other.count == 1 and type(other.count) is int
    np.testing.assert_array_equal(other(x).array, y.array)


def test_npz_of_an_uninitialised_parameter(tmp_path):
    path = str(tmp_path / 'file')
    serializers.save_npz(path, Pair())
    other = Pair()
    serializers.load_npz(path, other)
    assert other.b.W.array is None
    with pytest.raises(KeyError):
        serializers.load_npz(path, chainer.Sequential(L.Linear(2, 2)))
    serializers.load_npz(path, chainer.Sequential(L.Linear(2, 2)), strict=False)


def test_npz_refuses_an_unsafe_cast():
    read = serializers.NpzDeserializer({'x': np.array(2.5), 'n': np.array(3)})
    assert read('n', 1) == 3 and type(read('n', 1)) is int
    assert read('x', 1.0) == 2.5
    with pytest.raises(TypeError):
        read('x', 1)


# Reporter ---------------------------------------------------------------------

@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('wrap', [
    lambda v: v, np.asarray, lambda v: chainer.Variable(np.asarray(v))])
@pytest.mark.parametrize('weight', [
    None, 3, 0.3, np.float32(0.3), np.float16(0.3), np.array(0.3, np.float32)])
def test_summary_is_in_float64(dtype, wrap, weight):
    """Products are rounded as NumPy 1 did, sums are in float64."""
    values = [dtype(v) for v in np.random.RandomState(0).uniform(0, 9, 200)]
    summary = reporter.DictSummary()
    strong = 1 if weight is None else weight
    strong = {int: np.int64, float: np.float64}.get(type(strong), np.asarray)(strong)
    x = x2 = n = np.float64(0)
    for v in values:
        summary.add({'v': wrap(v) if weight is None else (wrap(v), weight)})
        x, x2, n = x + strong * v, x2 + strong * v * v, n + strong
    statistics = summary.make_statistics()
    assert statistics['v'] == summary.compute_mean()['v'] == x / n
    assert statistics['v.std'] == np.sqrt(x2 / n - (x / n) * (x / n))
    assert statistics['v'].dtype == np.float64


def test_summary_of_python_numbers_and_arrays():
    summary = reporter.Summary()
    for v in (1, 2.5):
        summary.add(v)
    assert summary.compute_mean() == 1.75 and type(summary.compute_mean()) is float
    summary = reporter.Summary()
    summary.add(np.ones(2, np.float32))     # not a scalar: its own precision
    assert summary.compute_mean().dtype == np.float32


def test_summary_survives_a_snapshot():
    values = np.random.RandomState(0).uniform(0, 9, 40).astype(np.float32)
    whole, first, second = (reporter.DictSummary() for _ in range(3))
    for v in values:
        whole.add({'v': v})
    for v in values[:20]:
        first.add({'v': v})
    target = {}
    serializers.DictionarySerializer(target).save(first)
    serializers.NpzDeserializer(target).load(second)
    for v in values[20:]:
        second.add({'v': v})
    assert second.make_statistics() == whole.make_statistics()


def test_report_and_scope():
    link = L.Linear(2, 1)
    current = chainer.Reporter()
    current.add_observer('main', link)
    with current:
        chainer.report({'loss': 1.0}, link)
        chainer.report({'free': 2.0})
        with chainer.report_scope({}) as nothing:
            chainer.report({'free': 3.0})
    assert nothing is None
    assert current.observation == {'main/loss': 1.0, 'free': 2.0}
    with pytest.raises(KeyError), current:
        chainer.report({'loss': 1.0}, L.Linear(2, 1))
