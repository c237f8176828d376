"""The compiled passes over logits against their definition in float64."""
import numpy
import pytest

from rnnlm import functions, kernels
from rnnlm.kernels import threads

pytest.importorskip('llvmlite')
from rnnlm.kernels import output  # noqa: E402

SIZES = [(1, 16), (3, 17), (5, 31), (7, 32), (2, 100), (40, 1000), (9, 10007)]


def case(M, V, spread=3):
    random = numpy.random.RandomState(M)
    y, b = spread * random.randn(M, V), random.randn(V)
    weights = random.rand(M) * (random.rand(M) < 0.8)
    return [array.astype('f') for array in (y, b)] + [
        random.randint(0, V, M), weights.astype('f')]


def expected_of(y, b, targets, weights):
    z = (y + b).astype('d')
    z -= z.max(axis=1, keepdims=True)
    log_p = z - numpy.log(numpy.exp(z).sum(axis=1, keepdims=True))
    g = numpy.exp(log_p)
    g[numpy.arange(len(y)), targets] -= 1
    g *= weights[:, None]
    return log_p[numpy.arange(len(y)), targets], g, g.sum(axis=0)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('count', [1, 2, 4, 16])
def test_same_numbers(size, count, monkeypatch):
    monkeypatch.setattr(threads, 'count', lambda: count)
    monkeypatch.setattr(output, 'GRAIN', 1)
    y, b, targets, weights = case(*size)
    log_p, g, gb = expected_of(y, b, targets, weights)
    before = y.copy()
    close = dict(rtol=3e-7, atol=3e-7)
    numpy.testing.assert_allclose(
        output.log_probabilities(y, b, targets), log_p, **close)
    numpy.testing.assert_array_equal(y, before)
    found, found_gb = output.gradients(y, b, targets, weights)
    numpy.testing.assert_allclose(found, log_p, **close)
    numpy.testing.assert_allclose(y, g, **close)
    numpy.testing.assert_allclose(found_gb, gb, rtol=1e-6, atol=1e-6)


def test_the_sums_of_many_words_are_exact():
    V = 10 ** 6 + 3
    y, b = numpy.full((1, V), -0.1, 'f'), numpy.zeros(V, 'f')
    y[0, 5] = 0
    total = numpy.exp(y.astype('d')).sum()
    found = output.log_probabilities(y, b, numpy.array([5]))
    numpy.testing.assert_allclose(found, [-numpy.log(total)], rtol=2e-7)


def test_exponentials():
    """exp(x) of all x that occur: softmax of 0 and x, the other logits far below."""
    x = -numpy.linspace(0, 110, 20000, dtype='f')
    y = numpy.full((len(x), 16), -200, 'f')
    y[:, 0], y[:, 1] = 0, x
    targets = numpy.ones(len(x), int)
    output.gradients(y, numpy.zeros(16, 'f'), targets, numpy.ones(len(x), 'f'))
    expected = 1 / (1 + numpy.exp(x.astype('d')))
    numpy.testing.assert_allclose(y[:, 0], expected, rtol=3e-7)
    numpy.testing.assert_allclose(y[:, 1], -expected, rtol=3e-7)
    assert (abs(y[:, 2:]) < 1e-37).all()


@pytest.mark.parametrize('value', [numpy.nan, numpy.inf, -numpy.inf])
def test_broken_logits(value):
    """What is NaN by the definition is NaN, in its row alone."""
    y, b, targets, weights = case(4, 50)
    y[1, 7] = value
    with numpy.errstate(all='ignore'):
        log_p, g, _ = expected_of(y, b, targets, weights)
    found, gb = output.gradients(y, b, targets, weights)
    numpy.testing.assert_array_equal(numpy.isnan(found), numpy.isnan(log_p))
    assert numpy.isfinite(y[[0, 2, 3]]).all()
    assert numpy.isnan(y[1]).any() == numpy.isnan(g[1]).any()
    assert numpy.isnan(gb).any() == (value != -numpy.inf)


@pytest.mark.parametrize('chunk', [1, 300, 2 ** 24])
def test_the_loss_of_a_window_with_and_without_them(chunk, monkeypatch):
    monkeypatch.setattr('rnnlm.functions.softmax_loss.CHUNK_ELEMENTS', chunk)
    random = numpy.random.RandomState(0)
    x, W, b = (random.randn(*shape).astype('f')
               for shape in ((5, 3, 8), (40, 8), (40,)))
    t = random.randint(-1, 40, (5, 3)).astype('i')
    results = []
    for enabled in True, False:
        monkeypatch.setattr(kernels, 'enabled', enabled)
        assert bool(kernels.output_for(numpy, x.dtype, 40)) == enabled
        last = []
        node = functions.softmax_loss.LinearSoftmaxCrossEntropy(t, last)
        loss, = node.apply((x, W, b))
        loss.backward()
        results.append([loss.array, *last, *node.backward(
            (0, 1, 2), (numpy.ones((), 'f'),))])
    for one, other in zip(*results):
        numpy.testing.assert_allclose(
            getattr(one, 'array', one), getattr(other, 'array', other),
            rtol=1e-5, atol=2e-6)
