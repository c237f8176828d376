"""The oracle against finite differences, Chainer's own links, and recorded runs."""
import hashlib
import itertools
import json
import math
import os

import numpy as np
import pytest

import oracle

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'golden')
OUTPUTS = ('targets', 'dlogits', 'dc_final', 'dh_final')
# All of the output gradients, each withheld in turn, each alone.
GIVEN = [OUTPUTS]
GIVEN += [tuple(o for o in OUTPUTS if o != without) for without in OUTPUTS]
GIVEN += [(only,) for only in OUTPUTS]


@pytest.fixture(scope='module')
def chainer():
    import rnnlm  # noqa: F401  (makes Chainer importable)
    import chainer
    import chainer.functions
    import chainer.links
    return chainer


def make_problem(T, B, N, masked, ignored, stateful=True, V=11, n=4, seed=0):
    """Return params and the other arguments of oracle.backward, all random."""
    rng = np.random.RandomState(seed + 1000 * T + 100 * B + 10 * N)
    params = oracle.init_params(V, n, N, rng, scale=0.8)
    targets = rng.randint(0, V, (T, B))
    if ignored:
        targets[rng.uniform(size=(T, B)) < 0.3] = -1
        targets[-1] = -1
    masks = 2.0 * (rng.uniform(size=(T, N + 1, B, n)) >= 0.5) if masked else None
    return params, {
        'ids': rng.randint(0, V, (T, B)), 'targets': targets, 'masks': masks,
        'state': rng.normal(size=(2, N, B, n)) if stateful else None,
        'dlogits': rng.normal(size=(T, B, V)),
        'dc_final': rng.normal(size=(N, B, n)),
        'dh_final': rng.normal(size=(N, B, n))}


def withhold(problem, given):
    """Return the problem with None for every output gradient that is not given."""
    return {key: None if key in OUTPUTS and key not in given else value
            for key, value in problem.items()}


def objective(params, ids, targets, masks, state, dlogits, dc_final, dh_final):
    """The scalar whose gradients oracle.backward returns."""
    logits, (c, h), _ = oracle.forward(params, ids, masks, state)
    value = 0.0
    if targets is not None:
        value += oracle.loss(params, ids, targets, masks, state)
    for gradient, output in ((dlogits, logits), (dc_final, c), (dh_final, h)):
        if gradient is not None:
            value += (gradient * output).sum()
    return value


def assert_same(actual, expected, tolerance, what=''):
    """Compare arrays relative to the largest expected magnitude."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, what
    assert np.isfinite(actual).all(), what
    scale = np.abs(expected).max() if expected.size else 0.0
    error = np.abs(actual - expected).max() if expected.size else 0.0
    assert error <= tolerance * scale, '%s: %g of %g' % (what, error, scale)


# Against finite differences and by hand

@pytest.mark.parametrize('T,B,N,masked,ignored', list(itertools.product(
    (1, 2, 5), (1, 3), (1, 2, 3), (False, True), (False, True))))
def test_gradients_against_differences(T, B, N, masked, ignored):
    params, full = make_problem(T, B, N, masked, ignored)
    rng = np.random.RandomState(7)
    for given in GIVEN:
        problem = withhold(full, given)
        grads, (dc0, dh0) = oracle.backward(params, **problem)
        assert sorted(grads) == sorted(params)
        grads.update(c0=dc0, h0=dh0)
        point = dict(params, c0=full['state'][0], h0=full['state'][1])

        def f(p):
            p = dict(p)
            return objective(p, **dict(problem, state=(p.pop('c0'), p.pop('h0'))))

        whole = {path: rng.normal(size=p.shape) for path, p in point.items()}
        directions = [whole] + [{path: d} for path, d in whole.items()]
        for direction in directions:
            expected = oracle.numerical_gradient(f, point, direction)
            actual = sum((grads[path] * d).sum() for path, d in direction.items())
            assert actual == pytest.approx(expected, rel=1e-6, abs=1e-7), (
                given, sorted(direction))


@pytest.mark.parametrize('T,B', list(itertools.product((1, 2, 5), (1, 3))))
def test_layer_gradients_against_differences(T, B, n_in=3, n=4):
    rng = np.random.RandomState(T + 10 * B)
    shapes = {'x': (T, B, n_in), 'c0': (B, n), 'h0': (B, n),
              'Wu': (4 * n, n_in), 'b': (4 * n,), 'Wl': (4 * n, n)}
    names = tuple(shapes)
    point = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    outer = [rng.normal(size=shape) for shape in ((T, B, n), (B, n), (B, n))]
    for keep in itertools.product((False, True), repeat=3):
        used = [g if kept else None for g, kept in zip(outer, keep)]

        def f(p):
            outputs = oracle.lstm_layer_forward(*[p[name] for name in names])
            return sum((g * y).sum() for g, y in zip(used, outputs)
                       if g is not None)

        grads = oracle.lstm_layer_backward(*[point[name] for name in names],
                                           dhs=used[0], dc_T=used[1], dh_T=used[2])
        for name, grad in zip(names, grads):
            d = rng.normal(size=shapes[name])
            assert grad.shape == d.shape
            assert (grad * d).sum() == pytest.approx(
                oracle.numerical_gradient(f, point, {name: d}), rel=1e-6, abs=1e-7)


def test_one_unit_by_hand():
    """One stream, one unit, one step, with Python's own floats."""
    x, c0, h0 = 0.3, -0.7, 0.2
    Wu, b, Wl = (0.5, -1.0, 0.25, 2.0), (0.1, 0.2, 0.3, 0.4), (1.5, -0.5, 0.75, 1.0)
    z = [u * x + v + w * h0 for u, v, w in zip(Wu, b, Wl)]
    i, f, o = (1 / (1 + math.exp(-v)) for v in z[1:])
    c = math.tanh(z[0]) * i + f * c0
    hs, c_T, h_T = oracle.lstm_layer_forward(
        np.full((1, 1, 1), x), np.full((1, 1), c0), np.full((1, 1), h0),
        np.array(Wu)[:, None], np.array(b), np.array(Wl)[:, None])
    assert c_T[0, 0] == pytest.approx(c, rel=1e-14)
    assert hs[0, 0, 0] == h_T[0, 0] == pytest.approx(o * math.tanh(c), rel=1e-14)


def test_uniform_model_and_ignored_targets():
    """All-zero weights give log V for each step that has a valid target."""
    params = oracle.init_params(7, 2, 2, np.random.RandomState(0), scale=0.0)
    ids = np.zeros((3, 2), int)
    targets = np.array([[1, 2], [-1, 6], [-1, -1]])
    assert oracle.loss(params, ids, targets) == pytest.approx(2 * math.log(7))
    assert not oracle.backward(params, ids[2:], targets[2:])[0]['/l3/b'].any()


def test_window_splits():
    """A window equals its two halves with the state, and its gradient, carried."""
    params, p = make_problem(5, 3, 2, True, True)
    ids, targets, masks, state = p['ids'], p['targets'], p['masks'], p['state']
    logits, final, _ = oracle.forward(params, ids, masks, state)
    first, middle, _ = oracle.forward(params, ids[:2], masks[:2], state)
    second, end, _ = oracle.forward(params, ids[2:], masks[2:], middle)
    assert_same(np.concatenate([first, second]), logits, 1e-15)
    assert_same(end, final, 1e-15)
    grads, initial = oracle.backward(params, ids, targets, masks, state)
    late, between = oracle.backward(params, ids[2:], targets[2:], masks[2:], middle)
    early, start = oracle.backward(params, ids[:2], targets[:2], masks[:2], state,
                                   None, *between)
    assert_same(start, initial, 1e-13)
    for path in params:
        assert_same(early[path] + late[path], grads[path], 1e-13, path)


def test_window_ids():
    """Offsets are s * size // B, which is not s * (size // B); positions wrap."""
    ids, targets = oracle.window_ids(np.arange(11) + 100, 4, 2, 2)
    np.testing.assert_array_equal(ids, [[102, 104, 107, 110], [103, 105, 108, 100]])
    np.testing.assert_array_equal(targets, [ids[1], [104, 106, 109, 101]])


def test_dtype_follows_the_parameters():
    params = oracle.init_params(7, 3, 2, np.random.RandomState(0), dtype=np.float32)
    ids = np.arange(6).reshape(3, 2)
    masks = oracle.official_masks(3, 2, 2, 3, 0.3)
    logits, (c, h), inputs = oracle.forward(params, ids, masks)
    grads, (dc0, dh0) = oracle.backward(params, ids, ids, masks, (c, h))
    oracle.sgd_step(params, grads, 1.0, 1e-3)
    arrays = [logits, c, h, dc0, dh0, masks, oracle.loss(params, ids, ids)]
    arrays += inputs + list(grads.values()) + list(params.values())
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


# Against Chainer's links

class Reference:
    """Chainer's links, called step by step in float64."""

    def __init__(self, chainer, params):
        self.chainer, L = chainer, chainer.links
        V, n = params['/embed/W'].shape
        N = oracle.n_layers(params)
        with chainer.using_config('dtype', np.float64):
            self.model = chainer.Chain()
            with self.model.init_scope():
                self.model.embed = L.EmbedID(V, n)
                for k in range(1, N + 1):
                    setattr(self.model, 'l%d' % k, L.LSTM(n, n))
                setattr(self.model, 'l%d' % (N + 1), L.Linear(n, V))
        self.layers = [self.model['l%d' % k] for k in range(1, N + 1)]
        self.output = self.model['l%d' % (N + 1)]
        self.params = dict(self.model.namedparams())
        assert sorted(self.params) == sorted(params)
        for path, param in self.params.items():
            assert param.dtype == np.float64
            param.array[...] = params[path]

    def run(self, ids, targets, masks, state, dlogits, dc_final, dh_final):
        """Return loss, logits, (c, h), gradients, (dc0, dh0)."""
        F, Variable = self.chainer.functions, self.chainer.Variable

        def drop(x, t, k):
            return x if masks is None else F.dropout(x, 0.5, mask=masks[t, k])

        initial = [[], []]
        if state is not None:
            initial = [[Variable(a.copy()) for a in half] for half in state]
            for layer, c, h in zip(self.layers, *initial):
                layer.set_state(c, h)
        loss, total, logits = 0.0, 0.0, []
        for t in range(len(ids)):
            x = self.model.embed(ids[t])
            for k, layer in enumerate(self.layers):
                x = layer(drop(x, t, k))
            logits.append(self.output(drop(x, t, len(self.layers))))
            if targets is not None:
                loss += F.softmax_cross_entropy(logits[-1], targets[t])
            if dlogits is not None:
                total += F.sum(logits[-1] * dlogits[t])
        final = [[layer.c for layer in self.layers],
                 [layer.h for layer in self.layers]]
        for gradients, half in zip((dc_final, dh_final), final):
            if gradients is not None:
                total += sum(F.sum(v * g) for v, g in zip(half, gradients))
        self.model.cleargrads()
        (loss + total).backward()

        def gradient(v):
            return np.zeros_like(v.array) if v.grad is None else v.grad

        return (float(getattr(loss, 'array', loss)),
                np.stack([y.array for y in logits]),
                [np.stack([v.array for v in half]) for half in final],
                {path: gradient(param) for path, param in self.params.items()},
                [np.stack([gradient(v) for v in half]) for half in initial if half])


@pytest.mark.parametrize('T,B,N,masked,ignored,stateful', list(itertools.product(
    (1, 2, 5), (1, 3), (1, 2, 3), (False, True), (False, True), (False, True))))
def test_against_chainer(chainer, T, B, N, masked, ignored, stateful):
    params, full = make_problem(T, B, N, masked, ignored, stateful)
    for given in (('targets',), OUTPUTS, ('dlogits',), ('dc_final', 'dh_final')):
        p = withhold(full, given)
        loss, logits, final, grads, initial = Reference(chainer, params).run(**p)
        actual, actual_final, _ = oracle.forward(
            params, p['ids'], p['masks'], p['state'])
        actual_grads, actual_initial = oracle.backward(params, **p)
        if 'targets' in given:
            assert_same(oracle.loss(params, p['ids'], p['targets'], p['masks'],
                                    p['state']), loss, 1e-12, 'loss')
        assert_same(actual, logits, 1e-12, 'logits')
        assert_same(actual_final, final, 1e-12, 'final state')
        for path in params:
            assert_same(actual_grads[path], grads[path], 1e-12, path)
        if stateful:
            for name, x, y in zip(('dc0', 'dh0'), actual_initial, initial):
                assert_same(x, y, 1e-12, name)


@pytest.mark.parametrize('clip', (1e-3, 1.0, 1e6))
def test_update_against_chainer(chainer, clip):
    params, p = make_problem(5, 3, 2, True, False)
    reference = Reference(chainer, params)
    optimizer = chainer.optimizers.SGD(lr=0.7).setup(reference.model)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(clip))
    reference.run(**p)
    optimizer.update()
    grads, _ = oracle.backward(params, **p)
    oracle.sgd_step(params, grads, 0.7, clip)
    for path, param in reference.params.items():
        assert_same(params[path], param.array, 1e-12, path)


def test_official_masks_against_chainer(chainer):
    np.random.seed(5)
    x = np.ones((3, 4), np.float32)
    expected = [chainer.functions.dropout(x, 0.3).array for _ in range(2 * 3)]
    np.random.seed(5)
    masks = oracle.official_masks(2, 2, 3, 4, 0.3)
    np.testing.assert_array_equal(masks.reshape(6, 3, 4), expected)


# Against recorded runs of the official example

@pytest.mark.parametrize('name', ('chainer-7.8.1-a', 'chainer-7.8.1-b'))
@pytest.mark.parametrize('dtype', (np.float32, np.float64))
def test_recorded_run(chainer, name, dtype):
    with open(os.path.join(GOLDEN, name + '.json')) as source:
        golden = json.load(source)
    V, size = golden['corpus']['V'], golden['corpus']['N']
    noise = np.random.RandomState(2015).randint(0, 5, size=size + 600)
    words = np.zeros(size + 600, np.int64)
    for k in range(size + 599):
        words[k + 1] = (7 * words[k] + noise[k]) % V

    L, n = chainer.links, golden['n_units']
    np.random.seed(golden['seed'])
    model = chainer.Chain()
    with model.init_scope():
        model.embed = L.EmbedID(V, n)
        model.l1 = L.LSTM(n, n)
        model.l2 = L.LSTM(n, n)
        model.l3 = L.Linear(n, V)
    for param in model.params():
        param.array[...] = np.random.uniform(-0.1, 0.1, param.shape)
    params = {}
    for path, param in model.namedparams():
        digest = hashlib.sha256(param.array.tobytes()).hexdigest()
        assert digest == golden['init_sha256']['/predictor' + path]
        params[path] = param.array.astype(dtype)

    losses, norms, _ = oracle.train(
        params, words[:size], golden['batchsize'], golden['bproplen'],
        golden['windows'], 1.0, golden['gradclip'])
    np.testing.assert_allclose(losses, golden['window_mean_loss'], rtol=0, atol=1e-4)
    clipped = np.minimum(norms, golden['gradclip'])
    np.testing.assert_allclose(clipped, golden['clipped_grad_norm'], rtol=1e-4)
    for path, expected in golden['final_param_abs_sum_and_sum'].items():
        p = params[path[len('/predictor'):]]
        assert np.abs(p).sum() == pytest.approx(expected[0], rel=1e-4), path
        assert p.sum() == pytest.approx(expected[1], abs=1e-4 * expected[0]), path
    val = oracle.evaluate(params, words[size:])
    assert val == pytest.approx(golden['val_mean_loss'], abs=1e-4)
