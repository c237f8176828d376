"""Optimizers and their hooks: formulas, dtypes, states, serialisation.

A hyperparameter may be a Python float or a NumPy scalar (a schedule computed with
NumPy gives one); the update is the same to the bit, and stays in the parameter's
precision.
"""

import numpy as np
import pytest

from rnnlm._compat import patches

patches.apply()

import chainer  # noqa: E402
import chainer.functions as F  # noqa: E402
import chainer.links as L  # noqa: E402
from chainer import optimizer_hooks as hooks  # noqa: E402
from chainer import optimizers, serializers  # noqa: E402

DTYPES = [np.float16, np.float32, np.float64]
SHAPE = (4, 3)


def sgd(p, gs, lr=0.1):
    for g in gs:
        p = p - lr * g
    return p


def momentum_sgd(p, gs, lr=0.1, momentum=0.9):
    v = 0
    for g in gs:
        v = momentum * v - lr * g
        p = p + v
    return p


def corrected_momentum_sgd(p, gs, lr=0.1, momentum=0.9):
    v = 0
    for g in gs:
        v = momentum * v - g
        p = p + lr * v
    return p


def nesterov_ag(p, gs, lr=0.1, momentum=0.9):
    v = 0
    for g in gs:
        v = momentum * v - lr * g
        p = p + momentum ** 2 * v - (1 + momentum) * lr * g
    return p


def ada_grad(p, gs, lr=0.1, eps=1e-4):
    h = 0
    for g in gs:
        h = h + g * g
        p = p - lr * g / (np.sqrt(h) + eps)
    return p


def ada_delta(p, gs, rho=0.9, eps=1e-3):
    msg = msdx = 0
    for g in gs:
        msg = rho * msg + (1 - rho) * g * g
        dx = np.sqrt((msdx + eps) / (msg + eps)) * g
        msdx = rho * msdx + (1 - rho) * dx * dx
        p = p - dx
    return p


def rmsprop(p, gs, lr=0.1, alpha=0.9, eps=1e-3):
    ms = 0
    for g in gs:
        ms = alpha * ms + (1 - alpha) * g * g
        p = p - lr * g / (np.sqrt(ms) + eps)
    return p


def rmsprop_graves(p, gs, lr=0.1, alpha=0.9, momentum=0.5, eps=1e-2):
    n = m = delta = 0
    for g in gs:
        n = alpha * n + (1 - alpha) * g * g
        m = alpha * m + (1 - alpha) * g
        delta = momentum * delta - lr * g / np.sqrt(n - m * m + eps)
        p = p + delta
    return p


def smorms3(p, gs, lr=0.1, eps=1e-3):
    mem, m, m2 = 1, 0, 0
    for g in gs:
        r = 1 / (mem + 1)
        m = (1 - r) * m + r * g
        m2 = (1 - r) * m2 + r * g * g
        x = m * m / (m2 + eps)
        p = p - g * np.minimum(x, lr) / (np.sqrt(m2) + eps)
        mem = 1 + mem * (1 - x)
    return p


def adam(p, gs, alpha=0.1, beta1=0.8, beta2=0.9, eps=1e-3, weight_decay_rate=0,
         amsgrad=False, bounds=None):
    m = v = peak = 0
    for t, g in enumerate(gs, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        peak = np.maximum(peak, v) if amsgrad else v
        step = alpha * np.sqrt(1 - beta2 ** t) / (1 - beta1 ** t)
        step = step / (np.sqrt(peak) + eps)
        if bounds:
            final_lr, gamma = bounds
            step = np.clip(step, final_lr * (1 - 1 / (gamma * t + 1)),
                           final_lr * (1 + 1 / (gamma * t)))
        p = p - step * m - weight_decay_rate * p
    return p


def msvag(p, gs, lr=0.1, beta=0.9):
    m, v, power = 0, 0, 1
    for g in gs:
        power = power * beta
        rho = min((1 - beta) ** 2 * (1 - power ** 2)
                  / ((1 - power) ** 2 * (1 - beta ** 2)), 0.9999)
        m = beta * m + (1 - beta) * g
        v = beta * v + (1 - beta) * g * g
        mt, vt = m / (1 - power), v / (1 - power)
        s = (vt - mt ** 2) / (1 - rho)
        p = p - lr * mt * np.clip(mt ** 2 / (mt ** 2 + rho * s), 0, 1)
    return p


ADAM = {'alpha': 0.1, 'beta1': 0.8, 'beta2': 0.9, 'eps': 1e-3}
OPTIMIZERS = [  # class, hyperparameters, formula and its own arguments
    (optimizers.SGD, {'lr': 0.1}, sgd, {}),
    (optimizers.MomentumSGD, {'lr': 0.1, 'momentum': 0.9}, momentum_sgd, {}),
    (optimizers.CorrectedMomentumSGD, {'lr': 0.1, 'momentum': 0.9},
     corrected_momentum_sgd, {}),
    (optimizers.NesterovAG, {'lr': 0.1, 'momentum': 0.9}, nesterov_ag, {}),
    (optimizers.AdaGrad, {'lr': 0.1, 'eps': 1e-4}, ada_grad, {}),
    (optimizers.AdaDelta, {'rho': 0.9, 'eps': 1e-3}, ada_delta, {}),
    (optimizers.RMSprop, {'lr': 0.1, 'alpha': 0.9, 'eps': 1e-3}, rmsprop, {}),
    (optimizers.RMSpropGraves, {'lr': 0.1, 'alpha': 0.9, 'momentum': 0.5, 'eps': 1e-2},
     rmsprop_graves, {}),
    (optimizers.SMORMS3, {'lr': 0.1, 'eps': 1e-3}, smorms3, {}),
    (optimizers.Adam, ADAM, adam, {}),
    (optimizers.AdamW, {**ADAM, 'weight_decay_rate': 0.01}, adam,
     {'weight_decay_rate': 0.01}),
    (optimizers.AMSGrad, ADAM, adam, {'amsgrad': True}),
    (optimizers.AdaBound, {**ADAM, 'final_lr': 0.1, 'gamma': 0.1}, adam,
     {'bounds': (0.1, 0.1)}),
    (optimizers.AMSBound, {**ADAM, 'final_lr': 0.1, 'gamma': 0.1}, adam,
     {'bounds': (0.1, 0.1), 'amsgrad': True}),
    (optimizers.MSVAG, {'lr': 0.1, 'beta': 0.9}, msvag, {}),
]
parametrize = pytest.mark.parametrize(
    'make, values, formula, arguments', OPTIMIZERS,
    ids=[row[0].__name__ for row in OPTIMIZERS])


class Model(chainer.Link):
    def __init__(self, array):
        super().__init__()
        with self.init_scope():
            self.w = chainer.Parameter(array.copy())


def arrays(dtype, n=4):
    rng = np.random.RandomState(3)
    return [rng.uniform(-1, 1, SHAPE).astype(dtype) for _ in range(n)]


def run(optimizer, p, gs, hook=None):
    model = Model(p)
    optimizer.setup(model)
    if hook is not None:
        optimizer.add_hook(hook)
    for g in gs:
        model.w.grad = g.copy()
        optimizer.update()
    return model


def states(model):
    return [s for _, s in sorted(model.w.update_rule.state.items())]


@pytest.mark.parametrize('dtype', DTYPES)
@parametrize
def test_formula_and_dtype(make, values, formula, arguments, dtype):
    p, *gs = arrays(dtype)
    model = run(make(**values), p, gs)
    expected = formula(p.astype(np.float64), [g.astype(np.float64) for g in gs],
                       **arguments)
    tolerance = {np.float16: 5e-2, np.float32: 1e-5, np.float64: 1e-10}[dtype]
    np.testing.assert_allclose(model.w.array, expected, rtol=tolerance, atol=tolerance)
    assert model.w.dtype == dtype
    assert {s.dtype for s in states(model) if hasattr(s, 'dtype')} <= {np.dtype(dtype)}


@pytest.mark.parametrize('dtype', [np.float32, np.float16])
@parametrize
def test_numpy_scalar_as_hyperparameter(make, values, formula, arguments, dtype):
    p, *gs = arrays(dtype)
    plain = run(make(**values), p, gs)
    numpy_scalars = run(make(**{k: np.float64(v) for k, v in values.items()}), p, gs)
    np.testing.assert_array_equal(plain.w.array, numpy_scalars.w.array)
    for a, b in zip(states(plain), states(numpy_scalars)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('form', ['npz', 'hdf5'])
@parametrize
def test_resume(make, values, formula, arguments, form, tmp_path):
    """Saved after two steps and loaded, the third step is the same to the bit."""
    if make is optimizers.MSVAG:
        pytest.skip('Chainer does not save its beta_power')
    if form == 'hdf5':
        pytest.importorskip('h5py')
    save = getattr(serializers, 'save_' + form)
    load = getattr(serializers, 'load_' + form)
    p, *gs = arrays(np.float32)
    whole = run(make(**values), p, gs)
    optimizer = make(**values)
    model = run(optimizer, p, gs[:2])
    save(str(tmp_path / 'optimizer'), optimizer)
    save(str(tmp_path / 'model'), model)

    model = Model(np.zeros_like(p))
    optimizer = make(**values).setup(model)
    load(str(tmp_path / 'model'), model)
    load(str(tmp_path / 'optimizer'), optimizer)
    assert optimizer.t == 2
    model.w.grad = gs[2].copy()
    optimizer.update()
    np.testing.assert_array_equal(model.w.array, whole.w.array)


def clip(g, p, threshold=0.5):
    return g * min(1, threshold / np.sqrt((g * g).sum()))


def lars(g, p, decay=0.1):
    rate = np.sqrt((p * p).sum()) / (
        1e-9 + np.sqrt((g * g).sum()) + decay * np.sqrt((p * p).sum()))
    return (g + decay * p) * rate


HOOKS = [
    (hooks.WeightDecay, (0.1,), lambda g, p: g + 0.1 * p),
    (hooks.Lasso, (0.1,), lambda g, p: g + 0.1 * np.sign(p)),
    (hooks.GradientClipping, (0.5,), clip),
    (hooks.GradientClipping, (50.,), lambda g, p: g),
    (hooks.GradientHardClipping, (-0.2, 0.3), lambda g, p: np.clip(g, -0.2, 0.3)),
    (hooks.GradientLARS, (1e-2, 0.1), lars),
]


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('make, values, formula', HOOKS)
def test_hook(make, values, formula, dtype):
    p, g = arrays(dtype, 2)
    model = run(optimizers.SGD(1.0), p, [g], make(*values))
    expected = formula(g.astype(np.float64), p.astype(np.float64))
    tolerance = {np.float16: 4e-3, np.float32: 1e-6, np.float64: 1e-12}[dtype]
    np.testing.assert_allclose(model.w.grad, expected, rtol=tolerance, atol=tolerance)
    assert model.w.grad.dtype == dtype
    scalars = run(optimizers.SGD(1.0), p, [g], make(*[np.float64(v) for v in values]))
    np.testing.assert_array_equal(scalars.w.grad, model.w.grad)


@pytest.mark.parametrize('dtype', DTYPES)
def test_gradient_noise(dtype):
    p, g = arrays(dtype, 2)
    np.random.seed(4)
    model = run(optimizers.SGD(1.0), p, [g], hooks.GradientNoise(0.3))
    np.random.seed(4)
    noise = np.random.normal(0, np.sqrt(0.3), SHAPE).astype(dtype)  # t is 0
    np.testing.assert_array_equal(model.w.grad, g + noise)


@pytest.mark.parametrize('timing', ['pre', 'post'])
def test_hook_timing_and_removal(timing):
    seen = []

    def hook(optimizer):
        seen.append(optimizer.target.w.array[0, 0].copy())

    p, g = arrays(np.float32, 2)
    optimizer = optimizers.SGD(1.0).setup(Model(p))
    optimizer.add_hook(hook, name='hook', timing=timing)
    optimizer.target.w.grad = g
    optimizer.update()
    assert seen == [p[0, 0] if timing == 'pre' else p[0, 0] - g[0, 0]]
    optimizer.remove_hook('hook')
    optimizer.update()
    assert len(seen) == 1


def test_update_with_a_loss_function():
    np.random.seed(0)
    x = np.random.uniform(-1, 1, (16, 4)).astype(np.float32)
    t = (x.sum(axis=1) > 0).astype(np.int32)
    model = L.Classifier(L.Linear(4, 2))
    optimizer = optimizers.Adam(0.1).setup(model)
    first = float(model(x, t).array)
    for _ in range(20):
        optimizer.update(model, x, t)
    assert optimizer.t == 20 and float(model(x, t).array) < first / 2
    assert float(F.softmax_cross_entropy(model.predictor(x), t).array) < first / 2


def test_mixed_precision_keeps_a_float32_copy():
    p, *gs = arrays(np.float16)
    optimizer = optimizers.SGD(1e-4)
    model = Model(p)
    optimizer.setup(model)
    optimizer.use_fp32_update()
    for g in gs:
        model.w.grad = g
        optimizer.update()
    copy = model.w.update_rule._fp32_param
    assert copy.dtype == np.float32 and model.w.dtype == np.float16
    np.testing.assert_allclose(
        copy.array, sgd(p.astype(np.float64), [g.astype(np.float64) for g in gs], 1e-4),
        rtol=1e-6, atol=1e-7)


def test_a_parameter_may_have_its_own_rate():
    p, g = arrays(np.float32, 2)
    optimizer = optimizers.SGD(1.0).setup(Model(p))
    optimizer.target.w.update_rule.hyperparam.lr = 0.5
    optimizer.target.w.grad = g
    optimizer.update()
    np.testing.assert_allclose(optimizer.target.w.array, p - g / 2, rtol=1e-6)
    assert optimizer.hyperparam.get_dict() == {'lr': 1.0}
