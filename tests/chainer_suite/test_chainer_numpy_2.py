"""What Chainer does with names and rules that NumPy has changed since 1.23."""
import numpy as np
import pytest

from rnnlm._compat import patches

patches.apply()

import chainer  # noqa: E402
import chainer.distributions as D  # noqa: E402
import chainer.functions as F  # noqa: E402
import chainer.links as L  # noqa: E402
from chainer import dataset  # noqa: E402

INTEGERS = ('uint8', 'uint16', 'uint32', 'uint64', 'int8', 'int16', 'int32', 'int64')


@pytest.mark.parametrize('dtype', INTEGERS)
@pytest.mark.parametrize('padding', [0, -1, 300])
def test_padding_wraps_as_integers_do(dtype, padding):
    expected = np.array([padding]).astype(dtype)[0]
    xs = [np.ones(2, dtype), np.ones(3, dtype)]
    for y in (F.pad_sequence(xs, padding=padding).array,
              dataset.concat_examples(xs, padding=padding)):
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, [[1, 1, expected], [1, 1, 1]])


@pytest.mark.parametrize('padding', [-1, 0.5, np.float64(2), float('nan')])
@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64'])
def test_padding_of_floats(dtype, padding):
    xs = [np.ones((2, 2), dtype), np.ones((3, 2), dtype)]
    for y in (F.pad_sequence(xs, padding=padding).array,
              dataset.concat_examples(xs, padding=padding)):
        assert y.dtype == dtype
        np.testing.assert_array_equal(y[0, 2], [padding] * 2)


@pytest.mark.parametrize('dtype', INTEGERS)
@pytest.mark.parametrize('number', [-1, 2, 300])
def test_integers_wrap_in_arithmetic(dtype, number):
    x = chainer.Variable(np.array([3, 7], dtype))
    wrapped = np.array([number]).astype(dtype)
    for y, expected in (
            (x + number, x.array + wrapped), (number - x, wrapped - x.array),
            (x * number, x.array * wrapped)):
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.array, expected)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
@pytest.mark.parametrize('batch', [(), (2,), (2, 3)])
def test_categorical(dtype, batch):
    p = np.random.RandomState(0).dirichlet(np.ones(4), batch).astype(dtype)
    q = np.full_like(p, 0.25)
    distribution = D.Categorical(p)
    np.random.seed(0)
    x = distribution.sample(2000)
    assert x.shape == (2000,) + batch
    frequencies = np.stack([(x.array == k).mean(0) for k in range(4)], -1)
    np.testing.assert_allclose(frequencies, p, atol=0.05)
    log_prob = distribution.log_prob(x)
    assert log_prob.dtype == dtype
    np.testing.assert_allclose(
        log_prob.array, np.log(np.take_along_axis(
            np.broadcast_to(p, (2000, *p.shape)), x.array[..., None].astype(int), -1)
        )[..., 0], rtol=1e-5)
    np.testing.assert_allclose(
        chainer.kl_divergence(distribution, D.Categorical(q)).array,
        (p * np.log(p / q)).sum(-1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(distribution.entropy.array,
                               -(p * np.log(p)).sum(-1), rtol=1e-5)


def test_maxout_by_functions_that_fill():
    """They see the shapes of its documentation, and what they write is kept."""
    seen = []

    def fill(array):
        seen.append(array.shape)
        array[...] = np.arange(array.size).reshape(array.shape)

    link = L.Maxout(3, 4, 2, initialW=fill, initial_bias=fill)
    assert seen == [(4, 2, 3), (4, 2)]
    np.testing.assert_array_equal(link.linear.W.array, np.arange(24.).reshape(8, 3))
    np.testing.assert_array_equal(link.linear.b.array, np.arange(8.))
    x = np.ones((2, 3), np.float32)
    expected = (np.arange(24.).reshape(4, 2, 3).sum(-1)
                + np.arange(8.).reshape(4, 2)).max(-1)
    np.testing.assert_array_equal(link(x).array, [expected] * 2)


def test_rounding_towards_zero():
    x = np.array([-1.7, -0.2, 0.2, 1.7], np.float32)
    np.testing.assert_array_equal(F.fix(x).array, [-1, 0, 0, 1])
    assert F.fix(x).dtype == np.float32
    y = chainer.Variable(x)
    divisor = chainer.Variable(np.full(4, 0.5, np.float32))
    z = F.fmod(y, divisor)
    np.testing.assert_allclose(z.array, np.fmod(x, 0.5), rtol=1e-6)
    F.sum(z).backward()
    np.testing.assert_array_equal(divisor.grad, -np.trunc(x / 0.5))
