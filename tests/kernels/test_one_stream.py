"""The compiled step of one stream against the plain functions."""
import importlib

import numpy
import pytest

pytest.importorskip('llvmlite')
from rnnlm.kernels import one_stream  # noqa: E402

plain = importlib.import_module('rnnlm.functions.lstm_window')

# (m, n, V): sizes that are whole vectors, and sizes that are not.
SIZES = [(16, 16, 16), (17, 40, 33), (200, 31, 1000), (64, 200, 77)]


def case(m, n, V):
    random = numpy.random.RandomState(0)

    def draw(*shape):
        return random.randn(*shape).astype('f')

    layers = [(draw(4 * n, k) / k ** 0.5, draw(4 * n), draw(4 * n, n) / n ** 0.5)
              for k in (m, n)]
    states = [(draw(n), draw(n)) for _ in layers]
    return draw(m), states, layers, draw(V, n), draw(V)


def expected(x, states, layers, W, b):
    found = []
    for (c, h), (upward, bias, lateral) in zip(states, layers):
        hs, cs = h[None, None].repeat(2, 0), c[None, None].repeat(2, 0)
        n = len(h)
        plain._forward(upward.dot(x)[None, None], bias, lateral, hs, cs,
                       numpy.empty((1, 1, n), 'f'), numpy.empty((1, 4, 1, n), 'f'))
        x = hs[1, 0]
        found += [cs[1, 0], x]
    return found + [W.dot(x) + b]


def actual(x, states, layers, W, b):
    step, found = one_stream.Step(), []
    for (c, h), weights in zip(states, layers):
        found += step.layer(x, c, h, *weights)
        x = found[-1]
    found.append(step.output(x, W, b))
    step.run()
    return found


@pytest.mark.parametrize('threads', [1, 2, 3, 8])
@pytest.mark.parametrize('size', SIZES)
def test_same_numbers(size, threads, monkeypatch):
    """With more threads than there are cores too."""
    monkeypatch.setattr('rnnlm.kernels.threads.count', lambda: threads)
    monkeypatch.setattr(one_stream, 'GRAIN', 1)
    arrays = case(*size)
    for one, other in zip(actual(*arrays), expected(*arrays)):
        numpy.testing.assert_allclose(
            one, other, rtol=0, atol=4e-6 * abs(other).max())


@pytest.mark.parametrize('bad', [numpy.nan, numpy.inf])
@pytest.mark.parametrize('column', [0, 20, 32])
def test_what_is_not_finite_stays_so(bad, column):
    """Also in the last columns, which are no whole vector."""
    x, states, layers, W, b = case(16, 33, 40)
    W[3, column] = bad
    found = actual(x, states, layers, W, b)[-1]
    assert not numpy.isfinite(found[3])
    assert numpy.isfinite(numpy.delete(found, 3)).all()


def test_few_weights_take_one_thread(monkeypatch):
    asked = []
    monkeypatch.setattr('rnnlm.kernels.threads.count', lambda: 64)
    monkeypatch.setattr('rnnlm.kernels.threads.run',
                        lambda work, count, give_up: asked.append(count))
    for size in (16, 16, 16), (650, 650, 10000):
        actual(*case(*size))
    assert asked == [1, one_stream.MOST_THREADS]


def test_a_thread_that_fails_ends_the_others(monkeypatch):
    monkeypatch.setattr('rnnlm.kernels.threads.count', lambda: 3)
    monkeypatch.setattr(one_stream, 'GRAIN', 1)
    kernels = one_stream._compiled()

    def fails(thread, *arguments):
        if thread == 1:
            raise MemoryError
        kernels[0](thread, *arguments)

    monkeypatch.setattr(one_stream, '_compiled', lambda: (fails, kernels[1]))
    with pytest.raises(MemoryError):
        actual(*case(64, 64, 64))
