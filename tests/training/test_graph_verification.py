"""What the verification of a CUDA graph compares, and when a window counts."""
import chainer
from chainer import links as L
import numpy
import pytest

import rnnlm
from rnnlm.kernels import verification
from rnnlm.training import graph_verification

V, T, B = 12, 4, 3


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(
        verification, '_state', verification.State(verification.VERIFY))


def setup(device):
    numpy.random.seed(0)
    target = L.Classifier(rnnlm.RNNForLM(V, 5, dropout=0))
    target.compute_accuracy = False
    target.to_device(device)
    optimizer = chainer.optimizers.SGD(lr=0.5).setup(target)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(0.3))
    return target, optimizer


def window():
    return numpy.random.RandomState(1).randint(0, V, (T + 1, B)).astype('i')


def loss_of(target, device):
    words = device.send(window())
    target.cleargrads()
    return target.predictor.loss(words[:-1], words[1:])


def test_the_reference_is_an_update_by_chainer(device):
    target, optimizer = setup(device)
    before = {name: p.array.copy() for name, p in target.namedparams()}
    start = graph_verification._Backup(target, optimizer)
    expected = start.by_chainer(window())
    assert all(type(x) is numpy.ndarray for x in expected.values())
    # The graph has gradients of its own, and memory for two sets may be lacking.
    assert all(p.grad is None for p in target.params())
    squares = 0.0
    for name, p in target.namedparams():
        gradient = expected[f'the gradient of {name}']  # clipped
        squares += (gradient.astype('d') ** 2).sum()
        step = verification.on_host(p.array - before[name])
        numpy.testing.assert_array_equal(expected[f'the step of {name}'], step)
        numpy.testing.assert_allclose(step, -0.5 * gradient, atol=1e-6)
    assert squares == pytest.approx(0.3 ** 2) and step.any()
    norm = expected['the norm of the gradient']
    assert norm.dtype == 'd' and norm.shape == () and norm > 0.6

    other, _ = setup(device)
    loss = loss_of(other, device)
    loss.backward()
    assert norm == pytest.approx(numpy.sqrt(sum(
        float((p.grad ** 2).sum()) for p in other.params())), rel=1e-5)
    assert expected['the loss'] == pytest.approx(float(loss.array))


def test_an_update_agrees_with_itself_up_to_the_floors(device):
    target, optimizer = setup(device)
    start = graph_verification._Backup(target, optimizer)
    expected = start.by_chainer(window())
    start.restore()
    target.predictor.reset_state()
    loss = loss_of(target, device)
    loss.backward()
    norm = graph_verification._norm(p.grad for p in target.params())
    optimizer.update()
    compared = list(start.compared(expected, loss.array, norm))
    assert [name for name, *_ in compared] == list(expected)
    assert verification.difference(compared, 'float32') == ('', True)
    floors = {name: floor for name, *_, floor in compared}
    for name, _, before in start._params:
        assert floors.pop(f'the gradient of {name}') == 1e-2
        assert floors.pop(f'the step of {name}') == pytest.approx(
            4 * 2.0 ** -23 * float(abs(before).max()) / 1e-4)
    assert set(floors.values()) == {0.0}
    assert len(floors) == 2 + 2 * 2  # loss and norm, states


@pytest.mark.gpu
@pytest.mark.parametrize('finite', [True, False])
def test_a_window_that_is_not_finite_does_not_count(fresh, finite):
    target, optimizer = setup('@cupy:0')
    if not finite:
        target.predictor.l1.upward.W.array[0, 0] = numpy.nan
    with chainer.using_device('@cupy:0'):
        graph, _ = graph_verification.update(None, target, optimizer, window(), False)
    assert graph.verified == finite and not verification.state().refused


@pytest.mark.parametrize('value', [1.0, numpy.nan, numpy.inf])
def test_nor_does_a_result_of_a_function(xp, fresh, value):
    key = verification.key_of('a function of the test', 'f')
    found = verification.verify(
        True, key, lambda: xp.full(3, value, 'f'), lambda x: {'x': x})
    assert (verification.on_host(found) == value).all() or value != value
    assert verification.state().verified[key] == (value == 1)
    assert not verification.state().refused
