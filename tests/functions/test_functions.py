"""The fused functions against the oracle, and against what Chainer does."""
import chainer
from chainer import functions as F
from helpers import assert_close, lstm_case, variables
import numpy
import oracle
import pytest

from rnnlm import functions, kernels
from rnnlm.functions import gates, output_gradient, softmax_loss


def test_gate_order_is_that_of_chainer():
    # Rows 4j .. 4j + 3 belong to unit j: chainer.functions.lstm reads them so.
    n = 3
    interleaved = numpy.arange(4 * n)
    assert gates.GATES == ('a', 'i', 'f', 'o')
    blocks = gates.by_gate(interleaved[None]).reshape(4 * n)
    numpy.testing.assert_array_equal(
        blocks, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])
    z = numpy.random.RandomState(0).randn(2, 4 * n)
    c_prev = numpy.ones((2, n))
    a, i, f, o = (z[:, blocks[k * n:(k + 1) * n]] for k in range(4))
    c = numpy.tanh(a) / (1 + numpy.exp(-i)) + c_prev / (1 + numpy.exp(-f))
    h = numpy.tanh(c) / (1 + numpy.exp(-o))
    expected_c, expected_h = F.lstm(c_prev, z)
    numpy.testing.assert_allclose(c, expected_c.array, rtol=1e-14)
    numpy.testing.assert_allclose(h, expected_h.array, rtol=1e-14)


@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize('withheld', [(), (0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
@pytest.mark.parametrize('shape', [(1, 1, 1, 1), (1, 3, 4, 2), (5, 1, 2, 3),
                                   (6, 4, 5, 7)])
def test_lstm_window(xp, shape, withheld, dtype):
    inputs, grads = lstm_case(*shape, dtype=dtype)
    for k in withheld:
        grads[k] = None
    x, c, h, W_u, b, W_l = inputs
    hs, c_T, h_T = oracle.lstm_layer_forward(x, c, h, W_u, b, W_l)
    dx, dc, dh, dW_u, db, dW_l = oracle.lstm_layer_backward(
        x, c, h, W_u, b, W_l, *grads)

    given = variables(xp, *inputs)
    outputs = functions.lstm_window(*given)
    for actual, expected in zip(outputs, (hs, c_T, h_T)):
        assert_close(actual.array, expected, dtype)
    for output, grad in zip(outputs, grads):
        output.grad = None if grad is None else xp.asarray(grad)
    chainer.backward([y for y, g in zip(outputs, grads) if g is not None])
    for variable, expected in zip(given, (dx, dc, dh, dW_u, db, dW_l)):
        assert_close(variable.grad, expected, dtype)


def test_lstm_window_without_state(xp):
    (x, c, h, *weights), _ = lstm_case(3, 2, 4, 5, 'd')
    expected = oracle.lstm_layer_forward(
        x, numpy.zeros_like(c), numpy.zeros_like(h), *weights)
    actual = functions.lstm_window(
        xp.asarray(x), None, None, *(xp.asarray(w) for w in weights))
    for a, e in zip(actual, expected):
        assert_close(a.array, e, 'd')


def test_lstm_window_numerical_gradient():
    # One random direction: independent of any backward code.
    inputs, grads = lstm_case(4, 3, 2, 5, 'd', seed=1)
    random = numpy.random.RandomState(2)
    direction = [random.randn(*x.shape) for x in inputs]

    def inner(step):
        outputs = functions.lstm_window(
            *(x + step * d for x, d in zip(inputs, direction)))
        return sum((y.array * g).sum() for y, g in zip(outputs, grads))

    numerical = (inner(1e-5) - inner(-1e-5)) / 2e-5
    given = variables(numpy, *inputs)
    outputs = functions.lstm_window(*given)
    for y, g in zip(outputs, grads):
        y.grad = g
    chainer.backward(outputs)
    analytic = sum((v.grad * d).sum() for v, d in zip(given, direction))
    numpy.testing.assert_allclose(analytic, numerical, rtol=1e-7)


@pytest.mark.parametrize('change', [
    dict(x=numpy.zeros((2, 3), 'f')),
    dict(x=numpy.zeros((2, 3, 5), 'f')),
    dict(x=numpy.zeros((2, 3, 4), 'i')),
    dict(c=numpy.zeros((2, 5), 'f')),
    dict(h=numpy.zeros((3, 6), 'f')),
    dict(upward_W=numpy.zeros((20, 4), 'd')),
    dict(upward_b=numpy.zeros((19,), 'f')),
    dict(lateral_W=numpy.zeros((20, 4), 'f')),
])
def test_lstm_window_refuses_shapes(change):
    given = dict(
        x=numpy.zeros((2, 3, 4), 'f'), c=numpy.zeros((3, 5), 'f'),
        h=numpy.zeros((3, 5), 'f'), upward_W=numpy.zeros((20, 4), 'f'),
        upward_b=numpy.zeros(20, 'f'), lateral_W=numpy.zeros((20, 5), 'f'))
    functions.lstm_window(**given)
    with pytest.raises(chainer.utils.type_check.InvalidType):
        functions.lstm_window(**dict(given, **change))


def loss_case(T, B, n, V, dtype, ignored=True):
    random = numpy.random.RandomState(3)
    x = random.randn(T, B, n).astype(dtype)
    W = random.randn(V, n).astype(dtype)
    b = random.randn(V).astype(dtype)
    t = random.randint(0, V, (T, B)).astype('i')
    if ignored:
        t[0, 0] = -1
        t[-1] = -1
    return x, W, b, t


@pytest.mark.parametrize('chunk', [1, 7, 40, 10 ** 6])
@pytest.mark.parametrize('dtype', 'fd')
@pytest.mark.parametrize('shape, ignored', [
    ((1, 1, 2, 3), False), ((4, 3, 5, 7), False), ((4, 3, 5, 7), True)])
def test_loss(xp, shape, ignored, dtype, chunk, monkeypatch):
    monkeypatch.setattr(softmax_loss, 'CHUNK_ELEMENTS', chunk)
    x, W, b, t = loss_case(*shape, dtype=dtype, ignored=ignored)
    logits = x @ W.T + b
    expected = oracle.step_losses(logits, t).sum()
    dlogits = oracle.loss_dlogits(logits, t)
    flat = dlogits.reshape(-1, len(W))

    given = variables(xp, x, W, b)
    loss = functions.linear_softmax_cross_entropy(*given, xp.asarray(t))
    assert_close(loss.array, expected, dtype)
    (2 * loss).backward()
    assert_close(given[0].grad, 2 * (dlogits @ W), dtype)
    assert_close(
        given[1].grad, 2 * (flat.T @ x.reshape(-1, x.shape[2])), dtype)
    assert_close(given[2].grad, 2 * flat.sum(0), dtype)


@pytest.mark.parametrize('compiled', [True, False])
@pytest.mark.parametrize('dtype', 'fd')
def test_the_gradient_of_a_large_matrix(dtype, compiled, monkeypatch):
    """It exists once, and has the bits that the sum of whole products has."""
    x, W, b, t = loss_case(4, 20, 64, 20100, dtype)
    if not compiled:
        monkeypatch.setattr(kernels, 'output_for', lambda *args: None)
    monkeypatch.setattr(softmax_loss, 'CHUNK_ELEMENTS', 30 * 20100)
    sizes = []
    empty = softmax_loss.buffers.empty
    monkeypatch.setattr(softmax_loss.buffers, 'empty', lambda xp, shape, dtype: (
        sizes.append(shape) or empty(xp, shape, dtype)))
    found = []
    for elements in 2 ** 40, 2 ** 18:
        monkeypatch.setattr(output_gradient, 'SUM_ELEMENTS', elements)
        sizes.clear()
        given = variables(numpy, x, W, b)
        functions.linear_softmax_cross_entropy(*given, t).backward()
        found.append([v.grad for v in given])
    for actual, expected in zip(*found):
        numpy.testing.assert_array_equal(actual, expected)
    assert sizes.count(W.shape) == 1


def test_arrays_of_any_layout():
    x, W, b, t = loss_case(4, 3, 5, 7, 'd')
    (X, c, h, *weights), _ = lstm_case(4, 3, 5, 20, 'd')

    def run(layout):
        given = variables(numpy, *map(layout, (x, W, b)))
        loss = functions.linear_softmax_cross_entropy(*given, layout(t))
        loss.backward()
        more = variables(numpy, *map(layout, (X, c, h, *weights)))
        hs = functions.lstm_window(*more)[0]
        hs.grad = layout(numpy.cos(hs.array))
        hs.backward()
        return [loss.array] + [v.grad for v in given + more]

    def every_second(a):
        return numpy.repeat(a, 2, axis=-1)[..., ::2]

    expected = run(numpy.copy)
    for layout in numpy.asfortranarray, every_second:
        for a, e in zip(run(layout), expected):
            numpy.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-14)


def test_loss_twice_backward_adds():
    x, W, b, t = loss_case(2, 3, 4, 5, 'd')
    given = variables(numpy, x, W, b)
    loss = functions.linear_softmax_cross_entropy(*given, t)
    loss.backward()
    once = [v.grad.copy() for v in given]
    for v in given:
        v.grad *= 0.1  # as clipping does, in place
    loss.backward()
    for v, g in zip(given, once):
        numpy.testing.assert_allclose(v.grad, 1.1 * g, rtol=1e-13)


def test_loss_does_no_work_for_gradients_nobody_wants():
    x, W, b, t = loss_case(2, 3, 4, 5, 'f')
    node = softmax_loss.LinearSoftmaxCrossEntropy(t)
    with chainer.no_backprop_mode():
        node.apply((x, W, b))
    assert node._gradients is None


def test_loss_of_large_logits_is_finite():
    x, W, b, t = loss_case(2, 3, 4, 5, 'f', ignored=False)
    loss = functions.linear_softmax_cross_entropy(x, 1e4 * W, b, t)
    expected = oracle.step_losses((x @ (1e4 * W).T + b).astype('d'), t).sum()
    numpy.testing.assert_allclose(loss.array, expected, rtol=1e-5)


@pytest.mark.parametrize('t', [
    numpy.zeros((2, 3), 'f'), numpy.zeros(6, 'i'), numpy.zeros((3, 2), 'i')])
def test_loss_refuses_targets(t):
    x, W, b, _ = loss_case(2, 3, 4, 5, 'f')
    with pytest.raises(chainer.utils.type_check.InvalidType):
        functions.linear_softmax_cross_entropy(x, W, b, t)


@pytest.mark.parametrize('dtype', 'fd')
def test_embedding(xp, dtype):
    random = numpy.random.RandomState(4)
    W = random.randn(5, 3).astype(dtype)
    gy = random.randn(4, 6, 3).astype(dtype)
    ids = random.randint(0, 5, (4, 6)).astype('i')
    ids[ids == 2] = 0  # one row that is never used, one often
    expected = numpy.zeros_like(W)
    for k in numpy.ndindex(*ids.shape):
        expected[ids[k]] += gy[k]
    given, = variables(xp, W)
    y = functions.embedding(xp.asarray(ids), given)
    numpy.testing.assert_array_equal(chainer.cuda.to_cpu(y.array), W[ids])
    y.grad = xp.asarray(gy)
    y.backward()
    assert_close(given.grad, expected, dtype)


def test_second_derivatives_are_refused():
    (x, *rest), _ = lstm_case(2, 3, 4, 5, 'd')
    x = chainer.Variable(x)
    gx, = chainer.grad([functions.lstm_window(x, *rest)[0]], [x],
                       enable_double_backprop=True)
    with pytest.raises(RuntimeError, match='lstm_window: expected first'):
        F.sum(gx ** 2).backward()

    x, W, b, t = loss_case(2, 3, 4, 5, 'd')
    x = chainer.Variable(x)
    gx, = chainer.grad([functions.linear_softmax_cross_entropy(x, W, b, t)], [x],
                       enable_double_backprop=True)
    with pytest.raises(RuntimeError, match='cross_entropy: expected first'):
        F.sum(gx ** 2).backward()

    W = chainer.Variable(W)
    y = functions.embedding(t[:1], W)
    gW, = chainer.grad([F.sum(y * y)], [W], enable_double_backprop=True)
    with pytest.raises(RuntimeError, match='embedding: expected first'):
        F.sum(gW ** 2).backward()
