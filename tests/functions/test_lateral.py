"""The recurrent products: in blocks, on threads, whole; always the same product."""
import chainer
import numpy
import oracle
import pytest

from rnnlm import functions, kernels
from rnnlm.functions import lateral
from rnnlm.kernels import threads


@pytest.fixture
def in_blocks(monkeypatch):
    """In blocks whatever the size, and small ones."""
    monkeypatch.setattr(lateral, 'in_blocks', lambda *_: True)
    monkeypatch.setattr(lateral, 'SMALL_PRODUCT', 400)
    monkeypatch.setattr(lateral, 'SMALL_RESULT', 60)
    monkeypatch.setattr(kernels, 'enabled', False)


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize('n', [1, 2, 7, 13, 40])
@pytest.mark.parametrize('B', [1, 2, 5, 90])
def test_products_in_blocks(in_blocks, B, n, dtype):
    random = numpy.random.RandomState(0)
    W, h, gz = (random.randn(*shape).astype(dtype)
                for shape in [(4 * n, n), (B, n), (B, 4 * n)])
    forward, backward = lateral.products(numpy, W, B, True)
    tolerance = dict(rtol=0, atol=1e-12 if dtype == 'd' else 1e-4)
    for _ in range(2):  # what they keep does not change the next result
        numpy.testing.assert_allclose(
            forward(h), h.astype('d') @ W.T.astype('d'), **tolerance)
        numpy.testing.assert_allclose(
            backward(gz), gz.astype('d') @ W.astype('d'), **tolerance)


@pytest.mark.parametrize('n_threads', [1, 2, 3])
def test_window_in_blocks(in_blocks, n_threads, monkeypatch):
    monkeypatch.setattr(threads, 'count', lambda: n_threads)
    T, B, n_in, n = 6, 7, 5, 9
    random = numpy.random.RandomState(1)
    inputs = [random.randn(*shape) for shape in [
        (T, B, n_in), (B, n), (B, n), (4 * n, n_in), (4 * n,), (4 * n, n)]]
    grads = [random.randn(*shape) for shape in [(T, B, n), (B, n), (B, n)]]
    given = [chainer.Variable(x) for x in inputs]
    outputs = functions.lstm_window(*given)
    for output, grad in zip(outputs, grads):
        output.grad = grad
    chainer.backward(outputs)
    x, c, h, W_u, b, W_l = inputs
    for actual, expected in zip(
            outputs, oracle.lstm_layer_forward(x, c, h, W_u, b, W_l)):
        numpy.testing.assert_allclose(actual.array, expected, rtol=1e-12)
    for actual, expected in zip(
            given, oracle.lstm_layer_backward(x, c, h, W_u, b, W_l, *grads)):
        numpy.testing.assert_allclose(actual.grad, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize('n', [256, 300])
def test_threads_do_not_call_blas(n, monkeypatch):
    """B = 20 rows are worth blocks, and the 10 of each of two threads go on so."""
    monkeypatch.setattr(kernels, 'enabled', False)
    monkeypatch.setattr(threads, 'count', lambda: 2)
    monkeypatch.setattr(lateral, '_blas_takes_small', lambda: True)
    T, B = 2, 20
    random = numpy.random.RandomState(2)
    x, c, h, W_u, b, W_l = (random.randn(*shape).astype('f') / 16 for shape in [
        (T, B, 3), (B, n), (B, n), (4 * n, 3), (4 * n,), (4 * n, n)])
    assert lateral.in_blocks(numpy, W_l, B)
    assert not lateral.in_blocks(numpy, W_l, B // 2)
    sizes, by_blocks = [], lateral._by_blocks

    def counted(xp, W, B):
        sizes.append(B)
        return by_blocks(xp, W, B)

    monkeypatch.setattr(lateral, '_by_blocks', counted)
    monkeypatch.setattr(lateral, '_by_blas', None)
    h = chainer.Variable(h)
    hs, _, _ = functions.lstm_window(x, c, h, W_u, b, W_l)
    chainer.functions.sum(hs).backward()
    assert sizes == [10] * 4  # two threads, forward and backward
    numpy.testing.assert_allclose(
        hs.array, oracle.lstm_layer_forward(x, c, h.array, W_u, b, W_l)[0], rtol=0,
        atol=1e-5)


def test_large_weights_are_multiplied_whole():
    # More than the cache holds; the order of the backward product is another.
    n, B = 1100, 3
    random = numpy.random.RandomState(2)
    W = random.randn(4 * n, n).astype('f')
    assert W.nbytes > lateral.CACHE
    assert not lateral.in_blocks(numpy, W, B)
    h, gz = random.randn(B, n).astype('f'), random.randn(B, 4 * n).astype('f')
    forward, backward = lateral.products(numpy, W, B, False)
    numpy.testing.assert_allclose(forward(h), h @ W.T, rtol=0, atol=1e-3)
    numpy.testing.assert_allclose(backward(gz), gz @ W, rtol=0, atol=1e-3)


@pytest.mark.parametrize('libraries, expected', [
    ([dict(internal_api='openblas', architecture='SkylakeX')], True),
    ([dict(internal_api='openblas', architecture='Haswell')], False),
    ([dict(internal_api='openblas')], False),
    ([dict(internal_api='mkl')], False),
    ([], False),
])
def test_only_where_blas_takes_small_products(libraries, expected, monkeypatch):
    monkeypatch.setattr(lateral.threadpoolctl, 'threadpool_info', lambda: libraries)
    lateral._blas_takes_small.cache_clear()
    try:
        W = numpy.zeros((4 * 650, 650), 'f')
        monkeypatch.setattr(threads, 'count', lambda: 2)
        assert lateral.in_blocks(numpy, W, 20) is expected
        assert not lateral.in_blocks(numpy, W, 1)
        monkeypatch.setattr(threads, 'count', lambda: 16)
        assert not lateral.in_blocks(numpy, W, 20)
    finally:
        lateral._blas_takes_small.cache_clear()
