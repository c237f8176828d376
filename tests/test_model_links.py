"""RNNForLM whose links somebody has changed: they are called, step by step."""
import chainer
from chainer import functions as F
from chainer import links as L
from chainer.link_hooks import TimerHook
from helpers import ids, make_model
import numpy
import pytest

import rnnlm


def test_a_replaced_link_is_called():
    class Twice(L.LSTM):
        def forward(self, x):
            return super().forward(x) * 2

    model, plain = make_model(dropout=0), make_model(dropout=0)
    del model.l2
    with model.init_scope(), chainer.using_config('dtype', numpy.dtype('d')):
        model.l2 = Twice(6, 6)
    model.l2.copyparams(plain.l2)
    x = ids(3, 2)
    numpy.testing.assert_allclose(
        model.features(x).array, 2 * plain.features(x).array, rtol=1e-12)


LINKS = {
    'embed': lambda model: model.embed, 'layer': lambda model: model.l1,
    'upward': lambda model: model.l2.upward, 'lateral': lambda model: model.l1.lateral,
    'output': lambda model: model.output}


@pytest.mark.parametrize('tied', [False, True])
@pytest.mark.parametrize('name', LINKS)
def test_a_replaced_forward_is_called(name, tied):
    model = make_model(dropout=0, tied=tied)
    link, calls = LINKS[name](model), []
    forward = link.forward

    def counted(*args, **kwargs):
        calls.append(name)
        return forward(*args, **kwargs)

    link.forward = counted
    model.loss(ids(4, 2), ids(4, 2, seed=2))
    # h of the first step is None: there is nothing for `lateral` to multiply.
    assert calls == [name] * (3 if name == 'lateral' else 4)


def without_bias(link):
    del link.b
    link.b = None


@pytest.mark.parametrize('name, tied', [
    ('upward', False), ('output', False), ('output', True)])
def test_a_link_without_bias(name, tied):
    model, zeros = make_model(dropout=0, tied=tied), make_model(dropout=0, tied=tied)
    without_bias(LINKS[name](model))
    LINKS[name](zeros).b.array[...] = 0
    x, t = ids(4, 2), ids(4, 2, seed=2)
    losses = [m.loss(x, t) for m in (model, zeros)]
    numpy.testing.assert_allclose(losses[0].array, losses[1].array, rtol=1e-12)
    for m, loss in zip((model, zeros), losses):
        m.cleargrads()
        loss.backward()
    numpy.testing.assert_allclose(
        model.embed.W.grad, zeros.embed.W.grad, rtol=1e-10, atol=1e-14)


def test_a_lateral_link_with_a_bias():
    model, plain = make_model(dropout=0), make_model(dropout=0)
    bias = numpy.random.RandomState(0).uniform(-1, 1, 24)
    with model.l1.lateral.init_scope():
        model.l1.lateral.b = chainer.Parameter(bias.copy())
    plain.l1.upward.b.array[...] += bias  # but for the first step, which has no h
    x = ids(4, 2)
    for m in model, plain:
        m.set_state([(numpy.zeros((2, 6)), numpy.ones((2, 6)))] * 2)
    numpy.testing.assert_allclose(
        model.features(x).array, plain.features(x).array, rtol=1e-12)


@pytest.mark.parametrize('name', LINKS)
def test_hook_on_a_link_sees_every_call(name):
    calls = []

    class Count(chainer.LinkHook):
        name = 'count'

        def forward_preprocess(self, args):
            calls.append(args.link)

    model = make_model()
    link = LINKS[name](model)
    link.add_hook(Count())
    model.loss(ids(4, 2), ids(4, 2, seed=2))
    assert calls == [link] * (3 if name == 'lateral' else 4)


def test_hook_on_all_links_sees_every_call():
    with TimerHook() as hook:
        make_model(n_layers=1).loss(ids(4, 2), ids(4, 2, seed=2))
    names = [name for name, _ in hook.call_history]
    assert names.count('LSTM') == names.count('EmbedID') == 4


def test_ids_that_are_left_out():
    model = make_model(dropout=0)
    model.embed.ignore_label = -1
    x = ids(3, 2)
    x[1, 0] = -1
    y = model(x).array
    plain = make_model(dropout=0)
    h = F.embed_id(x, plain.embed.W, ignore_label=-1)
    for k, h_t in enumerate(h):
        for layer in plain.layers:
            h_t = layer(h_t)
        numpy.testing.assert_allclose(y[k], plain.output(h_t).array, rtol=1e-12)
    for word in -12, 11:
        x[1, 0] = word
        with pytest.raises(rnnlm.InputError, match=f'ids: expected 0 to 10.*{word}'):
            model(x)


@pytest.mark.parametrize('per_step', [False, True])
def test_ids_below_0_count_from_the_end(per_step, caplog):
    model = make_model(dropout=0)
    model.per_step = per_step
    x, t = ids(3, 2), ids(3, 2)
    x[1, 0] = 10
    losses, gradients = [], []
    for word in 10, -1:
        x[1, 0] = word
        model.reset_state()
        model.cleargrads()
        loss = model.loss(x, t)
        loss.backward()
        losses.append(float(loss.array))
        gradients.append(model.embed.W.grad.copy())
        assert caplog.text.count('counts from the end') == (word < 0)
    assert losses[0] == losses[1]
    numpy.testing.assert_array_equal(*gradients)
    model.loss(x, t)
    assert caplog.text.count('counts from the end') == 1


def test_streams_that_end():
    # L.LSTM lets a batch shrink: the rest of the state stays as it is.
    model, links = make_model(dropout=0), make_model(dropout=0)
    model(ids(2, 3))
    y = model(ids(2, 2, seed=4))
    for x_t in ids(2, 3):
        links(x_t)
    expected = [links(x_t) for x_t in ids(2, 2, seed=4)]
    numpy.testing.assert_allclose(y.array[1], expected[1].array, rtol=1e-12)
    assert model.get_state()[0][0].shape == (3, 6)


def test_a_state_may_be_of_variables():
    model = make_model()
    model(ids(3, 2))
    state = model.get_state()
    model.reset_state()
    model.set_state([(chainer.Variable(c), chainer.Variable(h)) for c, h in state])
    for pair, after in zip(state, model.get_state()):
        numpy.testing.assert_array_equal(pair, after)
    assert model.why_steps(2) == ''
