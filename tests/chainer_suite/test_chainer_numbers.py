"""What the patch table restores: numbers and results as NumPy 1.23 gives them."""

import numpy as np
import pytest

from rnnlm._compat import edited, patches

patches.apply()

import chainer  # noqa: E402
import chainer.functions as F  # noqa: E402
from chainer import optimizer_hooks, reporter, serializers  # noqa: E402
from chainer.utils import WalkerAlias  # noqa: E402


def test_means_of_float32_losses_are_float64():
    """As many losses as the Penn Treebank's validation text has words."""
    losses = np.random.RandomState(0).uniform(0, 12, 73760).astype(np.float32)
    summary = reporter.DictSummary()
    for loss in losses:
        summary.add({'loss': loss})
    mean = summary.compute_mean()['loss']
    assert mean == np.cumsum(losses.astype(np.float64))[-1] / losses.size
    narrow = reporter.DictSummary()
    for loss in losses[:5000]:
        narrow.add({'loss': np.asarray(loss, np.float16)})
    expected = losses[:5000].astype(np.float16).astype(np.float64).mean()
    assert abs(narrow.compute_mean()['loss'] - expected) < 1e-12


def test_means_stay_on_a_device():
    """Arrays that are not NumPy's reach the sum as they are, without a copy."""
    class OnDevice:
        ndim, dtype = 0, np.dtype(np.float32)

        def __rmul__(self, other):
            assert type(other) is int
            return self
        __mul__ = __radd__ = __add__ = __rmul__

    class Total:
        _x, _x2, _n = 0.0, 0.0, 0

    value = OnDevice()
    total = Total()
    assert edited.strong_scalars(total, value, 1) == (value, 1)
    assert [type(v) for v in (total._x, total._n)] == [float, int]
    assert edited.wide(value) is value and edited.weak(value) is value


def gradients(hook, dtype=np.float32):
    rng = np.random.RandomState(0)
    model = chainer.Link()
    with model.init_scope():
        for i in range(30):
            setattr(model, 'w%02d' % i, chainer.Parameter(
                rng.uniform(-1, 1, 50).astype(dtype)))
    optimizer = chainer.optimizers.SGD(1.0).setup(model)
    optimizer.add_hook(hook)
    for parameter in model.params():
        parameter.grad = rng.uniform(-1, 1, 50).astype(dtype)
    before = [p.grad.copy() for p in model.params()]
    optimizer.call_hooks('pre')
    return before, [p.grad for p in model.params()], [p.array for p in model.params()]


@pytest.mark.parametrize('dtype', [np.float16, np.float32])
def test_clipping_norm_is_summed_in_float64(dtype):
    before, after, _ = gradients(optimizer_hooks.GradientClipping(5.0), dtype)
    norm = np.sqrt(sum(np.float64(g.dot(g)) for g in before))
    for g, clipped in zip(before, after):
        np.testing.assert_array_equal(clipped, g * dtype(5.0 / norm))


def test_lars_rate_is_computed_in_float64():
    before, after, arrays = gradients(optimizer_hooks.GradientLARS(0.01, 0.1))
    for g, changed, p in zip(before, after, arrays):
        norms = np.float64(np.linalg.norm(p)), np.float64(np.linalg.norm(g))
        rate = norms[0] / (1e-9 + norms[1] + 0.1 * norms[0])
        np.testing.assert_array_equal(
            changed, (g + np.float32(0.1) * p) * np.float32(rate))


def test_cross_entropy_keeps_to_float32():
    x = np.random.RandomState(0).randn(7, 5).astype(np.float32)
    t = np.arange(7) % 5
    variable = chainer.Variable(x)
    loss = F.softmax_cross_entropy(variable, t)
    loss.grad = np.array(0.3, np.float32)
    loss.backward()
    y = np.exp(F.log_softmax(x).array)
    y[np.arange(7), t] -= 1
    rate = np.float32(np.float64(np.float32(0.3)) * (1 / 7))
    np.testing.assert_array_equal(variable.grad, y * rate)


def test_the_table_of_a_sampler_is_built_in_float64():
    sampler = WalkerAlias(np.arange(1, 501) ** 2)
    assert sampler.threshold.dtype == np.float32
    total = sampler.threshold.astype(np.float64).sum()
    assert abs(total - 213.22590569852946) < 1e-9       # NumPy 1.23 gives this
    np.random.seed(0)
    assert sampler.sample(2000).sum() == 751038


def test_as_strided_and_resize_images_run_without_warning():
    x = chainer.Variable(np.arange(12, dtype=np.float32).reshape(3, 4))
    F.sum(F.as_strided(x, (5, 3), (2, 1), 0)).backward()
    np.testing.assert_array_equal(x.grad.ravel(), [1, 1, 2, 1, 2, 1, 2, 1, 2, 1, 1, 0])
    with pytest.raises(TypeError):
        i = chainer.Variable(np.arange(3))
        y = F.as_strided(i, (2,), (1,), 0)
        y.grad = np.ones(2, np.int64)
        y.backward()
    image = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    np.testing.assert_allclose(
        F.resize_images(image, (3, 3)).array[0, 0],
        [[0, 0.5, 1], [1, 1.5, 2], [2, 2.5, 3]])


def test_hdf5_strings(tmp_path):
    h5py = pytest.importorskip('h5py')
    with h5py.File(str(tmp_path / 'file'), 'w') as file:
        file['text'] = '["main/loss"]'
        file['number'] = 2
        read = serializers.HDF5Deserializer(file)
        assert read('text', '') == '["main/loss"]'
        assert read('number', 1.0) == 2.0 and type(read('number', 1)) is int


def test_sequences_of_the_same_length_keep_their_places():
    from chainer.links.rnn.n_step_rnn import argsort_list_descent
    # Before NumPy 1.25 insertion sort, which keeps places, went up to 16.
    new = tuple(map(int, np.__version__.split('.')[:2])) >= (1, 25)
    for length in range(2, 70 if new else 17):
        lengths = np.arange(length) % 3
        places = argsort_list_descent([[0] * k for k in lengths])
        expected = sorted(range(length), key=lambda k: -lengths[k])
        np.testing.assert_array_equal(places, expected)
