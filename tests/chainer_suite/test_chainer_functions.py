"""Functions a language model may call: values, dtypes, gradients.

Every case is checked against a few lines of NumPy in float64 (where there is a
closed form), for the dtype of its results and of its gradients, and by numerical
gradients of first and second order.
"""

import numpy as np
import pytest

from rnnlm._compat import patches

patches.apply()

import chainer  # noqa: E402
import chainer.functions as F  # noqa: E402
from chainer import gradient_check  # noqa: E402

DTYPES = [np.float16, np.float32, np.float64]
FLOAT32 = [np.float32]  # where Chainer takes no other
TOLERANCE = {np.float16: 3e-2, np.float32: 1e-5, np.float64: 1e-11}

T = np.array([0, 3, 1])          # labels of three rows
T_IGNORED = np.array([0, -1, 1])
BITS = np.array([[0, 1, 1, 0], [1, 0, 1, 1], [0, 0, 1, 1]])
SHARES = BITS / BITS.sum(axis=1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis=1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=1):
    return np.log(softmax(x, axis))


def softplus(x):
    return np.log1p(np.exp(x))


def cross_entropy(x, t=T):
    return -log_softmax(x)[np.arange(len(t)), t]


def lstm(c, x):
    a, i, f, o = x.reshape(len(x), -1, 4).transpose(2, 0, 1)  # interleaved
    c = np.tanh(a) * sigmoid(i) + sigmoid(f) * c
    return c, sigmoid(o) * np.tanh(c)


def slstm(c1, c2, x1, x2):
    (a1, i1, f1, o1), (a2, i2, f2, o2) = (
        x.reshape(len(x), -1, 4).transpose(2, 0, 1) for x in (x1, x2))
    c = (np.tanh(a1) * sigmoid(i1) + sigmoid(f1) * c1
         + np.tanh(a2) * sigmoid(i2) + sigmoid(f2) * c2)
    return c, sigmoid(o1 + o2) * np.tanh(c)


def tree_lstm(c1, c2, x):
    a, i, o, f1, f2 = np.split(x, 5, axis=1)
    c = np.tanh(a) * sigmoid(i) + sigmoid(f1) * c1 + sigmoid(f2) * c2
    return c, sigmoid(o) * np.tanh(c)


def normalise(x, axis, eps):
    deviation = x - x.mean(axis=axis, keepdims=True)
    return deviation / np.sqrt((deviation ** 2).mean(axis=axis, keepdims=True) + eps)


def case(name, function, shapes, oracle=None, double=True, tolerance=1,
         dtypes=DTYPES):
    return pytest.param(function, shapes, oracle, double, tolerance, dtypes, id=name)


X = ((3, 4),)
XX = ((3, 4), (3, 4))
ACTIVATIONS = [
    case('sigmoid', F.sigmoid, X, sigmoid),
    case('tanh', F.tanh, X, np.tanh),
    case('relu', F.relu, X, lambda x: np.maximum(x, 0)),
    case('relu6', F.relu6, X, lambda x: np.clip(x, 0, 6)),
    case('clipped_relu', lambda x: F.clipped_relu(x, 0.7), X,
         lambda x: np.clip(x, 0, 0.7)),
    case('leaky_relu', lambda x: F.leaky_relu(x, 0.2), X,
         lambda x: np.where(x < 0, 0.2 * x, x)),
    case('crelu', F.crelu, X,
         lambda x: np.maximum(np.concatenate((x, -x), axis=1), 0)),
    case('elu', F.elu, X, lambda x: np.where(x < 0, np.expm1(x), x)),
    case('selu', F.selu, X, lambda x: 1.0507009873554804934193349852946 * np.where(
        x < 0, 1.6732632423543772848170429916717 * np.expm1(x), x)),
    case('softplus', lambda x: F.softplus(x, 2.0), X,
         lambda x: softplus(2 * x) / 2),
    case('softmax', F.softmax, X, softmax),
    case('softmax axis 0', lambda x: F.softmax(x, axis=0), X,
         lambda x: softmax(x, 0)),
    case('log_softmax', F.log_softmax, X, log_softmax),
    case('hard_sigmoid', F.hard_sigmoid, X, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    case('swish', F.swish, ((3, 4), (4,)), lambda x, b: x * sigmoid(b * x)),
    case('prelu', F.prelu, ((3, 4), (4,)), lambda x, w: np.where(x < 0, w * x, x)),
    case('maxout', lambda x: F.maxout(x, 2), X,
         lambda x: x.reshape(3, 2, 2).max(axis=2)),
]
RNN = [
    case('lstm', F.lstm, ((3, 2), (3, 8)), lstm),
    case('slstm', F.slstm, ((3, 2), (3, 2), (3, 8), (3, 8)), slstm),
    case('tree_lstm', F.tree_lstm, ((3, 2), (3, 2), (3, 10)), tree_lstm,
         double=False),
]
CONNECTION = [
    case('linear', F.linear, ((3, 4), (5, 4), (5,)), lambda x, w, b: x @ w.T + b),
    case('linear axes', lambda x, w: F.linear(x, w, n_batch_axes=2),
         ((2, 3, 4), (5, 4)), lambda x, w: x @ w.T),
    case('embed_id', lambda w: F.embed_id(np.array([2, 0, 2]), w), ((4, 3),),
         lambda w: w[[2, 0, 2]]),
    case('embed_id ignored',
         lambda w: F.embed_id(np.array([2, -1]), w, ignore_label=-1), ((4, 3),),
         lambda w: np.stack((w[2], 0 * w[0]))),
    case('bilinear', F.bilinear, ((3, 2), (3, 4), (2, 4, 5)),
         lambda a, b, w: np.einsum('ni,nj,ijk->nk', a, b, w), dtypes=FLOAT32),
    case('convolution_2d', F.convolution_2d, ((1, 2, 3, 3), (2, 2, 3, 3), (2,)),
         lambda x, w, b: (np.einsum('nchw,ochw->no', x, w) + b)[:, :, None, None]),
    case('convolution_1d', F.convolution_1d, ((1, 2, 3), (2, 2, 3)),
         lambda x, w: np.einsum('ncw,ocw->no', x, w)[:, :, None], tolerance=2),
]
LOSS = [
    case('softmax_cross_entropy', lambda x: F.softmax_cross_entropy(x, T), X,
         lambda x: cross_entropy(x).mean(), double=False),
    case('softmax_cross_entropy twice differentiable',
         lambda x: F.softmax_cross_entropy(
             x, T, enable_double_backprop=True), X,
         lambda x: cross_entropy(x).mean()),
    case('softmax_cross_entropy no reduction',
         lambda x: F.softmax_cross_entropy(x, T, reduce='no'), X, cross_entropy,
         double=False),
    case('softmax_cross_entropy ignored',
         lambda x: F.softmax_cross_entropy(x, T_IGNORED), X,
         lambda x: cross_entropy(x)[[0, 2]].mean(), double=False),
    case('softmax_cross_entropy not normalised',
         lambda x: F.softmax_cross_entropy(x, T_IGNORED, normalize=False), X,
         lambda x: cross_entropy(x)[[0, 2]].sum() / 3, double=False),
    case('softmax_cross_entropy soft',
         lambda x: F.softmax_cross_entropy(x, SHARES.astype(x.dtype)), X,
         lambda x: -(SHARES * log_softmax(x)).sum(axis=1).mean(), double=False),
    case('sigmoid_cross_entropy', lambda x: F.sigmoid_cross_entropy(x, BITS), X,
         lambda x: (softplus(x) - BITS * x).mean()),
    case('mean_squared_error', F.mean_squared_error, XX,
         lambda x, y: ((x - y) ** 2).mean()),
    case('mean_absolute_error', F.mean_absolute_error, XX,
         lambda x, y: abs(x - y).mean()),
    case('squared_error', F.squared_error, XX, lambda x, y: (x - y) ** 2),
    case('absolute_error', F.absolute_error, XX, lambda x, y: abs(x - y)),
    case('huber_loss', lambda x, y: F.huber_loss(x, y, 0.5), XX, lambda x, y: np.where(
        abs(x - y) < 0.5, (x - y) ** 2 / 2, 0.5 * (abs(x - y) - 0.25)).sum(axis=1)),
    case('hinge', lambda x: F.hinge(x, T), X, lambda x: np.maximum(
        1 + x * np.where(np.arange(4) == T[:, None], -1, 1), 0).sum() / 3,
        double=False),
    case('gaussian_kl_divergence', F.gaussian_kl_divergence, XX,
         lambda m, v: (m * m + np.exp(v) - v - 1).sum() / 2),
    case('gaussian_nll', F.gaussian_nll, ((3, 4),) * 3, lambda x, m, v: (
        (np.log(2 * np.pi) + v + (x - m) ** 2 * np.exp(-v)) / 2).sum()),
    case('bernoulli_nll', lambda x: F.bernoulli_nll(BITS.astype(x.dtype), x), X,
         lambda x: (softplus(x) - BITS * x).sum()),
    case('contrastive', lambda x, y: F.contrastive(x, y, np.array([1, 0, 1])), XX,
         tolerance=4),
    case('triplet', F.triplet, ((3, 4),) * 3, lambda a, p, n: np.maximum(
        ((a - p) ** 2 - (a - n) ** 2).sum(axis=1) + 0.2, 0).mean()),
    case('cross_covariance', F.cross_covariance, ((3, 2), (3, 2)), lambda y, z: (
        ((y - y.mean(0)).T @ (z - z.mean(0)) / 3) ** 2).sum() / 2),
    case('decov', F.decov, X, double=False),
    case('ctc', lambda *xs: F.connectionist_temporal_classification(
        xs, np.array([[1, 2], [2, 1], [1, 1]], np.int32), 0), ((3, 3),) * 4,
         double=False),
    case('crf1d', lambda c, *xs: F.crf1d(c, xs, [np.array([0, 1, 2])] * 2),
         ((4, 4), (3, 4), (3, 4)), double=False),
    case('black_out', lambda x, w: F.black_out(
        x, T, w, np.array([[1, 2], [0, 2], [3, 0]])), ((3, 2), (4, 2)), tolerance=2),
]
MATHS = [
    case('add', lambda x, y: x + y + 2.5, XX, lambda x, y: x + y + 2.5),
    case('scalar', lambda x: 1.5 - np.float64(3) * x / np.float32(2), X,
         lambda x: 1.5 - 1.5 * x),
    case('scalar of scalar', lambda x: (2.0 * F.sum(x) - 0.1) / 3, X,
         lambda x: (2 * x.sum() - 0.1) / 3),
    case('power', lambda x: (abs(x) + 1) ** 2.5, X, lambda x: (abs(x) + 1) ** 2.5),
    case('reciprocal', lambda x: 1 / (x * x + 1), X, lambda x: 1 / (x * x + 1)),
    case('exp', F.exp, X, np.exp),
    case('log', lambda x: F.log(x * x + 1), X, lambda x: np.log1p(x * x)),
    case('sqrt', lambda x: F.sqrt(x * x + 1), X, lambda x: np.sqrt(x * x + 1)),
    case('matmul', F.matmul, ((3, 4), (4, 2)), np.matmul),
    case('sum', lambda x: F.sum(x, axis=0), X, lambda x: x.sum(axis=0)),
    case('mean', F.mean, X, np.mean),
    case('average', lambda x, w: F.average(x, axis=1, weights=abs(w) + 1),
         ((3, 4), (4,)), lambda x, w: np.average(x, axis=1, weights=abs(w) + 1)),
    case('max', lambda x: F.max(x, axis=1), X, lambda x: x.max(axis=1)),
    case('logsumexp', lambda x: F.logsumexp(x, axis=1), X,
         lambda x: np.log(np.exp(x).sum(axis=1))),
    case('cumsum', lambda x: F.cumsum(x, axis=1), X, lambda x: x.cumsum(axis=1)),
    case('prod', lambda x: F.prod(x, axis=1), X, lambda x: x.prod(axis=1)),
    case('clip', lambda x: F.clip(x, -0.5, 0.5), X, lambda x: np.clip(x, -0.5, 0.5)),
    case('batch_l2_norm_squared', F.batch_l2_norm_squared, X,
         lambda x: (x * x).sum(axis=1)),
    case('normalize', F.normalize, X,
         lambda x: x / (np.sqrt((x * x).sum(axis=1, keepdims=True)) + 1e-5)),
    case('layer_normalization', lambda x, g, b: F.layer_normalization(x, g, b, 1e-2),
         ((3, 4), (4,), (4,)), lambda x, g, b: normalise(x, 1, 1e-2) * g + b),
    case('batch_normalization',
         lambda x, g, b: F.batch_normalization(x, g, b, eps=1e-2),
         ((3, 4), (4,), (4,)), lambda x, g, b: normalise(x, 0, 1e-2) * g + b),
    case('linear_interpolate', F.linear_interpolate, ((3, 4),) * 3,
         lambda p, x, y: p * x + (1 - p) * y),
]
ARRAY = [
    case('reshape', lambda x: F.reshape(x, (2, 6)), X, lambda x: x.reshape(2, 6)),
    case('concat', lambda x, y: F.concat((x, y), axis=0), XX,
         lambda x, y: np.concatenate((x, y))),
    case('stack', lambda x, y: F.stack((x, y), axis=1), XX,
         lambda x, y: np.stack((x, y), axis=1)),
    case('split_axis', lambda x: F.split_axis(x, [1], axis=1), X,
         lambda x: (x[:, :1], x[:, 1:])),
    case('get_item', lambda x: F.get_item(x, (slice(None), [2, 0])), X,
         lambda x: x[:, [2, 0]]),
    case('select_item', lambda x: F.select_item(x, T), X,
         lambda x: x[np.arange(3), T]),
    case('where', lambda x, y: F.where(BITS[:3].astype(bool), x, y), XX,
         lambda x, y: np.where(BITS, x, y)),
    case('transpose', F.transpose, X, np.transpose),
    case('broadcast_to', lambda x: F.broadcast_to(x, (3, 4)), ((4,),),
         lambda x: np.broadcast_to(x, (3, 4))),
    case('pad_sequence', lambda x, y: F.pad_sequence((x, y), padding=-1),
         ((2,), (3,)), lambda x, y: np.array([[*x, -1], y])),
    case('as_strided', lambda x: F.as_strided(x, (3, 2), (4, 1), 0), X,
         lambda x: x[:, :2], double=False),
    case('as_strided overlapping', lambda x: F.as_strided(x, (5, 3), (2, 1), 0), X,
         lambda x: np.stack([x.ravel()[i:i + 3] for i in range(0, 10, 2)]),
         double=False),
    case('resize_images', lambda x: F.resize_images(x, (3, 5)), ((1, 1, 2, 3),),
         dtypes=FLOAT32),
    case('resize_images nearest',
         lambda x: F.resize_images(x, (4, 6), mode='nearest'), ((1, 1, 2, 3),),
         lambda x: x.repeat(2, axis=2).repeat(2, axis=3), dtypes=FLOAT32),
]
CASES = ACTIVATIONS + RNN + CONNECTION + LOSS + MATHS + ARRAY


def draw(shapes, dtype, seed=5):
    rng = np.random.RandomState(seed)
    # Away from zero, where relu and its kin have no gradient.
    return [np.asarray(np.sign(rng.rand(*s) - 0.5) * rng.uniform(0.1, 1.2, s), dtype)
            for s in shapes]


def results(function, variables):
    ys = function(*variables)
    return ys if isinstance(ys, (tuple, list)) else (ys,)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('function, shapes, oracle, double, tolerance, dtypes', CASES)
def test_value_and_dtype(function, shapes, oracle, double, tolerance, dtypes, dtype):
    if dtype not in dtypes:
        pytest.skip('Chainer refuses this dtype')
    xs = draw(shapes, dtype)
    with chainer.using_config('dtype', dtype):
        variables = [chainer.Variable(x) for x in xs]
        ys = results(function, variables)
        loss = sum([F.sum(y * y) for y in ys])
        loss.backward()
    assert {y.dtype for y in ys} == {np.dtype(dtype)}
    assert {v.grad.dtype for v in variables} == {np.dtype(dtype)}
    if oracle is not None:
        expected = oracle(*[x.astype(np.float64) for x in xs])
        for y, e in zip(ys, expected if isinstance(expected, tuple) else (expected,)):
            assert y.shape == np.shape(e)
            limit = tolerance * TOLERANCE[dtype]
            np.testing.assert_allclose(y.array, e, rtol=limit, atol=limit)


@pytest.mark.parametrize('function, shapes, oracle, double, tolerance, dtypes', CASES)
def test_gradients(function, shapes, oracle, double, tolerance, dtypes):
    dtype = dtypes[-1]  # float64, where Chainer takes it
    eps, limit = (1e-4, 1e-4) if dtype == np.float64 else (1e-2, 1e-2)
    xs = draw(shapes, dtype)
    with chainer.using_config('dtype', dtype):
        ys = results(function, [chainer.Variable(x) for x in xs])
        gys = draw([y.shape for y in ys], dtype, seed=6)
        gradient_check.check_backward(
            lambda *v: tuple(results(function, v)), tuple(xs), tuple(gys),
            eps=eps, rtol=limit, atol=limit)
        if double:
            gradient_check.check_double_backward(
                lambda *v: tuple(results(function, v)), tuple(xs), tuple(gys),
                tuple(draw(shapes, dtype, seed=7)),
                eps=eps, rtol=10 * limit, atol=limit)
