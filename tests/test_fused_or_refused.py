"""Unusual models and arguments: fused as step by step, or refused as step by step."""
import chainer
from chainer import functions as F
from chainer import links as L
from helpers import classifier, refused
import numpy
from numpy.testing import assert_allclose, assert_array_equal
import pytest

import rnnlm
from rnnlm import functions, parts
from rnnlm.inference.next_word import logits_of_next_word
from rnnlm.links import HardSigmoidLSTM
from rnnlm.training import sgd

V, N = 40, 32


def make(cls=rnnlm.RNNForLM, **kwargs):
    numpy.random.seed(0)
    return cls(V, N, **kwargs)


def window(T=3, B=2, dtype='i'):
    return numpy.random.RandomState(1).randint(0, V, (T, B)).astype(dtype)


def test_the_flag_of_v1_decides_in_generation_too():
    model = make(rnnlm.v1.RNNForLM)

    def generated(seed):
        numpy.random.seed(seed)
        return list(rnnlm.generate(model, [3], 10, sample=False))

    assert len({tuple(generated(seed)) for seed in range(4)}) > 1  # with dropout
    assert logits_of_next_word(model, 3) is None
    model.train = False
    assert len({tuple(generated(seed)) for seed in range(4)}) == 1
    assert logits_of_next_word(model, 3) is not None


@pytest.mark.parametrize('dtype, width', [('d', N), ('f', N // 2), ('f', 2 * N)])
def test_states_of_another_kind_are_refused_not_read(dtype, width):
    model = make()
    for layer in model.layers:
        layer.c = layer.h = chainer.Variable(numpy.ones((1, width), dtype))
    assert 'the state c has the shape' in model.why_steps(1)
    with chainer.using_config('train', False):
        assert logits_of_next_word(model, 3) is None
        with pytest.raises(chainer.utils.type_check.InvalidType):
            model(numpy.array([3], 'i'))


def test_parameters_that_cannot_be_written():
    model = classifier(make())
    optimizer = chainer.optimizers.SGD().setup(model)
    assert not sgd.why_not_blocks(optimizer)
    W = model.predictor.l1.upward.W
    W.array.flags.writeable = False
    before = W.array.copy()
    assert 'that can be written' in sgd.why_not_blocks(optimizer)
    updater = rnnlm.BPTTUpdater(
        rnnlm.ParallelSequentialIterator(window(200, 1).ravel(), 4), optimizer, 5)
    with pytest.raises(ValueError, match='read-only'):
        updater.update()
    assert_array_equal(W.array, before)


@pytest.mark.parametrize('wanted', ['x', 'c', 'h', 'upward_W', 'upward_b', 'lateral_W'])
def test_a_second_derivative_is_refused_for_each_input(wanted):
    random = numpy.random.RandomState(0)
    shapes = {'x': (3, 2, 4), 'c': (2, 5), 'h': (2, 5), 'upward_W': (20, 4),
              'upward_b': (20,), 'lateral_W': (20, 5)}
    given = {name: chainer.Variable(random.randn(*shape))
             for name, shape in shapes.items()}
    y, _, _ = functions.lstm_window(**given)
    g, = chainer.grad([F.sum(y * y)], [given[wanted]], enable_double_backprop=True)
    with pytest.raises(RuntimeError, match='first derivatives only'):
        chainer.grad([F.sum(g * g)], [given[wanted]])


@pytest.mark.parametrize('per_step', [False, True])
@pytest.mark.parametrize('change, message', [
    (lambda t: t[:2], 't: expected an array of the shape of x'),
    (lambda t: t[:, :1], 't: expected an array of the shape of x'),
    (lambda t: numpy.where(t == t[0, 0], -2, t), 't: exp'),
    (lambda t: numpy.where(t == t[0, 0], V, t), 't: exp'),
    (lambda t: t.astype('f'), 't: expected signed integers')])
def test_targets_of_a_loss(per_step, change, message):
    """They are refused before a state changes or a random number is drawn."""
    model = make()
    model.per_step = per_step
    numpy.random.seed(5)
    before = numpy.random.get_state()[2]
    with refused(message):
        model.loss(window(), change(window()))
    assert model.get_state() is None and numpy.random.get_state()[2] == before


@pytest.mark.parametrize('dtype', ['int8', 'int16', 'int32', 'int64'])
def test_negative_ids_of_any_type(dtype):
    numpy.random.seed(0)
    model = rnnlm.RNNForLM(300, 24, dropout=0.0)
    ids = numpy.array([[1, -3], [-100, 7]], dtype)
    fused = model.logits(ids).array
    model.reset_state()
    model.per_step = True
    assert_allclose(fused, model.logits(ids).array, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('per_step', [False, True])
def test_a_dropout_ratio_that_was_set_to_one(per_step):
    model = make()
    model.dropout, model.per_step = 1.0, per_step
    with pytest.raises(ValueError, match='dropout'):
        model.loss(window(), window())


def test_a_copy_that_is_initialised_anew():
    model = rnnlm.adaptive_model(V, N, cutoffs=[10, 20]).copy('init')
    assert all(numpy.isfinite(param.array).all() for param in model.params())
    assert model.embed.W.array.std() > 0.1


def test_base_classes_that_are_replaced():
    class Mixin:
        def __call__(self, x):
            return L.LSTM.forward(self, x) * 2

    model, bases = make(dropout=0.0), L.LSTM.__bases__
    try:
        L.LSTM.__bases__ = (Mixin, *bases)
        assert model.why_steps() == 'the base classes of LSTM have been replaced'
    finally:
        L.LSTM.__bases__ = bases
    assert model.why_steps() == ''


@pytest.mark.parametrize('role', ['output', 'layers', None])
def test_roles_that_cannot_be_added(role):
    class Own(L.Linear):
        pass

    with refused("role: expected 'embed', 'layer' or 'dropout'"):
        parts.add(Own, parts.linear_window, role=role)
    assert Own not in parts.TABLE


class TestHardSigmoidLSTM:
    def test_sizes_that_are_left_out(self):
        numpy.random.seed(0)
        expected = L.LSTM(3, 4)
        for sizes in (None, 4), (4,):
            numpy.random.seed(0)
            layer = HardSigmoidLSTM(*sizes)
            numpy.random.seed(0)
            layer(numpy.ones((2, 3), 'f'))
            assert layer.upward.W.shape == expected.upward.W.shape
            for param in layer.params():
                assert param.array.any() or param.name == 'b', param.name
            assert_array_equal(layer.upward.b.array, expected.upward.b.array)
            assert layer.lateral.W.array.std() > 0.1

    def test_fewer_streams_than_before(self):
        """As L.LSTM, the rest of the state stays."""
        numpy.random.seed(0)
        layer = HardSigmoidLSTM(3, 4)
        x = numpy.random.randn(2, 3, 3).astype('f')
        layer(x[0])
        before = layer.c.array.copy(), layer.h.array.copy()
        y = layer(x[1, :2])
        assert y.shape == (2, 4) and layer.c.shape == layer.h.shape == (3, 4)
        assert_array_equal(layer.c.array[2], before[0][2])
        assert_array_equal(layer.h.array[2], before[1][2])
        assert_array_equal(layer.h.array[:2], y.array)
        other = HardSigmoidLSTM(3, 4)
        other.copyparams(layer)
        other(x[0, :2])
        assert_allclose(other(x[1, :2]).array, y.array, rtol=1e-6)
